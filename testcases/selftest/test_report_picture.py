"""The picture of a case: right numbers on one axis, and a picture whatever evidence is missing."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from lab.report.clocks import Clocks
from lab.report.picture import MOST_PICTURES, TITLE_CHARACTERS, chosen, draw, pause_s, version
from lab.report.picture_data import Recording, Tick, heartbeats, longest_gap
from lab.report.picture_panels import bursts
from lab.timeline import Event, Timeline
from testcases.selftest.report_handmade import recording

PNG = b"\x89PNG\r\n"


def words(picture: Path) -> str:
    """All text in the picture."""
    tree = ElementTree.parse(picture.with_suffix(".svg"))
    return "\n".join(t.text or "" for t in tree.iter("{http://www.w3.org/2000/svg}text"))


def test_a_picture_per_update_names_verdict_case_and_pause(tmp_path: Path) -> None:
    """Title, update and the longest gap stand in each picture."""
    pictures = draw(recording(tmp_path, 2), tmp_path / "out", "test_dma_survives[type1]", "PASS")

    assert [path.name for path in pictures] == ["update-1.png", "update-2.png"]
    assert all(path.read_bytes().startswith(PNG) for path in pictures)
    told = words(pictures[1])
    assert "PASS  test_dma_survives[type1]" in told
    assert "cpr-exec, update 2 of 2: ok" in told and "QEMU 11.1.3 → 11.1.4" in told
    assert "gap 430 ms" in told or "gap 432 ms" in told
    assert "STOP → completed" in told and "RESUME" in told and "exec of new QEMU" in told


def test_missing_tables_are_named(tmp_path: Path) -> None:
    """Without tables there is still a picture, which says what is missing."""
    [picture] = draw(recording(tmp_path, tables=False), tmp_path / "out", "case", "UNKNOWN")
    told = words(picture)
    assert "no rows in nic.to-guest.received" in told and "no rows in pins" in told


@pytest.mark.parametrize(
    "kinds",
    [
        (),
        ("case",),
        ("case", "clock.sync", "versions"),
        ("cpr.invoke",),
        ("cpr.invoke", "cpr.ok", "trace.event", "trace.open"),
        ("clock.sync", "guest.heartbeat", "chardev.eof"),
    ],
    ids=lambda kinds: "+".join(kinds) or "nothing",
)
def test_any_part_of_the_evidence_gives_a_picture(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    """A case that died early is drawn as far as it came."""
    whole = recording(tmp_path)
    part = [event for event in whole.events if event.kind in kinds]
    events = tuple(Event(i, e.t_ns, e.kind, e.data) for i, e in enumerate(part))
    [picture] = draw(Timeline(events, whole.tables), tmp_path / "out", "case", "NOT JUDGED")
    assert picture.read_bytes().startswith(PNG)


def test_source_clocks_are_converted(tmp_path: Path) -> None:
    """What the guest and the host saw stands where it happened, not where their clocks say."""
    shown = Recording.of(recording(tmp_path))
    assert heartbeats(shown)[0] == pytest.approx(0.3 - 4.0)
    assert shown.updates()[0].exec_s == pytest.approx(0.18)
    assert pause_s(shown, shown.updates()[0]) == pytest.approx(0.43, abs=0.005)


def test_the_nearest_sync_counts() -> None:
    """The guest's clock stands still while it is paused, so that its offset changes."""
    syncs = [
        Event(0, 100, "clock.sync", {"source": "guest", "offset_ns": 10}),
        Event(1, 1000, "clock.sync", {"source": "guest", "offset_ns": 500}),
    ]
    clocks = Clocks(syncs)
    assert clocks.controller_ns("guest", [80, 120, 480, 600]).tolist() == [90, 130, 980, 1100]
    assert [clocks.source_ns("guest", t_ns) for t_ns in (90, 980)] == [80, 480]


def qmp(index: int, t_ns: int, name: str) -> Event:
    return Event(index, t_ns, "qmp.event", {"side": "old", "name": name, "data": {}})


def test_the_guests_clock_is_joined_over_its_stop() -> None:
    """The earlier sync holds up to STOP, the later one from RESUME on, however far away they are."""
    events = [
        Event(0, 100, "clock.sync", {"source": "guest", "offset_ns": 0}),
        qmp(1, 900, "STOP"),
        qmp(2, 1300, "RESUME"),
        Event(3, 1500, "clock.sync", {"source": "guest", "offset_ns": 400}),
    ]
    clocks = Clocks(events)
    assert clocks.controller_ns("guest", [100, 899, 901, 1100]).tolist() == [100, 899, 1301, 1500]
    assert [clocks.source_ns("guest", t_ns) for t_ns in (899, 1000, 1299, 1301)] == [899, 900, 900, 901]
    assert clocks.told("guest") == "guest clock, joined over its stop"


def test_of_two_stops_between_syncs_each_has_its_share() -> None:
    """An update whose sync is missing does not move what came before the next one."""
    events = [
        Event(0, 0, "clock.sync", {"source": "guest", "offset_ns": 0}),
        *(qmp(1, 100, "STOP"), qmp(2, 200, "RESUME"), qmp(3, 500, "STOP"), qmp(4, 800, "RESUME")),
        Event(5, 1000, "clock.sync", {"source": "guest", "offset_ns": 400}),
    ]
    clocks = Clocks(events)
    assert clocks.controller_ns("guest", [99, 101, 399, 401]).tolist() == [99, 201, 499, 801]


def test_long_names_are_wrapped_and_versions_are_short(tmp_path: Path) -> None:
    """Title and subtitle stay in the figure."""
    [picture] = draw(recording(tmp_path, tables=False), tmp_path / "out", "long-name-" * 20, "FAIL")
    assert all(len(line) <= 2 * TITLE_CHARACTERS for line in words(picture).splitlines())
    assert version("QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)") == "11.1.3"
    assert version(None) == "?"


def test_counts_agree_with_the_rows(tmp_path: Path) -> None:
    """The overview, counted by bisection, holds every row."""
    shown = Recording.of(recording(tmp_path))
    counts = shown.counts("nic.to-guest.received", np.linspace(-10, 10, 101))
    assert counts is not None and counts.sum() == len(
        np.load(tmp_path / "columns/nic.to-guest.received/seq.npy")
    )


def test_of_many_updates_the_telling_ones_are_drawn(tmp_path: Path) -> None:
    """Twenty updates do not make twenty pictures; one that failed is never left out."""
    shown = Recording.of(recording(tmp_path, 8, tables=False))
    updates = shown.updates()
    assert len(chosen(updates, shown)) == MOST_PICTURES
    failed = [*updates[:-1], type(updates[0])(8, "cpr-exec", 40.0, 41.0, "fail")]
    assert 8 in [one.number for one in chosen(failed, shown)]


def test_labels_that_come_too_thick_are_joined() -> None:
    """No label lies on another one."""
    ticks = [Tick(t, "QMP old", str(t)) for t in (0.0, 0.05, 0.09, 0.5)]
    assert [[tick.text for tick in burst] for burst in bursts(ticks, 0.1)] == [
        ["0.0", "0.05", "0.09"],
        ["0.5"],
    ]


@pytest.mark.parametrize(
    ("times", "gap"),
    [
        ([], None),
        ([0.0, 1.0, 3.0, 3.5], (1.0, 3.0)),
        ([-3.0, 1.0, 3.5, 4.0, 9.0], (1.0, 3.5)),
        ([-1.0, 0.5, 9.0], (0.5, 9.0)),
        ([0.0, 1.0], (1.0, np.inf)),
        ([6.0], None),
    ],
)
def test_longest_gap(times: list[float], gap: tuple[float, float] | None) -> None:
    """What is empty inside counts, and the gap is told as a whole, to infinity if nothing came again."""
    assert longest_gap(np.array(times), 0.0, 5.0) == gap
