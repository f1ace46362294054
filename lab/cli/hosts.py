"""`cprlab hosts`: which hosts may be used, and why not the others."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from lab.cli.console import answer, aside, print_json
from lab.errors import LabUsageError
from lab.health.state import Health, State
from lab.health.store import Store

if TYPE_CHECKING:
    from lab.bench import Bench

app = typer.Typer(invoke_without_command=True)

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
_STYLES = {
    State.GOOD: "green",
    State.SUSPECT: "yellow",
    State.QUARANTINED: "bold red",
    State.MAINTENANCE: "cyan",
}


@app.callback()
def hosts(context: typer.Context, as_json: AsJson = False) -> None:
    """Show every host of which something was ever said; others are good."""
    if context.invoked_subcommand:
        return
    store = Store()
    known = {name: store.read(name) for name in store.names()}
    if as_json:
        print_json([_as_data(name, health) for name, health in known.items()])
        return
    table = Table("host", "health", "since", "last check", "why", box=None, pad_edge=False)
    for name, health in known.items():
        table.add_row(name, _word(health), health.since, health.checked, escape(health.reason))
    answer().print(table if known else "nothing was ever said of any host: all are good")


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="The host: its target file's name without suffix.")],
    state: Annotated[State, typer.Argument(help="What it is from now on.")],
    reason: Annotated[str, typer.Option(help="For those who want to use it; needed unless it is good.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say what a host is: maintenance keeps it from being used, suspect has it checked before it is."""
    if not reason and state is not State.GOOD:
        raise LabUsageError(f"why is {name} {state.value}? say it to the others: --reason '...'")
    health = Store().set(name, state, reason)
    if as_json:
        print_json(_as_data(name, health))
    else:
        answer().print(f"host {name} is {_word(health)}")


@app.command()
def check(
    bench: Annotated[Path, typer.Option(help="Target file of the host.", metavar="TARGET")],
    as_json: AsJson = False,
) -> None:
    """Look at a host: its agent, its kernel, each function given to VFIO and back, both QEMUs.

    It passes, and a suspect host is good again; or it fails, and goes into quarantine. A host in quarantine
    or maintenance is not looked at before somebody has set it to suspect.

    Exit status: 0 it passed; 2 it did not, or could not be reached.
    """
    from lab.bench import open_bench
    from lab.health.use import checked

    with aside().status(f"checking {bench.stem}"), open_bench(bench) as opened:
        looked = checked(opened, Store()) if opened.virtual is None else _virtual(opened)
    health = Store().read(bench.stem)
    if as_json:
        print_json(_as_data(bench.stem, health) | {"looked_at": looked})
        return
    for line in looked:
        answer().print(f"ok  {line}", markup=False)
    answer().print(f"host {bench.stem} is {_word(health)}")


def _virtual(bench: "Bench") -> list[str]:
    """A virtual bench is new each time: nothing is kept of it."""
    from lab.health.check import looked_at

    return looked_at(bench)


def _word(health: Health) -> str:
    style = _STYLES[health.state]
    return f"[{style}]{health.state.value}[/]"


def _as_data(name: str, health: Health) -> dict[str, object]:
    return {"host": name, **asdict(health)}
