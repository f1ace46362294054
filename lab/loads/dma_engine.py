"""The DMA engine load: a device copies numbered blocks from memory to memory, every bit checked."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from lab.link import Receiver
from lab.loads import Agent, Epoch, RunningLoad, Stream
from lab.loads.running import run
from lab.loads.sizing import share_of


@dataclass(frozen=True)
class DmaEngineLoad:
    """Has QEMU's edu device read blocks from guest memory and write them back to another place in it.

    Block `seq` holds content that only block `seq` of this seed has, and the place it comes back to is
    overwritten before, so that a block that was not written, or holds an earlier one, is known as such.

    block_bytes: up to 4096; up to 2048 two blocks share the device, and one is always under way
    rate_hz:     what it is expected to do, at most 5 for two DMAs of 100 ms a block; it sets the pace itself
    deadline_s:  of one DMA, while the guest runs; an emulated bench under load needed 6 s for one
    bdf:         the function as the guest sees it; by default the only edu
    interrupts:  "intx", by uio_pci_generic; or "msi", by VFIO in a guest with an IOMMU of its own

    Guarantees of `running`:
      - the device reads guest memory and writes it by DMA, one after the other without a break;
      - each block begun is a row in <name>.copy.sent, stamped just before its first DMA, each that came back
        a row in <name>.copy.received, stamped when its last DMA had ended and said so by an interrupt;
        `good` is 1 if every bit was right, and if not an event load.anomaly says what was wrong: damaged,
        torn, stale (another block's content), not-written, or overrun (bytes behind the block changed);
      - the interrupts are of the kind asked for, waited for, never polled. A DMA without one by its deadline
        is load.anomaly no-interrupt, with `done` that tells a lost interrupt from a DMA that did not end, and
        with the registers; after a lost interrupt the load goes on, a DMA that does not end is waited for;
      - once it is left nothing is in flight, or `drained` in load.stop says that this could not be had.
    Limits:
      - by msi the device reaches the load's own pages alone, at addresses that are nobody's RAM;
      - by intx a page that the guest's kernel moves under a DMA is no verdict on the device: the DMA is done
        again, `witness.blind` is recorded, and the lab itself may have written to memory of the guest.
    """

    name: str = "edu"
    block_bytes: int = 2048
    seed: int = 1
    deadline_s: float = 10.0
    sizing: str = ""
    bdf: str | None = None
    interrupts: Literal["intx", "msi"] = "intx"
    rate_hz: float = 5.0
    probe_hz: float = 5.0
    kind: ClassVar[str] = "edu"
    streams: ClassVar[tuple[Stream, ...]] = (Stream("copy", "guest", "guest", in_flight=True),)

    def settings(self) -> dict[str, Any]:
        return {
            "block_bytes": self.block_bytes,
            "seed": self.seed,
            "deadline_s": self.deadline_s,
            "bdf": self.bdf,
            "interrupts": self.interrupts,
        }

    def sized(self, capacity_hz: float) -> "DmaEngineLoad":
        """The same load, expected at the rate that was measured: the device is always busy anyway."""
        return share_of(self, capacity_hz, 1.0)

    def running(self, guest: Agent, evidence: Receiver, epoch: Epoch) -> AbstractContextManager[RunningLoad]:
        """See `lab.loads.running.run`."""
        return run(self, guest, evidence, epoch)
