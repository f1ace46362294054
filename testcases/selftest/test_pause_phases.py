"""Phases of hand-made updates: every boundary in its place, a missing one unknown; and their verdicts."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from lab.checkers import as_json, from_json, pause_within, phases_add_up
from lab.checkers.host_clock import standstill
from lab.checkers.phases import known, phases, vcpu_gap
from lab.checkers.updates import updates
from lab.pause.samples import of_case
from lab.timeline import Event, Timeline
from lab.verdict import Outcome

MS = 1_000_000
WALL_NS = 1_000_000 * MS
"""The host's wall clock is so far ahead of its monotonic one."""
GUEST_NS, HOST_NS = 7_000 * MS, 5_000 * MS
STILL_MS = 1_100
WATCHED = ["kernel", "vcpus", "qemu"]
Line = tuple[float, str, dict[str, Any]]


def qemu(ms: float, name: str, text: str = "") -> Line:
    return ms, "qemu.trace", {"pid": 7, "name": name, "text": text, "t_host_ns": round(ms * MS) + WALL_NS}


def kernel(ms: float, name: str, pid: int = 7) -> Line:
    return ms, "trace.event", {"name": name, "t_src_ns": round(ms * MS), "fields": {"pid": str(pid)}}


def qmp(ms: float, name: str) -> Line:
    return ms, "qmp.event", {"name": name, "t_host_ns": round(ms * MS) + WALL_NS, "update": 1}


def syncs(ms: float, stood_ms: float) -> list[Line]:
    return [
        (ms, "clock.sync", {"source": "host", "offset_ns": HOST_NS, "error_ns": MS}),
        (ms, "clock.sync", {"source": "guest", "offset_ns": GUEST_NS + round(stood_ms * MS), "error_ns": MS}),
        (ms, "clock.sync", {"source": "host-wall", "offset_ns": 0, "error_ns": MS}
         | {"to_host_ns": -WALL_NS, "to_host_error_ns": 2000}),
    ]  # fmt: skip


def beat(ms: float, gap_ms: float) -> Line:
    return (
        ms,
        "guest.heartbeat",
        {"t_src_ns": round(ms * MS) - GUEST_NS, "longest_gap_ns": round(gap_ms * MS)},
    )


EXEC: list[Line] = [
    qemu(1010, "runstate_set", "current_run_state 9 (running) new_state 7 (finish-migrate)"),
    qmp(1040, "STOP"),
    qemu(1050, "vm_stop_flush_all", "ret 0"),
    kernel(1100, "sched:sched_prepare_exec", pid=99),
    kernel(1200, "sched:sched_prepare_exec"),
    kernel(1210, "cprlab:exit_mmap"),
    kernel(1260, "cprlab:exit_mmap_done"),
    kernel(1300, "sched:sched_process_exec"),
    kernel(1310, "cprlab:kvm_destroy_vm"),
    kernel(1350, "cprlab:kvm_destroy_vm_done"),
    qemu(1700, "cpr_state_load", "cpr-exec mode"),
    qemu(1900, "migrate_set_state", "new state setup"),
    qmp(2159, "RESUME"),
    qemu(2160, "runstate_set", "current_run_state 1 (inmigrate) new_state 9 (running)"),
]
TRANSFER: list[Line] = [
    qemu(900, "cpr_state_load", "cpr-transfer mode"),
    qmp(1040, "STOP"),
    qemu(1050, "vm_stop_flush_all", "ret 0"),
    qemu(1150, "vmstate_downtime_checkpoint", "src-downtime-end"),
    qmp(2159, "RESUME"),
    qemu(2160, "runstate_set", "current_run_state 1 (inmigrate) new_state 9 (running)"),
]

ASLEEP: list[Line] = [
    qemu(1002, "runstate_set", "current_run_state 9 (running) new_state 11 (suspended)"),
    qmp(1003, "SUSPEND"),
    qmp(1040, "STOP"),
    qemu(1050, "vm_stop_flush_all", "ret 0"),
    qemu(1070, "migrate_set_state", "new state active"),
    qemu(1300, "migrate_set_state", "new state completed"),
    kernel(1310, "cprlab:exit_mmap", pid=55),
    kernel(1360, "cprlab:exit_mmap_done", pid=55),
    kernel(1500, "sched:sched_process_exec"),
    qemu(1600, "runstate_set", "current_run_state 10 (prelaunch) new_state 1 (inmigrate)"),
    qemu(1800, "migrate_set_state", "new state setup"),
    qemu(1950, "runstate_set", "current_run_state 1 (inmigrate) new_state 11 (suspended)"),
    qmp(1960, "RESUME"),
    qemu(2150, "runstate_set", "current_run_state 11 (suspended) new_state 9 (running)"),
    qmp(2205, "WAKEUP"),
]
RESUMED: Line = (2290, "guest.resumed", {"t_src_ns": 2270 * MS - GUEST_NS + HOST_NS - 1100 * MS, "error": ""})
"""By the guest's clock, which stood still for STILL_MS: 2270 ms by the host's."""
AWAKE: list[Line] = [
    qmp(1020, "STOP"),
    qemu(1030, "vm_stop_flush_all", "ret 0"),
    *ASLEEP[5:6],
    *ASLEEP[8:11],
    qmp(2159, "RESUME"),
    qemu(2160, "runstate_set", "current_run_state 1 (inmigrate) new_state 9 (running)"),
]


def story(
    inside: Iterable[Line], mode: str = "cpr-exec", gap_ms: float = 1200, stood_ms: float = STILL_MS
) -> Timeline:
    """One update; the vCPU stood still from 1000 to 2200 ms, the guest's clock for STILL_MS of it."""
    point = {"name": "256m-any-prealloc-off-1dev"}
    gap = {"vcpu": 0, "gap_ns": round(gap_ms * MS), "end_ns": 2200 * MS, "entries": 9, "ordinary_ns": 4 * MS}
    lines: list[Line] = [
        (0, "pause.point", point),
        *syncs(100, 0),
        beat(700, 12),
        (800, "pause.sample", {"update": 1, "mode": mode, "first": False, "turn": 0, "witnesses": WATCHED}),
        (850, "cpr.invoke", {"update": 1, "mode": mode}),
        *inside,
        (2300, "cpr.ok", {"update": 1, "mode": mode}),
        (2310, "trace.vcpu_gap", {"update": 1, **gap}),
        (2400, "epoch", {"number": 2}),
        *syncs(2500, stood_ms),
        (2600, "guest.heartbeat", beat(1500, 120)[2]),
    ]
    events = [Event(n, round(ms * MS), kind, data) for n, (ms, kind, data) in enumerate(lines)]
    return Timeline(tuple(events))


def found(timeline: Timeline) -> dict[str, float]:
    return {name: round(s, 6) for name, s in known(phases(timeline, updates(timeline)[0])).items()}


def test_the_phases_of_cpr_exec_follow_each_other_and_make_up_the_pause() -> None:
    told = found(story(EXEC))
    assert told == {
        "stop": 0.05,
        "save": 0.15,
        "exec": 0.15,
        "exec: address space": 0.05,
        "exec: KVM": 0.04,
        "start": 0.35,
        "realise": 0.2,
        "load": 0.26,
        "resume": 0.04,
    }
    assert sum(s for name, s in told.items() if ":" not in name) == pytest.approx(1.2)


def test_the_phases_of_cpr_transfer_leave_out_what_is_done_while_the_guest_runs() -> None:
    told = found(story(TRANSFER, "cpr-transfer"))
    assert told == {"stop": 0.05, "save": 0.1, "load": 1.01, "resume": 0.04}


def test_a_kvm_that_vfio_kept_goes_while_the_next_update_saves() -> None:
    begun = kernel(1060, "cprlab:kvm_destroy_vm"), kernel(1090, "cprlab:kvm_destroy_vm_done")
    told = found(story([*EXEC[:3], *begun, *(line for line in EXEC[3:] if "kvm" not in line[2]["name"])]))
    assert told["save: KVM"] == 0.03 and "exec: KVM" not in told
    assert told["exec"] == 0.1


def test_without_teardown_in_it_the_exec_ends_with_the_new_program() -> None:
    told = found(story(line for line in EXEC if "cprlab" not in line[2]["name"]))
    assert told["exec"] == 0.1 and told["start"] == 0.4
    assert not any(":" in name for name in told)


def test_a_phase_without_a_boundary_is_unknown_and_never_guessed() -> None:
    timeline = story(line for line in EXEC if line[2]["name"] != "cpr_state_load")
    parts = {p.name: p.seconds for p in phases(timeline, updates(timeline)[0])}
    assert parts["start"] is None and parts["realise"] is None and parts["load"] is None
    assert parts["save"] is not None
    assert phases_add_up()(timeline).outcome is Outcome.UNKNOWN


def test_the_phases_of_cpr_reboot_reach_beyond_the_time_in_which_no_vcpu_runs() -> None:
    told = found(story([*ASLEEP, RESUMED], "cpr-reboot"))
    assert told == {
        "suspend": pytest.approx(5.150, abs=1e-6),  # the host's clock is 5 s behind the controller's
        "stop": 0.05,
        "save": 0.25,
        "quit": 0.2,
        "quit: address space": 0.05,
        "start": 0.3,
        "start: devices": 0.2,
        "load": 0.15,
        "wake": 0.32,
        "wake: QEMU": 0.25,
    }
    inside = ("stop", "save", "quit", "start", "load", "wake: QEMU")
    assert sum(told[name] for name in inside) == pytest.approx(1.2), "the pause by the host's kernel"


def test_a_guest_that_is_not_put_to_sleep_is_stopped_and_resumed_by_cpr_reboot() -> None:
    told = found(story(AWAKE, "cpr-reboot"))
    assert list(told) == ["stop", "save", "quit", "start", "start: devices", "load", "resume"]
    assert sum(s for name, s in told.items() if ":" not in name) == pytest.approx(1.2)


@pytest.mark.parametrize(
    "lines, outcome",
    [
        pytest.param([*ASLEEP, RESUMED], Outcome.PASS, id="asleep"),
        pytest.param(AWAKE, Outcome.PASS, id="awake"),
        pytest.param(ASLEEP, Outcome.UNKNOWN, id="the guest does not say that it woke up"),
        pytest.param([*ASLEEP[:-1], RESUMED], Outcome.UNKNOWN, id="QEMU does not say so"),
        pytest.param([*ASLEEP[:-1], qmp(2405, "WAKEUP"), RESUMED], Outcome.FAIL, id="woken later"),
        pytest.param(
            [*ASLEEP[:1], *ASLEEP[2:], RESUMED, qmp(1150, "SUSPEND")], Outcome.FAIL, id="slept later"
        ),
        pytest.param([*AWAKE[:-2], qmp(1900, "RESUME"), AWAKE[-1]], Outcome.FAIL, id="resumed earlier"),
        pytest.param([line for line in ASLEEP if line[0] != 1300] + [RESUMED], Outcome.UNKNOWN, id="unsaved"),
    ],
)
def test_the_phases_of_cpr_reboot_are_compared_with_what_qemu_says(
    lines: list[Line], outcome: Outcome
) -> None:
    verdict = phases_add_up()(story(lines, "cpr-reboot"))
    assert verdict.outcome is outcome, str(verdict)


def test_a_mode_that_is_not_known_has_no_phases() -> None:
    timeline = story(EXEC, "restart")
    assert phases(timeline, updates(timeline)[0]) == []


def test_the_vcpu_gap_says_where_it_lies_and_what_it_cannot_tell_apart() -> None:
    timeline = story(EXEC)
    gap = vcpu_gap(timeline, updates(timeline)[0])
    assert gap is not None and (gap.start_ns, gap.end_ns, gap.ordinary_ns) == (1000 * MS, 2200 * MS, 4 * MS)


def test_the_guests_clock_stands_still_by_what_it_falls_behind_the_hosts() -> None:
    timeline = story(EXEC)
    still = standstill(timeline, updates(timeline)[0])
    assert still is not None and still == pytest.approx((1.1, 0.004))


def test_clocks_that_agree_pass() -> None:
    verdict = phases_add_up()(story(EXEC))
    assert verdict.outcome is Outcome.PASS, str(verdict)


@pytest.mark.parametrize(
    "timeline",
    [
        pytest.param(
            story([*EXEC[:1], qmp(1010, "STOP"), *EXEC[2:12], qmp(2600, "RESUME"), EXEC[13]]), id="qmp"
        ),
        pytest.param(story(EXEC, stood_ms=500), id="guest"),
        pytest.param(story(EXEC, gap_ms=1100), id="negative phase"),
    ],
)
def test_clocks_that_contradict_each_other_fail(timeline: Timeline) -> None:
    assert phases_add_up()(timeline).outcome is Outcome.FAIL


def without(timeline: Timeline, *kinds: str) -> Timeline:
    """The same, of which some events were not recorded; indices count from 0 for checkers too."""
    left = [e for e in timeline.events if e.kind not in kinds]
    return Timeline(tuple(Event(n, e.t_ns, e.kind, e.data) for n, e in enumerate(left)))


TRACED, UNTRACED = story(EXEC), without(story(EXEC), "trace.vcpu_gap")
REBOOTED = story([*ASLEEP, RESUMED], "cpr-reboot")


@pytest.mark.parametrize(
    "timeline, budget, outcome",
    [
        pytest.param(TRACED, (1.201,), Outcome.PASS, id="below, by the kernel"),
        pytest.param(TRACED, (1.2,), Outcome.FAIL, id="not below is above"),
        pytest.param(TRACED, (1.13,), Outcome.FAIL, id="the kernel counts, not QEMU, which says 1.119"),
        pytest.param(TRACED, (1.201, 0.5), Outcome.PASS, id="exec has its own"),
        pytest.param(UNTRACED, (1.13,), Outcome.PASS, id="below, by QEMU"),
        pytest.param(UNTRACED, (1.119,), Outcome.FAIL, id="not below, by QEMU"),
        pytest.param(without(UNTRACED, "qmp.event"), (5.0,), Outcome.UNKNOWN, id="nobody saw it"),
        pytest.param(without(TRACED, "cpr.ok"), (5.0,), Outcome.UNKNOWN, id="it did not end"),
        pytest.param(without(TRACED, "cpr.invoke", "cpr.ok"), (5.0,), Outcome.UNKNOWN, id="no update"),
        pytest.param(REBOOTED, (0.5, 1.3), Outcome.PASS, id="reboot has its own"),
        pytest.param(REBOOTED, (1.3, 0.5), Outcome.FAIL, id="reboot is above its own"),
        pytest.param(REBOOTED, (1.3,), Outcome.PASS, id="one for all"),
        pytest.param(REBOOTED, (0.5,), Outcome.FAIL, id="above the one for all"),
    ],
)
def test_a_pause_and_its_budget(timeline: Timeline, budget: tuple[float, ...], outcome: Outcome) -> None:
    assert pause_within(*budget)(timeline).outcome is outcome
    again = from_json(json.loads(json.dumps(as_json(pause_within(*budget)))))
    assert again(timeline).outcome is outcome, "and judged again"


def test_an_update_that_not_all_timing_witnesses_watch_has_no_phases_to_judge() -> None:
    events = [
        Event(e.index, e.t_ns, e.kind, {**e.data, "witnesses": ["pins"]}) if e.kind == "pause.sample" else e
        for e in story([]).events
    ]
    assert phases_add_up()(story([])).outcome is Outcome.UNKNOWN
    assert "any phase" not in str(phases_add_up()(Timeline(tuple(events))))


def test_a_heart_whose_ticks_were_not_all_written_down_tells_no_gap() -> None:
    events = [
        Event(e.index, e.t_ns, e.kind, {**e.data, "holes": 1}) if e.kind == "guest.heartbeat" else e
        for e in story(EXEC).events
    ]
    (sample,) = of_case(Timeline(tuple(events)))
    assert "guest" not in sample.clocks
    assert phases_add_up()(Timeline(tuple(events))).outcome is Outcome.UNKNOWN


def test_a_heart_that_beats_late_after_an_update_tells_of_the_pause() -> None:
    late = {"t_src_ns": 9_000 * MS, "longest_gap_ns": 120 * MS}
    events = [
        Event(e.index, e.t_ns, e.kind, late) if e.kind == "guest.heartbeat" and e.t_ns > 2000 * MS else e
        for e in story(EXEC).events
    ]
    (sample,) = of_case(Timeline(tuple(events)))
    assert sample.clocks["guest"] == pytest.approx(0.12)


def test_a_sample_holds_every_clock_on_its_own() -> None:
    (sample,) = of_case(story(EXEC))
    assert sample.pause_s == pytest.approx(1.2)
    assert sample.clocks["qmp"] == pytest.approx(1.119)
    assert sample.clocks["guest"] == pytest.approx(0.12)
    assert sample.resolutions == {
        "host": pytest.approx(0.004),
        "qmp": pytest.approx(1e-6),
        "guest": pytest.approx(0.012),
    }
