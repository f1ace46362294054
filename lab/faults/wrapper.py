"""A new QEMU that does something wrong first: run on the bench host, standard library only.

python3 wrapper.py FAULT QEMU ARG...

Old QEMU execs it as it would exec new QEMU, so it holds every descriptor that is handed over. It
plants its fault and execs QEMU in turn.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

LATE_S = 12.0

IOMMU_IOAS_UNMAP = 0x3B86
"""_IO(';', 0x86); include/uapi/linux/iommufd.h. Length 2^64-1 from IOVA 0: everything."""

FALLOC_FL_PUNCH_HOLE_KEEP_SIZE = 0x03


def descriptors(of: str) -> list[int]:
    """The inherited descriptors whose link holds `of`."""
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            if of in str(fd.readlink()):
                found.append(int(fd.name))
    return found


def late(argv: Sequence[str]) -> None:
    """Start long after old QEMU has gone."""
    time.sleep(LATE_S)


def leak(argv: Sequence[str]) -> None:
    """Leave a descriptor behind in QEMU."""
    os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)


def swap_stream(argv: Sequence[str]) -> None:
    """Give QEMU another connection in place of the inherited chardev's."""
    chardev = next(word for word in argv if word.startswith("socket,id=stream-fd,fd="))
    ours, theirs = socket.socketpair()
    os.dup2(theirs.fileno(), int(chardev.rpartition("=")[2]), inheritable=True)
    # whoever holds the other end would see no end of file
    os.set_inheritable(ours.detach(), True)


def unmap(argv: Sequence[str]) -> None:
    """Tear down every mapping of every IOAS of the inherited iommufd, and so unpin guest RAM."""
    for fd in descriptors("/dev/iommu"):
        for ioas in range(1, 16):
            try:
                fcntl.ioctl(fd, IOMMU_IOAS_UNMAP, struct.pack("<IIQQ", 24, ioas, 0, 2**64 - 1))
            except OSError:
                continue  # that object is none or no IOAS


def lose_pages(argv: Sequence[str]) -> None:
    """Drop 5 MiB of guest RAM from its memfd: the guest gets other pages than the device has."""
    for fd in descriptors("memfd:memory-backend-memfd"):
        _punch(fd, os.fstat(fd).st_size // 3, 5 << 20)


def mask_interrupts(argv: Sequence[str]) -> None:
    """Set the Function Mask bit of the first function's MSI-X capability (PCI local bus 3.0, 6.8.2.3)."""
    device = next(word for word in argv if word.startswith("vfio-pci,"))
    bdf = device.partition("host=")[2].partition(",")[0]
    subprocess.run(["setpci", "-s", bdf, "CAP_MSIX+2.W=4000:4000"], check=True)


def company(argv: Sequence[str]) -> None:
    """Bring another process along, which stays."""
    subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)


def close_vfio(argv: Sequence[str]) -> None:
    """Close what holds the device and its mappings."""
    for name in ("vfio", "/dev/iommu"):
        for fd in descriptors(name):
            os.close(fd)


def _punch(fd: int, offset: int, length: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_long(n) for n in (offset, length)]
    if libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE_KEEP_SIZE, *arguments):
        raise OSError(ctypes.get_errno(), "fallocate")


FAULTS: dict[str, Callable[[Sequence[str]], None]] = {
    "late": late,
    "leak": leak,
    "swap-stream": swap_stream,
    "unmap": unmap,
    "lose-pages": lose_pages,
    "mask-interrupts": mask_interrupts,
    "close-vfio": close_vfio,
    "company": company,
}


if __name__ == "__main__":
    FAULTS[sys.argv[1]](sys.argv[2:])
    os.execv(sys.argv[2], sys.argv[2:])
