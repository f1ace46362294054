"""What the account of a stream of blocks says against it."""

from collections.abc import Iterable, Mapping

import numpy as np

from lab.checkers.account import Account, account
from lab.checkers.excuse import excuse
from lab.checkers.findings import Findings
from lab.checkers.tables import Column
from lab.timeline import Event, Timeline


def about(event: Event, direction: str) -> bool:
    """Whether a load event is about this direction; one that names no stream is about all."""
    return event.data.get("stream", direction) in (direction, f"nic.{direction}")


def content(found: Findings, received: Mapping[str, Column]) -> None:
    wrong = len(received["good"]) - int(np.count_nonzero(received["good"]))
    if wrong:
        head = received["seq"][np.flatnonzero(received["good"] == 0)[:5]]
        found.defect(f"{wrong} blocks hold wrong bytes: seq {_listed(map(int, head))}")


def blocks(
    found: Findings, timeline: Timeline, direction: str, sent: Column, received: Column
) -> Account | None:
    try:
        result = account(sent, received)
    except ValueError as damage:
        found.gap(str(damage))
        return None
    told = _told(timeline, direction)
    if told is not None and told > result.sent:
        found.gap(
            f"the sender counted {told} blocks but recorded {result.sent}", timeline.of("load.stop")[-1]
        )
    if result.repeated:
        found.defect(f"{result.repeated} blocks came again: seq {_listed(result.repeated_head)}")
    if result.reordered:
        found.defect(f"{result.reordered} blocks came late: seq {_listed(result.reordered_head)}")
    if result.foreign:
        _foreign(found, timeline, direction, result, told)
    if result.lost:
        _lost(found, timeline, direction, result)
    return result


def _told(timeline: Timeline, direction: str) -> int | None:
    """How many blocks the sender says it sent."""
    stops = timeline.of("load.stop")
    totals = stops[-1].data.get("totals", {}) if stops else {}
    stream = totals.get(direction, totals.get(f"nic.{direction}"))
    return int(stream["blocks"]) if stream and "blocks" in stream else None


def _foreign(found: Findings, timeline: Timeline, direction: str, result: Account, told: int | None) -> None:
    text = f"{result.foreign} blocks were received that nobody sent: seq {_listed(result.foreign_head)}"
    if _cut_short(timeline, direction) or (told or 0) > result.sent:
        found.gap(text + ", but the sender's record is not complete")
    else:
        found.defect(text)


def _lost(found: Findings, timeline: Timeline, direction: str, result: Account) -> None:
    lost = result.lost
    if result.tail and _cut_short(timeline, direction):
        found.gap(f"the fate of the last {result.tail} blocks sent is not known")
        lost -= result.tail
    if not lost:
        return
    text = f"{lost} of {result.sent} blocks {direction} lost: seq {_listed(result.lost_head)}"
    reason = excuse(timeline, direction, lost)
    if reason is None:
        found.defect(text)
    else:
        found.gap(f"{text}; {reason.text}", *reason.events)


def _cut_short(timeline: Timeline, direction: str) -> bool:
    """Whether the record of what happened last may be missing."""
    stops = timeline.of("load.stop")
    unreachable = any(about(e, direction) for e in timeline.of("load.unreachable"))
    return unreachable or not stops or not stops[-1].data.get("drained")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
