"""How fast a load may be: a share of what its path carries, and no more than a ring holds. Pure arithmetic.

While the guest is paused the NIC fills its ring and then drops. A loss that the ring explains
proves nothing, so the rate is chosen such that a pause of the expected length does not fill it.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

from lab.loads import Load

AnyLoad = TypeVar("AnyLoad", bound=Load)

RING_BLOCKS = 4096
"""The longest ring of igb, igbvf and most others."""

EXPECTED_PAUSE_S = 4.0
"""On the virtual bench pauses up to 1.4 s were seen (shared/virtual-bench/README.md)."""


@dataclass(frozen=True)
class Sizing:
    """A rate, and why.

    rate_hz:     blocks per second in each direction
    explanation: one sentence with the arithmetic
    """

    rate_hz: float
    ring_blocks: int
    expected_pause_s: float
    explanation: str

    @property
    def longest_pause_s(self) -> float:
        """The pause that fills the whole ring."""
        return self.ring_blocks / self.rate_hz


def ring_bound(
    *,
    ring_blocks: int = RING_BLOCKS,
    expected_pause_s: float = EXPECTED_PAUSE_S,
    capacity_hz: float,
    share: float = 0.25,
    headroom: float = 0.5,
    rate_hz: float | None = None,
) -> Sizing:
    """The rate of a load whose blocks wait in a ring while the guest is paused.

    share:    of the capacity, that a load in steady state may use
    headroom: of the ring, that the expected pause may fill
    rate_hz:  take this rate and only explain what it means

    Raises:
        ValueError: if one of them is not positive, or a share is more than 1.
    """
    if min(ring_blocks, expected_pause_s, capacity_hz, share, headroom) <= 0 or max(share, headroom) > 1:
        raise ValueError("ring, pause and capacity must be positive, share and headroom in (0, 1]")
    by_capacity, by_ring = share * capacity_hz, ring_blocks * headroom / expected_pause_s
    rate = min(by_capacity, by_ring) if rate_hz is None else rate_hz
    if rate <= 0:
        raise ValueError(f"a load of {rate:g} blocks/s is none")
    which = "asked for" if rate_hz is not None else "the capacity" if by_capacity < by_ring else "the ring"
    explanation = (
        f"{rate:g} blocks/s ({which}): a share of {share:g} of {capacity_hz:g}/s is {by_capacity:g}/s, "
        f"{headroom:g} of a ring of {ring_blocks} over a pause of {expected_pause_s:g} s is {by_ring:g}/s; "
        f"the ring is full after {ring_blocks / rate:.2f} s"
    )
    return Sizing(rate, ring_blocks, expected_pause_s, explanation)


def passed(load: Load, capacity_hz: float) -> str:
    """What was measured, in words: a path that kept up may carry more."""
    return f"the {capacity_hz:.3g}/s that passed when {load.probe_hz:g}/s were asked for"


def share_of(load: AnyLoad, capacity_hz: float, share: float) -> AnyLoad:
    """A load at a share of what its path was measured to carry.

    share: above 1 for a load whose queue is to stay full; it leaves blocks out, and counts them

    Raises:
        ValueError: if nothing passed when it was measured.
    """
    if capacity_hz <= 0:
        raise ValueError(f"a path that carries {capacity_hz:g} blocks/s bears no load")
    rate_hz = share * capacity_hz
    text = f"{rate_hz:.3g} blocks/s: a share of {share:g} of {passed(load, capacity_hz)}"
    return replace(load, rate_hz=rate_hz, sizing=text)  # type: ignore[type-var]
