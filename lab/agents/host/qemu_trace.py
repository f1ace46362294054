"""QEMU's own trace, among what it prints on stderr.

With `-msg timestamp=on` QEMU's "log" trace backend writes a line an event, stamped by the wall clock:
"2026-11-24T00:01:53.837943Z runstate_set current_run_state 9 (running) new_state 7 (finish-migrate)".
Errors are stamped too, and then go on with the program's name and a colon.
Source: QEMU docs/devel/tracing.rst (log backend); util/log.c, scripts/tracetool/backend/log.py, 11.1.3.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

_STAMPED = re.compile(r"(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(?P<us>\d{6})Z (?P<rest>.*)", re.DOTALL)
_EVENT = re.compile(r"(?P<name>[a-z][a-z0-9]*(?:_[a-z0-9]+)+)(?: (?P<text>.*))?", re.DOTALL)
"""Every trace event's name has an underscore, as no program's or message's first word has."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def stamped(line: str) -> tuple[int | None, str]:
    """A line's own time, ns of the host's wall clock in whole microseconds, and the rest of it."""
    if (found := _STAMPED.fullmatch(line)) is None:
        return None, line
    seconds = (datetime.fromisoformat(f"{found['at']}+00:00") - _EPOCH) // timedelta(seconds=1)
    return seconds * 10**9 + int(found["us"]) * 1000, found["rest"]


def traced(line: str) -> dict[str, Any] | None:
    """A traced event {name, text, t_host_ns}; None for a line that is none."""
    t_host_ns, rest = stamped(line)
    if t_host_ns is None or (event := _EVENT.fullmatch(rest)) is None:
        return None
    return {"name": event["name"], "text": event["text"] or "", "t_host_ns": t_host_ns}
