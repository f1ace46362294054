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
from testcases.selftest.report_handmade import ALL, GPU, LOOP, NIC, NVME, Load, recording

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


def test_each_load_has_a_panel_and_each_stream_a_lane(tmp_path: Path) -> None:
    """In the order of the record, with device, rate and clocks."""
    [picture] = draw(recording(tmp_path, loads=(NIC, NVME, GPU)), tmp_path / "out", "case", "PASS")
    told = words(picture).splitlines()
    titles = [
        "nic: enp1s0, igb, 0000:01:00.0, 500 blocks/s of 768 bytes",
        "nvme: nvme0n1, QEMU NVMe Ctrl, nvme, 0000:02:00.0, 200 blocks/s of 4 KiB",
        "gpu: card0, virtio-pci, 0000:03:00.0, 5 blocks/s of 250 KiB",
    ]
    assert [line for line in told if line in titles] == titles
    for lane in ("to-guest", "from-guest", "write", "read", "frame"):
        assert told.count(lane) == 1, lane
    for clocks in ("far → guest clock", "guest → far clock", "guest clock", "guest → controller clock"):
        assert clocks in told, clocks
    assert "longest gap: nic.to-guest 432 ms, nvme.write 446 ms" in "\n".join(told)


def test_in_the_guest_its_clock_stood_still(tmp_path: Path) -> None:
    """A lane of the guest's clock alone says so, what that clock saw of the gap, and what was in flight."""
    [picture] = draw(recording(tmp_path, loads=(NVME,)), tmp_path / "out", "case", "PASS")
    told = words(picture)
    assert "the guest's clock stood still" in told
    assert "ms by the guest's clock, at least 7 in flight" in told
    [alone] = draw(recording(tmp_path / "nic"), tmp_path / "out-nic", "case", "PASS")
    assert "stood still" not in words(alone) and "by the guest's clock" not in words(alone)


def test_samples_are_looks(tmp_path: Path) -> None:
    """Between two screenshots nobody saw anything: that is no gap of the load, and makes no headline."""
    [picture] = draw(recording(tmp_path, loads=(GPU,)), tmp_path / "out", "case", "PASS")
    told = words(picture)
    assert "looks" in told and "longest time between looks" in told and "longest gap" not in told


@pytest.mark.parametrize("loads", [(), (NIC,), (GPU,), (LOOP,), ALL], ids=len)
def test_any_number_of_loads_gives_a_picture(tmp_path: Path, loads: tuple[Load, ...]) -> None:
    """Each in the strip of the whole case, and with a panel of its own."""
    pictures = draw(recording(tmp_path, 2, loads=loads), tmp_path / "out", "case", "PASS")
    told = words(pictures[-1]).splitlines()
    assert all(told.count(load.name) == 1 for load in loads if load is not LOOP)
    assert all(any(line.startswith(f"{load.name}: ") for line in told) for load in loads)
    assert ("no load was started" in told) == (not loads)


def test_what_nobody_watched_is_said(tmp_path: Path) -> None:
    """A guest without functions assigned by VFIO has no pins and no traces."""
    shown = recording(tmp_path, loads=(LOOP,), assigned=False)
    [picture] = draw(shown, tmp_path / "out", "case", "PASS")
    told = words(picture)
    assert "no witness watched the pinned pages in this case" in told
    assert "no witness watched the host kernel in this case" in told
    assert "virtio_net" in told and "QMP old" in told


def test_a_witness_that_went_blind_says_why(tmp_path: Path) -> None:
    """With the reason it gave."""
    whole = recording(tmp_path, tables=False)
    blind = Event(0, whole.events[0].t_ns, "witness.blind", {"witness": "pins", "reason": "no counters"})
    events = tuple(Event(i, e.t_ns, e.kind, e.data) for i, e in enumerate((blind, *whole.events)))
    [picture] = draw(Timeline(events, None), tmp_path / "out", "case", "UNKNOWN")
    assert "the witness pins went blind: no counters" in words(picture)


def test_what_went_wrong_is_marked_in_its_lane(tmp_path: Path) -> None:
    """Damaged blocks, anomalies, a stream that ended, and a load that declared nothing."""
    whole = recording(tmp_path, loads=(NIC, NVME))
    columns = tmp_path / "columns"
    for column in ("seq", "epoch", "t_ns", "good"):
        file = columns / "nic.from-guest.received" / f"{column}.npy"
        np.save(file, np.load(file)[:1900])
    good = columns / "nvme.write.received" / "good.npy"
    np.save(good, np.where(np.arange(len(np.load(good))) == 710, 0, 1).astype("u1"))
    at = whole.of("cpr.ok")[0].t_ns
    said = [(e.t_ns, e.kind, e.data) for e in whole.events] + [
        (at, "load.anomaly", {"load": "nvme", "stream": "read", "what": "stale", "seq": 5}),
        (at, "load.stalled", {"load": "nic", "stream": "from-guest"}),
        (at, "load.start", {"load": "odd", "streams": ["to-guest"]}),
    ]
    said.sort(key=lambda one: one[0])
    events = tuple(Event(i, *one) for i, one in enumerate(said))
    [picture] = draw(Timeline(events, columns), tmp_path / "out", "case", "FAIL")
    told = words(picture).splitlines()
    assert {"damaged", "stale", "stalled", "this load declared no streams"} <= set(told)
    assert any("nothing received any more: nic.from-guest" in line for line in told)


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    """The rest is drawn."""
    shown = recording(tmp_path, loads=(NIC, NVME))
    file = tmp_path / "columns/nvme.write.received/seq.npy"
    np.save(file, np.load(file)[:-1])
    [picture] = draw(shown, tmp_path / "out", "case", "UNKNOWN")
    assert "nvme.write.received is damaged" in words(picture)


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
        ("load.start", "cpr.invoke"),
        ("load.start", "clock.sync"),
    ],
    ids=lambda kinds: "+".join(kinds) or "nothing",
)
def test_any_part_of_the_evidence_gives_a_picture(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    """A case that died early is drawn as far as it came."""
    whole = recording(tmp_path, loads=ALL)
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
    assert clocks.standstills == [(900, 1300)]


def test_qemu_knows_best_when_it_stopped() -> None:
    """Its own time of STOP counts, however late it was heard of; RESUME may be heard by nobody."""
    told = {"side": "old", "name": "STOP", "data": {}, "t_host_ns": 50_900}
    events = [
        Event(0, 100, "clock.sync", {"source": "guest", "offset_ns": 0}),
        Event(1, 100, "clock.sync", {"source": "host-wall", "offset_ns": -50_000}),
        Event(2, 1100, "qmp.event", told),
        Event(3, 1400, "cpr.ok", {}),
        Event(4, 1500, "clock.sync", {"source": "guest", "offset_ns": 400}),
    ]
    clocks = Clocks(events)
    assert clocks.standstills == [(900, 1300)]
    assert clocks.controller_ns("controller", [7, 8]).tolist() == [7, 8]


def test_of_two_stops_between_syncs_each_has_its_share() -> None:
    """An update whose sync is missing does not move what came before the next one."""
    events = [
        Event(0, 0, "clock.sync", {"source": "guest", "offset_ns": 0}),
        *(qmp(1, 100, "STOP"), qmp(2, 200, "RESUME"), qmp(3, 500, "STOP"), qmp(4, 800, "RESUME")),
        Event(5, 1000, "clock.sync", {"source": "guest", "offset_ns": 400}),
    ]
    clocks = Clocks(events)
    assert clocks.controller_ns("guest", [99, 101, 399, 401]).tolist() == [99, 201, 499, 801]
    assert clocks.standstills == [(100, 200), (500, 800)]


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
