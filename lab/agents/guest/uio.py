"""A PCI function driven from here: its interrupt by uio_pci_generic, its registers by sysfs.

Source: Linux Documentation/driver-api/uio-howto.rst, "Generic PCI UIO driver";
Documentation/PCI/sysfs-pci.rst.
"""

import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from ..rpc import AgentError
from . import pci, physical
from .pci import BUS_MASTER, COMMAND_AT, INTX_OFF, MEMORY, Bar

DRIVER = "uio_pci_generic"
DEV = Path("/dev")


class Function:
    """A function bound to uio_pci_generic, which may do DMA until it is closed.

    bar: its first memory region
    irq: the line of its INTx in /proc/interrupts, which others may share
    """

    driver: ClassVar[str] = DRIVER

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

    def pages(self, count: int) -> list[physical.Page]:
        """So many pages that it reaches, and that stay where they are."""
        physical.keep_locked_pages_in_place()
        return [physical.Page() for _ in range(count)]

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

    def close(self) -> None:
        """Stop its DMA, and let it go without a driver."""
        with suppress(OSError):  # the function is gone
            self._set_command(self.command() & ~BUS_MASTER)
        self.bar.close()
        self._registers.close()
        os.close(self._fd)
        os.close(self._config)
        pci.let_go(self._path)

    def _set_command(self, value: int) -> None:
        os.pwrite(self._config, value.to_bytes(2, "little"), COMMAND_AT)


def _bind(function: Path) -> None:
    pci.unbind(function)
    _see_physical_memory(function)
    pci.bind(function, DRIVER)
    if not (function / "uio").exists():
        raise AgentError(
            f"{DRIVER} did not take {function.name}: has it an INTx, and the guest's kernel the driver?"
        )


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
