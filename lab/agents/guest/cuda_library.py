"""An NVIDIA GPU by its driver's own library, libcuda: not verified on hardware.

Source: NVIDIA CUDA Driver API reference; PTX ISA, which the driver compiles for whatever GPU there is.
"""

import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from typing import Any

from ..rpc import AgentError
from .cuda_copies import RAMP, WORD_BYTES, CudaError

NAME = "libcuda.so.1"
NOT_READY = 600
NON_BLOCKING, NO_TIMING = 1, 2
THREADS = 256
LONGEST_NAME = 256

KERNEL = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry transform(.param .u64 from, .param .u64 to, .param .u32 words, .param .u32 key,
                          .param .u64 hold_ns)
{
    .reg .pred %p;
    .reg .b32 %i, %n, %step, %key, %word, %ramp;
    .reg .b64 %from, %to, %begun, %now, %hold, %at, %a, %b;
    ld.param.u64 %hold, [hold_ns];
    mov.u64 %begun, %globaltimer;
HOLD:
    mov.u64 %now, %globaltimer;
    sub.u64 %now, %now, %begun;
    setp.lt.u64 %p, %now, %hold;
    @%p bra HOLD;
    ld.param.u64 %from, [from];
    ld.param.u64 %to, [to];
    cvta.to.global.u64 %from, %from;
    cvta.to.global.u64 %to, %to;
    ld.param.u32 %n, [words];
    ld.param.u32 %key, [key];
    mov.u32 %i, %tid.x;
    mov.u32 %step, %ntid.x;
NEXT:
    setp.ge.u32 %p, %i, %n;
    @%p bra END;
    mul.wide.u32 %at, %i, 4;
    add.u64 %a, %from, %at;
    add.u64 %b, %to, %at;
    ld.global.u32 %word, [%a];
    mul.lo.u32 %ramp, %i, RAMP;
    xor.b32 %word, %word, %key;
    xor.b32 %word, %word, %ramp;
    st.global.u32 [%b], %word;
    add.u32 %i, %i, %step;
    bra NEXT;
END:
    ret;
}
""".replace(b"RAMP", str(RAMP).encode())


class Slot:
    """Pinned memory of the guest, two buffers in the device, and the queue of what is done with them."""

    def __init__(self, library: "Library", block_bytes: int) -> None:
        self._target = library.pinned(block_bytes)
        self._source = library.pinned(block_bytes)
        self.bytes = block_bytes
        self.before, self.after = library.device_memory(block_bytes), library.device_memory(block_bytes)
        self.stream, self.event = c_void_p(), c_void_p()
        library.call("cuStreamCreate", byref(self.stream), c_uint(NON_BLOCKING))
        library.call("cuEventCreate", byref(self.event), c_uint(NO_TIMING))
        self.source, self.target = (_view(at, block_bytes) for at in (self._source, self._target))

    @property
    def addresses(self) -> tuple[c_void_p, c_void_p]:
        return self._source, self._target


class Library:
    """One GPU. Its primary context belongs to the process, so that it is the same for all CUDA versions.

    bdf: as the guest sees it; by default the first GPU
    """

    def __init__(self, bdf: str | None) -> None:
        try:
            self._library: Any = ctypes.CDLL(NAME)
        except OSError as error:
            raise AgentError(
                f"{NAME} cannot be loaded in the guest: {error}; its image needs NVIDIA's driver"
            ) from None
        self.call("cuInit", c_uint(0))
        self._device = self._chosen(bdf)
        context, module = c_void_p(), c_void_p()
        self._function = c_void_p()
        self.call("cuDevicePrimaryCtxRetain", byref(context), self._device)
        try:
            self.call("cuCtxSetCurrent", context)
            self.call("cuModuleLoadData", byref(module), c_char_p(KERNEL))
            self.call("cuModuleGetFunction", byref(self._function), module, c_char_p(b"transform"))
            self.facts = self._facts()
        except CudaError:
            self.close()
            raise

    def call(self, name: str, *args: Any) -> None:
        """Raises CudaError if the driver does not give 0."""
        if code := int(getattr(self._library, name)(*args)):
            text = c_char_p()
            self._library.cuGetErrorName(c_int(code), byref(text))
            raise CudaError(name, code, (text.value or b"an error without a name").decode())

    def pinned(self, count: int) -> c_void_p:
        """Memory of the guest at one place, which the device reads and writes by DMA."""
        at = c_void_p()
        self.call("cuMemHostAlloc", byref(at), c_size_t(count), c_uint(0))
        return at

    def device_memory(self, count: int) -> c_uint64:
        at = c_uint64()
        self.call("cuMemAlloc_v2", byref(at), c_size_t(count))
        return at

    def slot(self, block_bytes: int) -> Slot:
        return Slot(self, block_bytes)

    def begin(self, slot: Slot, key: int, hold_ns: int) -> None:
        """See cuda_copies.Gpu."""
        (source, target), count = slot.addresses, c_size_t(slot.bytes)
        self.call("cuMemcpyHtoDAsync_v2", slot.before, source, count, slot.stream)
        words = slot.bytes // WORD_BYTES
        values = (slot.before, slot.after, c_uint32(words), c_uint32(key), c_uint64(hold_ns))
        pointers = (c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        blocks, threads = (c_uint(n) for n in (1, THREADS))
        one, no_shared = c_uint(1), c_uint(0)
        shape = (blocks, one, one, threads, one, one, no_shared)
        self.call("cuLaunchKernel", self._function, *shape, slot.stream, pointers, c_void_p())
        self.call("cuMemcpyDtoHAsync_v2", target, slot.after, count, slot.stream)
        self.call("cuEventRecord", slot.event, slot.stream)

    def ended(self, slot: Slot) -> bool:
        """See cuda_copies.Gpu."""
        try:
            self.call("cuEventQuery", slot.event)
        except CudaError as error:
            if error.code == NOT_READY:
                return False
            raise
        return True

    def close(self) -> None:
        """Release the context, and with it all memory. What the driver says to that helps nobody any more."""
        self._library.cuDevicePrimaryCtxRelease_v2(self._device)

    def _chosen(self, bdf: str | None) -> c_int:
        device = c_int()
        if bdf is None:
            self.call("cuDeviceGet", byref(device), c_int(0))
        else:
            self.call("cuDeviceGetByPCIBusId", byref(device), c_char_p(bdf.encode()))
        return device

    def _facts(self) -> dict[str, Any]:
        name, bdf = (ctypes.create_string_buffer(LONGEST_NAME) for _ in range(2))
        version = c_int()
        self.call("cuDeviceGetName", name, c_int(LONGEST_NAME), self._device)
        self.call("cuDeviceGetPCIBusId", bdf, c_int(LONGEST_NAME), self._device)
        self.call("cuDriverGetVersion", byref(version))
        return {"gpu": name.value.decode(), "bdf": bdf.value.decode().lower(), "cuda": version.value}


def _view(at: c_void_p, count: int) -> memoryview:
    assert at.value
    return memoryview((ctypes.c_ubyte * count).from_address(at.value)).cast("B")
