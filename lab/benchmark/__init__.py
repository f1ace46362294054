"""How fast a load is, next to a plain tool on the same path of the same guest, in turns.

The ratio says what it costs that every block is numbered and checked; nothing is asserted of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

from lab.loads import Agent


@dataclass(frozen=True)
class Series:
    """Blocks per second, measured several times: machines are noisy."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    def as_json(self) -> dict[str, Any]:
        return {
            "median": round(self.median, 2),
            "min": round(min(self.values), 2),
            "max": round(max(self.values), 2),
            "values": [round(value, 2) for value in self.values],
        }


@dataclass(frozen=True)
class Share:
    """What the guest's processors did while a load ran at full speed; 1 is all the time of one of them."""

    user: float
    system: float

    @property
    def busy(self) -> float:
        return self.user + self.system


class PlainTool(Protocol):
    """A common tool that drives the same path with blocks of the same size.

    streams: of the load; the mean of their rates is compared
    path:    what of the device it is, for people
    checks:  what it does and what it leaves out, in a few words
    """

    @property
    def name(self) -> str: ...

    @property
    def streams(self) -> tuple[str, ...]: ...

    @property
    def path(self) -> str: ...

    @property
    def checks(self) -> str: ...

    def blocks_per_s(self, guest: Agent, seconds: float) -> float:
        """Run it for about so long.

        Raises:
            BenchError: it did not run.
        """


@dataclass(frozen=True)
class Comparison:
    """One line of the answer.

    ours, plain: the mean of the load's streams that are compared, and the tool
    streams_hz:  medians of all streams of the load, which ran at once
    asked_hz:    what the load was asked for: more than it could do
    tool:        None if there is no plain tool for this path; `checks` then says why
    limit:       what keeps the load from being faster
    """

    row: str
    backend: str
    load: str
    path: str
    block_bytes: int
    ours: Series
    streams_hz: Mapping[str, float]
    asked_hz: float
    limit: str
    tool: str | None
    checks: str
    plain: Series | None

    @property
    def ratio(self) -> float | None:
        """Ours to the tool's, of the medians."""
        return self.ours.median / self.plain.median if self.plain and self.plain.median else None

    def as_json(self) -> dict[str, Any]:
        ratio = self.ratio
        return {
            "row": self.row,
            "backend": self.backend,
            "load": self.load,
            "path": self.path,
            "block_bytes": self.block_bytes,
            "ours_blocks_per_s": self.ours.as_json(),
            "ours_mb_per_s": mb_per_s(self.ours.median, self.block_bytes),
            "ours_streams_blocks_per_s": {name: round(hz, 2) for name, hz in self.streams_hz.items()},
            "asked_blocks_per_s": self.asked_hz,
            "limit": self.limit,
            "tool": self.tool,
            "tool_checks": self.checks,
            "tool_blocks_per_s": self.plain.as_json() if self.plain else None,
            "tool_mb_per_s": mb_per_s(self.plain.median, self.block_bytes) if self.plain else None,
            "ratio": None if ratio is None else round(ratio, 4),
        }


def mb_per_s(blocks_per_s: float, block_bytes: int) -> float:
    """Megabytes (10^6) a second."""
    return round(blocks_per_s * block_bytes / 1e6, 3)
