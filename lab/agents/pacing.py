"""A steady rate that does not make up for a pause by a flood."""


class Pacer:
    """Says how many blocks are due.

    burst: after a delay at most so many are sent at once; the other slots are left out and
           counted in `missed`, so the rate that was reached is known
    """

    def __init__(self, rate_hz: float, start_ns: int, burst: int = 32) -> None:
        self.interval_ns = int(1e9 / rate_hz)
        self.next_ns = start_ns
        self.missed = 0
        self._burst = burst

    def due(self, now_ns: int) -> int:
        """Blocks to send now."""
        if now_ns < self.next_ns:
            return 0
        slots = (now_ns - self.next_ns) // self.interval_ns + 1
        if (late := slots - self._burst) > 0:
            self.missed += late
            self.next_ns += late * self.interval_ns
            return self._burst
        return slots

    def sent(self, blocks: int) -> None:
        """So many of the blocks that were due are on their way; the others stay due."""
        self.next_ns += blocks * self.interval_ns
