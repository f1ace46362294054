"""The registers of QEMU's edu device.

Source: QEMU docs/specs/edu.rst; hw/misc/edu.c for what it does while a DMA is under way.
"""

from typing import Any, Protocol

from ..rpc import AgentError

EDU = 0x1234, 0x11E8
"""Its PCI vendor and device."""
BUFFER_AT, BUFFER_BYTES = 0x40000, 4096
IDENTIFICATION, LIVENESS = 0x00, 0x04
INTERRUPT_STATUS, INTERRUPT_ACKNOWLEDGE = 0x24, 0x64
SOURCE, DESTINATION, COUNT, COMMAND = 0x80, 0x88, 0x90, 0x98
RUN, FROM_DEVICE, RAISE = 0x1, 0x2, 0x4
"""Bits of the DMA command register."""


class Bar(Protocol):
    """See pci.Bar."""

    def u32(self, at: int) -> int: ...

    def set_u32(self, at: int, value: int) -> None: ...

    def set_u64(self, at: int, value: int) -> None: ...


class Engine:
    """Tells the device what to copy; waits for nothing."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def checked(self) -> dict[str, Any]:
        """{identification, alive} of a device that can be used.

        Raises:
            AgentError: it is no edu, gives wrong answers, or is busy with what nobody here began.
        """
        identification = self._bar.u32(IDENTIFICATION)
        if identification & 0xFF != 0xED:
            raise AgentError(
                f"the device does not say that it is an edu: its register 0 is {identification:#010x}"
            )
        self._bar.set_u32(LIVENESS, 0x5A0FF0A5)
        answer = self._bar.u32(LIVENESS)
        if answer != 0xA5F00F5A:
            raise AgentError(f"the edu device is not alive: the inverse of 0x5a0ff0a5 is not {answer:#010x}")
        if self.busy():
            raise AgentError("the edu device is busy with a DMA that this load did not begin")
        self.acknowledge()
        return {"identification": f"{identification:#010x}", "alive": True}

    def start(self, address: int, offset: int, count: int, *, outward: bool) -> None:
        """Copy between memory at `address` and the device's buffer at `offset`; `outward` is to memory."""
        inside = BUFFER_AT + offset
        self._bar.set_u64(SOURCE, inside if outward else address)
        self._bar.set_u64(DESTINATION, address if outward else inside)
        self._bar.set_u64(COUNT, count)
        self._bar.set_u32(COMMAND, RUN | RAISE | (FROM_DEVICE if outward else 0))

    def busy(self) -> bool:
        """Whether a DMA is under way; until it ends the device ignores what it is told to copy."""
        return bool(self._bar.u32(COMMAND) & RUN)

    def acknowledge(self) -> int:
        """Have the device lower its interrupt line; what it had raised it for."""
        raised = self._bar.u32(INTERRUPT_STATUS)
        if raised:
            self._bar.set_u32(INTERRUPT_ACKNOWLEDGE, raised)
        return raised

    def state(self) -> dict[str, str]:
        """Registers as evidence; all ones if the device answers no more."""
        registers = {
            "command": COMMAND,
            "interrupt_status": INTERRUPT_STATUS,
            "identification": IDENTIFICATION,
        }
        return {name: f"{self._bar.u32(at):#x}" for name, at in registers.items()}
