"""Programs in the guest, by its agent."""

from collections.abc import Sequence
from typing import Any

from lab.errors import BenchError, SutError
from lab.loads import Agent

REPLY_S = 60.0
"""Beyond the program's own time: an emulated guest that is busy answers late."""


def run(
    guest: Agent, argv: Sequence[str], timeout_s: float, *, stdin: str = "", killed: bool = False
) -> dict[str, Any]:
    """Run a program in the guest: {status, stdout, stderr}.

    killed: whether it goes on until its time is over, and is then killed

    Raises:
        BenchError: it could not be run, or failed, with what it said last.
    """
    args = {"argv": list(argv), "seconds": timeout_s, "stdin": stdin}
    done: dict[str, Any] = ask(guest, "program_run", timeout_s + REPLY_S, **args)
    if done["status"] == 0 or (killed and done["status"] is None):
        return done
    how = "was not done in time" if done["status"] is None else f"ended with {done['status']}"
    said = (done["stderr"].strip() or done["stdout"].strip() or "nothing").splitlines()[-1]
    raise BenchError(f"{argv[0]} in the guest {how}; it said last: {said}")


def read(guest: Agent, path: str) -> str:
    """The text of a file in the guest; BenchError if there is none."""
    return str(ask(guest, "file_read", REPLY_S, path=path))


def write(guest: Agent, path: str, *lines: str) -> None:
    """Give a file of the guest's kernel some commands; BenchError if it does not take one."""
    ask(guest, "file_write", REPLY_S, path=path, lines=lines)


def ask(guest: Agent, call: str, timeout_s: float, **args: Any) -> Any:
    """Any call: a guest that does not answer broke the benchmark, nobody is judged here."""
    try:
        return guest.call(call, timeout_s=timeout_s, **args)
    except SutError as error:
        raise BenchError(str(error)) from error
