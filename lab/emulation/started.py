"""An emulated host for the time of a context: a process of its own, which dies with whoever starts it."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.errors import BenchError

_CHECKOUT = Path(__file__).resolve().parents[2]
_STOP_S = 10.0


@contextmanager
def emulated_host(folder: Path, *options: str) -> Iterator[Path]:
    """The target file of an emulated host that is off.

    options: of `python -m lab.emulation`

    Raises:
        BenchError: it does not start; with its last words.
    """
    with subprocess.Popen(
        _argv(folder, options), stdout=subprocess.PIPE, text=True, cwd=_CHECKOUT
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            if not said.startswith("ready: "):
                raise BenchError(f"the emulated host in {folder} did not start; see its last words on stderr")
            yield Path(said.removeprefix("ready: ").strip())
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _argv(folder: Path, options: Sequence[str]) -> list[str]:
    return ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "lab.emulation", str(folder), *options]
