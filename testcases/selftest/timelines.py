"""Recordings made by hand: a healthy one, and words to spoil it with.

`healthy()` is the story of a guest that lives through its updates; every standard checker
passes it. A truth table spoils one thing in it at a time.

Times are milliseconds of the controller, from 0. Clocks differ: host 5 s and far end 3 s ahead,
guest 7 s behind, and the guest's stands still while it is paused.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .story import MS, START_NS, Story

HOST_NS, FAR_NS, GUEST_NS = 5000 * MS, 3000 * MS, -7000 * MS
PERIOD_MS = 4000
PAGES, GUEST_MIB = 65600, 256
BDF = "0000:01:00.0"
CONFIG = "8680c91007051000" + "01000002" + "00000000" + "000080fe000082fe01c00000040084fe" + "00" * 228
QEMU = "QEMU emulator version 11.1.3"

# of one period: what happens when
INVOKE, STOP, EXEC, RESUME, OK, EPOCH, SETTLED, AFTER = 1000, 1100, 1150, 1500, 1700, 1750, 2500, 2600


def host_ns(ms: float) -> int:
    return START_NS + round(ms * MS) + HOST_NS


def far_ns(ms: float) -> int:
    return START_NS + round(ms * MS) + FAR_NS


def at(update: int, ms: float) -> float:
    """A moment of the period of an update, in milliseconds from the beginning."""
    return (update - 1) * PERIOD_MS + ms


def guest_ms(ms: Any) -> Any:
    """How much of the time until then the guest has lived: it stands still from STOP to RESUME."""
    whole, rest = np.divmod(ms, PERIOD_MS)
    return whole * (PERIOD_MS - (RESUME - STOP)) + rest - np.clip(rest - STOP, 0, RESUME - STOP)


def guest_ns(ms: Any) -> Any:
    return np.int64(START_NS + GUEST_NS) + np.int64(np.rint(guest_ms(ms) * MS))


def epoch_at(ms: Any) -> Any:
    whole, rest = np.divmod(ms, PERIOD_MS)
    return (whole + 1 + (rest >= EPOCH)).astype(np.uint32)


def healthy(updates: int = 1) -> Story:
    """Everything goes well: every standard checker passes."""
    return _healthy(updates).copy()


@cache
def _healthy(updates: int) -> Story:
    story = Story(updates)
    _beginning(story)
    for update in range(1, updates + 1):
        _update(story, update)
    _end(story)
    _heartbeats(story)
    _blocks(story)
    _lines(story)
    _pins(story)
    return story


def _beginning(story: Story) -> None:
    story.add(0, "case", nodeid="t::t", claim="", parameters={"memory_mib": GUEST_MIB})
    story.add(0, "qemu.start", argv=["qemu"], pid=157)
    story.add(0, "guest.booted", boot_id="b-1", kernel="7.3.4", t_src_ns=int(guest_ns(0)))
    story.add(0, "versions", qemu_old=QEMU, qemu_new=QEMU)
    for witness in ("kmsg-host", "pins"):
        story.add(0, "witness.start", witness=witness)
    story.add(0, "epoch", number=1)
    _sync(story, 0)
    declared = {
        "to-guest": {"sender": "far", "receiver": "guest"},
        "from-guest": {"sender": "guest", "receiver": "far"},
    }
    story.add(0, "load.start", load="nic", kind="nic", streams=declared, rate_hz=200, ring_blocks=4096)
    _counters(story, 0, "start")
    for stream in ("to-guest", "from-guest"):
        story.add(600, "load.settled", load="nic", stream=stream, epoch=1, blocks=64)


def _sync(story: Story, ms: float) -> None:
    story.add(ms, "clock.sync", source="host", offset_ns=-HOST_NS, error_ns=1 * MS)
    wall = {"to_host_ns": START_NS + HOST_NS, "to_host_error_ns": 10_000}
    story.add(ms, "clock.sync", source="host-wall", offset_ns=START_NS, error_ns=1 * MS, **wall)
    story.add(ms, "clock.sync", source="far", offset_ns=-FAR_NS, error_ns=1 * MS)
    offset_ns = START_NS + round(ms * MS) - int(guest_ns(ms))
    story.add(ms, "clock.sync", source="guest", offset_ns=offset_ns, error_ns=1 * MS)


def _counters(story: Story, ms: float, when: str) -> None:
    for where, names in {
        "guest-nic": ("rx_no_buffer_count", "rx_missed_errors"),
        "guest-socket": ("drops",),
        "far-socket": ("drops",),
    }.items():
        counters = dict.fromkeys(names, 7)
        story.add(ms, "load.counters", load="nic", where=where, when=when, counters=counters)


def _update(story: Story, update: int) -> None:
    def add(ms: float, kind: str, **data: Any) -> None:
        story.add(at(update, ms), kind, **data)

    _snapshots(story, update, 900, "before", 1000 * update)
    add(950, "trace.open", update=update)
    add(950, "witness.start", witness="trace")
    add(INVOKE, "cpr.invoke", mode="cpr-exec", update=update, argv=["qemu"])
    add(STOP, "qmp.event", side="old", name="STOP", data={}, t_host_ns=at(update, STOP) * MS, update=update)
    fields = {"filename": "/usr/bin/qemu", "pid": "157", "old_pid": "157"}
    add(EXEC, "trace.event", name="sched:sched_process_exec", t_src_ns=0, fields=fields)
    add(EXEC, "chardev.eof", chardev="stream-path", t_src_ns=0)
    add(EXEC + 50, "chardev.reopen", chardev="stream-path", t_src_ns=0)
    add(1400, "qmp.connected", side="new", version="11.1.3", update=update)
    t_host_ns = at(update, RESUME) * MS
    add(RESUME, "qmp.event", side="new", name="RESUME", data={}, t_host_ns=t_host_ns, update=update)
    for command, status in (("query-status", "running"), ("query-migrate", "completed")):
        result = {"status": status}
        add(1600, "qmp.reply", side="new", command=command, result=result, update=update)
    add(OK, "cpr.ok", mode="cpr-exec", update=update, argv=["qemu"])
    add(1720, "host.interrupts", when="during", update=update, bdf=BDF, vectors=_vectors(1000 * update + 100))
    counts = {"sched:sched_process_exec": 1}
    add(1730, "trace.close", update=update, counts=counts, lost=0)
    add(1730, "witness.stop", witness="trace")
    add(EPOCH, "epoch", number=update + 1)
    _sync(story, at(update, 1800))
    for stream in ("to-guest", "from-guest"):
        add(SETTLED, "load.settled", load="nic", stream=stream, epoch=update + 1, blocks=64)
    for chardev in ("stream-fd", "stream-path"):
        _report(story, at(update, 2550), chardev, update, drained=False)
    _snapshots(story, update, AFTER, "after", 1000 * update + 500)


def _vectors(count: int) -> dict[str, int]:
    return {f"vfio-msix[0]({BDF})": 1, f"vfio-msix[1]({BDF})": count}


def _snapshots(story: Story, update: int, ms: float, when: str, interrupts: int) -> None:
    tag = {"when": when, "update": update}
    links = ["/dev/null", "socket:[812]", "/dev/kvm", "anon_inode:kvm-vm", "/dev/iommu"]
    links += ["/dev/vfio/devices/vfio0", "anon_inode:[eventfd]", "anon_inode:[eventfd]"]
    fds = [[fd, link, 1000 + fd] for fd, link in enumerate(links)]
    process = {"pid": 157, "start_ticks": 2291, "exe": "/usr/bin/qemu", "version": QEMU, "fds": fds}
    memory = {"vmlck_kb": 0, "vmpin_kb": 262400 if when == "before" else 0, "vmrss_kb": 90000}
    story.add(at(update, ms), "host.process", **tag, **process, **memory)
    pages = [[n * 4096, 100 + n, 1028] for n in range(16)]
    story.add(at(update, ms), "host.pfns", **tag, pages=pages)
    story.add(at(update, ms), "host.interrupts", **tag, bdf=BDF, vectors=_vectors(interrupts))
    device = {"driver": "vfio-pci", "config": CONFIG, "command": 1287, "msix_enabled": True}
    story.add(at(update, ms), "host.device", **tag, bdf=BDF, **device, reset_count_hint=2)


def _report(story: Story, ms: float, chardev: str, update: int, *, drained: bool) -> None:
    ways = {"sent": 100 * update, "received": 100 * update, "lost": 0, "repeated": 0, "reordered": 0}
    ways |= {"damaged": 0, "first_epoch": 1, "last_epoch": update + 1}
    cuts = update if chardev == "stream-path" else 0
    to_guest = ways | ({"lost": 7, "received": 100 * update - 7} if cuts else {})
    story.add(
        ms,
        "chardev.report",
        chardev=chardev,
        connections=cuts + 1,
        eofs=cuts,
        to_guest=to_guest,
        from_guest=dict(ways),
        drained=drained,
        update=update,
    )


def _end(story: Story) -> None:
    last = at(story.updates, 0)
    _counters(story, last + 3400, "end")
    totals = {stream: {"blocks": _sent_blocks(story, stream)} for stream in ("to-guest", "from-guest")}
    story.add(last + 3450, "load.stop", load="nic", totals=totals, drained=True)
    for chardev in ("stream-fd", "stream-path"):
        _report(story, last + 3500, chardev, story.updates, drained=True)
    for witness in ("pins", "kmsg-host"):
        story.add(last + 3600, "witness.stop", witness=witness)
    story.add(last + 3800, "host.exit", name="qemu", pid=157, status=0, signal=None)


def _heartbeats(story: Story) -> None:
    beat = 0
    for ms in range(100, int(at(story.updates, 3400)), 200):
        if STOP <= ms % PERIOD_MS < RESUME:
            continue
        beat += 1
        epoch = int(epoch_at(np.float64(ms)))
        data = {"boot_id": "b-1", "beat": beat, "epoch": epoch, "t_src_ns": int(guest_ns(ms))}
        story.add(ms, "guest.heartbeat", **data, longest_gap_ns=20 * MS, memory_intact=True)


def _sent_ms(story: Story, stream: str) -> NDArray[np.float64]:
    ms = np.arange(100, at(story.updates, 3300), 5, dtype=np.float64)
    rest = ms % PERIOD_MS
    return ms if stream == "to-guest" else ms[(rest < STOP) | (rest >= RESUME)]


def _sent_blocks(story: Story, stream: str) -> int:
    return len(_sent_ms(story, stream))


def _blocks(story: Story) -> None:
    for stream in ("to-guest", "from-guest"):
        ms = _sent_ms(story, stream)
        seq, epoch, good = np.arange(len(ms)) + 1, epoch_at(ms), np.ones(len(ms))
        rest = ms % PERIOD_MS
        # what is sent to a guest that stands still waits in its ring
        arrived = np.where((rest >= STOP) & (rest < RESUME), ms - rest + RESUME, ms) + 1
        sent, received = np.array([far_ns(m) for m in ms]), guest_ns(arrived)
        if stream == "from-guest":
            sent, received = guest_ns(ms), np.array([far_ns(m + 1) for m in ms])
        story.table(f"nic.{stream}.sent", seq=seq, epoch=epoch, t_ns=sent, good=good)
        story.table(f"nic.{stream}.received", seq=seq, epoch=epoch, t_ns=received, good=good)


def _lines(story: Story) -> None:
    """What the host agent hears from the guest on the chardev whose connection is kept."""
    ms = np.arange(100, at(story.updates, 3300), 20, dtype=np.float64)
    rest = ms % PERIOD_MS
    ms = ms[(rest < STOP) | (rest >= RESUME)]
    t_ns = np.array([host_ns(m + 1) for m in ms])
    story.table(
        "chardev.stream-fd.received",
        seq=np.arange(len(ms)) + 1,
        epoch=epoch_at(ms),
        t_ns=t_ns,
        good=np.ones(len(ms)),
    )


def _pins(story: Story) -> None:
    ms = np.arange(0, at(story.updates, 3950), 10, dtype=np.float64)
    # the witness outlives the guest, whose end unpins its memory
    pinned = np.where(ms < at(story.updates, 3800), PAGES, 0)
    zero = np.zeros(len(ms))
    t_ns = [host_ns(m) for m in ms]
    story.table("pins", t_ns=t_ns, epoch=epoch_at(ms), pinned=pinned, vmlck_kb=zero, vmpin_kb=zero)
