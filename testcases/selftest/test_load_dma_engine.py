"""The DMA engine load drives an edu device as its specification says, and tells each fault for what it is.

Claim: blocks go through a device that works, all of them, one always under way; a byte that is wrong, a
stale buffer, an interrupt that is lost and a DMA that never ends are each on record, and the load goes on.
(`lab/agents/guest/edu.py`, on a model of the device; the real one is on the virtual bench.)
"""

import inspect
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.agents.guest import pci, physical, uio
from lab.agents.guest.edu import Edu
from lab.agents.guest.edu_copies import FIRMWARE, Copies
from lab.agents.guest.edu_registers import EDU
from lab.agents.loop import Loop
from lab.agents.rpc import AgentError, Wire
from lab.loads.dma_engine import DmaEngineLoad

from .edu_model import ModelEdu, ModelEduByMessage, ModelMemory

PATIENCE_S = 5.0


class Told:
    """Stands for the agent's way to the controller."""

    def __init__(self) -> None:
        self.tables: dict[str, list[tuple[int, int, int, int]]] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, kind: str, **data: Any) -> None:
        self.events.append((kind, data))

    def rows(self, table: str, **columns: Any) -> None:
        rows = zip(*(columns[name] for name in ("seq", "epoch", "t_ns", "good")), strict=True)
        self.tables.setdefault(table, []).extend(rows)

    def anomalies(self) -> list[tuple[str, int, dict[str, Any]]]:
        return [(d["what"], d["seq"], d["detail"]) for kind, d in self.events if kind == "load.anomaly"]


class Rig:
    """The load on a model of the device, in one loop."""

    def __init__(
        self, block_bytes: int = 2048, deadline_s: float = 0.2, model: type[ModelEdu] = ModelEdu
    ) -> None:
        self.loop, self.told, self.memory = Loop(), Told(), ModelMemory()
        self.device = model(self.loop, self.memory)
        out: Wire = self.told  # type: ignore[assignment]
        self.load = Edu(self.loop, out, "edu", 1, lambda bdf, interrupts: self.device)
        self.settings: dict[str, Any] = {"block_bytes": block_bytes, "seed": 3, "deadline_s": deadline_s}

    def start(self) -> dict[str, Any]:
        return self.load.start(**self.settings)

    @property
    def copies(self) -> Copies:
        assert self.load.copies
        return self.load.copies

    def run_until(self, what: Callable[[], bool]) -> None:
        end_s = time.monotonic() + PATIENCE_S

        def look() -> None:
            assert time.monotonic() < end_s, f"did not happen: {inspect.getsource(what)}"
            if what():
                self.loop.stop()

        timer = self.loop.every(1, look)
        self.loop._running = True
        self.loop.run()
        self.loop.cancel(timer)

    def run_blocks(self, blocks: int) -> None:
        """Until so many blocks more were begun."""
        wanted = self.copies.seq + blocks
        self.run_until(lambda: self.copies.seq >= wanted)

    def finished(self) -> dict[str, Any]:
        """Let what is under way come back; the totals."""
        self.load.stop_sending()
        self.run_until(lambda: self.copies.dma is None)
        return self.load.stop()["copy"]

    def seqs(self, end: str) -> list[int]:
        return [row[0] for row in self.told.tables[f"edu.copy.{end}"]]

    def wrong(self) -> list[int]:
        return [row[0] for row in self.told.tables["edu.copy.received"] if not row[3]]


@pytest.mark.parametrize(("block_bytes", "under_way"), [(64, 2), (2048, 2), (4096, 1)])
def test_all_blocks_come_back_and_the_device_is_let_go(block_bytes: int, under_way: int) -> None:
    rig = Rig(block_bytes)
    facts = rig.start()
    rig.run_blocks(10)
    rig.load.epoch(2)
    rig.run_blocks(10)
    totals = rig.finished()
    assert facts == {
        "bdf": "0000:00:05.0",
        "driver": "uio_pci_generic",
        "interrupts": "intx",
        "irq": 10,
        "identification": "0x010000ed",
        "alive": True,
        "blocks_under_way": under_way,
    }
    assert rig.seqs("sent") == rig.seqs("received") == list(range(20 + 1))
    assert {row[1] for row in rig.told.tables["edu.copy.received"]} == {1, 2}
    assert not rig.wrong()
    assert rig.told.events == []
    assert totals["sent"] == totals["received"] == 21
    assert totals["anomalies"] == {}
    assert rig.device.dmas == 42
    assert rig.device.interrupts_sent == 42
    assert rig.load.counters() == {
        "guest-irq": {},
        "guest-edu": {"interrupts": 42, "spurious": 0, "late": 0, "moved": 0},
    }
    assert rig.device.closed


def test_some_block_is_surely_under_way_at_any_moment() -> None:
    """So an update always meets one, however badly the moment of the pause is known."""
    rig = Rig()
    rig.start()
    rig.run_blocks(12)
    rig.finished()
    ends = {row[0]: row[2] for row in rig.told.tables["edu.copy.received"]}
    begins = {row[0]: row[2] for row in rig.told.tables["edu.copy.sent"]}
    for seq in range(11):
        assert begins[seq + 1] < ends[seq], f"blocks {seq} and {seq + 1} were not under way together"


FAULTS = {
    "flip": ("damaged", 4, {"wrong_bytes": 1, "first_wrong_byte": 1024}),
    "cut": ("damaged", 4, {"first_wrong_byte": 1024, "unwritten_at_end": 1024}),
    "unwritten": ("not-written", 4, {}),
    "stale": ("stale", 4, {"content_of_seq": 2, "epoch": 1}),
    "overrun": ("overrun", 4, {}),
}


@pytest.mark.parametrize(("fault", "seen"), FAULTS.items(), ids=FAULTS.keys())
def test_wrong_content_is_seen_as_what_it_is(fault: str, seen: tuple[str, int, dict[str, Any]]) -> None:
    rig = Rig()
    rig.device.faults[fault] = 4
    rig.start()
    rig.run_blocks(10)
    totals = rig.finished()
    what, seq, detail = seen
    assert [(told[0], told[1]) for told in rig.told.anomalies()] == [(what, seq)]
    assert rig.told.anomalies()[0][2].items() >= detail.items()
    assert rig.wrong() == [seq]
    assert rig.seqs("received") == rig.seqs("sent")
    assert totals["anomalies"] == {what: 1}


@pytest.mark.parametrize(("kind", "what"), [("flip", "damaged"), ("stale", "stale"), ("torn", "damaged")])
def test_planted_fault_is_seen_once(kind: str, what: str) -> None:
    rig = Rig()
    rig.start()
    rig.run_blocks(4)
    rig.load.fault(kind)
    rig.run_blocks(4)
    totals = rig.finished()
    assert totals["anomalies"] == {what: 1} and len(rig.wrong()) == 1
    assert [event[0] for event in rig.told.events if event[0] == "fault.planted"] == ["fault.planted"]
    with pytest.raises(AgentError, match="no fault 'melt' of a DMA engine: there are flip, stale"):
        rig.load.fault("melt")


def test_a_block_can_be_made_to_go_missing() -> None:
    rig = Rig()
    rig.start()
    rig.run_blocks(4)
    rig.load.fault("missing")
    rig.run_blocks(4)
    assert rig.finished()["anomalies"] == {} and len(rig.seqs("sent")) == len(rig.seqs("received")) + 1


def test_the_device_can_be_made_to_write_where_it_may_not() -> None:
    rig = Rig()
    rig.start()
    targets: list[int] = []
    rig.device.on_dma = lambda count: targets.append(rig.device.registers[0x88])
    rig.run_blocks(4)
    rig.load.fault("wild")
    rig.run_blocks(4)
    assert rig.finished()["anomalies"] == {} and rig.seqs("sent") == rig.seqs("received")
    assert targets.count(FIRMWARE) == 1


def test_lost_interrupt_is_evidence_and_the_load_goes_on() -> None:
    rig = Rig()
    rig.device.faults["silent"] = 6
    rig.start()
    rig.run_blocks(10)
    rig.finished()
    ((what, seq, detail),) = rig.told.anomalies()
    assert (what, seq) == ("no-interrupt", 2)
    assert detail == {
        "dma": "out",
        "done": True,
        "command": "0x6",
        "interrupt_status": "0x0",
        "identification": "0x10000ed",
        "config_command": "0x0506",
    }
    assert rig.seqs("received") == rig.seqs("sent")
    assert not rig.wrong()


def test_dma_that_never_ends_is_told_once_and_its_block_is_missing() -> None:
    rig = Rig()
    rig.device.faults["endless"] = 6
    rig.start()
    rig.run_until(lambda: rig.device.dmas == 7)
    deadlines_s = time.monotonic() + 0.7
    rig.run_until(lambda: time.monotonic() > deadlines_s)
    totals = rig.load.stop()["copy"]
    ((what, seq, detail),) = rig.told.anomalies()
    assert (what, seq, detail["dma"], detail["done"]) == ("no-interrupt", 2, "out", False)
    assert detail["command"] == "0x7"
    assert rig.seqs("received") == [0, 1]
    assert totals["sent"] - totals["received"] == 2
    assert rig.device.closed


def test_load_goes_on_when_a_dma_ends_at_long_last() -> None:
    rig = Rig()
    rig.device.faults["endless"] = 2
    rig.start()
    rig.run_until(lambda: len(rig.told.anomalies()) == 1)
    rig.device.end_silently()
    rig.run_blocks(5)
    rig.finished()
    told = [(what, detail["done"]) for what, _, detail in rig.told.anomalies()]
    assert told == [("no-interrupt", False), ("no-interrupt", True)]
    assert not rig.wrong()
    assert rig.seqs("received") == rig.seqs("sent")


def test_pause_of_the_guest_is_not_held_against_the_device() -> None:
    """The clock jumps over the deadline while the interrupt lies there, unseen."""
    rig = Rig(deadline_s=0.1)
    rig.start()
    rig.run_blocks(2)
    rig.device.end_now()
    time.sleep(0.3)  # what a paused guest does: nothing, while its clock may go on
    rig.run_blocks(5)
    rig.finished()
    assert rig.told.events == []
    assert rig.seqs("received") == rig.seqs("sent")


def test_interrupts_nobody_waits_for_are_only_counted() -> None:
    """New QEMU may raise one to be sure; a DMA that is under way has not ended by it."""
    rig = Rig()
    rig.start()
    rig.run_until(lambda: rig.device.dmas == 3)
    rig.device.interrupt()
    rig.run_blocks(5)
    rig.finished()
    counts = rig.load.counters()["guest-edu"]
    assert (counts["spurious"], counts["late"]) == (1, 1)
    assert rig.told.events == []
    assert rig.seqs("received") == rig.seqs("sent")
    assert not rig.wrong()


def test_messages_are_waited_for_as_a_line_is() -> None:
    rig = Rig(model=ModelEduByMessage)
    rig.settings["interrupts"] = "msi"
    facts = rig.start()
    rig.run_blocks(10)
    rig.finished()
    assert (facts["driver"], facts["interrupts"], facts["irq"]) == ("vfio-pci", "msi", 26)
    assert rig.seqs("sent") == rig.seqs("received") == list(range(10 + 1))
    assert not rig.wrong()
    assert rig.told.events == []
    assert rig.device.interrupts_sent == rig.device.dmas == 22
    assert rig.load.counters()["guest-edu"] == {"interrupts": 22, "spurious": 0, "late": 0, "moved": 0}


def test_several_messages_at_once_are_one_interrupt() -> None:
    """The eventfd adds up what came while nobody looked, as it may around an update."""
    rig = Rig(model=ModelEduByMessage)

    def thrice(dma: int) -> None:
        for _ in range(2 * (dma == 3)):
            rig.device.interrupt()

    rig.device.on_dma = thrice
    rig.start()
    rig.run_blocks(5)
    rig.finished()
    assert rig.device.interrupts_sent == rig.device.dmas + 2
    counts = rig.load.counters()["guest-edu"]
    assert counts == {"interrupts": rig.device.dmas, "spurious": 0, "late": 0, "moved": 0}
    assert rig.told.events == []
    assert not rig.wrong()


def test_lost_message_is_evidence_though_nothing_raises_it_again() -> None:
    rig = Rig(model=ModelEduByMessage)
    rig.device.faults["silent"] = 6
    rig.start()
    rig.run_blocks(10)
    rig.finished()
    ((what, seq, detail),) = rig.told.anomalies()
    assert (what, seq, detail["done"], detail["interrupt_status"]) == ("no-interrupt", 2, True, "0x0")
    assert rig.seqs("received") == rig.seqs("sent")


def test_function_that_is_gone_is_evidence() -> None:
    rig = Rig(deadline_s=0.1)
    rig.start()
    rig.run_blocks(4)
    rig.device.gone = True
    rig.run_until(lambda: len(rig.told.anomalies()) >= 2)
    totals = rig.load.stop()["copy"]
    assert {(what, detail["text"]) for what, _, detail in rig.told.anomalies()} == {
        ("error", "No such device")
    }
    assert totals["received"] < totals["sent"]


@pytest.mark.parametrize("at_dma", [7, 8], ids=["to memory", "from memory"])
def test_moved_page_is_the_labs_own_trouble(at_dma: int) -> None:
    rig = Rig()

    def move(dma: int) -> None:
        if dma == at_dma:
            rig.device.on_dma = lambda dma: None
            registers = rig.device.registers
            address = max(registers[0x80], registers[0x88])
            (page,) = [page for page in rig.memory.pages if page.at == address]
            page.at += 0x100_0000

    rig.device.on_dma = move
    rig.start()
    rig.run_blocks(10)
    rig.finished()
    ((kind, blind),) = rig.told.events
    assert (kind, blind["witness"], blind["where"]) == ("witness.blind", "load-edu", "guest")
    assert rig.load.counters()["guest-edu"]["moved"] == 1
    assert rig.seqs("received") == rig.seqs("sent") == list(range(len(rig.seqs("sent"))))
    assert not rig.wrong()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rig: setattr(rig.device, "identification", 0xFFFFFFFF), "0xffffffff"),
        (lambda rig: rig.device.registers.update({0x98: 7}), "busy"),
        (lambda rig: rig.settings.update(block_bytes=8192), "64 to 4096 bytes, not 8192"),
        (lambda rig: rig.settings.update(interrupts="msix"), "intx or msi, not 'msix'"),
    ],
    ids=["no edu", "busy", "too long", "no such interrupts"],
)
def test_device_that_cannot_be_used_is_refused(spoil: Callable[[Rig], None], message: str) -> None:
    rig = Rig()
    spoil(rig)
    with pytest.raises(AgentError, match=message):
        rig.start()
    assert rig.told.tables == {}


def test_registers_are_read_and_written_in_their_own_width() -> None:
    memory = bytearray(256)
    bar = pci.Bar(memory)
    bar.set_u32(0x04, 0x11223344)
    bar.set_u64(0x80, 0x1122334455667788)
    assert memory[0x04:0x08] == bytes.fromhex("44332211")
    assert memory[0x80:0x88] == bytes.fromhex("8877665544332211")
    assert bar.u32(0x84) == 0x11223344
    bar.close()
    memory.extend(b"released")


def test_function_is_found_by_its_id_or_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pci, "PCI", tmp_path)
    for bdf, vendor, device in (
        ("0000:00:01.0", "0x1af4", "0x1043"),
        ("0000:00:02.0", "0x1234", "0x11e8"),
        ("0000:00:03.0", "0x1234", "0x11e8"),
    ):
        function = tmp_path / "devices" / bdf
        function.mkdir(parents=True)
        (function / "vendor").write_text(vendor + "\n")
        (function / "device").write_text(device + "\n")
    assert pci.found(*EDU, None).name == "0000:00:02.0"
    assert pci.found(*EDU, "0000:00:03.0").name == "0000:00:03.0"
    with pytest.raises(AgentError, match=r"1234:11e8 at 0000:00:01.0 .* 0000:00:01.0 1af4:1043"):
        pci.found(*EDU, "0000:00:01.0")


def test_function_that_lost_its_right_to_dma_does_not_get_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INTx is switched on after every interrupt in the register that also holds that right."""
    monkeypatch.setattr(pci, "PCI", tmp_path)
    monkeypatch.setattr(uio, "DEV", tmp_path)
    monkeypatch.setattr(pci, "INTERRUPTS", tmp_path / "interrupts")
    path = tmp_path / "0000:00:05.0"
    (path / "uio" / "uio0").mkdir(parents=True)
    for name, content in (("irq", b"20\n"), ("config", bytes(64)), ("resource0", bytes(4096))):
        (path / name).write_bytes(content)
    for name in ("uio0", "drivers_probe"):
        (tmp_path / name).touch()
    (tmp_path / "interrupts").write_text(
        "           CPU0       CPU1\n"
        "  2:          7          7   IO-APIC   2-edge      timer\n"
        " 20:          3          4   IO-APIC  20-fasteoi   uio_pci_generic\n"
        "ERR:          0\n"
    )
    function = uio.Function(path)
    assert (path / "driver_override").read_text() == uio.DRIVER
    assert (function.irq, pci.interrupts(function.irq)) == (20, 7)
    assert function.command() == pci.MEMORY | pci.BUS_MASTER
    (path / "config").write_bytes(bytes(4) + (pci.INTX_OFF | pci.MEMORY).to_bytes(2, "little"))
    function.rearm()
    assert function.command() == pci.MEMORY
    function.close()
    assert (path / "config").read_bytes()[4:6] == pci.MEMORY.to_bytes(2, "little")


def test_page_says_where_it_is_and_that_it_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pagemap = tmp_path / "pagemap"
    monkeypatch.setattr(physical, "PAGEMAP", pagemap)
    page = physical.Page()

    def tell(entry: int) -> None:
        with pagemap.open("wb") as file:
            os.pwrite(file.fileno(), entry.to_bytes(8, "little"), page._virtual // physical.PAGE_BYTES * 8)

    tell(1 << 63 | 1 << 61 | 0x1234)
    assert page.address() == 0x1234000
    tell(1 << 63 | 0x4321)
    assert page.address() == 0x4321000
    for entry in (1 << 63, 0x1234):
        tell(entry)
        with pytest.raises(AgentError, match="not known"):
            page.address()
    page.memory[:4] = b"edu!"
    page.close()


def test_settings_are_what_the_guest_takes() -> None:
    load = DmaEngineLoad(name="edu2", block_bytes=1024, bdf="0000:00:05.0", interrupts="msi")
    inspect.signature(Edu.start).bind(None, **load.settings())
    assert [(s.name, s.sender, s.receiver, s.ordered, s.in_flight) for s in load.streams] == [
        ("copy", "guest", "guest", True, True)
    ]
    assert load.sized(4.5).rate_hz == 4.5
