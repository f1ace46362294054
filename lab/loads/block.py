"""The block load: numbered blocks written to a disk, read back and checked, many at once."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from lab.link import Receiver
from lab.loads import Agent, Epoch, Stream
from lab.loads.running import Running, run
from lab.loads.sizing import share_of

FULL_QUEUE, LEISURELY = 2.0, 0.25
"""Share of the capacity: asked for more than it takes the disk is never idle; else the processor is not."""


@dataclass(frozen=True)
class BlockLoad:
    """Writes block after block to a disk of the guest, reads each back and compares every bit.

    driver:      "nvme" or "virtio-blk": the guest's first disk of it is taken
    bdf:         or the disk of this function, as the guest sees it
    block_bytes: one request; a multiple of the disk's logical block, at most 16384
    rate_hz:     blocks begun per second at most, each of them a write and a read. A disk that takes fewer
                 is never idle; one that takes more leaves the guest's one processor to the other loads
    depth:       requests under way at most
    slots:       block `seq` lies in slot `seq % slots`: the first slots x block_bytes bytes are used
    in_flight:   whether the disk is slow enough that some request is always under way: 2 x rate_hz x its
                 latency is well above 1. Say no for one that answers at once, like a simulator
    sizing:      the sentence that says why this rate

    Guarantees of `running`:
      - the device reads guest memory (write) and writes it (read) all the time, up to `depth` at once;
      - every request put is a row in <name>.<stream>.sent {seq, epoch, t_ns, good}, every answer one in
        <name>.<stream>.received; `good` is 1 if the device answered that all of it was done and, of a read,
        every bit was right. If not, load.anomaly says what was: error, short, stale, torn, damaged,
        misplaced, empty, untouched, foreign;
      - a write is read back by the device before its slot is written again; what then lies in the slots
        is for `lab.agents.host.medium` to read, once the guest is gone;
      - a block of an earlier run does not pass for one of this run, for all slots are cleared first;
      - once it is left nothing is in flight and the disk was flushed, or `under_way` and the anomalies in
        the totals say what never came back.
    Limits: a disk that is mounted or held in the guest is refused. Seq of "read" counts reads; which block it
    was, its anomaly says. A request that never comes back costs its slot and one of `depth`, not the load.
    `received` is when the guest's Python saw it, behind the device by what the guest's processor needs.
    """

    name: str = "nvme"
    driver: str | None = "nvme"
    bdf: str | None = None
    block_bytes: int = 4096
    rate_hz: float = 100.0
    depth: int = 32
    slots: int = 1024
    seed: int = 1
    in_flight: bool = True
    sizing: str = ""
    probe_hz: float = 400.0
    kind: ClassVar[str] = "block"

    @property
    def streams(self) -> tuple[Stream, ...]:
        # requests may overtake each other
        return tuple(
            Stream(name, "guest", "guest", ordered=False, in_flight=self.in_flight)
            for name in ("write", "read")
        )

    def settings(self) -> dict[str, Any]:
        return {
            "driver": self.driver,
            "bdf": self.bdf,
            "block_bytes": self.block_bytes,
            "rate_hz": self.rate_hz,
            "depth": self.depth,
            "slots": self.slots,
            "seed": self.seed,
        }

    def sized(self, capacity_hz: float) -> "BlockLoad":
        return share_of(self, capacity_hz, FULL_QUEUE if self.in_flight else LEISURELY)

    def running(self, guest: Agent, evidence: Receiver, epoch: Epoch) -> AbstractContextManager[Running]:
        """See `lab.loads.running.run`."""
        return run(self, guest, evidence, epoch)
