"""Where a guest is that does not answer: what QEMU says of its processors, put into words; never an error."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.errors import OutcomeUnknown, Refused
from lab.guest_link import GuestLink
from lab.qemu import stuck
from lab.qemu.stuck import named, read_symbols, where_it_is

from .test_guest_link import FakeGuest, Received

# of QEMU 11.1.3, shortened
REGISTERS = """
CPU#0
RAX=0000000000000007 RBX=ffff88800fc1c8c0 RCX=00000000000006e0 RDX=0000000000000005
RSI=0000000000000001 RDI=ffff88800fc1c8c0 RBP=ffffc90000003f50 RSP=ffffc90000003f28
RIP=ffffffff8110d2ab RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0
CPU#1
RIP=0000000000543de5 RFL=00000246 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=1
"""
STACK = """ffffc90000003f28: 0xffffffff81184146 0x000000000000000a
ffffc90000003f38: 0x00007f9f08ff2388 0xffffffff8110e04e
"""
MAP = """ffffffff81000000 T _text
ffffffff8110d290 t lapic_next_deadline
ffffffff8110e000 T __sysvec_apic_timer_interrupt
ffffffff81184000 T hrtimer_interrupt
ffffffff82000000 D data
"""


class Qmp:
    """A monitor that answers as QEMU did, or not at all."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def execute(
        self, command: str, arguments: Mapping[str, Any] | None = None, timeout_s: float = 10.0, /
    ) -> Any:
        if self.error:
            raise self.error
        if command == "human-monitor-command":
            assert arguments
            return REGISTERS if arguments["command-line"] == "info registers -a" else STACK
        return {"query-status": {"status": "running"}, "query-cpus-fast": [{"cpu-index": 0}]}[command]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stuck, "APART_S", 0.0)


def test_each_look_says_where_each_processor_is(tmp_path: Path) -> None:
    (tmp_path / "System.map").write_text(MAP)
    found = where_it_is(Qmp(), read_symbols(tmp_path / "System.map"))
    assert found["errors"] == [] and found["status"] == {"status": "running"}
    assert len(found["looks"]) == stuck.LOOKS
    spins = {"rip": "0xffffffff8110d2ab", "at": "lapic_next_deadline+0x1b", "halted": False}
    sleeps = {"rip": "0x543de5", "at": "0x543de5", "halted": True, "cpl": 3, "interrupts_on": True}
    assert found["looks"][0] == [{**spins, "cpl": 0, "interrupts_on": False}, sleeps]
    assert found["stack"] == ["hrtimer_interrupt+0x146", "__sysvec_apic_timer_interrupt+0x4e"]


def test_without_symbols_there_are_addresses(tmp_path: Path) -> None:
    assert read_symbols(tmp_path / "none") == ()
    assert named(0xFFFF_FFFF_8110_D2AB, ()) == "0xffffffff8110d2ab"


@pytest.mark.parametrize("error", [Refused("no"), OutcomeUnknown("gone"), RuntimeError("closed")], ids=repr)
def test_it_never_raises(error: Exception) -> None:
    found = where_it_is(Qmp(error))
    assert found["looks"] == [] and len(found["errors"]) == 3
    assert str(error) in found["errors"][0]


class Sleeper(FakeGuest):
    """A guest whose agent does nothing until it is woken."""

    def fail(self) -> None:
        self.asleep.wait(20)

    asleep = threading.Event()


def test_silence_is_told_once_and_only_while_somebody_may_answer() -> None:
    """And again when the guest had said something meanwhile."""
    told: list[str] = []
    ended: list[str] = []
    guest = Sleeper()
    gone = lambda: "".join(ended)  # noqa: E731
    link = GuestLink(guest.connect, Received(), retry_s=0.01, gone=gone, silent=told.append)
    link.call("add", number=1)
    for call in ("fail", "add"):
        with pytest.raises(OutcomeUnknown):
            link.call(call, timeout_s=0.3, **({"number": 1} if call == "add" else {}))
    assert told == ["fail"]
    guest.asleep.set()
    link.call("add", timeout_s=20, number=1)
    guest.asleep.clear()
    ended.append("its QEMU has ended")
    with pytest.raises(OutcomeUnknown):
        link.call("fail", timeout_s=0.3)
    ended.clear()
    assert told == ["fail"]
    guest.asleep.set()
    link.close()
    guest.cut()
    guest.close()


def test_a_guest_that_has_not_booted_is_not_stuck() -> None:
    told: list[str] = []

    def refuse() -> Any:
        raise ConnectionRefusedError

    link = GuestLink(refuse, Received(), retry_s=0.01, silent=told.append)
    with pytest.raises(OutcomeUnknown):
        link.call("clock", timeout_s=0.2)
    link.close()
    assert told == []
