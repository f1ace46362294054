"""A recording made by hand: an igb under load, updated some times, as the virtual bench shows it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.columns import BLOCKS, Table
from lab.timeline import Event, Timeline

START_NS = 10**12
OFFSETS_NS = {"host": -5 * 10**11, "guest": 7 * 10**11, "far": 0}
NODEID = "testcases/test_cpr_exec_nic.py::test_dma_survives[type1]"
NEW_ARGV = ["/usr/bin/qemu-system-x86_64", "-machine", "q35", "-incoming", "file:/x"]

Said = tuple[float, str, dict[str, Any]]


def recording(folder: Path, updates: int = 1, *, tables: bool = True) -> Timeline:
    """The timeline of a case; its tables lie below `folder` if asked for.

    Update k is asked for at 4 + 5 (k - 1) s, pauses the guest from 0.12 to 0.55 s after that, and
    is over 1.4 s after it.
    """
    asked = [4.0 + 5 * number for number in range(updates)]
    end_s = 4.0 + 5 * updates
    said = [*_beginning(), *_beats(asked, end_s)]
    for number, at in enumerate(asked, start=1):
        said += _update(number, at)
    if tables:
        _tables(folder / "columns", asked, end_s)
    said.sort(key=lambda one: one[0])
    events = (Event(i, START_NS + round(t * 1e9), kind, data) for i, (t, kind, data) in enumerate(said))
    return Timeline(tuple(events), folder / "columns")


def source_ns(source: str, t_s: float) -> int:
    """Seconds of the recording as a source's own clock shows them."""
    return START_NS + round(t_s * 1e9) - OFFSETS_NS[source]


def paused(times: NDArray[np.float64], asked: list[float]) -> NDArray[np.bool_]:
    """Whether the guest stands still."""
    found: NDArray[np.bool_] = np.any([(times > at + 0.12) & (times < at + 0.55) for at in asked], axis=0)
    return found if asked else np.zeros(len(times), bool)


def _beginning() -> list[Said]:
    facts = {"nodeid": NODEID, "claim": "DMA goes on.", "bench": "virtual", "parameters": {"iommu": "type1"}}
    syncs: list[Said] = [
        (0.1, "clock.sync", {"source": source, "offset_ns": offset, "error_ns": 20_000})
        for source, offset in OFFSETS_NS.items()
    ]
    return [
        (0.0, "case", facts),
        (0.0, "versions", {"qemu_old": "11.1.3", "qemu_new": "11.1.4"}),
        *syncs,
        (0.2, "chardev.open", {"chardev": "stream.path", "t_src_ns": source_ns("host", 0.2)}),
    ]


def _beats(asked: list[float], end_s: float) -> list[Said]:
    times = np.arange(0.3, end_s, 0.2)
    alive = times[~paused(times, asked)]
    return [(t, "guest.heartbeat", {"t_src_ns": source_ns("guest", t)}) for t in alive.tolist()]


def _update(number: int, at: float) -> list[Said]:
    def traced(name: str, after: float) -> Said:
        return at + after + 0.02, "trace.event", {"name": name, "t_src_ns": source_ns("host", at + after)}

    def qmp(after: float, side: str, name: str, **data: str) -> Said:
        return at + after, "qmp.event", {"side": side, "name": name, "data": data}

    return [
        (at - 0.3, "trace.open", {"update": number}),
        (at, "cpr.invoke", {"mode": "cpr-exec", "update": number, "argv": NEW_ARGV}),
        qmp(0.05, "old", "MIGRATION", status="setup"),
        qmp(0.11, "old", "STOP"),
        qmp(0.16, "old", "MIGRATION", status="completed"),
        traced("sched:sched_process_exec", 0.18),
        traced("iommu:map", 0.3),
        (at + 0.22, "chardev.eof", {"chardev": "stream.path", "t_src_ns": source_ns("host", at + 0.19)}),
        qmp(0.95, "new", "RESUME"),
        (at + 1.4, "cpr.ok", {"mode": "cpr-exec", "update": number, "argv": NEW_ARGV}),
    ]


def _tables(folder: Path, asked: list[float], end_s: float) -> None:
    times = np.arange(0.5, end_s, 1 / 500)
    seen = times[~paused(times, asked)]
    for name, source, shown in (
        ("nic.to-guest.sent", "far", times),
        ("nic.to-guest.received", "guest", seen),
        ("nic.from-guest.sent", "guest", seen),
        ("nic.from-guest.received", "far", seen),
    ):
        ns = START_NS + (shown * 1e9).astype("<i8") - OFFSETS_NS[source]
        ones = np.ones(len(shown))
        rows = {"seq": np.arange(len(shown)), "epoch": ones, "t_ns": ns, "good": ones}
        Table(folder / name, BLOCKS).append(rows)
    samples = np.arange(0.4, end_s, 0.02)
    ns = START_NS + (samples * 1e9).astype("<i8") - OFFSETS_NS["host"]
    same = np.ones(len(samples))
    Table(folder / "pins", dict.fromkeys(["t_ns", "pinned", "vmlck_kb", "vmpin_kb"], "<i8")).append(
        {"t_ns": ns, "pinned": same * 65600, "vmlck_kb": same * 262400, "vmpin_kb": same * 0}
    )
