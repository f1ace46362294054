"""What rows of several truth tables do to a healthy recording."""

from typing import Any

from .story import Story
from .timelines import OK, far_ns

TO, FROM = "to-guest", "from-guest"
TO_SENT, TO_RECEIVED = "nic.to-guest.sent", "nic.to-guest.received"
FROM_SENT, FROM_RECEIVED = "nic.from-guest.sent", "nic.from-guest.received"
BEFORE, INSIDE = 50, 200
"""Rows of blocks sent before and inside update 1."""


def lose(*rows: int, table: str = TO_RECEIVED) -> Any:
    return lambda s: s.without_rows(table, *rows)


def lose_last(count: int, table: str = TO_RECEIVED) -> Any:
    return lambda s: s.keep_rows(table, lambda _: slice(None, -count))


def counted(where: str, **counters: int) -> Any:
    return lambda s: s.change("load.counters", {"where": where, "when": "end"}, counters=counters)


def load_at(rate_hz: float, ring_blocks: int) -> Any:
    return lambda s: s.change("load.start", rate_hz=rate_hz, ring_blocks=ring_blocks)


def quiet(start_ms: float, end_ms: float, *tables: str) -> Any:
    """Nothing is sent in between, by the far end's clock."""

    def spoil(story: Story) -> None:
        far = story.tables[tables[0]]["t_ns"]
        keep = (far < far_ns(start_ms)) | (far > far_ns(end_ms))
        for table in tables:
            story.keep_rows(table, lambda _: keep)
        story.change("load.stop", totals={})

    return spoil


def not_drained(story: Story) -> None:
    story.change("load.stop", drained=False)


def refused(story: Story) -> None:
    story.drop("cpr.ok").add(OK, "cpr.fail", mode="cpr-exec", update=1, reason="no")


def beat(number: int, **data: Any) -> Any:
    return lambda s: s.change("guest.heartbeat", {"beat": number}, **data)


def exit_at(ms: float, **data: Any) -> Any:
    return lambda s: s.drop("host.exit").add(ms, "host.exit", name="qemu", pid=157, **data)
