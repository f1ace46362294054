"""The channels frames go through: a network interface, the datagrams that stand for one, or a stream.

QEMU's `-netdev dgram` over unix sockets puts each Ethernet frame into one datagram.
"""

import contextlib
import socket
import struct
from pathlib import Path
from typing import Protocol

from .sending import Channel

SO_RCVBUFFORCE = 33
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_STATISTICS = 6
PACKET_MR_PROMISC = 1
RECEIVE_BUFFER_BYTES = 32 << 20


class PacketSocket:
    """A raw socket on one interface, which it holds in promiscuous mode.

    It sees frames of one ethertype only, and none that the host itself sends.
    Source: packet(7).
    """

    def __init__(self, interface: str, ethertype: int) -> None:
        # protocol 0 until bound: nothing of other interfaces gets in
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        self._socket.bind((interface, ethertype))
        request = struct.pack("iHH8s", socket.if_nametoindex(interface), PACKET_MR_PROMISC, 0, b"")
        self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
        self.send, self.recv, self.fileno = self._socket.send, self._socket.recv, self._socket.fileno
        self._frames = self._drops = 0

    def counters(self) -> dict[str, int]:
        """{frames, drops} since the socket was opened; the kernel forgets them at each reading."""
        frames, drops = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self._frames, self._drops = self._frames + frames, self._drops + drops
        return {"frames": self._frames, "drops": self._drops}

    def close(self) -> None:
        self._socket.close()


class UnixWire:
    """One end of a wire made of two unix datagram sockets.

    local, remote: paths; `remote` need not be there yet, `send` raises FileNotFoundError or
                   ConnectionRefusedError until it is
    """

    def __init__(self, local: str, remote: str) -> None:
        Path(local).unlink(missing_ok=True)  # of an earlier, killed process
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
            with contextlib.suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER_BYTES)
                break
        self._socket.bind(local)
        self._remote = remote
        self.recv, self.fileno = self._socket.recv, self._socket.fileno

    def send(self, frame: bytes) -> int:
        # not connected: the other side may come and go
        return self._socket.sendto(frame, self._remote)

    def counters(self) -> dict[str, int]:
        """Nothing: a unix socket makes its sender wait, it drops nothing."""
        return {}

    def close(self) -> None:
        self._socket.close()


class RawSocket(Channel, Protocol):
    """A channel as the agents open and close it."""

    def counters(self) -> dict[str, int]:
        """What it counted since it was opened."""

    def close(self) -> None: ...


KINDS = "unix:LOCAL:REMOTE, packet:INTERFACE, vsock:CID:PORT or vsock-listen:PORT"


def opened(wire: str, ethertype: int) -> RawSocket:
    """A channel by its description, see KINDS; stream:PATH and stream-listen:PATH are for tests.

    Raises:
        ValueError: if it is none of them.
    """
    kind, _, rest = wire.partition(":")
    if kind == "unix" and rest.count(":") == 1:
        return UnixWire(*rest.split(":"))
    if kind == "packet" and rest:
        return PacketSocket(rest, ethertype)
    if kind in ("vsock", "vsock-listen", "stream", "stream-listen") and rest:
        # imported when asked for: each import costs the guest tens of milliseconds under emulation
        from .streamwire import stream_wire

        return stream_wire(kind, rest)
    raise ValueError(f"{wire!r} is no wire: give {KINDS}")
