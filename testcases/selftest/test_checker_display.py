"""frames_shown: truth table."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.checkers.display import FramesShown

from .spoilers import refused
from .story import MS, START_NS, Spoiler, Story
from .timelines import EPOCH, INVOKE, OK, RESUME, STOP, at, epoch_at, guest_ns
from .truth import FAIL, PASS, UNKNOWN, hold, row

SENT, RECEIVED = "gpu.frame.sent", "gpu.frame.received"
DRAWN_EVERY_MS, SEEN_EVERY_MS = 200, 170
STREAM = {"sender": "guest", "receiver": "controller", "ordered": True, "in_flight": False, "sampled": True}


def drawn_ms(story: Story) -> Any:
    ms = np.arange(100, at(story.updates, 3300), DRAWN_EVERY_MS, dtype=np.float64)
    rest = ms % at(2, 0)
    return ms[(rest < STOP) | (rest >= RESUME)]


def seen_ms(story: Story) -> Any:
    return np.arange(150, at(story.updates, 3400), SEEN_EVERY_MS, dtype=np.float64)


def show(story: Story, newest: Any) -> None:
    """At each look the display shows the newest picture drawn by `newest`."""
    drawn = drawn_ms(story)
    seq = np.maximum(np.searchsorted(drawn, newest, "right") - 1, 0)
    t_ns = START_NS + np.rint(seen_ms(story) * MS).astype(np.int64)
    story.table(RECEIVED, seq=seq, epoch=epoch_at(drawn)[seq], t_ns=t_ns, good=np.ones(len(seq)))


def frames(story: Story) -> None:
    """A GPU load in a healthy recording."""
    drawn = drawn_ms(story)
    seq = np.arange(len(drawn))
    story.add(50, "load.start", load="gpu", kind="gpu", streams={"frame": STREAM}, rate_hz=5)
    story.table(SENT, seq=seq, epoch=epoch_at(drawn), t_ns=guest_ns(drawn), good=np.ones(len(seq)))
    show(story, seen_ms(story) - 20)
    story.add(at(story.updates, 3450), "load.stop", load="gpu", totals={}, drained=True)


def case(sentence: str, outcome: Any, says: str, *spoil: Spoiler, updates: int = 1) -> Any:
    return row(sentence, outcome, says, frames, *spoil, updates=updates)


def late_by(ms: float) -> Spoiler:
    return lambda s: show(s, seen_ms(s) - ms)


def frozen_from(ms: float) -> Spoiler:
    return lambda s: show(s, np.minimum(seen_ms(s), ms))


def seen(start_ms: float, end_ms: float) -> Any:
    """Which looks were taken in between."""
    return lambda table: (
        (table["t_ns"] >= START_NS + start_ms * MS) & (table["t_ns"] <= START_NS + end_ms * MS)
    )


def unseen(start_ms: float, end_ms: float) -> Spoiler:
    inside = seen(start_ms, end_ms)
    return lambda s: s.keep_rows(RECEIVED, lambda table: ~inside(table))


def anomaly(what: str, load: str = "gpu") -> Spoiler:
    return lambda s: s.add(RESUME, "load.anomaly", load=load, stream="frame", what=what, seq=3, detail={})


def blind(story: Story) -> None:
    story.add(RESUME, "witness.blind", witness="screen-gpu", reason="no monitor")


def stalled(ms: float, load: str = "gpu") -> Spoiler:
    return lambda s: s.add(ms, "load.stalled", load=load, stream="frame", epoch=1, blocks=0)


def compared_only_at_first(story: Story) -> None:
    """The guest's clock, with the controller's."""
    story.events = [
        e for e in story.events if e[1] != "clock.sync" or e[0] < INVOKE or e[2]["source"] != "guest"
    ]


def not_drained(story: Story) -> None:
    story.change("load.stop", {"load": "gpu"}, drained=False)


TABLE = [
    case(
        "what is drawn is seen",
        PASS,
        r"^20 pictures seen, every pixel right; 4 inside and 9 after update 1$",
    ),
    case("two updates in a row", PASS, "; 3 inside and 9 after update 2$", updates=2),
    case("the display lags, but less than is called old", PASS, "right", late_by(1300), updates=2),
    case(
        "it lags so that nothing fresh is seen, but less than is called old",
        UNKNOWN,
        "no picture of epoch 3",
        late_by(1900),
        updates=2,
    ),
    case(
        "the display lags too much",
        FAIL,
        r"pictures seen were over 2000 ms old: seq \d+ in place of \d+",
        late_by(2500),
        updates=2,
    ),
    case("it lags by little more than that", FAIL, "ms old", late_by(2100), updates=2),
    case(
        "it lags by more, but the guest's clock is not known that well",
        UNKNOWN,
        "no picture of epoch 3",
        late_by(2200),
        lambda s: s.change("clock.sync", {"source": "guest"}, error_ns=300 * MS),
        updates=2,
    ),
    case(
        "it lags, and the guest's clock may have stood still since it was compared",
        UNKNOWN,
        "not compared after update 1",
        late_by(1900),
        compared_only_at_first,
        updates=2,
    ),
    case("the display stands still from an update on", FAIL, "ms old", frozen_from(STOP), updates=2),
    case(
        "it stands still from the last update on, and the load says so",
        FAIL,
        "showed no new pictures after the update",
        frozen_from(STOP),
        stalled(3000),
    ),
    case("it stands still, and nobody says so", UNKNOWN, "no picture of epoch 2", frozen_from(STOP)),
    case(
        "one pixel is wrong",
        FAIL,
        "^1 pictures hold wrong pixels: seq 4$",
        lambda s: s.set_rows(RECEIVED, "good", 5, 0),
    ),
    case(
        "one pixel is wrong, and nothing else is known",
        FAIL,
        "wrong pixels",
        lambda s: s.set_rows(RECEIVED, "good", 5, 0).drop("cpr.invoke").drop("cpr.ok").tables.pop(SENT),
    ),
    case("the display is blank once", FAIL, "^1 blank pictures on the display$", anomaly("blank")),
    case("a picture is torn", FAIL, "1 torn pictures", anomaly("torn")),
    case("a picture is damaged beyond recognition", FAIL, "1 damaged pictures", anomaly("damaged")),
    case("the guest's kernel refuses a picture", FAIL, "1 times the guest could not", anomaly("error")),
    case("another load has an anomaly", PASS, "right", anomaly("blank", "nic")),
    case(
        "an older picture comes back",
        FAIL,
        "^1 times the display went back to an older picture: seq 3 after 6$",
        lambda s: s.set_rows(RECEIVED, "seq", 11, 3).set_rows(RECEIVED, "epoch", 11, 1),
    ),
    case(
        "a picture is seen that was never drawn",
        FAIL,
        "^4 pictures seen were never drawn: seq 4$",
        lambda s: s.without_rows(SENT, 4),
    ),
    case(
        "a picture has the epoch of another",
        FAIL,
        "never drawn: seq 4$",
        lambda s: s.set_rows(RECEIVED, "epoch", 5, 7),
    ),
    case(
        "pictures newer than a complete record",
        FAIL,
        "newer than the guest's record",
        lambda s: s.keep_rows(SENT, lambda _: slice(None, -3)),
    ),
    case(
        "pictures newer than a record that ends early",
        UNKNOWN,
        "newer than the guest's record",
        lambda s: s.keep_rows(SENT, lambda _: slice(None, -3)),
        not_drained,
    ),
    case("no picture inside the update", UNKNOWN, "no picture was seen inside update 1", unseen(INVOKE, OK)),
    case(
        "the only look inside may have ended after it",
        UNKNOWN,
        "no picture was seen inside update 1",
        unseen(INVOKE, OK - SEEN_EVERY_MS),
    ),
    case(
        "no look shortly before the update",
        UNKNOWN,
        "in the 1000 ms before update 2",
        unseen(at(2, -50), at(2, INVOKE)),
        updates=2,
    ),
    case(
        "the only look before may have ended inside",
        UNKNOWN,
        "in the 1000 ms before update 1",
        unseen(0, 800),
        unseen(900, 1300),
    ),
    case("no look before the update", UNKNOWN, "in the 1000 ms before update 1", unseen(0, INVOKE)),
    case(
        "no look at the second update",
        UNKNOWN,
        "inside update 2",
        unseen(at(2, INVOKE), at(2, OK)),
        updates=2,
    ),
    case("no look after the update", UNKNOWN, "no picture of epoch 2 was seen", unseen(EPOCH, 9999)),
    case("the screen could not be looked at", UNKNOWN, "screen-gpu went blind: no monitor", blind),
    case(
        "it stalled because nobody could look",
        UNKNOWN,
        "went blind",
        unseen(EPOCH, 9999),
        blind,
        stalled(3000),
    ),
    case("the load stalled before the update", UNKNOWN, "stalled before", stalled(900)),
    case(
        "the load is behind",
        UNKNOWN,
        "could not keep up",
        lambda s: s.add(3000, "load.behind", load="gpu", stream="frame", epoch=2, blocks=1),
    ),
    case("another load stalled", PASS, "right", stalled(3000, "nvme")),
    case(
        "contact was lost",
        UNKNOWN,
        "lost contact with the load: gone",
        lambda s: s.add(3000, "load.unreachable", load="gpu", reason="gone"),
    ),
    case("the load was never stopped", UNKNOWN, "never stopped", lambda s: s.drop("load.stop", load="gpu")),
    case("no pictures were recorded", UNKNOWN, f"no table {RECEIVED}", lambda s: s.tables.pop(RECEIVED)),
    case("nobody knows what was drawn", UNKNOWN, f"no table {SENT}", lambda s: s.tables.pop(SENT)),
    case("no load was started", UNKNOWN, "no load declares", lambda s: s.drop("load.start", load="gpu")),
    case(
        "the guest's clock is not known",
        UNKNOWN,
        "never compared",
        lambda s: s.drop("clock.sync", source="guest"),
    ),
    case(
        "the guest's clock is not known after an update",
        UNKNOWN,
        "not compared after update 1",
        compared_only_at_first,
    ),
    case(
        "the guest numbers twice",
        UNKNOWN,
        "not in order",
        lambda s: s.set_rows(SENT, "seq", 5, 4),
    ),
    case(
        "the guest's clock runs backwards",
        UNKNOWN,
        "not in order",
        lambda s: s.set_rows(SENT, "t_ns", 5, 0),
    ),
    case(
        "the controller's clock runs backwards",
        UNKNOWN,
        "runs backwards",
        lambda s: s.set_rows(RECEIVED, "t_ns", 5, 0),
    ),
    case("the update was refused", UNKNOWN, "did not complete .refused: no", refused),
    case("the recording ends in the update", UNKNOWN, "recording ends in it", lambda s: s.drop("cpr.ok")),
    case("no update was begun", UNKNOWN, "no update", lambda s: s.drop("cpr.invoke").drop("cpr.ok")),
    case("no epoch after the update", UNKNOWN, "no new epoch", lambda s: s.drop("epoch", number=2)),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", TABLE)
def test_frames_shown(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(FramesShown(), tmp_path, spoil, updates, outcome, says)


@pytest.mark.parametrize("until, outcome", [(1900, PASS), (2050, FAIL)])
def test_a_display_may_stand_still_while_the_guest_may(tmp_path: Path, until: float, outcome: Any) -> None:
    """Looks at 1850 and 2020 ms; the update ends at 1700, and 200 ms later pictures are old again."""

    def behind(story: Story) -> None:
        ms = seen_ms(story)
        show(story, np.where(ms <= until, np.minimum(ms - 20, INVOKE - 250), ms - 20))

    says = "were over 200 ms old" if outcome is FAIL else "every pixel right"
    hold(FramesShown(stale_ms=200), tmp_path, (frames, behind), 1, outcome, says)


def test_a_display_lives_through_a_refusal_that_was_expected(tmp_path: Path) -> None:
    hold(FramesShown(outcome="fail"), tmp_path, (frames, refused), 1, PASS, "4 inside")
