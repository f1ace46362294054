"""Host-side witnesses record what they saw, and that they were blind when they were."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from lab.drivers.agent import HostAgent
from lab.errors import BenchError, SutError
from lab.link import AgentRefusal
from lab.qemu.memory import MEMFD
from lab.timeline import Recorder, Timeline
from lab.witnesses.chardev import ChardevStream
from lab.witnesses.device import device
from lab.witnesses.interrupts import interrupts
from lab.witnesses.kmsg import kmsg
from lab.witnesses.pfns import PAGE_BYTES, pfns, spread
from lab.witnesses.pins import pins
from lab.witnesses.process import process
from lab.witnesses.trace import trace

BDF = "0000:01:00.0"


class FakeAgent:
    """Answers every call of a host agent with `answers`, or fails with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.called: list[str] = []
        self.answers: dict[str, Any] = {
            "process": {"pid": 7, "start_ticks": 1},
            "qemu_version": "QEMU emulator version 11.1.3",
            "device": {"bdf": BDF, "command": 1},
            "interrupts": {"vfio-msix[0]": 5},
            "pfns": [[0, 9, 3]],
        }

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self.called.append(name)
            if self.error is not None:
                raise self.error
            return self.answers.get(name)

        return call


def recorded(tmp_path: Path, act: Callable[[HostAgent, Recorder], None], agent: FakeAgent) -> Timeline:
    with Recorder(tmp_path / "timeline.jsonl") as recorder:
        act(cast(HostAgent, agent), recorder)
    return Timeline.load(tmp_path / "timeline.jsonl")


def snapshots(agent: HostAgent, recorder: Recorder) -> None:
    process(agent, recorder, 7, when="before", update=1)
    device(agent, recorder, BDF, when="before", update=1)
    interrupts(agent, recorder, BDF, when="before", update=1)
    pfns(agent, recorder, 7, MEMFD, 1, when="before", update=1)


def test_snapshots(tmp_path: Path) -> None:
    timeline = recorded(tmp_path, snapshots, FakeAgent())
    kinds = [event.kind for event in timeline.events]
    assert kinds == ["host.process", "host.device", "host.interrupts", "host.pfns"]
    assert all((event.data["when"], event.data["update"]) == ("before", 1) for event in timeline.events)
    assert timeline.events[0].data["version"] == "QEMU emulator version 11.1.3"
    assert timeline.events[2].data["vectors"] == {"vfio-msix[0]": 5}
    assert timeline.events[3].data["pages"] == [[0, 9, 3]]


def test_a_refusal_is_blindness(tmp_path: Path) -> None:
    timeline = recorded(tmp_path, snapshots, FakeAgent(AgentRefusal("there is no process 7")))
    assert [event.data["witness"] for event in timeline.of("witness.blind")] == [
        "process",
        "device",
        "interrupts",
        "pfns",
    ]
    assert len(timeline.events) == 4 and timeline.events[0].data["reason"] == "there is no process 7"


def test_a_lost_bench_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="gone"):
        recorded(tmp_path, snapshots, FakeAgent(BenchError("gone")))


def test_watches_are_ended_whatever_happens(tmp_path: Path) -> None:
    agent = FakeAgent()

    def act(host: HostAgent, recorder: Recorder) -> None:
        with kmsg(host, recorder), pins(host, recorder, 7), trace(host, recorder, update=1):
            raise KeyError

    with pytest.raises(KeyError):
        recorded(tmp_path, act, agent)
    assert agent.called == [
        "watch_kmsg",
        "watch_pins",
        "watch_trace",
        "unwatch_trace",
        "stop_watch",
        "stop_watch",
    ]
    timeline = Timeline.load(tmp_path / "timeline.jsonl")
    assert [e.data["witness"] for e in timeline.of("witness.start")] == ["kmsg-host", "pins", "trace"]
    assert [e.data["witness"] for e in timeline.of("witness.stop")] == ["trace", "pins", "kmsg-host"]


def test_pages_are_spread_over_the_whole_memory() -> None:
    offsets = spread(256 << 20)
    assert (offsets[0], offsets[-1]) == (0, (256 << 20) - PAGE_BYTES)
    assert len(set(offsets)) == 64 and all(offset % PAGE_BYTES == 0 for offset in offsets)


class FakeEnd:
    """An end that has sent `sent`, and gets what the other has sent bit by bit, up to `comes`."""

    def __init__(self, sent: int, comes: int, error: Exception | None = None) -> None:
        self.sent, self.comes, self.error = sent, comes, error
        self.seen, self.drained = 0, False

    def drain(self) -> None:
        self.drained = True

    def report(self, upto: int | None = None) -> Mapping[str, Any]:
        if self.error is not None:
            raise self.error
        self.seen = min(self.seen + 4, self.comes)
        counters = dict.fromkeys(("repeated", "reordered", "damaged", "cut", "first_epoch", "last_epoch"), 0)
        received = counters | {
            "received": self.seen,
            "last_number": self.seen,
            "lost": max(0, (upto or 0) - self.seen),
        }
        backend = {"backend": "fd", "connections": 1, "eofs": 0}
        sent = {"sent": self.sent, "longest_idle_ms": 20, "drained": self.drained}
        return {**sent, "received": received} | backend


def chardev_report(tmp_path: Path, host: FakeEnd, guest: FakeEnd, wait_s: float = 0.5) -> Timeline:
    def act(_: HostAgent, recorder: Recorder) -> None:
        ChardevStream("s", host, guest, recorder).report(update=1, drain=True, wait_s=wait_s)

    return recorded(tmp_path, act, FakeAgent())


def test_a_stream_is_reported_from_both_ends_once_all_has_come(tmp_path: Path) -> None:
    host, guest = FakeEnd(sent=10, comes=12), FakeEnd(sent=12, comes=10)
    report = chardev_report(tmp_path, host, guest).events[0].data
    assert host.drained and guest.drained and report["drained"]
    for direction, count in (("to_guest", 10), ("from_guest", 12)):
        counted = report[direction]
        assert (counted["sent"], counted["received"], counted["lost"]) == (count, count, 0)


def test_what_never_comes_is_lost(tmp_path: Path) -> None:
    report = chardev_report(tmp_path, FakeEnd(sent=10, comes=12), FakeEnd(sent=12, comes=7)).events[0].data
    assert (report["to_guest"]["lost"], report["from_guest"]["lost"]) == (3, 0)


def test_what_comes_late_is_not_lost(tmp_path: Path) -> None:
    host, guest = FakeEnd(sent=400, comes=12), FakeEnd(sent=12, comes=400)
    report = chardev_report(tmp_path, host, guest, wait_s=0.2).events[0].data
    assert (report["to_guest"]["lost"], report["drained"]) == (0, True)


def test_what_still_comes_when_patience_ends_is_under_way(tmp_path: Path) -> None:
    host, guest = FakeEnd(sent=10**6, comes=12), FakeEnd(sent=12, comes=10**6)
    report = chardev_report(tmp_path, host, guest, wait_s=0.01).events[0].data
    assert not report["drained"]
    assert (report["to_guest"]["lost"], report["from_guest"]["lost"]) == (0, 0)


def test_a_guest_that_is_gone_makes_the_stream_blind(tmp_path: Path) -> None:
    guest = FakeEnd(0, 0, error=SutError("guest agent did not answer"))
    (blind,) = chardev_report(tmp_path, FakeEnd(10, 0), guest).events
    assert (blind.kind, blind.data["witness"]) == ("witness.blind", "chardev s")
