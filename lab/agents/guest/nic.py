"""The guest's end of the NIC load."""

from contextlib import suppress
from typing import Any

from ..faults import FaultyWire
from ..frames import ETHERTYPE
from ..loop import Loop
from ..rawsock import RawSocket, opened
from ..rpc import AgentError, Wire
from ..traffic import Traffic
from .ethtool import Interface
from .interfaces import chosen, described, has_carrier, statistics


class Nic:
    """Sends one stream over a network interface and checks the other; or both are one that loops back."""

    def __init__(self, loop: Loop, out: Wire, load: str, epoch: int) -> None:
        self._loop, self._out, self._load, self._epoch = loop, out, load, epoch
        self._name = ""
        self._socket: RawSocket | None = None
        self._traffic: Traffic | None = None
        self._faulty: FaultyWire | None = None

    def epoch(self, number: int) -> None:
        """Blocks sent from now on carry it."""
        self._epoch = number
        if self._traffic:
            self._traffic.sender.epoch = number

    def start(
        self,
        *,
        sends: str,
        receives: str,
        rate_hz: float,
        block_bytes: int,
        seed: int,
        peer: str | None = None,
        ring_blocks: int | None = None,
        bdf: str | None = None,
        wire: str = "",
    ) -> dict[str, Any]:
        """Receive at once, send as soon as the link is up; {name, driver, bdf, mac, rings}.

        peer: MAC address of the far end; by default the interface's own
        wire: in place of a network interface, see rawsock.opened
        """
        facts = self._bare(wire) if wire else self._open(chosen(None, bdf), ring_blocks)
        assert self._socket is not None
        # where there is a far end, faults are planted there
        self._faulty = FaultyWire(self._socket, self._out) if sends == receives else None
        self._traffic = Traffic(
            self._loop,
            self._faulty or self._socket,
            self._out,
            load=self._load,
            sends=sends,
            receives=receives,
            seed=seed,
            block_bytes=block_bytes,
        )
        self._traffic.sender.epoch = self._epoch
        self._traffic.start_sending(rate_hz, peer or facts["mac"], facts["mac"], self._link_up)
        return facts

    def stop_sending(self) -> dict[str, dict[str, Any]]:
        """Send no more, go on receiving; the totals up to now."""
        if self._traffic is None:
            raise AgentError(f"the load {self._load} does not run")
        self._traffic.sender.stop()
        return self._traffic.totals()

    def stop(self) -> dict[str, dict[str, Any]]:
        """Stop both directions; the totals, nothing if there was no traffic."""
        totals: dict[str, dict[str, Any]] = {}
        if self._traffic:
            self._traffic.close()
            totals = self._traffic.totals()
        if self._socket:
            self._socket.close()
        self._traffic = self._socket = None
        return totals

    def counters(self) -> dict[str, dict[str, int]]:
        """Counters by layer: guest-nic (driver), guest-iface (kernel), guest-socket."""
        counters = {"guest-socket": self._socket.counters()} if self._socket else {}
        if self._name:
            counters["guest-iface"] = statistics(self._name)
            interface = Interface(self._name)
            with suppress(OSError):  # a driver without counters of its own
                counters["guest-nic"] = interface.statistics()
            interface.close()
        return counters

    def fault(self, kind: str) -> None:
        """Do this to the next frame on its way to the device: see faults.FaultyWire."""
        if self._faulty is None:
            raise AgentError(f"the wire of {self._load} has a far end: plant {kind!r} there")
        self._faulty.plant(kind)

    def _open(self, name: str, ring_blocks: int | None) -> dict[str, Any]:
        interface, rings = Interface(name), {}
        if ring_blocks is not None:
            with suppress(OSError):  # a driver without rings to set: what it has is in the evidence
                # before the link is up: igb resets itself to change its rings
                interface.set_rings(ring_blocks)
        with suppress(OSError):
            rings = interface.rings()
        interface.up()
        interface.close()
        self._name, self._socket = name, opened(f"packet:{name}", ETHERTYPE)
        return described(name) | {"rings": rings}

    def _bare(self, wire: str) -> dict[str, Any]:
        self._socket = opened(wire, ETHERTYPE)
        return {"name": wire, "driver": "", "bdf": "", "mac": "02:00:00:00:00:01", "rings": {}}

    def _link_up(self) -> bool:
        return not self._name or has_carrier(self._name)
