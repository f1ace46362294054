"""How fast a load may be: as much as the ring holds through the expected pause. Pure arithmetic.

While the guest is paused the NIC fills its ring and then drops. A loss that the ring explains
proves nothing, so the rate is chosen such that a pause of the expected length does not fill it.
"""

from dataclasses import dataclass

RING_BLOCKS = 4096
"""The longest ring of igb, igbvf and most others."""

EXPECTED_PAUSE_S = 4.0
"""On the virtual bench pauses up to 1.4 s were seen (shared/virtual-bench/README.md)."""

CAPACITY_HZ = 2000.0
"""What the guest agent on the virtual bench receives, checks and sends per second, in each direction
at the same time: at 2000/s it reached 1900/s and lost nothing; at 3000/s it still sent 2100/s."""


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


def sized(
    *,
    ring_blocks: int = RING_BLOCKS,
    expected_pause_s: float = EXPECTED_PAUSE_S,
    capacity_hz: float = CAPACITY_HZ,
    share: float = 0.25,
    headroom: float = 0.5,
    rate_hz: float | None = None,
) -> Sizing:
    """The rate for a ring, a pause and a measured capacity.

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
