"""The guest's agent drives a function by VFIO as the kernel's interface wants it.

Claim: each request has the number and the structure of include/uapi/linux/vfio.h; what is mapped is what
was asked for; a function that cannot be had is refused in one line and given back.
(`lab/agents/guest/vfio.py`, on a kernel that reads every structure as C would; the real one is on the
virtual bench.)
"""

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.agents.guest import pci, vfio
from lab.agents.rpc import AgentError

BDF = "0000:00:10.0"
BAR_AT, BAR_BYTES = 0x1000, 0x100000
CONFIG_AT, PM_AT, MSI_AT = 0x200000, 0x40, 0x50
U32, U64 = ctypes.c_uint32, ctypes.c_uint64


class GroupStatus(ctypes.Structure):
    _fields_ = [("argsz", U32), ("flags", U32)]


class RegionInfo(ctypes.Structure):
    _fields_ = [
        ("argsz", U32),
        ("flags", U32),
        ("index", U32),
        ("cap_offset", U32),
        ("size", U64),
        ("offset", U64),
    ]


class IrqSetOfOne(ctypes.Structure):
    """struct vfio_irq_set, with one eventfd in its `data`."""

    _fields_ = [
        ("argsz", U32),
        ("flags", U32),
        ("index", U32),
        ("start", U32),
        ("count", U32),
        ("data", ctypes.c_int32),
    ]


class DmaMap(ctypes.Structure):
    _fields_ = [("argsz", U32), ("flags", U32), ("vaddr", U64), ("iova", U64), ("size", U64)]


class Kernel:
    """Stands for the guest's VFIO: answers its requests, and remembers what they wanted.

    refused: the request that fails
    """

    def __init__(self, device: Path) -> None:
        self.device = device
        self.viable = True
        self.refused: int | None = None
        self.asked: list[int] = []
        self.mapped: list[tuple[int, int, int, int]] = []
        self.eventfd = self.device_fd = -1

    def ioctl(self, fd: int, request: int, argument: "bytearray | int" = 0) -> int:
        os.fstat(fd)  # it is open
        self.asked.append(request)
        if request == self.refused:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        by_number: dict[int, Callable[[bytearray], int]] = {
            0x3B67: self._group_status,
            0x3B68: self._set_container,
            0x3B6A: self._device_fd,
            0x3B6C: self._region_info,
            0x3B6E: self._set_irqs,
            0x3B71: self._map,
        }
        if request == 0x3B66:
            assert argument == 3, "type1v2 is the one that maps and unmaps what was asked for"
            return 0
        assert isinstance(argument, bytearray)
        return by_number[request](argument)

    def _group_status(self, argument: bytearray) -> int:
        status = GroupStatus.from_buffer(argument)
        assert status.argsz == ctypes.sizeof(status) == len(argument)
        status.flags = int(self.viable)
        return 0

    def _set_container(self, argument: bytearray) -> int:
        os.fstat(ctypes.c_int32.from_buffer(argument).value)
        return 0

    def _device_fd(self, argument: bytearray) -> int:
        assert argument == BDF.encode() + b"\0"
        self.device_fd = os.open(self.device, os.O_RDWR)
        return self.device_fd

    def _region_info(self, argument: bytearray) -> int:
        region = RegionInfo.from_buffer(argument)
        assert region.argsz == ctypes.sizeof(region) == len(argument)
        region.offset, region.size = {0: (BAR_AT, BAR_BYTES), 7: (CONFIG_AT, 256)}[region.index]
        return 0

    def _set_irqs(self, argument: bytearray) -> int:
        wanted = IrqSetOfOne.from_buffer(argument)
        assert wanted.argsz == ctypes.sizeof(wanted) == len(argument)
        assert (wanted.flags, wanted.index, wanted.start, wanted.count) == (0x24, 1, 0, 1)
        self.eventfd = wanted.data
        os.pwrite(self.device_fd, b"\x81", CONFIG_AT + MSI_AT + 2)
        return 0

    def _map(self, argument: bytearray) -> int:
        wanted = DmaMap.from_buffer(argument)
        assert wanted.argsz == ctypes.sizeof(wanted) == len(argument)
        self.mapped.append((wanted.flags, wanted.vaddr, wanted.iova, wanted.size))
        return 0


class Guest:
    """A guest with one function in group 4, whose sysfs the kernel above fills."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = root / BDF
        group = root / "iommu_groups" / "4"
        drivers = root / "drivers" / "vfio-pci"
        for folder in (self.path / "msi_irqs" / "26", group, drivers, root / "dev"):
            folder.mkdir(parents=True)
        for name in ("vfio", "4"):
            (root / "dev" / name).touch()
        for name in ("drivers_probe", "drivers/vfio-pci/unbind"):
            (root / name).touch()
        (self.path / "iommu_group").symlink_to(group)
        (self.path / "driver").symlink_to(drivers)
        device = root / "device"
        config = bytearray(256)
        config[0x34], config[PM_AT : PM_AT + 2], config[MSI_AT : MSI_AT + 3] = PM_AT, b"\1\x50", b"\5\0\x80"
        device.write_bytes(bytes(CONFIG_AT) + config)
        self.kernel = Kernel(device)
        monkeypatch.setattr(vfio, "ioctl", self.kernel.ioctl)
        monkeypatch.setattr(vfio, "VFIO", root / "dev")
        monkeypatch.setattr(pci, "PCI", root)

    def bytes(self, at: int, count: int) -> bytes:
        return self.kernel.device.read_bytes()[at : at + count]

    @property
    def given_back(self) -> bool:
        return (self.path / "driver_override").read_text() == "\n"


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    return Guest(tmp_path, monkeypatch)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_requests_have_the_numbers_of_the_kernels_header() -> None:
    """_IO(';', 100 + n); a wrong one would be asked of another driver in another life."""
    assert {request.name: request.value for request in vfio.Request} == {
        "SET_IOMMU": 0x3B66,
        "GROUP_GET_STATUS": 0x3B67,
        "GROUP_SET_CONTAINER": 0x3B68,
        "GROUP_GET_DEVICE_FD": 0x3B6A,
        "DEVICE_GET_REGION_INFO": 0x3B6C,
        "DEVICE_SET_IRQS": 0x3B6E,
        "IOMMU_MAP_DMA": 0x3B71,
    }


def test_function_is_opened_driven_and_given_back(guest: Guest) -> None:
    before = open_files()
    function = vfio.Function(guest.path)
    assert (function.bdf, function.driver, function.irq) == (BDF, "vfio-pci", 26)
    assert (guest.path / "driver_override").read_text() == "vfio-pci"
    assert function.command() == pci.MEMORY | pci.BUS_MASTER
    assert guest.bytes(CONFIG_AT + 4, 2) == b"\x06\0"
    function.bar.set_u32(0x04, 0x11223344)
    assert guest.bytes(BAR_AT + 4, 4) == bytes.fromhex("44332211")
    assert guest.bytes(CONFIG_AT + MSI_AT, 4) == b"\5\0\x81\0"
    function.close()
    assert guest.bytes(CONFIG_AT + 4, 2) == b"\x02\0", "it may do DMA no more"
    assert guest.bytes(CONFIG_AT + MSI_AT, 4) == b"\5\0\x80\0", "and send no message"
    assert guest.given_back
    assert open_files() <= before  # what other tests left may be closed meanwhile


def test_interrupts_are_those_of_the_eventfd(guest: Guest) -> None:
    function = vfio.Function(guest.path)
    assert function.fileno() == guest.kernel.eventfd
    assert not function.taken()
    os.eventfd_write(guest.kernel.eventfd, 1)
    os.eventfd_write(guest.kernel.eventfd, 1)
    function.rearm()
    assert function.taken()
    assert not function.taken()
    function.close()


def test_each_page_is_mapped_once_where_it_says(guest: Guest) -> None:
    function = vfio.Function(guest.path)
    pages = [*function.pages(2), *function.pages(1)]
    iovas = [page.address() for page in pages]
    assert iovas == [vfio.FIRST_IOVA + number * 4096 for number in range(3)]
    assert max(iovas) + 4096 <= 0xFEE0_0000, "the doorbell of MSI"
    for page, (flags, virtual, iova, size) in zip(pages, guest.kernel.mapped, strict=True):
        assert (flags, iova, size) == (0x3, page.address(), 4096)
        page.memory[:4] = b"edu!"
        assert ctypes.string_at(virtual, 4) == b"edu!"
    function.close()
    for page in pages:
        page.close()


@pytest.mark.parametrize("request_", list(vfio.Request)[:-1], ids=lambda request: request.name)
def test_refusal_is_one_line_and_leaves_nothing_behind(guest: Guest, request_: vfio.Request) -> None:
    guest.kernel.refused = request_
    before = open_files()
    with pytest.raises(AgentError, match=f"VFIO refuses VFIO_{request_.name}: Invalid argument"):
        vfio.Function(guest.path)
    assert guest.kernel.asked[-1] == request_
    assert guest.given_back
    assert open_files() <= before  # what other tests left may be closed meanwhile


def test_group_shared_with_another_driver_is_refused(guest: Guest) -> None:
    guest.kernel.viable = False
    with pytest.raises(AgentError, match=f"the IOMMU group of {BDF} has functions with other drivers"):
        vfio.Function(guest.path)
    assert guest.given_back


def test_guest_without_an_iommu_is_refused(guest: Guest) -> None:
    (guest.path / "iommu_group").unlink()
    with pytest.raises(AgentError, match=f"{BDF} is in no IOMMU group: .* IOMMU of its own"):
        vfio.Function(guest.path)
    assert guest.kernel.asked == []


def test_driver_that_does_not_take_the_function_is_told(guest: Guest) -> None:
    (guest.path / "driver").unlink()
    with pytest.raises(AgentError, match=f"vfio-pci did not take {BDF}"):
        vfio.Function(guest.path)
    assert guest.given_back
