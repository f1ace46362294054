"""Places of a real coordinator with real exporters, on loopback: who gets one, and what ends a lease."""

import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cli import places
from lab.errors import BenchError, LabUsageError
from lab.places import local, turn
from lab.places.coordinator import Coordinator, Gone
from lab.places.holding import LeaseLost
from lab.places.local import LocalCoordinator
from lab.places.rent import Asked, rented
from lab.places.turn import Waiting
from lab.places.view import in_use_key
from lab.waiting import wait_until
from testcases.selftest.places_lab import NOWHERE, ROOT, Line, holder, holding, nowhere

SOON_S = 20.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCoordinator]:
    """A coordinator, and an exporter of one host."""
    folder = tmp_path_factory.mktemp("lab")
    with (
        local.coordinator(folder) as coordinator,
        local.exporter(coordinator.address, "live", nowhere(folder), folder),
    ):
        yield coordinator


@pytest.fixture
def place(lab: LocalCoordinator, request: pytest.FixtureRequest) -> Iterator[str]:
    """A place of that host, for one test."""
    name = request.node.name.replace("_", "-")
    with Coordinator(lab.address, "admin/places") as admin:
        admin.add_place(name, ("live/bench/*",), {"test": name})
    yield name
    with Coordinator(lab.address, "admin/places") as admin:
        if held_by := admin.view.places[name].holder:
            admin.release(name, held_by)
        admin.delete_place(name)


def test_two_runs_of_one_user_exclude_each_other_and_queue(lab: LocalCoordinator, place: str) -> None:
    told: list[Waiting] = []
    order: list[str] = []

    def second() -> None:
        with holding(lab.address, "second", {"name": place}, tell=told.append):
            order.append("second")

    with holding(lab.address, "first", {"name": place}) as first:
        thread = threading.Thread(target=second)
        thread.start()
        wait_until(lambda: told, SOON_S, "word from the queue")
        assert [(p.name, p.holder) for p in told[0].places] == [(place, first.name)]
        order.append("first")
    thread.join(SOON_S)
    assert order == ["first", "second"]


def test_who_came_first_is_first(lab: LocalCoordinator, place: str) -> None:
    order: list[int] = []
    told: dict[int, list[Waiting]] = {number: [] for number in range(3)}

    def run(number: int) -> None:
        with holding(lab.address, f"run{number}", {"test": place}, tell=told[number].append):
            order.append(number)

    threads = []
    with holding(lab.address, "before", {"name": place}):
        for number in told:
            threads.append(threading.Thread(target=run, args=(number,)))
            threads[-1].start()
            wait_until(lambda: told[number], SOON_S, "word from the queue")  # noqa: B023
    for thread in threads:
        thread.join(SOON_S)
    assert order == [0, 1, 2]
    assert [words[0].ahead for words in told.values()] == [0, 1, 2]


@pytest.mark.parametrize(
    "tags", [{"health": "maintenance"}, {"health": "quarantined", "health_reason": "its disk died"}]
)
def test_a_sick_host_is_not_handed_out(lab: LocalCoordinator, tags: dict[str, str]) -> None:
    with Coordinator(lab.address, "admin/places") as admin:
        admin.add_place("sick", ("live/bench/*",), tags)
        expected = f"sick: {tags['health']}: {tags.get('health_reason', 'no reason given')}"
        try:
            with pytest.raises(BenchError, match=expected), holding(lab.address, "run", {"name": "sick"}):
                pass
        finally:
            admin.delete_place("sick")


def test_a_place_without_exporter_is_not_handed_out(
    lab: LocalCoordinator, place: str, tmp_path: Path
) -> None:
    """labgrid's issue 1477: its scheduler hands it out."""
    with Coordinator(lab.address, "admin/places") as admin:
        with local.exporter(lab.address, "dying", NOWHERE, tmp_path) as dying:
            admin.add_place("dead", ("dying/bench/*",), {"test": place})
            with holding(lab.address, "before", {"name": "dead"}) as held:
                assert held.place.name == "dead"
            dying.kill()
        wait_until(
            lambda: admin.view.why_not(admin.view.places["dead"]), SOON_S, "word of the exporter's end"
        )
        try:
            with holding(lab.address, "any", {"test": place}) as held:
                assert held.place.name == place, "of two places the living one"
            with (
                pytest.raises(BenchError, match="no exporter offers dying/bench"),
                holding(lab.address, "that", {"name": "dead"}),
            ):
                pass
        finally:
            admin.delete_place("dead")


def test_an_exporter_that_hangs_costs_one_of_all_its_time(
    lab: LocalCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "NONE_FIT_S", 0.0)
    with (
        Coordinator(lab.address, "admin/places") as admin,
        local.exporter(lab.address, "hanging", NOWHERE, tmp_path) as hanging,
    ):
        admin.add_place("hung", ("hanging/bench/*",), {})
        assert hanging.process
        hanging.process.send_signal(signal.SIGSTOP)
        try:
            with (
                pytest.raises(BenchError, match="hung: quarantined: its exporter does not answer"),
                holding(lab.address, "run", {"name": "hung"}),
            ):
                pass
        finally:
            hanging.process.send_signal(signal.SIGCONT)
            admin.delete_place("hung")


def test_unknown_tags_are_told_at_once(lab: LocalCoordinator, place: str) -> None:
    with (
        pytest.raises(LabUsageError, match=f"no place has nic=cx9; there are: .*{place}.*test="),
        holding(lab.address, "run", {"nic": "cx9"}),
    ):
        pass


def test_people_and_programs_are_told_who_has_what(
    lab: LocalCoordinator, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with holding(lab.address, "run", {"name": place}) as held:
        places.places(lab.address, as_json=True)
        row = next(row for row in json.loads(capsys.readouterr().out) if row["place"] == place)
        assert (row["holder"], row["exporter_alive"], row["remarks"]) == (held.name, True, [])
        places.places(lab.address)
        told = capsys.readouterr().out
    assert place[:8] in told
    assert "held by" in told


def test_beats_keep_a_lease(lab: LocalCoordinator, place: str) -> None:
    """Another that watches for longer than a lease does not get it."""
    lease_s = 3.0
    with holding(lab.address, "first", {"name": place}, lease_s=lease_s) as first:
        other = threading.Thread(target=lambda: _hold_once(lab.address, place))
        other.start()
        first.pause(1.5 * lease_s)
        assert other.is_alive()
        with Coordinator(lab.address, "admin/look") as admin:
            assert admin.view.places[place].holder == first.name
    other.join(SOON_S)
    assert not other.is_alive()


def _hold_once(address: str, place: str) -> None:
    with holding(address, "once", {"name": place}):
        pass


def test_a_killed_controller_loses_its_place_after_its_lease(lab: LocalCoordinator, place: str) -> None:
    lease_s = 2.0
    killed = holder(lab.address, "killed", place, lease_s, "mark")
    killed.kill()
    killed.wait()
    began_s = time.monotonic()
    with holding(lab.address, "next", {"name": place}) as held:
        assert time.monotonic() - began_s >= lease_s * 0.9
        assert list(held.place.in_use) == ["ctl/alice-killed-lease2"], "its host must be given back first"


def test_a_host_that_cannot_be_given_back_is_quarantined(
    lab: LocalCoordinator, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody left it, and it does not answer: nothing listens where its ssh should be."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    template = tmp_path / "template.yaml"
    template.write_text(
        (ROOT / "targets/place.yaml").read_text().replace("{}", "{connect_timeout_s: 0.5}", 1)
    )
    said: list[str] = []
    with Coordinator(lab.address, "admin/places") as admin:
        admin.tag(place, {in_use_key("ctl/bob-dead-lease1"): "ctl/bob-dead-lease1 yesterday"})
        asked = Asked(lab.address, {"name": place}, 10.0)
        with (
            pytest.raises(BenchError, match=rf"{place} could not be given back: ssh at .* did not answer"),
            rented(asked, "next", template, tmp_path, tell=lambda _: None, say=said.append),
        ):
            pytest.fail("it was handed out")
        assert said[0] == f"place {place} is ours"
        assert re.search("left as it was by ctl/bob-dead-lease1 .*there since yesterday.* in 1 s", said[1])
        tags = admin.read(place).tags
        assert tags["health"] == "quarantined"
        assert "could not be given back: ssh at" in tags["health_reason"]
        assert admin.read(place).holder is None
        with (
            pytest.raises(BenchError, match="quarantined: it could not"),
            holding(lab.address, "x", {"name": place}),
        ):
            pass


def test_a_stopped_controller_finds_its_place_taken(lab: LocalCoordinator, place: str) -> None:
    stopped = holder(lab.address, "stopped", place, 2.0)
    stopped.send_signal(signal.SIGSTOP)
    with holding(lab.address, "next", {"name": place}) as held:
        stopped.send_signal(signal.SIGCONT)
        stopped.communicate(b"")
        held.pause(1.0)  # raises if what the late one said took it away
        with Coordinator(lab.address, "admin/look") as admin:
            assert admin.view.places[place].holder == held.name


def test_a_person_who_kicks_ends_the_run(lab: LocalCoordinator, place: str) -> None:
    with (
        holding(lab.address, "run", {"name": place}, lease_s=3.0) as held,
        Coordinator(lab.address, "admin/kick") as admin,
    ):
        admin.release(place, held.name)
        with pytest.raises(LeaseLost, match=f"{place}: the lease is lost: .* is not acquired"):
            held.pause(SOON_S)


def test_a_cut_line_is_mended(lab: LocalCoordinator, place: str) -> None:
    line = Line(lab.address)
    lease_s = 6.0
    with holding(line.address, "run", {"name": place}, lease_s=lease_s) as held:
        line.cut()
        held.pause(0.7 * lease_s)  # without a beat it would be lost after half
        with Coordinator(lab.address, "admin/look") as admin:
            assert admin.view.places[place].holder == held.name


def test_a_coordinator_that_dies_ends_the_run_within_half_a_lease(tmp_path: Path) -> None:
    with local.coordinator(tmp_path) as own, local.exporter(own.address, "live", NOWHERE, tmp_path):
        with Coordinator(own.address, "admin/places") as admin:
            admin.add_place("a", ("live/bench/*",), {})
        lease_s = 4.0
        with holding(own.address, "run", {"name": "a"}, lease_s=lease_s) as held:
            began_s = time.monotonic()
            own.program.kill()
            with pytest.raises(LeaseLost, match="did not answer for 2 s"):
                held.pause(SOON_S)
            assert time.monotonic() - began_s < lease_s
        with pytest.raises(Gone, match="is labgrid-coordinator running"), holding(own.address, "b", {}):
            pass


def test_a_coordinator_that_starts_anew_has_forgotten_the_lease(tmp_path: Path) -> None:
    """labgrid does not keep who acquired what: the run stops, as somebody else may have the place."""
    with local.coordinator(tmp_path) as own, local.exporter(own.address, "live", NOWHERE, tmp_path):
        with Coordinator(own.address, "admin/places") as admin:
            admin.add_place("a", ("live/bench/*",), {})
        with holding(own.address, "run", {"name": "a"}, lease_s=12.0) as held:
            own.restart()
            with pytest.raises(LeaseLost, match=r"lease is lost: .* does not exist"):
                held.pause(SOON_S)
