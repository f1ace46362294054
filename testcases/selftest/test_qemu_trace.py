"""QEMU's trace among its stderr lines."""

from lab.agents.host.qemu_trace import stamped, traced

SECOND_NS = 10**9


def test_a_traced_event_has_a_name_a_text_and_a_time_in_microseconds() -> None:
    event = traced(
        "1970-01-01T00:01:00.837943Z runstate_set current_run_state 6 (prelaunch) new_state 9 (running)"
    )
    assert event == {
        "name": "runstate_set",
        "text": "current_run_state 6 (prelaunch) new_state 9 (running)",
        "t_host_ns": 60 * SECOND_NS + 837_943_000,
    }


def test_a_traced_event_may_say_nothing_but_its_name() -> None:
    event = traced("2026-11-24T00:01:54.839211Z savevm_state_setup")
    assert event is not None
    assert (event["name"], event["text"]) == ("savevm_state_setup", "")


def test_errors_stay_errors_without_their_stamp() -> None:
    error = "2026-11-24T00:01:54.839211Z qemu-system-x86_64: warning: host_x doesn't support it"
    assert traced(error) is None
    assert stamped(error)[1] == "qemu-system-x86_64: warning: host_x doesn't support it"


def test_a_line_that_is_not_stamped_is_no_event() -> None:
    assert traced("runstate_set current_run_state 6") is None
    assert stamped("vm_stop: failed") == (None, "vm_stop: failed")
