"""Models of QEMU's edu device behind a driver, after docs/specs/edu.rst, that can be made to fail."""

import errno
import os
import time
from collections.abc import Callable

from lab.agents.guest import vfio
from lab.agents.guest.edu_copies import NOTHING
from lab.agents.loop import NEVER, Loop

PAGE_BYTES = 4096
DMA_NS = 3_000_000
FIRST_ADDRESS = 0x1234_5000


class ModelPage:
    """A page at an address that the test gives."""

    def __init__(self, address: int) -> None:
        self.memory = bytearray(PAGE_BYTES)
        self.at = address

    def address(self) -> int:
        return self.at

    def close(self) -> None:
        self.memory = bytearray()


class ModelMemory:
    """Physical memory: the pages that were made."""

    def __init__(self) -> None:
        self.pages: list[ModelPage] = []

    def make(self, count: int) -> list[ModelPage]:
        first = FIRST_ADDRESS + len(self.pages) * PAGE_BYTES
        made = [ModelPage(first + number * PAGE_BYTES) for number in range(count)]
        self.pages += made
        return made

    def at(self, address: int) -> bytearray:
        """The page at an address; what is nobody's is lost."""
        return next((page.memory for page in self.pages if page.at == address), bytearray(PAGE_BYTES))


class ModelEdu:
    """Behind uio_pci_generic: the registers, the engine that needs a while for a DMA, the interrupt line.

    faults: name -> the number of DMAs of a direction before it happens, once: "flip", "cut", "overrun",
            "unwritten" (to memory), "stale" (from memory), "silent", "endless" (any)
    gone:   the function was unplugged
    """

    bdf, irq, driver = "0000:00:05.0", 10, "uio_pci_generic"

    def __init__(self, loop: Loop, memory: ModelMemory) -> None:
        self._loop, self._memory = loop, memory
        self.faults: dict[str, int] = {}
        self.on_dma: Callable[[int], None] = lambda count: None
        self.buffer = bytearray(PAGE_BYTES)
        self.registers = dict.fromkeys((0x04, 0x24, 0x80, 0x88, 0x90, 0x98), 0)
        self.identification = 0x010000ED
        self.dmas = self.interrupts_sent = 0
        self.intx_off, self.config = False, 0x0506
        self._mine, self._theirs = os.pipe2(os.O_NONBLOCK)
        self.closed = self.gone = False

    @property
    def bar(self) -> "ModelEdu":
        return self

    def u32(self, at: int) -> int:
        return {0: self.identification, **self.registers}[at]

    def set_u32(self, at: int, value: int) -> None:
        if at == 0x04:
            self.registers[at] = ~value & 0xFFFFFFFF
        elif at == 0x64:
            self.registers[0x24] &= ~value
        elif at == 0x98 and value & 1 and not self._busy:
            self.registers[at] = value
            self.dmas += 1
            self._ending = self._loop.at(time.monotonic_ns() + DMA_NS, self._end)
        else:
            assert at == 0x98, f"the load wrote to register {at:#x}"

    def set_u64(self, at: int, value: int) -> None:
        assert at in (0x80, 0x88, 0x90), f"the load wrote 8 bytes to register {at:#x}"
        if not self._busy:
            self.registers[at] = value

    def pages(self, count: int) -> list[ModelPage]:
        return self._memory.make(count)

    def fileno(self) -> int:
        return self._mine

    def taken(self) -> bool:
        if self.gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        try:
            return bool(os.read(self._mine, 4))
        except BlockingIOError:
            return False

    def rearm(self) -> None:
        self.intx_off = False
        self.line()

    def command(self) -> int:
        return self.config

    def close(self) -> None:
        self.closed = True
        os.close(self._mine)
        os.close(self._theirs)

    def line(self) -> None:
        """The line is high while an interrupt is not acknowledged, and switched off once it was seen."""
        if self.registers[0x24] and not self.intx_off:
            self.interrupt()

    def interrupt(self) -> None:
        self.intx_off = True
        self.interrupts_sent += 1
        os.write(self._theirs, self.interrupts_sent.to_bytes(4, "little"))

    def end_now(self) -> None:
        """End the DMA that is under way, while the load looks elsewhere."""
        self._loop.cancel(self._ending)
        self._end(0)

    def end_silently(self) -> None:
        """End a DMA that did not end by itself."""
        self.faults["silent"] = 0
        self._end(0)

    @property
    def _busy(self) -> bool:
        return bool(self.registers[0x98] & 1)

    def _end(self, _: int) -> int:
        self.on_dma(self.dmas)
        if not self.closed and not self._happens("endless"):
            outward = bool(self.registers[0x98] & 2)
            (self._write if outward else self._read)()
            self.registers[0x98] &= ~1
            if not self._happens("silent"):
                self.registers[0x24] |= 0x100
                self.line()
        return NEVER

    def _read(self) -> None:
        source, inside, count = self.registers[0x80], self.registers[0x88] - 0x40000, self.registers[0x90]
        if not self._happens("stale"):
            self.buffer[inside : inside + count] = self._memory.at(source)[:count]

    def _write(self) -> None:
        inside, target, count = self.registers[0x80] - 0x40000, self.registers[0x88], self.registers[0x90]
        data = bytearray(self.buffer[inside : inside + count])
        if self._happens("flip"):
            data[count // 2] ^= 0x10
        if self._happens("unwritten"):
            return
        if self._happens("cut"):
            data[count // 2 :] = NOTHING * (count - count // 2)
        if self._happens("overrun"):
            data += b"\0"
        self._memory.at(target)[: len(data)] = data

    def _happens(self, fault: str) -> bool:
        if fault not in self.faults:
            return False
        self.faults[fault] -= 1
        if self.faults[fault] >= 0:
            return False
        del self.faults[fault]
        return True


class ModelEduByMessage(ModelEdu):
    """Behind vfio-pci: it sends a message each time it raises an interrupt, acknowledged or not.

    The eventfd is the real one; the messages are written to it as the kernel would.
    """

    irq, driver = 26, "vfio-pci"

    def __init__(self, loop: Loop, memory: ModelMemory) -> None:
        super().__init__(loop, memory)
        self._msi = vfio.Msi()

    def fileno(self) -> int:
        return self._msi.fileno()

    def taken(self) -> bool:
        return self._msi.taken()

    def rearm(self) -> None:
        """As in vfio.Function: an interrupt that was not seen does not come again."""

    def close(self) -> None:
        super().close()
        self._msi.close()

    def line(self) -> None:
        self.interrupt()

    def interrupt(self) -> None:
        self.interrupts_sent += 1
        os.eventfd_write(self._msi.fileno(), 1)
