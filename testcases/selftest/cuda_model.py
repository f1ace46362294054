"""A model of an NVIDIA GPU behind the driver's library: memory, a kernel, queues; it can be made to fail."""

from dataclasses import dataclass, field
from typing import Any

from lab.agents.guest.cuda_copies import RAMP, CudaError

MASK = 0xFFFFFFFF


@dataclass
class ModelSlot:
    """Memory of the guest, two buffers of the device, and how often it is still asked in vain."""

    source: bytearray
    target: bytearray
    before: bytearray
    after: bytearray
    key: int = 0
    asked: int = 0
    fault: str = ""


@dataclass
class ModelGpu:
    """Does all of a block's work when it is asked the third time.

    faults: number of the block -> "flip", "cut", "no-in", "no-kernel", "no-out", "hang", "begin", "query"
    """

    faults: dict[int, str] = field(default_factory=dict)
    begun: int = 0
    most: int = 0
    closed: bool = False
    holds: list[int] = field(default_factory=list)
    slots: list[ModelSlot] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, Any]:
        return {"gpu": "a model", "bdf": "0000:00:05.0", "cuda": 12040}

    def slot(self, block_bytes: int) -> ModelSlot:
        source, target, before, after = (bytearray(block_bytes) for _ in range(4))
        self.slots.append(ModelSlot(source, target, before, after))
        return self.slots[-1]

    def begin(self, slot: ModelSlot, key: int, hold_ns: int) -> None:
        slot.key, slot.asked, slot.fault = key, 0, self.faults.get(self.begun, "")
        self.begun += 1
        self.holds.append(hold_ns)
        if slot.fault == "begin":
            raise CudaError("cuLaunchKernel", 719, "CUDA_ERROR_LAUNCH_FAILED")

    def ended(self, slot: ModelSlot) -> bool:
        if slot.fault == "begin":  # its event was not recorded, which CUDA calls ended
            return True
        if slot.fault == "query":
            raise CudaError("cuEventQuery", 700, "CUDA_ERROR_ILLEGAL_ADDRESS")
        slot.asked += 1
        if slot.fault == "hang" or slot.asked < 3:
            return False
        self._work(slot)
        return True

    def close(self) -> None:
        self.closed = True

    def _work(self, slot: ModelSlot) -> None:
        if slot.fault != "no-in":
            slot.before[:] = slot.source
        if slot.fault != "no-kernel":
            for i, at in enumerate(range(0, len(slot.before), 4)):
                word = int.from_bytes(slot.before[at : at + 4], "little") ^ slot.key ^ (i * RAMP & MASK)
                slot.after[at : at + 4] = word.to_bytes(4, "little")
        if slot.fault == "flip":
            slot.after[len(slot.after) // 2] ^= 1
        if slot.fault != "no-out":
            count = len(slot.after) // (2 if slot.fault == "cut" else 1)
            slot.target[:count] = slot.after[:count]
