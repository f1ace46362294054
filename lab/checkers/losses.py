"""What the account of a stream of blocks says against it."""

from collections.abc import Iterable, Mapping

import numpy as np

from lab.checkers.account import Account, account
from lab.checkers.excuse import excuse
from lab.checkers.findings import Findings
from lab.checkers.tables import Column
from lab.streams import StreamFacts
from lab.timeline import Event, Timeline


def about(event: Event, stream: StreamFacts) -> bool:
    """Whether a load's event is about this stream; one that names no stream is about all of its load."""
    return event.data.get("load") == stream.load and event.data.get("stream", stream.name) == stream.name


def content(found: Findings, received: Mapping[str, Column]) -> None:
    wrong = len(received["good"]) - int(np.count_nonzero(received["good"]))
    if wrong:
        head = received["seq"][np.flatnonzero(received["good"] == 0)[:5]]
        found.defect(f"{wrong} blocks hold wrong bytes: seq {_listed(map(int, head))}")


def blocks(
    found: Findings, timeline: Timeline, stream: StreamFacts, sent: Column, received: Column
) -> Account | None:
    try:
        result = account(sent, received)
    except ValueError as damage:
        found.gap(str(damage))
        return None
    told = _told(timeline, stream)
    if told is not None and told > result.sent:
        found.gap(
            f"the sender counted {told} blocks but recorded {result.sent}",
            timeline.of("load.stop", load=stream.load)[-1],
        )
    if result.repeated:
        found.defect(f"{result.repeated} blocks came again: seq {_listed(result.repeated_head)}")
    if result.reordered and stream.ordered:
        found.defect(f"{result.reordered} blocks came late: seq {_listed(result.reordered_head)}")
    if result.foreign:
        _foreign(found, timeline, stream, result, told)
    if result.lost:
        _lost(found, timeline, stream, result)
    return result


def _told(timeline: Timeline, stream: StreamFacts) -> int | None:
    """How many blocks the sender says it sent."""
    stops = timeline.of("load.stop", load=stream.load)
    totals = stops[-1].data.get("totals", {}) if stops else {}
    told = totals.get(stream.name)
    return int(told["blocks"]) if told and "blocks" in told else None


def _foreign(
    found: Findings, timeline: Timeline, stream: StreamFacts, result: Account, told: int | None
) -> None:
    text = f"{result.foreign} blocks were received that nobody sent: seq {_listed(result.foreign_head)}"
    if _cut_short(timeline, stream) or (told or 0) > result.sent:
        found.gap(text + ", but the sender's record is not complete")
    else:
        found.defect(text)


def _lost(found: Findings, timeline: Timeline, stream: StreamFacts, result: Account) -> None:
    lost = result.lost
    if result.tail and _cut_short(timeline, stream):
        found.gap(f"the fate of the last {result.tail} blocks sent is not known")
        lost -= result.tail
    if not lost:
        return
    text = f"{lost} of {result.sent} blocks {stream} lost: seq {_listed(result.lost_head)}"
    reason = excuse(timeline, stream, lost)
    if reason is None:
        found.defect(text)
    else:
        found.gap(f"{text}; {reason.text}", *reason.events)


def _cut_short(timeline: Timeline, stream: StreamFacts) -> bool:
    """Whether the record of what happened last may be missing."""
    stops = timeline.of("load.stop", load=stream.load)
    unreachable = any(about(e, stream) for e in timeline.of("load.unreachable"))
    return unreachable or not stops or not stops[-1].data.get("drained")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
