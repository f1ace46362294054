"""The NIC load: numbered frames in both directions, every bit checked at both ends.

`NicLoad` is for whatever carries frames between the guest and a far end: a cable, a tap, a vsock.
`LoopLoad` is for a device that gives back what it is sent.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from lab.errors import BenchError
from lab.link import Receiver
from lab.loads import Agent, Epoch, Stream
from lab.loads.running import FarSide, Running, metered, run
from lab.loads.sizing import passed, ring_bound, share_of

FAR_MAC = "02:63:70:72:00:01"
"""The far end's own address: locally administered, "cpr" in ASCII."""

LINK_TIMEOUT_S = 60.0
"""A NIC negotiates its link for some seconds; under nested virtualization for many."""


class FarEnd(FarSide):
    """The far-end agent of a wire."""

    def __init__(self, link: Agent) -> None:
        self._link = link

    def listen(self, load: "NicLoad") -> None:
        self._link.call("listen", load=load.name, seed=load.seed, block_bytes=load.block_bytes)

    def send(self, rate_hz: float, to: str) -> None:
        self._link.call("start", rate_hz=rate_hz, destination=to, source=FAR_MAC)

    def counters(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = self._link.call("counters")
        return found

    def stop_sending(self) -> None:
        self._link.call("stop_sending")

    def stop(self) -> Mapping[str, Mapping[str, Any]]:
        totals: dict[str, dict[str, Any]] = self._link.call("stop")
        return totals


@dataclass(frozen=True)
class NicLoad:
    """Sends frames to the guest and from it at the same time, and checks what arrives.

    Block `seq` holds content that only block `seq` of this seed has, so a lost, repeated, torn or
    stale block is known from what arrived alone, whatever the device reports.

    far:         link to the far-end agent of the wire
    far_clock:   the name of its clock on the timeline
    block_bytes: one frame, Ethernet header included. From 512 on Linux takes its buffer from a slab
                 that never straddles two pages: QEMU's igb drops a frame that does, unsaid, when an
                 IOMMU puts the two pages apart (11.1.3, net_tx_pkt_add_raw_fragment_pci)
    rate_hz:     frames per second in each direction
    ring_blocks: asked of the guest's driver for both rings; it gives what it has
    sizing:      the sentence that says why this rate
    bdf:         the function as the guest sees it; by default its first NIC
    wire:        in place of a NIC what the guest opens itself, as "vsock:2:1024"

    Guarantees of `running`:
      - the device writes guest memory (to-guest) and reads it (from-guest) all the time;
      - every block the wire or the NIC took is a row in <name>.<stream>.sent {seq, epoch, t_ns, good}, every
        one that arrived is a row in <name>.<stream>.received, stamped by the clock of the side that saw it;
        `good` is 1 if every bit was right, and if not an event load.anomaly says what was wrong;
      - a sender that falls behind leaves blocks out and says so, it never floods the ring;
      - once it is left nothing is in flight, no row is missing, and all drop counters are recorded,
        or load.unreachable and `drained` in load.stop say that this could not be had.
    """

    far: Agent
    name: str = "nic"
    far_clock: str = "far"
    block_bytes: int = 768
    rate_hz: float = 500.0
    ring_blocks: int = 4096
    expected_pause_s: float = 4.0
    seed: int = 1
    sizing: str = ""
    bdf: str | None = None
    wire: str = ""
    probe_hz: float = 600.0
    kind: ClassVar[str] = "nic"

    @property
    def streams(self) -> tuple[Stream, ...]:
        return (Stream("to-guest", self.far_clock, "guest"), Stream("from-guest", "guest", self.far_clock))

    def sized(self, capacity_hz: float) -> "NicLoad":
        """The same load at a rate that guest and ring can bear through the expected pause."""
        found = ring_bound(
            capacity_hz=capacity_hz, ring_blocks=self.ring_blocks, expected_pause_s=self.expected_pause_s
        )
        explained = f"{found.explanation}; the capacity is {passed(self, capacity_hz)}"
        return replace(self, rate_hz=found.rate_hz, sizing=explained)

    def settings(self) -> dict[str, Any]:
        return {
            "sends": "from-guest",
            "receives": "to-guest",
            "rate_hz": self.rate_hz,
            "block_bytes": self.block_bytes,
            "seed": self.seed,
            "peer": FAR_MAC,
            "ring_blocks": self.ring_blocks,
            "bdf": self.bdf,
            "wire": self.wire,
        }

    @contextmanager
    def running(self, guest: Agent, evidence: Receiver, epoch: Epoch) -> Iterator[Running]:
        """Run the load while the context is open.

        Raises:
            BenchError: it could not be started. Once it runs, nothing the guest does raises.
        """
        end = FarEnd(self.far)
        with metered(self, evidence, epoch, guest, (self.far, end)) as running:
            end.listen(self)
            facts = running.guest.start()
            running.tell_start(self._facts(facts))
            if not running.wait_for_first("from-guest", LINK_TIMEOUT_S):
                raise BenchError(
                    f"{facts['name']} in the guest had no link within {LINK_TIMEOUT_S:g} s; "
                    "see the guest's log and the wire of the NIC"
                )
            end.send(self.rate_hz, facts["mac"])
            yield running

    def _facts(self, interface: dict[str, Any]) -> dict[str, Any]:
        return {
            # what the driver really has explains a loss, not what was asked for
            "ring_blocks": interface["rings"].get("rx") or self.ring_blocks,
            "ring_blocks_asked": self.ring_blocks,
            "expected_pause_s": self.expected_pause_s,
            "interface": interface,
        }


@dataclass(frozen=True)
class LoopLoad:
    """Sends frames to a device that gives each of them back, and checks what comes.

    Settings and guarantees are NicLoad's, with the one stream "loop" that begins and ends in the
    guest: what happens while the guest is paused is seen by nobody.
    """

    name: str = "loop"
    block_bytes: int = 768
    rate_hz: float = 500.0
    seed: int = 1
    sizing: str = ""
    bdf: str | None = None
    probe_hz: float = 600.0
    kind: ClassVar[str] = "nic"
    streams: ClassVar[tuple[Stream, ...]] = (Stream("loop", "guest", "guest"),)

    def settings(self) -> dict[str, Any]:
        return {
            "sends": "loop",
            "receives": "loop",
            "rate_hz": self.rate_hz,
            "block_bytes": self.block_bytes,
            "seed": self.seed,
            "bdf": self.bdf,
        }

    def sized(self, capacity_hz: float) -> "LoopLoad":
        return share_of(self, capacity_hz, 0.25)

    def running(self, guest: Agent, evidence: Receiver, epoch: Epoch) -> AbstractContextManager[Running]:
        """See `lab.loads.running.run`."""
        return run(self, guest, evidence, epoch)
