"""Content that is known from a seed and a block's sequence number alone.

A block's content is a slice of one seeded random buffer. Where it starts depends on the
sequence number such that 262,139 blocks in a row all start elsewhere, neighbours far apart:
old content under a new number is as wrong as random bytes. A slice is all it costs in Python.
"""

# `random` itself would import hashlib and OpenSSL: about a second in a guest under TCG
from _random import Random

STARTS = 262_139
"""How many different starts there are: a prime, so that any stride visits all of them."""

_STRIDE = 104_729
LONGEST = 16_384


def seeded(seed: int, length: int) -> bytes:
    """`length` random bytes, always the same for one seed."""
    return Random(seed).getrandbits(8 * length).to_bytes(length, "little")


class Pattern:
    """The content of every block of one stream.

    seed: two streams differ if their seeds do
    """

    def __init__(self, seed: int) -> None:
        self._buffer = seeded(seed, STARTS + LONGEST)

    def of(self, seq: int, length: int) -> bytes:
        """The first `length` bytes (at most LONGEST) of the content of block `seq`."""
        start = seq * _STRIDE % STARTS
        return self._buffer[start : start + length]
