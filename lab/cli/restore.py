"""`cprlab restore`: undo on a host what a killed run has left there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.cli.console import answer, aside, print_json
from lab.cli.discover import KEY_FILE, HostKey, KeyFile, SshPort
from lab.errors import BenchError, LabUsageError


def restore(
    host: Annotated[
        str, typer.Argument(help="The host, by ssh as root: root@bench-a.example.org.", metavar="[HOST]")
    ] = "",
    bench: Annotated[
        Path | None, typer.Option(help="In place of HOST, the host of this target file.", metavar="TARGET")
    ] = None,
    name: Annotated[str, typer.Option(help="Whose health this tells of; TARGET's, if there is one.")] = "",
    port: SshPort = 22,
    host_key: HostKey = "",
    key_file: KeyFile = KEY_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Undo every change that the lab has made to a host and not undone, newest first.

    Every run does so when it ends, and when it begins; this is for a host that nobody will run on, or that
    could not be restored. One in quarantine becomes suspect, and is checked before it is used.

    Exit status: 0 nothing is left; 2 something is, or the host cannot be reached; then it is in quarantine.
    """
    from lab.drivers.agent import NotRestored
    from lab.drivers.ssh import HostConnection
    from lab.health import Event, Store
    from lab.host_reach import attached, endpoint

    if bool(host) == (bench is not None):
        raise LabUsageError("either HOST or --bench TARGET was expected: cprlab restore root@bench-a")
    reached = attached(bench) if bench else HostConnection(endpoint(host, port, host_key, key_file))
    known = name or (bench.stem if bench else "")
    undone: list[Mapping[str, Any]] = []
    left = ""
    with aside().status("putting the host back"), reached as connection:
        try:
            undone = _restored(connection)
        except NotRestored as error:
            undone, left = error.undone, str(error)
    if known:
        Store().happened(known, Event.NOT_RESTORED if left else Event.RESTORED, left)
    if as_json:
        print_json({"undone": undone, "left": left})
    else:
        _print(undone)
    if left:
        raise BenchError(left)


def _restored(connection: Any) -> list[Mapping[str, Any]]:
    """What the agent undid as it started, and what was left to do; of somebody else's run nothing."""
    from lab.drivers.agent import HostAgent

    with HostAgent(connection) as agent:
        return [*agent.facts["restored"], *agent.restore()]


def _print(undone: Sequence[Mapping[str, Any]]) -> None:
    console = answer()
    for one in undone:
        if "error" not in one:
            before = ", ".join(f"{key} {value}" for key, value in one["before"].items()) or "nothing there"
            console.print(f"undone: {one['kind']} of {one['what']}: {before}", markup=False)
    if not undone:
        console.print("nothing was left to undo")
