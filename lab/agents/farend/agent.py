"""The calls of the far-end agent: the traffic at the other end of a NIC's wire."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..faults import FaultyWire
from ..loop import Loop
from ..mishaps import calls as mishaps
from ..mishaps import freeze
from ..rawsock import RawSocket
from ..rpc import AgentError, Wire
from ..traffic import Traffic


class FarEnd:
    """Sends `to-guest` and checks `from-guest`; see `calls`."""

    def __init__(self, loop: Loop, socket: RawSocket, out: Wire) -> None:
        self._loop, self._socket, self._out = loop, socket, out
        self._wire = FaultyWire(socket, out)
        self._traffic: Traffic | None = None
        self._epoch = 1
        self.calls: dict[str, Callable[..., Any]] = {
            "hello": self.hello,
            "clock": lambda: {"t_ns": time.monotonic_ns()},
            "epoch": self.epoch,
            "listen": self.listen,
            "start": self.start,
            "stop_sending": self.stop_sending,
            "stop": self.stop,
            "counters": lambda: {"far-socket": self._socket.counters()},
            "fault": self._wire.plant,
            "mishap_freeze": lambda seconds: freeze(loop, seconds),
            **mishaps(out),
        }

    def hello(self) -> dict[str, Any]:
        release = Path("/proc/sys/kernel/osrelease").read_text(encoding="ascii").strip()
        return {"kernel": release, "t_ns": time.monotonic_ns()}

    def epoch(self, number: int) -> None:
        """Blocks sent from now on carry it."""
        self._epoch = number
        if self._traffic:
            self._traffic.sender.epoch = number

    def listen(self, seed: int, block_bytes: int, load: str = "nic") -> None:
        """Check what comes from the guest; before the guest sends. load: what its tables are named for."""
        self.stop()
        self._discard_old_frames()
        self._traffic = Traffic(
            self._loop,
            self._wire,
            self._out,
            load=load,
            sends="to-guest",
            receives="from-guest",
            seed=seed,
            block_bytes=block_bytes,
        )
        self._traffic.sender.epoch = self._epoch

    def start(self, rate_hz: float, destination: str, source: str) -> None:
        """Send to the guest; after `listen`, once the guest receives."""
        self._running().start_sending(rate_hz, destination, source)

    def stop_sending(self) -> dict[str, dict[str, Any]]:
        """Send no more, go on receiving; the totals up to now."""
        self._running().sender.stop()
        return self._running().totals()

    def stop(self) -> dict[str, dict[str, Any]]:
        """Stop both directions; the totals, nothing if there was no traffic."""
        if (traffic := self._traffic) is None:
            return {}
        self._traffic = None
        traffic.close()
        return traffic.totals()

    def _running(self) -> Traffic:
        if self._traffic is None:
            raise AgentError("there is no traffic: call listen first")
        return self._traffic

    def _discard_old_frames(self) -> None:
        """Frames of an earlier load that lie in the socket are not of this one."""
        try:
            while True:
                self._socket.recv(1)
        except OSError:
            return
