"""How a source's clock stands to the controller's."""

import time
from collections.abc import Callable
from typing import Any

from lab.errors import SutError
from lab.timeline import Recorder

ROUND_TRIPS = 5


def sync(recorder: Recorder, source: str, call: Callable[..., Any], clock: str = "clock") -> None:
    """Record `clock.sync`: controller time = source time + offset_ns, right to within error_ns.

    Of several round trips the shortest is taken; its half is the error. The guest's clock may stop
    while it is paused, so it is compared anew after every update. An unreachable guest is recorded.

    clock: the call that reads it; what it says beside the time is recorded with it
    """
    best: tuple[int, int, dict[str, int]] | None = None
    try:
        for _ in range(ROUND_TRIPS):
            sent_ns = time.monotonic_ns()
            said = dict(call(clock))
            source_ns = said.pop("t_ns")
            half_ns = (time.monotonic_ns() - sent_ns) // 2
            if best is None or half_ns < best[1]:
                best = (sent_ns + half_ns - source_ns, half_ns, said)
    except SutError as error:
        recorder.record("guest.unreachable", reason=str(error))
    if best is not None:
        recorder.record("clock.sync", source=source, offset_ns=best[0], error_ns=best[1], **best[2])
