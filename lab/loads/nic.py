"""The NIC load: numbered frames in both directions, every bit checked at both ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lab.errors import BenchError, SutError
from lab.link import Receiver
from lab.loads import Agent, Epoch
from lab.loads.meter import BlockCounts, Meter
from lab.loads.nic_running import LOAD, STREAMS, RunningNicLoad
from lab.loads.sizing import Sizing

FAR_MAC = "02:63:70:72:00:01"
"""The far end's own address: locally administered, "cpr" in ASCII."""

LINK_TIMEOUT_S = 60.0
"""A NIC negotiates its link for some seconds; under nested virtualization for many."""


@dataclass(frozen=True)
class NicLoad:
    """Sends frames to the guest and from it at the same time, and checks what arrives.

    Block `seq` holds content that only block `seq` of this seed has, so a lost, repeated, torn or
    stale block is known from what arrived alone, whatever the device reports.

    block_bytes: one frame, Ethernet header included. From 512 on Linux takes its buffer from a slab
                 that never straddles two pages: QEMU's igb drops a frame that does, unsaid, when an
                 IOMMU puts the two pages apart (11.1.3, net_tx_pkt_add_raw_fragment_pci)
    rate_hz:     frames per second in each direction
    ring_blocks: asked of the guest's driver for both rings; it gives what it has
    sizing:      the sentence that says why this rate
    bdf:         the function as the guest sees it; by default its first NIC

    Guarantees of `running`:
      - the device writes guest memory (to-guest) and reads it (from-guest) all the time;
      - every block the wire or the NIC took is a row in nic.<stream>.sent {seq, epoch, t_ns, good}, every
        one that arrived is a row in nic.<stream>.received, stamped by the clock of the side that saw it;
        `good` is 1 if every bit was right, and if not an event load.anomaly says what was wrong;
      - a sender that falls behind leaves blocks out and says so, it never floods the ring;
      - once it is left nothing is in flight, no row is missing, and all drop counters are recorded,
        or load.unreachable and `drained` in load.stop say that this could not be had.
    """

    block_bytes: int = 768
    rate_hz: float = 500.0
    ring_blocks: int = 4096
    expected_pause_s: float = 4.0
    seed: int = 1
    sizing: str = ""
    bdf: str | None = None

    def sized(self, sizing: Sizing) -> "NicLoad":
        """The same load at a computed rate."""
        return replace(
            self,
            rate_hz=sizing.rate_hz,
            ring_blocks=sizing.ring_blocks,
            expected_pause_s=sizing.expected_pause_s,
            sizing=sizing.explanation,
        )

    @contextmanager
    def running(self, guest: Agent, far: Agent, evidence: Receiver, epoch: Epoch) -> Iterator[RunningNicLoad]:
        """Run the load while the context is open.

        While it runs the links' receivers are the load's; they pass everything on.

        Raises:
            BenchError: it could not be started. Once it runs, nothing the guest does raises.
        """
        counts, before = BlockCounts(), (guest.receiver, far.receiver)
        for link in (guest, far):
            link.receiver = Meter(counts, LOAD, link.receiver or evidence)
        load = RunningNicLoad(guest, far, evidence, epoch, counts, self.block_bytes)
        try:
            try:
                self._start(load)
                yield load
            finally:
                load.finish()
        finally:
            guest.receiver, far.receiver = before

    def _start(self, load: RunningNicLoad) -> None:
        load.far.call("listen", seed=self.seed, block_bytes=self.block_bytes)
        try:
            interface = load.guest.call(
                "nic_start",
                timeout_s=60.0,
                rate_hz=self.rate_hz,
                block_bytes=self.block_bytes,
                seed=self.seed,
                peer=FAR_MAC,
                ring_blocks=self.ring_blocks,
                bdf=self.bdf,
            )
        except SutError as error:
            raise BenchError(f"the guest did not start its load: {error}") from error
        self._tell_start(load, interface)
        load.record_counters("start")
        if not load.wait_for_link(LINK_TIMEOUT_S):
            raise BenchError(
                f"{interface['name']} in the guest had no link within {LINK_TIMEOUT_S:g} s; "
                "see the guest's log and the wire of the NIC"
            )
        load.far.call("start", rate_hz=self.rate_hz, destination=interface["mac"], source=FAR_MAC)

    def _tell_start(self, load: RunningNicLoad, interface: dict[str, Any]) -> None:
        data = {
            "load": LOAD,
            "streams": list(STREAMS),
            "rate_hz": self.rate_hz,
            "block_bytes": self.block_bytes,
            # what the driver really has explains a loss, not what was asked for
            "ring_blocks": interface["rings"].get("rx") or self.ring_blocks,
            "ring_blocks_asked": self.ring_blocks,
            "expected_pause_s": self.expected_pause_s,
            "seed": self.seed,
            "sizing": self.sizing,
            "interface": interface,
        }
        load.evidence.event("load.start", data)
