"""The longest time each vCPU did not run, found by the bench host's kernel itself.

Two histogram triggers, one on each KVM exit, one on each KVM entry, keyed by the vCPU's number and not by
any thread: the gap goes over an exec, and over two processes. Nothing is written but a new maximum.
An idle guest's waits in HLT are gaps as well: they are what the clock cannot resolve (`ordinary`). With
several guests on a host their vCPUs share numbers, and nothing can be told.

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
_EXIT = "hist:keys=vcpu_id:cprlab_exit=common_timestamp.usecs:clock=mono"
_ENTRY = (
    "hist:keys=vcpu_id:cprlab_gap=common_timestamp.usecs-$cprlab_exit:clock=mono"
    ":onmax($cprlab_gap).save(common_timestamp)"
)
_TRIGGERS = (("kvm/kvm_exit", _EXIT), ("kvm/kvm_entry", _ENTRY))
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
            (instance / "events" / event / "trigger").write_text(trigger)
    except OSError:
        switch_off(instance)
        raise


def switch_off(instance: Path) -> None:
    """End; the instance cannot be removed before. Never fails."""
    for event, trigger in reversed(_TRIGGERS):  # the second refers to the first
        with suppress(OSError):
            (instance / "events" / event / "trigger").write_text(f"!{trigger}")


def clear(instance: Path) -> None:
    """Forget the gaps up to now."""
    event, trigger = _TRIGGERS[1]
    # "clear" finds no trigger that saves something (ENOENT, 7.3.4); made anew it is empty
    for words in (f"!{trigger}", trigger):
        (instance / "events" / event / "trigger").write_text(words)


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
        # an entry that is stamped before its exit gives a number below zero, which unsigned is the longest of
        # all (seen in one of five updates, by 40 ms, cause not found): the real one is then not known
        if seen["us"] is not None and 0 < int(seen["us"]) < int(seen["at_us"]):
            yield {
                "vcpu": int(seen["vcpu"]),
                "entries": int(seen["entries"]),
                "gap_ns": int(seen["us"]) * 1000,
                "end_ns": int(seen["at_us"]) * 1000,
            }
