"""A recording made by hand: loads of many kinds in a guest that is updated some times."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.columns import BLOCKS, Table
from lab.timeline import Event, Timeline

START_NS = 10**12
OFFSETS_NS = {"host": -5 * 10**11, "host-wall": -(10**18), "guest": 7 * 10**11, "far": 0, "far2": 10**9}
NODEID = "testcases/test_cpr_exec_nic.py::test_dma_survives[type1]"
NEW_ARGV = ["/usr/bin/qemu-system-x86_64", "-machine", "q35", "-incoming", "file:/x"]
STOP_S, RESUME_S = 0.12, 0.55
PARAMETERS = {"row": "nic", "backend": "type1", "devices": "igb", "memory_mib": 256}

Said = tuple[float, str, dict[str, Any]]
Times = NDArray[np.float64]


@dataclass(frozen=True)
class Flow:
    """One stream of a load; sampled_s: only so often is the last block looked at."""

    name: str
    sender: str
    receiver: str
    latency_s: float = 0.002
    sampled_s: float = 0.0

    def declared(self) -> dict[str, Any]:
        inside = self.sender == self.receiver
        ends = {"sender": self.sender, "receiver": self.receiver}
        return ends | {"ordered": not inside, "in_flight": inside, "sampled": self.sampled_s > 0}


@dataclass(frozen=True)
class Load:
    """One load; facts: what it tells of its device."""

    name: str
    kind: str
    rate_hz: float
    block_bytes: int
    flows: tuple[Flow, ...]
    facts: dict[str, Any]


def _nic(name: str, far: str, bdf: str) -> Load:
    flows = (Flow("to-guest", far, "guest"), Flow("from-guest", "guest", far))
    interface = {"name": f"enp{int(bdf[5:7], 16)}s0", "driver": "igb", "bdf": bdf}
    return Load(name, "nic", 500, 768, flows, {"interface": interface})


def _disk(name: str, rate_hz: float, facts: dict[str, Any]) -> Load:
    flows = (Flow("write", "guest", "guest", 0.04), Flow("read", "guest", "guest", 0.03))
    return Load(name, "block", rate_hz, 4096, flows, {"disk": facts, "depth": 32})


NIC, NIC2 = _nic("nic", "far", "0000:01:00.0"), _nic("nic2", "far2", "0000:04:00.0")
NVME = _disk(
    "nvme", 200, {"name": "nvme0n1", "driver": "nvme", "model": "QEMU NVMe Ctrl", "bdf": "0000:02:00.0"}
)
VBLK = _disk("vblk", 60, {"name": "vda", "driver": "virtio_blk", "bdf": "0000:06:00.0"})
SCREEN = Flow("frame", "guest", "controller", 0.05, 0.21)
CARD = {"name": "card0", "bdf": "0000:03:00.0", "driver": "virtio-pci"}
GPU = Load("gpu", "gpu", 5, 256000, (SCREEN,), {"card": CARD})
EDU = Load("edu", "edu", 50, 4096, (Flow("copy", "guest", "guest", 0.03),), {"bdf": "0000:05:00.0"})
LOOP = Load("loop", "nic", 200, 768, (Flow("loop", "guest", "guest"),), {"driver": "virtio_net"})
ALL = (NIC, NIC2, NVME, GPU, EDU, VBLK)


def recording(
    folder: Path,
    updates: int = 1,
    *,
    loads: Sequence[Load] = (NIC,),
    tables: bool = True,
    assigned: bool = True,
    nodeid: str = NODEID,
) -> Timeline:
    """The timeline of a case; its tables lie below `folder` if asked for.

    Update k is asked for at 4 + 5 (k - 1) s, pauses the guest and its clock from 0.12 to 0.55 s after
    that, and is over 1.4 s after it.

    assigned: functions are assigned by VFIO, so that pinned pages and the host kernel are watched
    """
    asked = [4.0 + 5 * number for number in range(updates)]
    end_s = 4.0 + 5 * updates
    said = [*_beginning(assigned, nodeid), *_starts(loads), *_beats(asked, end_s), *_syncs(asked, 0.1)]
    for number, at in enumerate(asked, start=1):
        said += _update(number, at, assigned) + _syncs(asked, at + 1.5)
    said += [(end_s - 0.05, "load.stop", {"load": load.name, "drained": True}) for load in loads]
    if tables:
        for load in loads:
            _blocks(folder / "columns", load, asked, end_s - 0.1)
        _lines(folder / "columns", asked, end_s)
        if assigned:
            _pins(folder / "columns", end_s)
    said.sort(key=lambda one: one[0])
    events = (Event(i, START_NS + round(t * 1e9), kind, data) for i, (t, kind, data) in enumerate(said))
    return Timeline(tuple(events), folder / "columns")


def source_ns(source: str, t_s: float, asked: Sequence[float] = ()) -> int:
    """Seconds of the recording as a source's own clock shows them."""
    return int(_ns(source, np.array([t_s]), asked)[0])


def paused(times: Times, asked: Sequence[float]) -> NDArray[np.bool_]:
    """Whether the guest stands still."""
    found = np.zeros(len(times), bool)
    for at in asked:
        found |= (times > at + STOP_S) & (times < at + RESUME_S)
    return found


def _lived(times: Times, asked: Sequence[float]) -> Times:
    """How much of the time until then the guest has lived."""
    stood = sum((np.clip(times - at - STOP_S, 0, RESUME_S - STOP_S) for at in asked), np.zeros(len(times)))
    return times - stood


def _ns(source: str, times: Times, asked: Sequence[float]) -> NDArray[np.int64]:
    own = _lived(times, asked) if source == "guest" else times
    return START_NS + np.rint(own * 1e9).astype("<i8") - OFFSETS_NS.get(source, 0)


def _beginning(assigned: bool, nodeid: str) -> list[Said]:
    facts = {"nodeid": nodeid, "claim": "DMA goes on.", "bench": "virtual", "parameters": PARAMETERS}
    chardevs = ("stream-fd", "stream-path")
    return [
        (0.0, "case", facts),
        (0.0, "versions", {"qemu_old": "11.1.3", "qemu_new": "11.1.4"}),
        *([(0.15, "witness.start", {"witness": "pins"})] if assigned else []),
        *((0.2, "chardev.open", {"chardev": c, "t_src_ns": source_ns("host", 0.2)}) for c in chardevs),
    ]


def _syncs(asked: Sequence[float], t_s: float) -> list[Said]:
    return [
        (t_s, "clock.sync", {"source": source, "offset_ns": offset_ns, "error_ns": 20_000})
        for source in OFFSETS_NS
        for offset_ns in [START_NS + round(t_s * 1e9) - source_ns(source, t_s, asked)]
    ]


def _starts(loads: Sequence[Load]) -> list[Said]:
    return [
        (
            0.3 + 0.01 * place,
            "load.start",
            {
                "load": load.name,
                "kind": load.kind,
                "streams": {flow.name: flow.declared() for flow in load.flows},
                "rate_hz": load.rate_hz,
                "block_bytes": load.block_bytes,
                **load.facts,
            },
        )
        for place, load in enumerate(loads)
    ]


def _beats(asked: Sequence[float], end_s: float) -> list[Said]:
    times = np.arange(0.3, end_s, 0.2)
    alive = times[~paused(times, asked)]
    gap = {"longest_gap_ns": 20_000_000}
    return [(t, "guest.heartbeat", gap | {"t_src_ns": source_ns("guest", t, asked)}) for t in alive.tolist()]


def _update(number: int, at: float, assigned: bool) -> list[Said]:
    def traced(name: str, after: float) -> Said:
        return at + after + 0.02, "trace.event", {"name": name, "t_src_ns": source_ns("host", at + after)}

    def qmp(after: float, side: str, name: str, heard: float = 0.0, **data: str) -> Said:
        told = {"side": side, "name": name, "data": data}
        return at + max(after, heard), "qmp.event", told | {"t_host_ns": source_ns("host-wall", at + after)}

    def chardev(after: float, what: str) -> Said:
        data = {"chardev": "stream-path", "t_src_ns": source_ns("host", at + after)}
        return at + after + 0.03, f"chardev.{what}", data

    watched: list[Said] = [
        (at - 0.3, "trace.open", {"update": number}),
        (at - 0.3, "witness.start", {"witness": "trace"}),
        traced("sched:sched_process_exec", 0.18),
        traced("iommu:map", 0.3),
    ]
    return [
        *(watched if assigned else []),
        (at, "cpr.invoke", {"mode": "cpr-exec", "update": number, "argv": NEW_ARGV}),
        qmp(0.05, "old", "MIGRATION", status="setup"),
        qmp(STOP_S, "old", "STOP"),
        qmp(0.16, "old", "MIGRATION", status="completed"),
        chardev(0.19, "eof"),
        chardev(0.33, "reopen"),
        (at + 0.9, "qmp.connected", {"side": "new"}),
        qmp(RESUME_S, "new", "RESUME", heard=0.95),
        (at + 1.4, "cpr.ok", {"mode": "cpr-exec", "update": number, "argv": NEW_ARGV}),
    ]


def _blocks(folder: Path, load: Load, asked: Sequence[float], end_s: float) -> None:
    for flow in load.flows:
        sent = np.arange(0.5, end_s - 0.2, 1 / load.rate_hz)
        if flow.sender == "guest":
            sent = sent[~paused(sent, asked)]
        arrived, seq = _arrived(flow, sent, asked)
        for end, source, rows, numbers in (
            ("sent", flow.sender, sent, np.arange(len(sent))),
            ("received", flow.receiver, arrived, seq),
        ):
            ones = np.ones(len(rows))
            columns = {"seq": numbers, "epoch": ones, "t_ns": _ns(source, rows, asked), "good": ones}
            Table(folder / f"{load.name}.{flow.name}.{end}", BLOCKS).append(columns)


def _arrived(flow: Flow, sent: Times, asked: Sequence[float]) -> tuple[Times, NDArray[np.int64]]:
    """When what was sent is seen at the other end, and its number."""
    seq = np.arange(len(sent))
    if flow.sampled_s:
        looked = np.arange(sent[0] + flow.sampled_s, sent[-1], flow.sampled_s)
        for at in asked:  # QEMU, which is asked for the screen, is being replaced
            looked = looked[(looked < at + STOP_S) | (looked > at + 0.95)]
        return looked, np.searchsorted(sent, looked - flow.latency_s)
    if flow.sender == flow.receiver == "guest":
        # of the guest's own time: the device goes on, and the guest sees it when it lives again
        lived = _lived(sent, asked) + flow.latency_s * (1 + 0.3 * np.sin(seq))
        order = np.argsort(lived, kind="stable")
        lived, seq = lived[order], seq[order]
        for at in asked:
            lived = np.where(lived > at + STOP_S, lived + RESUME_S - STOP_S, lived)
        return lived, seq
    arrived = sent + flow.latency_s
    if flow.receiver == "guest":
        for at in asked:
            first = at + RESUME_S + 1e-4  # what waited in the ring
            arrived = np.where((arrived > at + STOP_S) & (arrived < first), first, arrived)
    return arrived, seq


def _lines(folder: Path, asked: Sequence[float], end_s: float) -> None:
    times = np.arange(0.4, end_s, 0.02)
    times = times[~paused(times, asked)]
    ones = np.ones(len(times))
    rows = {"seq": np.arange(len(times)), "epoch": ones, "t_ns": _ns("host", times, ()), "good": ones}
    Table(folder / "chardev.stream-fd.received", BLOCKS).append(rows)


def _pins(folder: Path, end_s: float) -> None:
    samples = np.arange(0.4, end_s, 0.02)
    same = np.ones(len(samples))
    Table(folder / "pins", dict.fromkeys(["t_ns", "epoch", "pinned", "vmlck_kb", "vmpin_kb"], "<i8")).append(
        {
            "t_ns": _ns("host", samples, ()),
            "epoch": same,
            "pinned": same * 65600,
            "vmlck_kb": same * 262400,
            "vmpin_kb": same * 0,
        }
    )
