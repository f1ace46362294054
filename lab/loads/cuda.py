"""The CUDA load: numbered blocks to an NVIDIA GPU, through a kernel there, and back; every bit checked."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from lab.link import Receiver
from lab.loads import Agent, Epoch, RunningLoad, Stream
from lab.loads.running import run
from lab.loads.sizing import share_of

SHARE = 0.5
"""Of the capacity: the guest's processor checks every byte, and is not to be what limits the load."""


@dataclass(frozen=True)
class CudaLoad:
    """Has the GPU read blocks from guest memory, change them by a kernel, and write them to guest memory.

    NOT VERIFIED ON HARDWARE: it ran on a model of the driver's library alone.

    block_bytes: a multiple of 4, at most 16384
    rate_hz:     blocks begun per second at most
    depth:       blocks under way at most, each in a stream of its own
    hold_ms:     the kernel lasts so long at least, so that some block is always under way, and its
                 result is written when the guest may be paused: more than 1000 / rate_hz
    deadline_s:  of one block, while the guest runs
    bdf:         the function as the guest sees it; by default the first GPU

    Guarantees of `running`:
      - the device reads and writes guest memory by DMA, and what it writes was computed there of this block;
      - each block begun is a row in <name>.copy.sent, each that came back one in <name>.copy.received;
        `good` is 1 if every bit was right. If not, load.anomaly says what was: damaged, torn, stale,
        not-written; or, without a row: error (what the driver said, by name), not-ended;
      - a block that failed or does not end costs its slot, not the load;
      - once it is left nothing is in flight, or `under_way` in the totals says what never came back.
    Limits: the guest needs NVIDIA's driver and libcuda.so.1. A driver that hangs in a call hangs the agent.
    `received` is when the guest's Python saw it, up to 5 ms and what the processor needs behind the device.
    """

    name: str = "cuda"
    block_bytes: int = 16384
    rate_hz: float = 50.0
    depth: int = 8
    hold_ms: float = 80.0
    deadline_s: float = 10.0
    seed: int = 1
    sizing: str = ""
    bdf: str | None = None
    probe_hz: float = 100.0
    kind: ClassVar[str] = "cuda"
    # kernels of several streams may end in any order
    streams: ClassVar[tuple[Stream, ...]] = (Stream("copy", "guest", "guest", ordered=False, in_flight=True),)

    def settings(self) -> dict[str, Any]:
        return {
            "block_bytes": self.block_bytes,
            "rate_hz": self.rate_hz,
            "depth": self.depth,
            "hold_ms": self.hold_ms,
            "deadline_s": self.deadline_s,
            "seed": self.seed,
            "bdf": self.bdf,
        }

    def sized(self, capacity_hz: float) -> "CudaLoad":
        return share_of(self, capacity_hz, SHARE)

    def running(self, guest: Agent, evidence: Receiver, epoch: Epoch) -> AbstractContextManager[RunningLoad]:
        """See `lab.loads.running.run`."""
        return run(self, guest, evidence, epoch)
