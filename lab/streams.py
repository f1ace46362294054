"""The streams of DMA blocks that the loads of a recording declared, as data.

Standard library only. Event load.start of a load declares them:
{"load": "nic", "kind": "nic", "rate_hz": 500, "block_bytes": 768, "streams":
{"to-guest": {"sender": "far", "receiver": "guest", "ordered": true, "in_flight": false, "sampled": false}}}
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.timeline import Timeline

GUEST = "guest"
"""The one clock that stands still while the guest is paused."""
_NAME = re.compile(r"[\w.-]+")  # part of the name of a folder
_HUGE = 1e18


@dataclass(frozen=True)
class StreamFacts:
    """One stream, as its load declared it; `str` of it is its name in full, "nic.to-guest".

    sender, receiver: whose clock stamps the tables: "controller", or a source of clock.sync
    ordered:          blocks are received in the order they were sent
    in_flight:        some block of its load is under way whenever the guest is paused
    sampled:          not every block is looked at where it arrives
    rate_hz, block_bytes: as declared; None if they were not, or make no sense
    """

    load: str
    name: str
    sender: str
    receiver: str
    ordered: bool = True
    in_flight: bool = False
    sampled: bool = False
    kind: str = ""
    rate_hz: float | None = None
    block_bytes: int | None = None

    def __str__(self) -> str:
        return f"{self.load}.{self.name}"

    @property
    def sent(self) -> str:
        """The table of the blocks sent, stamped by `sender`."""
        return f"{self}.sent"

    @property
    def received(self) -> str:
        """The table of the blocks received, stamped by `receiver`."""
        return f"{self}.received"

    @property
    def outside(self) -> tuple[str, str] | None:
        """Table and clock of the end outside the guest, whose clock never stops; None if both are inside."""
        if self.receiver != GUEST:
            return self.received, self.receiver
        return (self.sent, self.sender) if self.sender != GUEST else None


def streams(timeline: Timeline) -> list[StreamFacts]:
    """All streams, in the order they were declared; what is malformed is left out."""
    return list({str(one): one for event in timeline.of("load.start") for one in _of(event.data)}.values())


def stream(timeline: Timeline, name: str) -> StreamFacts | None:
    """A stream by its name in full, as "nic.to-guest"; None if none of this name was well declared."""
    return next((one for one in streams(timeline) if str(one) == name), None)


def _of(data: Mapping[str, Any]) -> Iterator[StreamFacts]:
    load, declared = data.get("load"), data.get("streams")
    if not _is_name(load) or not isinstance(declared, dict):
        return
    rate_hz, block_bytes = _positive(data.get("rate_hz")), _positive(data.get("block_bytes"))
    for name, told in declared.items():
        if _is_name(name) and isinstance(told, dict) and _is_well_declared(told):
            yield StreamFacts(
                str(load),
                name,
                told["sender"],
                told["receiver"],
                told.get("ordered", True),
                told.get("in_flight", False),
                told.get("sampled", False),
                str(data.get("kind", "")),
                rate_hz,
                None if block_bytes is None else int(block_bytes),
            )


def _is_well_declared(told: Mapping[str, Any]) -> bool:
    flags = [told[flag] for flag in ("ordered", "in_flight", "sampled") if flag in told]
    return all(_is_name(told.get(end)) for end in ("sender", "receiver")) and all(
        isinstance(flag, bool) for flag in flags
    )


def _is_name(told: Any) -> bool:
    return isinstance(told, str) and _NAME.fullmatch(told) is not None


def _positive(told: Any) -> float | None:
    number = isinstance(told, int | float) and not isinstance(told, bool)
    return float(told) if number and 0 < told < _HUGE else None
