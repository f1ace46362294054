"""A load at full speed, and what the guest's processor did meanwhile."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lab.benchmark import Share, programs
from lab.errors import BenchError
from lab.loads import Agent, Epoch, Load
from lab.loads.capacity import FEWEST_BLOCKS, carried
from lab.loads.running import Running
from lab.waiting import wait_until

BLOCKS_TIMEOUT_S = 60.0
SATURATED = 0.8
"""Of what it is asked for: a load that does more might do even more."""
DOUBLINGS = 6
BUSY = 0.85
"""Of one processor's time: the load has one, for Python has one lock."""
_PROCESSOR = re.compile(r"^cpu\d+ ", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """One measurement: blocks per second by stream, the event load.start, the guest's processor."""

    rates_hz: Mapping[str, float]
    started: Mapping[str, Any]
    share: Share


def run(load: Load, guest: Agent, epoch: Epoch, seconds: float) -> Run:
    """Run it at its `probe_hz` for so long.

    Raises:
        BenchError: it could not be started, or nothing passed.
    """
    before, after = "", ""

    def wait(running: Running) -> None:
        nonlocal before, after
        _wait_for_blocks(running)
        before, end_s = programs.read(guest, "/proc/stat"), time.monotonic() + seconds
        wait_until(lambda: time.monotonic() >= end_s, seconds + 1, "the end of a measurement")
        after = programs.read(guest, "/proc/stat")

    found = carried(load, guest, epoch, wait)
    return Run(found.rates_hz, found.started, share(before, after))


def saturated(load: Load, guest: Agent, epoch: Epoch, seconds: float) -> tuple[Load, Run]:
    """Run it; faster, as long as it keeps up. The load that asks for more than its path carries, and its run.

    Raises:
        BenchError: as from `run`; or it keeps up with everything.
    """
    for _ in range(DOUBLINGS):
        found = run(load, guest, epoch, seconds)
        if min(found.rates_hz.values()) < SATURATED * load.probe_hz:
            return load, found
        load = replace(load, probe_hz=2 * load.probe_hz)  # type: ignore[type-var]
    raise BenchError(f"{load.name}: its path carries more than {SATURATED * load.probe_hz / 2:g} blocks/s")


def share(before: str, after: str) -> Share:
    """Between two readings of /proc/stat."""
    first, last = ([int(word) for word in said.splitlines()[0].split()[1:9]] for said in (before, after))
    user, nice, system, idle, iowait, irq, softirq, steal = (b - a for a, b in zip(first, last, strict=True))
    processors = len(_PROCESSOR.findall(after))
    whole = max(1, user + nice + system + idle + iowait + irq + softirq + steal) / processors
    return Share((user + nice) / whole, (system + irq + softirq + steal) / whole)


def limit(share: Share) -> str:
    """What keeps a load from being faster."""
    if share.busy >= BUSY:
        spent = f"{share.user:.0%} Python, {share.system:.0%} kernel"
        return f"the guest's processor, {share.busy:.0%} busy: {spent}"
    return f"what is behind the device: the guest's processor is only {share.busy:.0%} busy"


def _wait_for_blocks(running: Running) -> None:
    what = f"a block of every stream of {running.load.name}"
    wait_until(lambda: min(running.passed().values()) >= FEWEST_BLOCKS, BLOCKS_TIMEOUT_S, what)
