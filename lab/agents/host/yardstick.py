"""How fast this host is at the moment: the time that a fixed piece of work takes.

A bench host that shares its controller with others, or is throttled, is slower at times: what was measured
then and now can be compared only if this is the same.
"""

import time

ROUNDS = 100_000
"""Some 10 ms on a processor, 100 ms on an emulated one."""


def yardstick() -> dict[str, int]:
    """{ns}: how long it took, everything included that kept it waiting."""
    begun_ns, total = time.monotonic_ns(), 0
    for number in range(ROUNDS):
        total += number
    return {"ns": time.monotonic_ns() - begun_ns}
