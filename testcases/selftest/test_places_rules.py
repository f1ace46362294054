"""Leases, tags and tables of places: what is decided without a coordinator."""

import json
import os
import threading
from pathlib import Path

import pytest

from lab.cli.places import asked
from lab.drivers import target_file
from lab.errors import BenchError, LabUsageError
from lab.places.lease import LEASE_S, Terms, Watch, holder_name, lease_of, now_s
from lab.places.permit import Leave, Permit, obey
from lab.places.table import rows
from lab.places.target import write_target
from lab.places.turn import parsed
from lab.places.view import Exported, Match, Place, View, in_use_key, own_tags
from testcases.selftest.places_lab import NOWHERE, ROOT

HOLDER = holder_name("ctl1", "alice", "20261125T224107Z-e814", Terms(60))
OFFERED = tuple(
    Exported("exp", group, str(params["cls"]), name, {k: v for k, v in params.items() if k != "cls"})
    for group, resources in NOWHERE.items()
    for name, params in resources.items()
)
HOST = (Match("exp", "bench", "*"),)


def test_a_holder_has_the_form_of_labgrid_and_says_how_long_its_lease_lasts() -> None:
    assert HOLDER == "ctl1/alice-20261125T224107Z-e814-lease60"
    assert lease_of(HOLDER) == 60.0
    assert lease_of(holder_name("a/b", "o'neil", "run", Terms(2.5))) == 2.5


@pytest.mark.parametrize(
    "person", ["ctl1/alice", "ctl1/alice-lease", "alice-lease60", "a/b/c-lease60", "", None]
)
def test_a_person_has_no_lease(person: str | None) -> None:
    assert lease_of(person) is None


def test_a_holder_stops_before_anybody_may_follow_it() -> None:
    terms = Terms(60)
    assert 2 * terms.beat_s < terms.stop_s < terms.kill_s < terms.lease_s * 0.92


def test_a_lease_ends_by_the_observers_clock_alone() -> None:
    watch = Watch()
    watch.saw("a", HOLDER, 5000.0, at_s=100.0)
    watch.saw("a", HOLDER, 5000.0, at_s=159.0)
    assert watch.left_s("a", HOLDER, 159.0) == 1.0
    assert watch.left_s("a", HOLDER, 160.0) == 0.0
    watch.saw("a", HOLDER, 4000.0, at_s=160.0)  # a new stamp, of a clock that was set back
    assert watch.left_s("a", HOLDER, 160.0) == 60.0
    assert not watch.quiet("a", HOLDER, 160.0)
    assert watch.quiet("a", HOLDER, 220.0)


def test_who_was_not_read_to_have_ended_may_have_beaten_just_now() -> None:
    watch = Watch()
    watch.saw("a", HOLDER, 1.0, at_s=0.0)
    assert watch.left_s("b", HOLDER, 1000.0) is None
    assert watch.stops_within_s("a", HOLDER) == 60.0
    watch.ended("a", HOLDER)
    assert watch.stops_within_s("a", HOLDER) == 0.0
    assert watch.stops_within_s("b", HOLDER) == 60.0
    assert watch.stops_within_s("a", "who wrote this by hand?") == LEASE_S


def test_a_person_keeps_a_place_for_ever() -> None:
    watch = Watch()
    watch.saw("a", "ctl1/alice", 1.0, at_s=0.0)
    assert watch.left_s("a", "ctl1/alice", 1e9) is None


def test_it_is_obeyed_when_the_pipe_says_stop_and_then_kill() -> None:
    said: list[str] = []
    with Permit() as permit:
        permit.give(Leave(now_s() + 1000, now_s() + 1000))
        permit.give(Leave(now_s(), now_s() + 0.8, "because"))
        obey(permit.reader(), said.append, lambda: said.append("killed"))
    assert said == ["because", "killed"], "also who comes after it was said"


def test_a_controller_that_is_gone_is_obeyed_too() -> None:
    reader, writer = os.pipe()
    os.write(
        writer,
        json.dumps({"stop_at_s": now_s() + 99, "kill_at_s": now_s() + 0.6, "why": ""}).encode() + b"\n",
    )
    os.close(writer)
    said: list[str] = []
    obey(reader, said.append, lambda: said.append("killed"))
    os.close(reader)
    assert said == ["its controller is gone", "killed"]


def test_a_permit_that_is_renewed_lets_go_on() -> None:
    said: list[str] = []
    with Permit() as permit:
        reader = permit.reader()
        permit.give(Leave(now_s() + 0.2, now_s() + 0.9))
        permit.give(Leave(now_s() + 99, now_s() + 99))
        thread = threading.Thread(target=obey, args=(reader, said.append, lambda: None), daemon=True)
        thread.start()
        thread.join(1.5)
        assert said == []
        permit.give(Leave(0.0, 0.0, "over"))
        thread.join(5.0)
    assert said == ["over"]


@pytest.mark.parametrize(
    "words, tags",
    [
        ("nic=igb,iommufd", {"nic": "igb", "iommufd": "yes"}),
        (" vendor=15b3 , numa=0 ", {"vendor": "15b3", "numa": "0"}),
    ],
)
def test_requirements_are_tags(words: str, tags: dict[str, str]) -> None:
    assert parsed(words) == tags


@pytest.mark.parametrize("words", ["nic=", ",", "=igb", "nic=igb,,"])
def test_what_is_no_tag_is_told(words: str) -> None:
    with pytest.raises(LabUsageError, match="--require takes KEY=VALUE or KEY"):
        parsed(words)


def test_options_ask_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_COORDINATOR", "lab:20408")
    assert asked("", "", "", 1, 60) is None
    got = asked("bench-a", "iommufd", "", 1, 60)
    assert got and (got.address, got.wanted) == ("lab:20408", {"iommufd": "yes", "name": "bench-a"})
    with pytest.raises(LabUsageError, match="needs --place NAME or --require"):
        asked("", "", "lab:1", 1, 60)
    monkeypatch.delenv("LG_COORDINATOR")
    with pytest.raises(LabUsageError, match="no coordinator is named"):
        asked("bench-a", "", "", 1, 60)


def place(**changes: object) -> Place:
    return Place(**{"name": "bench-a", "tags": {"nic": "igb"}, "matches": HOST, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "one, reason",
    [
        (place(), ""),
        (place(tags={"health": "good"}), ""),
        (place(holder="ctl1/alice"), ""),
        (place(tags={"health": "maintenance", "health_reason": "new NIC"}), "maintenance: new NIC"),
        (place(tags={"health": "quarantined"}), "quarantined: no reason given"),
        (place(tags={"health": "a word nobody knows"}), "a word nobody knows: no reason given"),
        (place(matches=()), "it has no resources: labgrid-client -p NAME add-match EXPORTER/GROUP/*"),
        (place(matches=(*HOST, Match("exp", "pdu", "*"))), "no exporter offers exp/pdu/*"),
        (place(matches=(Match("*", "bench", "Pinned*", "k?y"),)), ""),
        (place(matches=(Match("ex", "*", "*"),)), "no exporter offers ex/*/*"),
    ],
)
def test_what_speaks_against_a_place(one: Place, reason: str) -> None:
    assert View({one.name: one}, OFFERED).why_not(one) == reason


def test_a_resource_that_is_not_available_is_none() -> None:
    gone = tuple(Exported(*one.path, one.params, avail=False) for one in OFFERED)
    assert View({}, gone).why_not(place()) == "no exporter offers exp/bench/*"


def test_the_table_says_who_has_what_until_when() -> None:
    left = HOLDER.replace("alice", "bob")
    tags = {"nic": "igb", "health": "good", "handout": "no"}
    tags |= {in_use_key(HOLDER): f"{HOLDER} 2026-11-25T22:41:09+0000", in_use_key(left): f"{left} yesterday"}
    one = place(tags=tags, holder=HOLDER, changed=1000.0)
    assert own_tags(one) == {"nic": "igb"}
    assert rows(View({one.name: one, "b": place(name="b", tags={}, matches=())}, OFFERED)) == [
        {
            "place": "b",
            "tags": {},
            "health": None,
            "exporter_alive": False,
            "holder": None,
            "since": None,
            "lease_ends": None,
            "remarks": [
                "not handed out: it has no resources: labgrid-client -p NAME add-match EXPORTER/GROUP/*"
            ],
        },
        {
            "place": "bench-a",
            "tags": {"nic": "igb"},
            "health": "good",
            "exporter_alive": True,
            "holder": HOLDER,
            "since": "2026-11-25T22:41:09+0000",
            "lease_ends": 1060.0,
            "remarks": [f"to be given back: {left} left it"],
        },
    ]


@pytest.mark.parametrize("template", ["place", "virtual-place"])
def test_a_place_becomes_a_bench(template: str, tmp_path: Path) -> None:
    resources = View({}, OFFERED).resources(
        place(matches=(Match("exp", "bench", "*", "key", rename="pin"), *HOST))
    )
    assert {name: one.cls for name, one in resources.items()} == {
        "pin": "PinnedKey",
        "host": "NetworkService",
    }
    written = write_target("bench-a", resources, ROOT / f"targets/{template}.yaml", tmp_path)
    assert target_file.load(written).name == "bench-a"


def test_what_can_be_switched_gets_its_driver(tmp_path: Path) -> None:
    pdu = Exported("exp", "bench", "NetworkPowerPort", "pdu", {"model": "gude", "host": "pdu", "index": "3"})
    resources = View({}, (*OFFERED, pdu)).resources(place())
    written = write_target("bench-a", resources, ROOT / "targets/place.yaml", tmp_path)
    assert "NetworkPowerDriver" in written.read_text()
    target_file.load(written)


def test_a_place_that_makes_no_bench_is_told(tmp_path: Path) -> None:
    odd = Exported("exp", "bench", "AssignableFunction", "nic", {"bdf": "3b:00.0"})
    with pytest.raises(
        BenchError, match=r"place bench-a makes no bench: .*bdf: a full BDF.*see its exporter's"
    ):
        write_target("bench-a", {"nic": odd}, ROOT / "targets/place.yaml", tmp_path)
