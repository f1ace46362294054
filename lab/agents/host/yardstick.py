"""How fast this host is at the moment: the time that a fixed piece of work takes at best.

A bench host that shares its controller with others, or is throttled, is slower at times: what was measured
then and now can be compared only if this is the same.
"""

import time

PIECES, ROUNDS = 5, 20_000
"""A piece takes some 2 ms on a processor, 20 ms on an emulated one."""


def yardstick() -> dict[str, int]:
    """{ns}: how long the fastest of some pieces took; a guest that is busy is not busy in all of them."""
    return {"ns": min(_piece_ns() for _ in range(PIECES))}


def _piece_ns() -> int:
    begun_ns, total = time.monotonic_ns(), 0
    for number in range(ROUNDS):
        total += number
    return time.monotonic_ns() - begun_ns
