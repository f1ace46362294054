"""The GPU load: a picture is drawn, shown and recognised, and each planted fault is seen for what it is.

The guest's end is real but for the card, which is a piece of memory that a screen looks at.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.agents import picture_faults
from lab.agents.guest import drm, gpu
from lab.agents.loop import Loop
from lab.agents.pattern import Pattern
from lab.agents.picture import PictureWriter
from lab.agents.rpc import AgentError
from lab.columns import read
from lab.errors import BenchError, SutError
from lab.evidence import Evidence
from lab.link import AgentRefusal, Receiver
from lab.loads.gpu import GpuLoad
from lab.loads.pictures import PictureReader
from lab.timeline import Timeline

WIDTH, HEIGHT, SEED = 64, 50, 7
PITCH = 4 * WIDTH + 64
Pixels = NDArray[np.uint8]

# -- pictures

WRITER, READER = PictureWriter(Pattern(SEED), WIDTH, HEIGHT), PictureReader(SEED, WIDTH, HEIGHT)


def on_screen(memory: bytes | bytearray, pitch: int = 4 * WIDTH) -> Pixels:
    """What a display makes of memory: the fourth byte of a pixel is not shown."""
    rows = np.frombuffer(bytes(memory[: pitch * HEIGHT]), np.uint8).reshape(HEIGHT, pitch)
    return rows[:, : 4 * WIDTH].reshape(HEIGHT, WIDTH, 4)[:, :, 2::-1].copy()


def shot(seq: int = 5, epoch: int = 3) -> Pixels:
    return on_screen(WRITER.picture(seq, epoch))


def test_a_picture_is_recognised() -> None:
    assert READER.look(shot(5, 3)) == ("good", 5, 3, {})
    assert READER.look(shot(2**40, 2**31)) == ("good", 2**40, 2**31, {})


def test_it_shows_the_same_whatever_lies_behind_its_rows() -> None:
    padded = PictureWriter(Pattern(SEED), WIDTH, HEIGHT, PITCH).picture(5, 3)
    assert (on_screen(padded, PITCH) == shot(5, 3)).all()


def test_pictures_differ_nearly_everywhere() -> None:
    for other in (4, 6, 7, 5 + 262_139 // 3):
        assert (shot(5) == shot(other)).all(axis=2).mean() < 0.01
    assert (shot(5) == on_screen(PictureWriter(Pattern(8), WIDTH, HEIGHT).picture(5, 3))).all(
        axis=2
    ).mean() < 0.01


def test_the_byte_that_is_not_shown_does_not_matter() -> None:
    memory = bytearray(WRITER.picture(5, 3))
    memory[3::4] = bytes(len(memory) // 4)
    assert READER.look(on_screen(memory)).what == "good"


@pytest.mark.parametrize("y, x", [(0, 0), (0, 20), (25, 31), (HEIGHT - 1, 20), (HEIGHT - 1, WIDTH - 1)])
@pytest.mark.parametrize("colour", range(3))
def test_one_flipped_bit_of_one_pixel_is_seen(y: int, x: int, colour: int) -> None:
    pixels = shot()
    pixels[y, x, colour] ^= 1
    what, seq, epoch, detail = READER.look(pixels)
    assert (what, seq, epoch) == ("damaged", 5, 3)
    assert (detail["wrong_pixels"], detail["first_wrong"]) == (1, [x, y])


@pytest.mark.parametrize("other", [3, 4, 6, 11])
@pytest.mark.parametrize("from_row", [1, 25, HEIGHT - 1])
def test_half_old_half_new_is_torn(other: int, from_row: int) -> None:
    pixels = shot(5)
    pixels[from_row:] = shot(other)[from_row:]
    what, seq, _, detail = READER.look(pixels)
    assert (what, seq, detail["content_of_seq"]) == ("torn", 5, other)


def test_a_strip_of_the_picture_before_is_torn() -> None:
    pixels = shot(5)
    pixels[10:20] = shot(3)[10:20]
    assert READER.look(pixels)[:2] == ("torn", 5)
    assert READER.look(pixels).detail["content_of_seq"] == 3


def test_a_strip_of_anything_else_is_damage() -> None:
    pixels = shot(5)
    pixels[10:20] = shot(500)[10:20]
    assert READER.look(pixels)[:2] == ("damaged", 5)


@pytest.mark.parametrize("colour", [0, 255])
def test_one_colour_is_blank(colour: int) -> None:
    assert READER.look(np.full((HEIGHT, WIDTH, 3), colour, np.uint8))[:2] == ("blank", None)


def test_a_text_of_qemu_is_blank() -> None:
    """Source: a screenshot of QEMU 11.1.3 after a reset of virtio-gpu: grey letters on black."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[20:28:2, 10:50:3] = 170
    assert READER.look(pixels) == ("blank", None, 0, {"colours": 2, "first": [0, 0, 0]})


def test_another_size_is_blank() -> None:
    seen = READER.look(np.zeros((480, 640, 3), np.uint8))
    assert seen == ("blank", None, 0, {"size": [640, 480], "wanted": [WIDTH, HEIGHT]})


def test_a_foreign_picture_is_damage_of_nobody_knows_which() -> None:
    assert READER.look(np.roll(shot(), 100, axis=1))[:2] == ("damaged", None)


def test_a_picture_too_narrow_for_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no room for its marks"):
        PictureWriter(Pattern(SEED), 17, HEIGHT)


# -- the load, with a card made of memory


class Card:
    """Takes the place of drm.Card; like virtio-gpu it reads a buffer at once, and shows what it read.

    front: the buffer that it was told to show last
    """

    shown = b""
    front: "drm.Buffer | None" = None
    refuses = 0

    def __init__(self, path: Path) -> None:
        self._events, self._told = os.pipe()
        os.set_blocking(self._events, False)

    def fileno(self) -> int:
        return self._events

    def outputs(self) -> Iterator[drm.Output]:
        yield drm.Output(1, 2, [drm.Mode(640, 480, b""), drm.Mode(WIDTH, HEIGHT, b"")])

    def buffer(self, width: int, height: int) -> drm.Buffer:
        memory: Any = bytearray(PITCH * height)
        return drm.Buffer(9, PITCH, memory)

    def show(self, output: drm.Output, mode: drm.Mode, buffer: drm.Buffer) -> None:
        assert (mode.width, mode.height) == (WIDTH, HEIGHT)
        Card.front, Card.shown = buffer, bytes(buffer.memory[:])

    def flip(self, output: drm.Output, buffer: drm.Buffer) -> None:
        assert buffer is not Card.front, "the picture on the screen was drawn upon"
        if Card.refuses:
            Card.refuses -= 1
            raise OSError(16, "Device or resource busy")
        Card.front, Card.shown = buffer, bytes(buffer.memory[:])
        os.write(self._told, b"!")

    def flipped(self) -> int:
        return len(os.read(self._events, 100))

    def close(self) -> None:
        Card.shown = b""
        os.close(self._events)
        os.close(self._told)


@dataclass
class Screen:
    """Looks at the card; `faults` are done to the next shots, one each."""

    faults: "list[Callable[[Pixels], Pixels]]" = field(default_factory=list)

    def shot(self) -> Pixels:
        if self.faults:
            return self.faults.pop(0)(self._picture())
        return self._picture()

    def _picture(self) -> Pixels:
        memory = Card.shown
        return on_screen(memory, PITCH) if memory else np.zeros((480, 640, 3), np.uint8)


class Guest:
    """The guest's end of the load in a thread of ours, and the link to it."""

    name = "guest"

    def __init__(self) -> None:
        self.receiver: Receiver | None = None
        self.reachable = True
        self._loop, self._asked = Loop(), queue.SimpleQueue[tuple[str, dict[str, Any], Any]]()
        self._bell, self._ring = os.pipe()
        self._loop.watch(self._bell, self._answer)
        out: Any = self
        self._gpu = gpu.Gpu(self._loop, out, "gpu", 1)
        self._thread = threading.Thread(target=self._loop.run, daemon=True)
        self._thread.start()

    def gone(self) -> str:
        return ""

    def call(self, call: str, timeout_s: float = 5.0, **args: Any) -> Any:
        if not self.reachable:
            raise SutError("the guest does not answer")
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asked.put((call, args, answer))
        os.write(self._ring, b"!")
        result = answer.get(timeout=timeout_s)
        if isinstance(result, AgentError):
            raise AgentRefusal(str(result))
        return result

    def close(self) -> None:
        self._loop.stop()
        os.write(self._ring, b"!")
        self._thread.join()

    # what the load in the guest sends

    def event(self, kind: str, **data: Any) -> None:
        assert self.receiver
        self.receiver.event(kind, data)

    def rows(self, table: str, **columns: Any) -> None:
        assert self.receiver
        self.receiver.rows(table, {name: np.array(column) for name, column in columns.items()})

    def _answer(self, _: int) -> None:
        for _ in os.read(self._bell, 100):
            if self._asked.empty():
                return
            call, args, answer = self._asked.get()
            try:
                answer.put(self._called(call, args))
            except AgentError as error:
                answer.put(error)

    def _called(self, call: str, args: Mapping[str, Any]) -> Any:
        if call == "load_start":
            return self._gpu.start(**args["settings"])
        if call == "epoch":
            return self._gpu.epoch(args["number"])
        if call == "load_fault":
            return self._gpu.fault(args["kind"])
        return {
            "clock": lambda: {"t_ns": 0},
            "load_stop_sending": self._gpu.stop_sending,
            "load_stop": self._gpu.stop,
            "load_counters": self._gpu.counters,
        }[call]()


@dataclass
class Bench:
    """A guest with a card, a screen, and where the evidence goes."""

    folder: Path
    number: int = 1
    screen: Screen = field(default_factory=Screen)
    undo: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.evidence = Evidence(self.folder / "case")
        self.undo.callback(self.evidence.conclude)
        self.guest = Guest()
        self.undo.callback(self.guest.close)

    def running(self, **settings: Any) -> Any:
        given = {"width": WIDTH, "height": HEIGHT, "rate_hz": 50.0, "shots_hz": 50.0, "seed": SEED} | settings
        return GpuLoad(self.screen, **given).running(self.guest, self.evidence, self)

    def finished(self) -> Timeline:
        self.undo.close()
        return Timeline.load(self.folder / "case" / "timeline.jsonl")

    def table(self, end: str) -> dict[str, Any]:
        table = read(self.folder / "case" / "columns", f"gpu.frame.{end}")
        assert table is not None
        return table


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(gpu, "Card", Card)
    found = [drm.Found("card0", "0000:01:00.0", "virtio-pci"), drm.Found("card1", "0000:02:00.0", "bochs")]
    monkeypatch.setattr(gpu, "cards", lambda: found)
    Card.shown, Card.front, Card.refuses = b"", None, 0
    made = Bench(tmp_path)
    yield made
    made.undo.close()


def test_what_is_shown_is_recorded(bench: Bench) -> None:
    with bench.running() as load:
        load.settle(blocks=10)
        bench.number = 2
        bench.guest.call("epoch", number=2)
        load.settle(blocks=10)
    timeline = bench.finished()
    sent, received = bench.table("sent"), bench.table("received")
    assert sent["seq"].tolist() == list(range(len(sent["seq"])))
    assert set(received["seq"].tolist()) <= set(sent["seq"].tolist())
    assert received["good"].all() and set(received["epoch"].tolist()) == {1, 2}
    assert (np.diff(received["t_ns"]) > 0).all() and (np.diff(received["seq"].astype(int)) >= 0).all()
    assert received["seq"][-1] == sent["seq"][-1], "the last picture was not looked at"
    (start,), (stop,) = timeline.of("load.start"), timeline.of("load.stop")
    assert start.data["streams"]["frame"]["sampled"] and start.data["block_bytes"] == 4 * WIDTH * HEIGHT
    assert start.data["card"] == {"name": "card0", "bdf": "0000:01:00.0", "driver": "virtio-pci"}
    assert stop.data["drained"]
    totals = stop.data["totals"]["frame"]
    assert (totals["blocks"], totals["received"]) == (len(sent["seq"]), len(received["seq"]))
    assert totals["shots"] == {"good": len(received["seq"])}
    assert not timeline.of("load.anomaly") and not timeline.of("witness.blind")
    assert len(timeline.of("load.settled")) == 2
    assert all(start.t_ns < t_ns < stop.t_ns for t_ns in received["t_ns"])


def _half_old(pixels: Pixels) -> Pixels:
    seq = READER.look(pixels).seq
    assert seq is not None
    pixels[25:] = shot(max(seq - 1, 0) or 1)[25:]
    return pixels


def _flipped(pixels: Pixels) -> Pixels:
    pixels[25, 3, 1] ^= 0x80
    return pixels


FAULTS: dict[str, tuple[Callable[[Pixels], Pixels], bool]] = {
    "damaged": (_flipped, True),
    "torn": (_half_old, True),
    "blank": (np.zeros_like, False),
}
"""What it must be called, what is done, and whether a row tells which picture it was."""


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_is_seen_for_what_it_is(bench: Bench, what: str) -> None:
    fault, known = FAULTS[what]
    with bench.running() as load:
        load.settle(blocks=5)
        bench.screen.faults.append(fault)
        load.settle(blocks=20)
    (anomaly,) = bench.finished().of("load.anomaly")
    assert (anomaly.data["load"], anomaly.data["stream"], anomaly.data["what"]) == ("gpu", "frame", what)
    wrong = bench.table("received")["seq"][bench.table("received")["good"] == 0].tolist()
    assert wrong == ([anomaly.data["seq"]] if known else [])


@pytest.mark.parametrize("kind, what", [("flip", "damaged"), ("torn", "torn"), ("blank", "blank")])
def test_the_guest_can_plant_a_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str, what: str
) -> None:
    monkeypatch.setattr(picture_faults, "FAULT_S", 0.2)
    with bench.running() as load:
        load.settle(blocks=5)
        bench.guest.call("load_fault", kind=kind)
        load.settle(blocks=30)
    timeline = bench.finished()
    assert {event.data["what"] for event in timeline.of("load.anomaly")} == {what}
    assert [event.data["fault"] for event in timeline.of("fault.planted")] == [f"display.{kind}"]
    assert bench.table("received")["good"][-1], "it did not end"


def test_an_old_display_is_the_first_picture_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_faults, "FAULT_S", 0.2)
    with bench.running() as load:
        load.settle(blocks=10)
        bench.guest.call("load_fault", kind="stale")
        load.settle(blocks=30)
    assert not bench.finished().of("load.anomaly")
    seqs = bench.table("received")["seq"].astype(int)
    assert seqs[np.flatnonzero(np.diff(seqs) < 0)[0] + 1] == 0


def test_an_unknown_fault_is_refused(bench: Bench) -> None:
    with bench.running(), pytest.raises(AgentRefusal, match="no fault 'drop' of a display: there are flip,"):
        bench.guest.call("load_fault", kind="drop")
    assert not bench.finished().of("fault.planted")


def test_it_is_not_drawn_faster_than_it_is_looked_at() -> None:
    load = GpuLoad(Screen(), shots_hz=5.0)
    assert [load.sized(hz).rate_hz for hz in (8.0, 20.0, 60.0)] == [2.0, 5.0, 5.0]
    assert load.sized(8.0).sizing.startswith("2 blocks/s: a share of 0.25")


def test_an_old_picture_is_a_row_like_any_other(bench: Bench) -> None:
    """Whether it is too old is for a checker to say."""
    with bench.running() as load:
        load.settle(blocks=20)
        bench.screen.faults.append(lambda _: shot(1, 1))
        load.settle(blocks=30)
    assert not bench.finished().of("load.anomaly")
    assert (np.diff(bench.table("received")["seq"].astype(int)) < 0).sum() == 1


def test_a_screen_that_cannot_be_looked_at_is_a_blind_witness(bench: Bench) -> None:
    def gone(_: Pixels) -> Pixels:
        raise BenchError("no monitor")

    with bench.running() as load:
        load.settle(blocks=5)
        bench.screen.faults += [gone, gone, gone]
        load.settle(blocks=20)
    timeline = bench.finished()
    (blind,) = timeline.of("witness.blind")
    assert blind.data == {"witness": "screen-gpu", "reason": "no monitor"}
    assert timeline.of("load.stop")[0].data["totals"]["frame"]["shots"]["unseen"] == 3


def test_a_refused_picture_is_told_and_the_load_goes_on(bench: Bench) -> None:
    with bench.running() as load:
        load.settle(blocks=5)
        Card.refuses = 2
        load.settle(blocks=20)
    timeline = bench.finished()
    errors = [e.data for e in timeline.of("load.anomaly")]
    assert [(e["what"], e["detail"]["errno"]) for e in errors] == [("error", 16)] * 2
    seqs = bench.table("sent")["seq"].tolist()
    assert seqs == list(range(len(seqs))) and len(seqs) > errors[-1]["seq"]


def test_a_display_that_stands_still_is_stalled(bench: Bench) -> None:
    with bench.running() as load:
        load.settle(blocks=5)
        bench.number = 2  # and the guest never hears of it
        load.settle(blocks=5, timeout_s=0.3)
    assert [e.data["epoch"] for e in bench.finished().of("load.stalled")] == [2]


def test_a_guest_out_of_reach_is_evidence(bench: Bench) -> None:
    with bench.running() as load:
        load.settle(blocks=5)
        bench.guest.reachable = False
    timeline = bench.finished()
    assert timeline.of("load.unreachable") and not timeline.of("load.stop")[0].data["drained"]


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"width": 1024}, "card0 has no mode of 1024x50; it has: 640x480, 64x50"),
        (
            {"bdf": "0000:09:00.0"},
            r"no graphics card 0000:09:00\.0 in the guest; there is: card0 \(virtio-pci",
        ),
    ],
)
def test_a_load_that_cannot_start_says_why(bench: Bench, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(BenchError, match=says), bench.running(**settings):
        pass


def test_the_card_is_chosen_by_its_address(bench: Bench) -> None:
    with bench.running(bdf="0000:02:00.0") as load:
        load.settle(blocks=2)
    assert bench.finished().of("load.start")[0].data["card"]["name"] == "card1"


def test_the_wrong_screen_is_found_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.loads.camera.FIRST_TIMEOUT_S", 0.1)
    monkeypatch.setattr(bench.screen, "shot", lambda: np.zeros((480, 640, 3), np.uint8))
    with (
        pytest.raises(BenchError, match=r"shows nothing of it 0\.1 s after it began: blank"),
        bench.running(),
    ):
        pass


# -- the kernel's structures


@pytest.mark.parametrize(
    "number, struct, request_code",
    [
        (0xA0, drm._RESOURCES, 0xC04064A0),
        (0xA2, drm._CRTC, 0xC06864A2),
        (0xA6, drm._ENCODER, 0xC01464A6),
        (0xA7, drm._CONNECTOR, 0xC05064A7),
        (0xAE, drm._FRAMEBUFFER, 0xC01C64AE),
        (0xB0, drm._FLIP, 0xC01864B0),
        (0xB2, drm._CREATE, 0xC02064B2),
        (0xB3, drm._MAP, 0xC01064B3),
    ],
)
def test_requests_are_those_of_the_kernel(number: int, struct: Any, request_code: int) -> None:
    """The values as strace and libdrm know them: sizes of the structures are part of each."""
    assert drm._iowr(number, struct) == request_code


def test_cards_are_known_by_their_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    function = tmp_path / "devices/pci0000:00/0000:00:02.0/0000:01:00.0"
    below = function / "virtio0"
    for name, device in (("card0", function), ("card1", below), ("card1-Virtual-1", below)):
        device.mkdir(parents=True, exist_ok=True)
        (tmp_path / "class" / name).mkdir(parents=True)
        (tmp_path / "class" / name / "device").symlink_to(device)
    monkeypatch.setattr(drm, "CLASS", tmp_path / "class")
    assert [(card.name, card.bdf) for card in drm.cards()] == [
        ("card0", "0000:01:00.0"),
        ("card1", "0000:01:00.0"),
    ]
