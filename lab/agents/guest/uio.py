"""A PCI function driven from here: its interrupt by uio_pci_generic, its registers by sysfs.

Source: Linux Documentation/driver-api/uio-howto.rst, "Generic PCI UIO driver";
Documentation/PCI/sysfs-pci.rst.
"""

import mmap
import os
from contextlib import suppress
from pathlib import Path

from ..rpc import AgentError

DRIVER = "uio_pci_generic"
PCI = Path("/sys/bus/pci")
DEV = Path("/dev")
INTERRUPTS = Path("/proc/interrupts")
COMMAND_AT = 4
MEMORY, BUS_MASTER, INTX_OFF = 0x2, 0x4, 0x400
"""Bits of the command register in config space."""


class Bar:
    """Registers in memory; each access has exactly the width it says, as a device tells 4 bytes from 8."""

    def __init__(self, memory: "mmap.mmap | bytearray") -> None:
        self._u32, self._u64 = memoryview(memory).cast("I"), memoryview(memory).cast("Q")

    def u32(self, at: int) -> int:
        return self._u32[at // 4]

    def set_u32(self, at: int, value: int) -> None:
        self._u32[at // 4] = value

    def set_u64(self, at: int, value: int) -> None:
        self._u64[at // 8] = value

    def close(self) -> None:
        self._u32.release()
        self._u64.release()


class Function:
    """A function bound to uio_pci_generic, which may do DMA until it is closed.

    bar: its first memory region
    irq: the line of its INTx in /proc/interrupts
    """

    def __init__(self, path: Path) -> None:
        self.bdf, self._path = path.name, path
        _bind(path)
        self.irq = int((path / "irq").read_text(encoding="ascii"))
        self._config = os.open(path / "config", os.O_RDWR | os.O_CLOEXEC)
        (node,) = [DEV / uio.name for uio in (path / "uio").iterdir()]
        self._fd = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        with (path / "resource0").open("r+b") as resource:
            self._registers = mmap.mmap(resource.fileno(), os.fstat(resource.fileno()).st_size)
        self.bar = Bar(self._registers)
        self._set_command(self.command() & ~INTX_OFF | MEMORY | BUS_MASTER)

    def fileno(self) -> int:
        """Readable when an interrupt came."""
        return self._fd

    def taken(self) -> bool:
        """Whether an interrupt came since the last time; the kernel has switched INTx off with it."""
        try:
            return bool(os.read(self._fd, 4))
        except BlockingIOError:
            return False

    def rearm(self) -> None:
        """Switch INTx on, and nothing else: a function that lost its right to DMA must not get it back."""
        self._set_command(self.command() & ~INTX_OFF)

    def command(self) -> int:
        """The command register in config space."""
        return int.from_bytes(os.pread(self._config, 2, COMMAND_AT), "little")

    def interrupts(self) -> int:
        """How many came on its line since boot, over all processors; others may share it."""
        processors, *lines = INTERRUPTS.read_text(encoding="utf-8").splitlines()
        columns = len(processors.split())
        mine = [line.split()[1 : 1 + columns] for line in lines if line.split()[0] == f"{self.irq}:"]
        return sum(int(count) for line in mine for count in line)

    def close(self) -> None:
        """Stop its DMA, and let it go without a driver."""
        with suppress(OSError):  # the function is gone
            self._set_command(self.command() & ~BUS_MASTER)
        self.bar.close()
        self._registers.close()
        os.close(self._fd)
        os.close(self._config)
        with suppress(OSError):
            _unbind(self._path)
            (self._path / "driver_override").write_text("\n", encoding="ascii")

    def _set_command(self, value: int) -> None:
        os.pwrite(self._config, value.to_bytes(2, "little"), COMMAND_AT)


def found(vendor: int, device: int, bdf: str | None) -> Path:
    """The function with these ids, at this address or the first one.

    Raises:
        AgentError: if there is none.
    """
    functions = sorted((PCI / "devices").iterdir())
    for path in functions:
        if (
            _number(path / "vendor") == vendor
            and _number(path / "device") == device
            and bdf in (None, path.name)
        ):
            return path
    there = ", ".join(f"{path.name} {_id(path)}" for path in functions) or "none"
    wanted = f"{vendor:04x}:{device:04x}" + (f" at {bdf}" if bdf else "")
    raise AgentError(f"no PCI function {wanted} in the guest; there is: {there}")


def _bind(function: Path) -> None:
    if (function / "driver").exists():
        _unbind(function)
    _see_physical_memory(function)
    (function / "driver_override").write_text(DRIVER, encoding="ascii")
    with suppress(OSError):  # said below
        (PCI / "drivers_probe").write_text(function.name, encoding="ascii")
    if not (function / "uio").exists():
        raise AgentError(
            f"{DRIVER} did not take {function.name}: has it an INTx, and the guest's kernel the driver?"
        )


def _unbind(function: Path) -> None:
    (function / "driver" / "unbind").write_text(function.name, encoding="ascii")


def _see_physical_memory(function: Path) -> None:
    """In a guest with an IOMMU of its own, have the function's addresses not translated."""
    kind = function / "iommu_group" / "type"
    if not kind.exists() or kind.read_text(encoding="ascii").strip() == "identity":
        return
    try:
        kind.write_text("identity", encoding="ascii")
    except OSError as error:
        raise AgentError(
            f"the guest's IOMMU translates what {function.name} does: {error.strerror}"
        ) from error


def _id(function: Path) -> str:
    return f"{_number(function / 'vendor'):04x}:{_number(function / 'device'):04x}"


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"), 16)
