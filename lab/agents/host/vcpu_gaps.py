"""The longest time each vCPU did not run, found by the bench host's kernel itself.

Two histogram triggers, one on each KVM exit, one on each KVM entry, keyed by the vCPU's number and not by
any thread: the gap goes over an exec, and over two processes. Nothing is written but a new maximum.
An idle guest's waits in HLT are gaps as well: they are what the clock cannot resolve (`ordinary`). With
several guests on a host their vCPUs share numbers, and nothing can be told.

A trigger with a timestamp sets the instance's clock when it is made, and nothing is recorded meanwhile: the
triggers that are there then take the time from a buffer of the kernel's own, which has another clock
("local", 40 ms beside "mono" on an emulated host; trace_event_buffer_lock_reserve and tracing_set_clock,
7.3.4). So the first trigger pauses until the second is made, and an entry wakes it. What the instance had
recorded, and its numbers of lost events, are gone then.

Source: Linux Documentation/trace/histogram.rst (onmax, save, clock); arch/x86/kvm/trace.h (kvm_exit,
kvm_entry). `common_timestamp` is in microseconds in `save` too, once a term of the trigger asks for it (seen
on 7.3.4).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

# without "clock=mono" a trigger with a timestamp sets the instance's clock to "global"
_EXIT = "hist:keys=vcpu_id:cprlab_exit=common_timestamp.usecs:clock=mono:pause"
_ENTRY = (
    "hist:keys=vcpu_id:cprlab_gap=common_timestamp.usecs-$cprlab_exit:clock=mono"
    ":onmax($cprlab_gap).save(common_timestamp)"
)
_WAKE = "enable_hist:kvm:kvm_exit"
_TRIGGERS = (("kvm/kvm_exit", _EXIT), ("kvm/kvm_entry", _ENTRY), ("kvm/kvm_entry", _WAKE))
_SEEN = re.compile(
    r"\{\s*vcpu_id:\s*(?P<vcpu>\d+)\s*\}\s*hitcount:\s*(?P<entries>\d+)"
    r"(?:\s+max:\s*(?P<us>\d+)\s+common_timestamp:\s*(?P<at_us>\d+))?"
)
_DROPPED = re.compile(r"^\s*Dropped:\s*([1-9]\d*)", re.MULTILINE)


def switch_on(instance: Path) -> None:
    """Begin, in an ftrace instance whose clock is "mono".

    Raises:
        OSError: this kernel has no KVM events, or no histogram triggers; nothing is left switched on.
    """
    try:
        for event, trigger in _TRIGGERS:
            _write(instance, event, trigger)
    except OSError:
        switch_off(instance)
        raise


def switch_off(instance: Path) -> None:
    """End; the instance cannot be removed before. Never fails."""
    for event, trigger in reversed(_TRIGGERS):  # each refers to the one before
        with suppress(OSError):
            _write(instance, event, f"!{trigger}")


def _write(instance: Path, event: str, words: str) -> None:
    # appending: a file that is truncated loses all its histogram triggers (event_trigger_regex_open)
    with (instance / "events" / event / "trigger").open("a") as file:
        file.write(words)


def clear(instance: Path) -> None:
    """Forget the gaps up to now: "clear" finds no trigger that saves something (ENOENT, 7.3.4)."""
    switch_off(instance)
    switch_on(instance)


def read(instance: Path) -> list[dict[str, Any]]:
    """The longest gap of each vCPU, by its number."""
    return sorted(
        parsed((instance / "events" / "kvm/kvm_entry" / "hist").read_text()), key=lambda gap: int(gap["vcpu"])
    )


def parsed(histogram: str) -> Iterator[dict[str, Any]]:
    """{vcpu, entries, gap_ns, end_ns}: `end_ns` is the entry that ended it, by CLOCK_MONOTONIC.

    A vCPU with a single entry has had no gap, and one of a histogram that dropped something is not told.
    """
    if _DROPPED.search(histogram):
        return
    for seen in _SEEN.finditer(histogram):
        # a number below zero, unsigned, would be the longest of all: two clocks in one difference
        if seen["us"] is not None and 0 < int(seen["us"]) < int(seen["at_us"]):
            yield {
                "vcpu": int(seen["vcpu"]),
                "entries": int(seen["entries"]),
                "gap_ns": int(seen["us"]) * 1000,
                "end_ns": int(seen["at_us"]) * 1000,
            }
