"""The standard set of checkers on whole recordings, and their written form."""

import json
from pathlib import Path

import pytest

from lab.checkers import PLAIN, accounting_kept, as_json, from_json, same_guest, standard, unpromised
from lab.measure import measure
from lab.timeline import Event, Timeline
from lab.verdict import Checker, Outcome, checker_name, judge, worst

from .story import Story
from .timelines import healthy

STANDARD = standard(pause_limit_s=2)


@pytest.mark.parametrize("updates", [1, 2, 5])
def test_a_healthy_recording_passes_every_checker(tmp_path: Path, updates: int) -> None:
    verdicts = judge(healthy(updates).timeline(tmp_path), STANDARD)
    assert not [str(v) for v in verdicts if v.outcome is not Outcome.PASS]
    assert all(v.evidence for v in verdicts)


def test_no_checker_passes_an_empty_recording() -> None:
    verdicts = judge(Timeline(()), STANDARD)
    assert {v.outcome for v in verdicts} == {Outcome.UNKNOWN}


@pytest.mark.parametrize("kind", ["cpr.fail", "cpr.info", None])
def test_no_checker_passes_an_update_that_did_not_complete(tmp_path: Path, kind: str | None) -> None:
    story = healthy()
    story.drop("cpr.ok")
    if kind:
        story.add(1700, kind, mode="cpr-exec", update=1, reason="told so")
    verdicts = judge(story.timeline(tmp_path), STANDARD)
    assert not [str(v) for v in verdicts if v.outcome is Outcome.PASS]


def test_no_checker_passes_when_nothing_fresh_was_seen(tmp_path: Path) -> None:
    story = healthy()
    story.drop("epoch", number=2)
    outcomes = {v.checker: v.outcome for v in judge(story.timeline(tmp_path), STANDARD)}
    # these rest on replies and snapshots, which the update's end dates
    dated = ["update_completed", "replaced_in_place", "pfns_unchanged"]
    dated += ["mappings_kept", "device_not_reset", "interrupts_flow"]
    assert [name for name, outcome in outcomes.items() if outcome is Outcome.PASS] == dated


def test_an_epoch_used_before_is_not_fresh(tmp_path: Path) -> None:
    story = healthy(2)
    story.change("epoch", {"number": 3}, number=2)
    assert worst(judge(story.timeline(tmp_path), [from_json({"checker": "same_guest"})])) is Outcome.UNKNOWN


def test_planted_faults_are_not_read(tmp_path: Path) -> None:
    story = healthy()
    story.add(1200, "fault.planted", fault="wire.drop", detail={})
    assert worst(judge(story.timeline(tmp_path), STANDARD)) is Outcome.PASS


def test_checkers_survive_being_written_down() -> None:
    checkers: list[Checker] = [*STANDARD, accounting_kept, unpromised(same_guest("fail"))]
    for checker in checkers:
        written = json.loads(json.dumps(as_json(checker)))
        assert as_json(from_json(written)) == written
        assert checker_name(from_json(written)) == checker_name(checker)
        assert from_json(written) == checker


def test_what_is_configured_otherwise_is_written_down() -> None:
    checker = from_json({"checker": "logs_clean", "args": {"benign": [["host", "x.*", "seen"]]}})
    assert as_json(checker) == {"checker": "logs_clean", "args": {"benign": (("host", "x.*", "seen"),)}}
    assert as_json(from_json({"checker": "pages_stayed_pinned", "args": {"hole_ms": 300}})) == {
        "checker": "pages_stayed_pinned",
        "args": {"hole_ms": 300},
    }


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"checker": "no_such"},
        {"checker": "guest_pause_below"},
        {"checker": "guest_pause_below", "args": {"secs": 2}},
        {"checker": "dma_intact", "args": {"stream": "sideways"}},
        {"checker": "chardev_grade", "args": {"chardev": "x", "expected": "D"}},
        {"checker": "same_guest", "args": {"seconds": 2}},
    ],
)
def test_a_wrong_claim_is_refused(written: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"checker|stream|grade|argument"):
        from_json(written)


def test_another_function_has_no_written_form() -> None:
    assert as_json(lambda timeline: STANDARD[0](timeline)) is None
    assert all(as_json(plain) == {"checker": name, "args": {}} for name, plain in PLAIN.items())


def test_measurements_name_every_clock(tmp_path: Path) -> None:
    found = {m.name: m for m in measure(healthy().timeline(tmp_path))}
    assert found["update 1: pause, frames from the guest (nic)"].clock == "far"
    assert found["update 1: pause, frames from the guest (nic)"].value == pytest.approx(0.405, abs=0.001)
    assert found["update 1: pause, nic.to-guest received"].clock == "guest"
    assert found["update 1: pause, nic.to-guest received"].value < 0.02
    assert found["update 1: pause, QMP STOP to RESUME"].value == pytest.approx(0.4)
    assert found["update 1: pause, QMP STOP to query-status running"].value == pytest.approx(0.5)
    assert found["update 1: invoke to ok"].value == pytest.approx(0.7)
    assert found["VmPin after update 1"].value == 0
    assert found["update 1: pinned pages, lowest"].value == 65600


def test_nothing_can_be_measured_in_an_empty_recording() -> None:
    assert measure(Timeline(())) == []
    assert measure(Timeline((Event(0, 0, "cpr.invoke", {"update": 1}),))) == []


def test_qmp_downtime_goes_by_its_own_name(tmp_path: Path) -> None:
    story: Story = healthy()
    result = {"status": "completed", "downtime": 321}
    story.add(1650, "qmp.reply", side="new", command="query-migrate", result=result, update=1)
    found = {m.name: m for m in measure(story.timeline(tmp_path))}
    assert found["update 1: pause, QMP downtime"].clock == "qemu"
    assert found["update 1: pause, QMP downtime"].value == pytest.approx(0.321)
