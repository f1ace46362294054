"""PCI functions of the guest: which there are, which driver has one, its registers, its interrupts.

Source: Linux Documentation/PCI/sysfs-pci.rst; Documentation/ABI/testing/sysfs-bus-pci.
"""

import mmap
from contextlib import suppress
from pathlib import Path

from ..rpc import AgentError

PCI = Path("/sys/bus/pci")
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


def bind(function: Path, driver: str) -> None:
    """Offer a function to one driver, and to no other; whether it took it is the caller's to see."""
    (function / "driver_override").write_text(driver, encoding="ascii")
    with suppress(OSError):
        (PCI / "drivers_probe").write_text(function.name, encoding="ascii")


def unbind(function: Path) -> None:
    """Take a function from its driver, if it has one."""
    if (function / "driver").exists():
        (function / "driver" / "unbind").write_text(function.name, encoding="ascii")


def let_go(function: Path) -> None:
    """Leave a function without a driver, as it was found, if it is still there."""
    with suppress(OSError):
        unbind(function)
        (function / "driver_override").write_text("\n", encoding="ascii")


def interrupts(irq: int) -> int:
    """How many came on this line since boot, over all processors."""
    processors, *lines = INTERRUPTS.read_text(encoding="utf-8").splitlines()
    columns = len(processors.split())
    mine = [line.split()[1 : 1 + columns] for line in lines if line.split()[0] == f"{irq}:"]
    return sum(int(count) for line in mine for count in line)


def _id(function: Path) -> str:
    return f"{_number(function / 'vendor'):04x}:{_number(function / 'device'):04x}"


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"), 16)
