"""A graphics card by DRM ioctls: modes, dumb buffers, page flips.

Source: Linux include/uapi/drm/drm.h and drm_mode.h. The kernel copies what a driver needs; for
virtio-gpu a flip has the device read the whole buffer by DMA before it is shown.
"""

import os
import re
from array import array
from collections.abc import Iterator
from fcntl import ioctl
from mmap import mmap
from pathlib import Path
from struct import Struct
from typing import NamedTuple

CLASS = Path("/sys/class/drm")
DEV = Path("/dev/dri")
_BDF = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")

_RESOURCES = Struct("<4Q8I")  # addresses: fbs, crtcs, connectors, encoders; their counts; sizes
_CONNECTOR = Struct("<4Q12I")  # addresses: encoders, modes, properties, values; counts; ids; state
_ENCODER = Struct("<5I")  # id, type, crtc, possible crtcs, possible clones
_MODE = Struct("<I5H5H3I32s")
_CRTC = Struct(f"<Q7I{_MODE.size}s")  # address of connectors, count, crtc, fb, x, y, gamma, valid, mode
_FRAMEBUFFER = Struct("<7I")  # id, width, height, pitch, bits a pixel, depth, handle
_FLIP = Struct("<4IQ")  # crtc, fb, flags, reserved, user data
_CREATE = Struct("<6IQ")  # height, width, bits a pixel, flags, handle, pitch, size
_MAP = Struct("<2IQ")  # handle, pad, offset
_EVENT = Struct("<2I")  # type, length

_SET_MASTER = 0x641E
_CONNECTED = 1
_FLIP_EVENT, _FLIP_COMPLETE = 1, 2
_BITS, _DEPTH = 32, 24  # XRGB8888


def _iowr(number: int, struct: Struct) -> int:
    return 0xC0006400 | struct.size << 16 | number


class Found(NamedTuple):
    """A card of this machine: /dev/dri/NAME."""

    name: str
    bdf: str
    driver: str


def cards() -> list[Found]:
    """All cards, by name; `bdf` is "" for what is no PCI device."""
    found = []
    for path in sorted(CLASS.glob("card[0-9]")):
        device = (path / "device").resolve()
        # behind virtio-pci a card hangs on the function itself, or on the virtio device below it
        at = [part for part in device.parts if _BDF.fullmatch(part)]
        driver = device / "driver"
        found.append(Found(path.name, at[-1] if at else "", driver.resolve().name if driver.exists() else ""))
    return found


class Mode(NamedTuple):
    """A mode of a connector; `raw` is the kernel's own form."""

    width: int
    height: int
    raw: bytes


class Output(NamedTuple):
    """A connector with a display, and what feeds it."""

    connector: int
    crtc: int
    modes: list[Mode]


class Buffer(NamedTuple):
    """A picture in memory that the card can show; write to `memory`."""

    framebuffer: int
    pitch: int
    memory: mmap


class Card:
    """A card whose master we are, from `__init__` to `close`. OSError whenever the kernel refuses."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._buffers: list[Buffer] = []
        try:
            ioctl(self._fd, _SET_MASTER, 0)
        except OSError:
            os.close(self._fd)
            raise

    def fileno(self) -> int:
        """Readable when a flip is complete."""
        return self._fd

    def outputs(self) -> Iterator[Output]:
        """Connectors with a display."""
        crtc_count, connector_count = self._ask(0xA0, _RESOURCES)[5:7]
        crtcs, connectors = _numbers(crtc_count), _numbers(connector_count)
        addresses = (0, _address(crtcs), _address(connectors), 0)
        self._ask(0xA0, _RESOURCES, *addresses, 0, crtc_count, connector_count)
        for connector in connectors:
            modes, encoders, connected = self._connector(connector)
            if connected and (crtc := self._crtc(crtcs, encoders)):
                yield Output(connector, crtc, modes)

    def buffer(self, width: int, height: int) -> Buffer:
        """A new buffer."""
        *_, handle, pitch, size = self._ask(0xB2, _CREATE, height, width, _BITS)
        offset = self._ask(0xB3, _MAP, handle)[2]
        framebuffer = self._ask(0xAE, _FRAMEBUFFER, 0, width, height, pitch, _BITS, _DEPTH, handle)[0]
        made = Buffer(framebuffer, pitch, mmap(self._fd, size, offset=offset))
        self._buffers.append(made)
        return made

    def show(self, output: Output, mode: Mode, buffer: Buffer) -> None:
        """Set a mode and show a buffer; returns when the card was told."""
        connectors = array("I", [output.connector])
        numbers = (1, output.crtc, buffer.framebuffer, 0, 0, 0, 1)
        self._ask(0xA2, _CRTC, _address(connectors), *numbers, mode.raw)

    def flip(self, output: Output, buffer: Buffer) -> None:
        """Show another buffer from the next picture on; `flipped` tells when that is."""
        self._ask(0xB0, _FLIP, output.crtc, buffer.framebuffer, _FLIP_EVENT)

    def flipped(self) -> int:
        """How many flips were completed since it was asked last."""
        try:
            events = os.read(self._fd, 4096)
        except BlockingIOError:
            return 0
        at = flips = 0
        while at < len(events):
            kind, length = _EVENT.unpack_from(events, at)
            flips += kind == _FLIP_COMPLETE
            at += length
        return flips

    def close(self) -> None:
        """Show nothing any more, and let the card go."""
        for buffer in self._buffers:
            buffer.memory.close()  # a mapping holds the card, too
        os.close(self._fd)

    def _connector(self, connector: int) -> tuple[list[Mode], "array[int]", bool]:
        """Its modes, its encoders, and whether a display hangs on it."""
        asked = (*[0] * 8, connector)
        # asked for no modes, the kernel looks what the display can do
        *_, mode_count, _, encoder_count, _, _, _, _, state, _, _, _, _ = self._ask(0xA7, _CONNECTOR, *asked)
        encoders, modes = _numbers(encoder_count), array("B", bytes(_MODE.size * mode_count))
        counts = (mode_count, 0, encoder_count, 0, connector)
        self._ask(0xA7, _CONNECTOR, _address(encoders), _address(modes), 0, 0, *counts)
        raw = modes.tobytes()
        return (
            [_mode(raw[at : at + _MODE.size]) for at in range(0, len(raw), _MODE.size)],
            encoders,
            (state == _CONNECTED),
        )

    def _crtc(self, crtcs: "array[int]", encoders: "array[int]") -> int:
        """The first that can feed one of these encoders; 0 if none can."""
        for encoder in encoders:
            possible = self._ask(0xA6, _ENCODER, encoder)[3]
            for position, crtc in enumerate(crtcs):
                if possible >> position & 1:
                    return crtc
        return 0

    def _ask(self, number: int, struct: Struct, *values: "int | bytes") -> tuple[int, ...]:
        """An ioctl with these values, zeros for the others; what the kernel made of them."""
        fields = len(struct.unpack(bytes(struct.size)))
        data = bytearray(struct.pack(*values, *[0] * (fields - len(values))))
        ioctl(self._fd, _iowr(number, struct), data)
        return struct.unpack(data)


def _numbers(count: int) -> "array[int]":
    return array("I", bytes(4 * count))


def _address(numbers: "array[int]") -> int:
    """Where they are, for the kernel to write to; valid as long as somebody holds them."""
    return numbers.buffer_info()[0]


def _mode(raw: bytes) -> Mode:
    fields = _MODE.unpack(raw)
    return Mode(fields[1], fields[6], raw)
