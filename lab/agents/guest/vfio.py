"""A PCI function driven from here by the guest's own VFIO: it interrupts by MSI, its DMA is translated.

Source: Linux Documentation/driver-api/vfio.rst; include/uapi/linux/vfio.h, whose structures have
no padding.
"""

import ctypes
import mmap
import os
import struct
from contextlib import ExitStack, suppress
from enum import IntEnum
from fcntl import ioctl
from pathlib import Path
from typing import ClassVar, NamedTuple

from ..rpc import AgentError
from . import pci
from .pci import BUS_MASTER, COMMAND_AT, MEMORY, Bar

DRIVER = "vfio-pci"
VFIO = Path("/dev/vfio")
PAGE_BYTES = mmap.PAGESIZE
FIRST_IOVA = 0xD000_0000
"""Never RAM of a PC: what gets there was translated. Below the doorbell of MSI, which is nobody's to map."""

_GROUP_STATUS = struct.Struct("=II")
_REGION_INFO = struct.Struct("=IIIIQQ")
_IRQ_SET_OF_ONE = struct.Struct("=IIIIIi")
_DMA_MAP = struct.Struct("=IIQQQ")
_DESCRIPTOR = struct.Struct("=i")


def _io(number: int) -> int:
    return ord(";") << 8 | 100 + number


class Request(IntEnum):
    """The ioctls, without the "VFIO_" before their names."""

    SET_IOMMU = _io(2)
    GROUP_GET_STATUS = _io(3)
    GROUP_SET_CONTAINER = _io(4)
    GROUP_GET_DEVICE_FD = _io(6)
    DEVICE_GET_REGION_INFO = _io(8)
    DEVICE_SET_IRQS = _io(10)
    IOMMU_MAP_DMA = _io(13)


TYPE1V2 = 3
VIABLE = 0x1
BAR0, CONFIG = 0, 7
MSI = 1
EVENTFD, TRIGGER = 0x4, 0x20
"""What to do with an interrupt: signal an eventfd when it is triggered."""
READ, WRITE = 0x1, 0x2
CAPABILITIES_AT, MSI_CAPABILITY = 0x34, 0x05
MSI_CONTROL_AT, MSI_ON = 2, 0x1
"""In config space: PCI Local Bus 3.0, 6.7 and 6.8.1."""


class Region(NamedTuple):
    """Where a part of a function lies behind its descriptor, and how long it is."""

    bytes: int
    at: int


class Container:
    """What one set of mappings serves: here the one group of one function. Closed, all mappings are gone."""

    def __init__(self, function: Path) -> None:
        with ExitStack() as undo:
            self._fd = _opened(VFIO / "vfio", undo)
            self._group = _opened(VFIO / _group_of(function), undo)
            status = bytearray(_GROUP_STATUS.pack(_GROUP_STATUS.size, 0))
            _ask(self._group, Request.GROUP_GET_STATUS, status)
            if not _GROUP_STATUS.unpack(status)[1] & VIABLE:
                raise AgentError(f"the IOMMU group of {function.name} has functions with other drivers")
            _ask(self._group, Request.GROUP_SET_CONTAINER, bytearray(_DESCRIPTOR.pack(self._fd)))
            _ask(self._fd, Request.SET_IOMMU, TYPE1V2)
            self._undo = undo.pop_all()

    def device(self, bdf: str) -> int:
        """A descriptor of the function, for the caller to close."""
        return _ask(self._group, Request.GROUP_GET_DEVICE_FD, bytearray(bdf.encode() + b"\0"))

    def map(self, memory: mmap.mmap, iova: int) -> None:
        """Let the function read and write memory at an address of its own; it is pinned from now on."""
        virtual = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        wanted = _DMA_MAP.pack(_DMA_MAP.size, READ | WRITE, virtual, iova, len(memory))
        _ask(self._fd, Request.IOMMU_MAP_DMA, bytearray(wanted))

    def close(self) -> None:
        self._undo.close()


class Page:
    """One page that a container maps, at an address that does not change.

    memory: its bytes
    """

    def __init__(self, container: Container, iova: int) -> None:
        # shared: a private page is copied when the process forks, and ours would be the copy
        self.memory = mmap.mmap(-1, PAGE_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        self._iova = iova
        container.map(self.memory, iova)

    def address(self) -> int:
        """Where the function finds it."""
        return self._iova

    def close(self) -> None:
        """Give it back; the container must be closed, or a DMA could still reach it."""
        self.memory.close()


class Msi:
    """An eventfd that counts interrupts by message until they are looked at."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def taken(self) -> bool:
        """Whether one came, or several, since the last time."""
        try:
            return bool(os.eventfd_read(self._fd))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._fd)


class Function:
    """A function bound to vfio-pci, which may do DMA to its own pages until it is closed.

    bar: its first memory region
    irq: the line of its MSI in /proc/interrupts
    """

    driver: ClassVar[str] = DRIVER

    def __init__(self, path: Path) -> None:
        self.bdf = path.name
        with ExitStack() as undo:
            undo.callback(pci.let_go, path)
            _bind(path)
            self._container = Container(path)
            undo.callback(self._container.close)
            self._device = self._container.device(self.bdf)
            undo.callback(os.close, self._device)
            self._msi = Msi()
            undo.callback(self._msi.close)
            registers = self._region(BAR0)
            self._registers = mmap.mmap(self._device, registers.bytes, offset=registers.at)
            undo.callback(self._registers.close)
            self.bar = Bar(self._registers)
            undo.callback(self.bar.close)
            self._config = self._region(CONFIG)
            self._write(COMMAND_AT, self.command() | MEMORY | BUS_MASTER)
            undo.callback(self._stop)
            self._interrupt_by_message()
            self.irq = _irq(path)
            self._undo = undo.pop_all()
        self._pages = 0

    def pages(self, count: int) -> list[Page]:
        """So many pages that it reaches, and nothing else of the guest's memory."""
        first, self._pages = self._pages, self._pages + count
        return [
            Page(self._container, FIRST_IOVA + number * PAGE_BYTES) for number in range(first, self._pages)
        ]

    def fileno(self) -> int:
        """Readable when an interrupt came."""
        return self._msi.fileno()

    def taken(self) -> bool:
        """Whether an interrupt came since the last time."""
        return self._msi.taken()

    def rearm(self) -> None:
        """A message needs nothing of the kind."""

    def command(self) -> int:
        """The command register in config space."""
        return self._read(COMMAND_AT, 2)

    def close(self) -> None:
        """Stop its DMA, give up all mappings, and let it go without a driver."""
        self._undo.close()

    def _stop(self) -> None:
        """No DMA any more, and no messages.

        The kernel takes the address from a message before it switches messages off; QEMU then says
        "MSI address low 32 bit invalid: 0x0", once, and would not say it again of an update.
        """
        with suppress(OSError):  # the function is gone
            self._write(COMMAND_AT, self.command() & ~BUS_MASTER)
            if messages := self._capability(MSI_CAPABILITY):
                at = messages + MSI_CONTROL_AT
                self._write(at, self._read(at, 2) & ~MSI_ON)

    def _capability(self, wanted: int) -> int:
        """Where a capability is in config space; 0 if there is none."""
        at = self._read(CAPABILITIES_AT, 1)
        while at and self._read(at, 1) != wanted:
            at = self._read(at + 1, 1)
        return at

    def _read(self, at: int, count: int) -> int:
        return int.from_bytes(os.pread(self._device, count, self._config.at + at), "little")

    def _write(self, at: int, value: int) -> None:
        os.pwrite(self._device, value.to_bytes(2, "little"), self._config.at + at)

    def _region(self, index: int) -> Region:
        asked = bytearray(_REGION_INFO.pack(_REGION_INFO.size, 0, index, 0, 0, 0))
        _ask(self._device, Request.DEVICE_GET_REGION_INFO, asked)
        return Region(*_REGION_INFO.unpack(asked)[4:])

    def _interrupt_by_message(self) -> None:
        first, count, fd = 0, 1, self._msi.fileno()
        wanted = _IRQ_SET_OF_ONE.pack(_IRQ_SET_OF_ONE.size, EVENTFD | TRIGGER, MSI, first, count, fd)
        _ask(self._device, Request.DEVICE_SET_IRQS, bytearray(wanted))


def _bind(function: Path) -> None:
    if not (function / "iommu_group").exists():
        raise AgentError(f"{function.name} is in no IOMMU group: VFIO needs a guest with an IOMMU of its own")
    pci.unbind(function)
    pci.bind(function, DRIVER)
    driver = function / "driver"
    if not driver.exists() or driver.resolve().name != DRIVER:
        raise AgentError(f"{DRIVER} did not take {function.name}: has the guest's kernel the driver?")


def _group_of(function: Path) -> str:
    return (function / "iommu_group").resolve().name


def _irq(function: Path) -> int:
    """The line of the one message that was set up."""
    (irq,) = [int(path.name) for path in (function / "msi_irqs").iterdir()]
    return irq


def _ask(fd: int, request: Request, argument: bytearray | int) -> int:
    """An ioctl; it may change a bytearray, and only then does Python give its result back."""
    try:
        return ioctl(fd, request, argument)
    except OSError as error:
        raise AgentError(f"the guest's VFIO refuses VFIO_{request.name}: {error.strerror}") from error


def _opened(path: Path, undo: ExitStack) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    undo.callback(os.close, fd)
    return fd
