"""`cprlab lab`: a whole lab on this machine."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lab.cli.console import answer, aside, print_json

if TYPE_CHECKING:
    from lab.places.demo import Back, Ran
    from lab.scale.measure import Beats, Hang, Queues, Spread

app = typer.Typer(no_args_is_help=True)


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Keep the run records and logs here; else they are removed.")
    ] = None,
) -> None:
    """Two emulated hosts with BMCs behind a coordinator, and two runs at once on them.

    Exit status: 0 both runs passed, on different hosts, and everything was given back; else 2.
    """
    from lab.cli import places
    from lab.cli.run import DEFAULT_BENCH, prepare_images
    from lab.interrupts import heed_termination
    from lab.places import demo as lab_demo

    heed_termination()
    prepare_images(DEFAULT_BENCH)
    say = Said()
    with tempfile.TemporaryDirectory(prefix="cprlab-demo-") as temporary:
        where = (folder or Path(temporary)).absolute()
        with lab_demo.lab(where, say) as lab:
            with lab_demo.running(lab, say) as running:
                lab_demo.wait_held(lab)
                places.places(lab.address)
                say("each boots its host and a guest there, and updates its QEMU under load: some minutes")
                ran = running()
            back = lab_demo.given_back(lab)
        answer().print(_runs(ran), _hosts(back))
        lab_demo.require_whole(ran, back)


class Said:
    """Lines with the time since the beginning."""

    def __init__(self) -> None:
        self._console, self._began_s = aside(), time.monotonic()

    def __call__(self, text: str) -> None:
        self._console.print(
            f"{time.monotonic() - self._began_s:6.1f} s  {text}", markup=False, soft_wrap=True
        )


def _runs(ran: "Sequence[Ran]") -> Table:
    table = Table("run", "host", "time", "claims", "exit status", box=None)
    for one in ran:
        passed = one.verdicts.count("PASS")
        claims = f"{passed} of {len(one.verdicts)} PASS"
        table.add_row(one.name, one.place, f"{one.seconds:.0f} s", claims, str(one.status))
    return table


def _hosts(back: "Mapping[str, Back]") -> Table:
    table = Table("host", "held by", "left in use by", "power", box=None)
    for name, one in back.items():
        held, left = one.place.holder or "nobody", ", ".join(one.place.in_use) or "nobody"
        table.add_row(name, held, left, "on" if one.power_on else "off, as it was")
    return table


@app.command()
def scale(
    places: Annotated[int, typer.Option(help="Hosts.", min=20)] = 200,
    runs: Annotated[int, typer.Option(help="At once.", min=5)] = 50,
    rounds: Annotated[int, typer.Option(help="Of each controller.", min=1)] = 3,
    hold_s: Annotated[float, typer.Option(help="How long a run has its host.", min=1)] = 15.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Measure a simulated lab: queueing time, what a run costs its controller, and what breaks first.

    Coordinator, exporters, leases, drivers and ssh are the real ones; of the hosts there is only ssh.
    """
    from lab.interrupts import heed_termination
    from lab.places.lease import Terms
    from lab.scale import measure
    from lab.scale.lab import simulated

    heed_termination()
    say, terms = Said(), Terms()
    with tempfile.TemporaryDirectory(prefix="cprlab-scale-") as temporary:
        folder = Path(temporary)
        with simulated(folder, places) as lab:
            say(f"{places} places with an exporter each")
            queues = measure.queues(lab, folder / "runs", runs, rounds, hold_s)
            say(f"{queues.runs} runs, {runs} at a time")
            beats = []
            for leases in sorted({min(runs, places), min(2 * runs, places), places}):
                beats.append(measure.beats(lab, leases, 1.5 * terms.beat_s, terms))
                say(f"{leases} leases at once")
            hang = measure.hang(lab, terms)
    if as_json:
        print_json(measure.as_json([queues, *beats, hang]))
        return
    for line in _scale_words(queues, beats, hang):
        answer().print(line)


def _scale_words(queues: "Queues", beats: "Sequence[Beats]", hang: "Hang") -> "list[Table | str]":
    table = Table("what", "how often", "median", "95 %", "longest", box=None)

    def add(what: str, spread: "Spread") -> None:
        times = (spread.median_s, spread.p95_s, spread.longest_s)
        table.add_row(what, str(spread.count), *(f"{time_s:.2f} s" for time_s in times))

    for want, spread in queues.waited.items():
        add(f"from asking to having a place with {want}", spread)
    add("from a release to the next holder, who waited", queues.handed_over)
    for one in beats:
        add(f"a beat, of {one.leases} leases at once", one.took)
    add("a beat, while an exporter hangs", hang.beat)
    shares = ", ".join(f"{one.leases} leases {one.coordinator_share:.0%}" for one in beats)
    return [
        table,
        f"a run costs its controller {queues.cpu_s:.2f} s of processor and {queues.pss_bytes >> 20} MiB "
        f"(without pytest)",
        f"the coordinator: {queues.coordinator_share:.0%} of a processor with {queues.controllers} runs at "
        f"once, {queues.coordinator_bytes >> 20} MiB; of beats alone: {shares}",
        f"while an exporter hangs, asking for its place takes {hang.refused_s:.1f} s, releasing one then "
        f"{hang.released_s:.1f} s, and until then nobody else gets an answer",
    ]
