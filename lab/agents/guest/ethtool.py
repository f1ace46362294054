"""The ethtool ioctls the load needs: rings and counters of a network interface.

Source: include/uapi/linux/ethtool.h, sockios.h.
"""

import fcntl
import socket
import struct
from array import array

SIOCETHTOOL, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8946, 0x8913, 0x8914
GET_RING, SET_RING, GET_STRINGS, GET_STATS, GET_SET_SIZES = 0x10, 0x11, 0x1B, 0x1D, 0x37
STRINGS_OF_STATS = 1
NAME_BYTES = 32
IFF_UP = 1
_RING = struct.Struct("9I")
"""cmd, four maxima, then rx, rx_mini, rx_jumbo, tx"""


class Interface:
    """One network interface, by name.

    Every method raises OSError if the driver does not know the request.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def rings(self) -> dict[str, int]:
        """{rx, tx, rx_max, tx_max} in descriptors."""
        _, rx_max, _, _, tx_max, rx, _, _, tx = _RING.unpack(self._ask(_RING.pack(GET_RING, *[0] * 8)))
        return {"rx": rx, "tx": tx, "rx_max": rx_max, "tx_max": tx_max}

    def set_rings(self, blocks: int) -> None:
        """Make both rings as long as asked for, or as long as they can be."""
        fields = list(_RING.unpack(self._ask(_RING.pack(GET_RING, *[0] * 8))))
        fields[0], fields[5], fields[8] = SET_RING, min(blocks, fields[1]), min(blocks, fields[4])
        self._ask(_RING.pack(*fields))

    def statistics(self) -> dict[str, int]:
        """The driver's own counters, by its own names."""
        sizes = self._ask(struct.pack("IIQI", GET_SET_SIZES, 0, 1 << STRINGS_OF_STATS, 0))
        (count,) = struct.unpack_from("I", sizes, 16)
        strings = self._ask(
            struct.pack("III", GET_STRINGS, STRINGS_OF_STATS, count) + bytes(count * NAME_BYTES)
        )
        values = self._ask(struct.pack("II", GET_STATS, count) + bytes(count * 8))
        names = [strings[12 + i * NAME_BYTES :][:NAME_BYTES].split(b"\0")[0].decode() for i in range(count)]
        return dict(zip(names, struct.unpack_from(f"{count}Q", values, 8), strict=True))

    def up(self) -> None:
        request = struct.pack("16sH22x", self.name.encode(), 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(self._socket, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(self._socket, SIOCSIFFLAGS, struct.pack("16sH22x", self.name.encode(), flags | IFF_UP))

    def _ask(self, request: bytes) -> bytes:
        """The request as the driver has filled it in."""
        buffer = array("B", request)
        address, _ = buffer.buffer_info()
        fcntl.ioctl(self._socket, SIOCETHTOOL, struct.pack("16sQ16x", self.name.encode(), address))
        return buffer.tobytes()

    def close(self) -> None:
        self._socket.close()
