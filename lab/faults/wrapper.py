"""A new QEMU that does something wrong first: run on the bench host, standard library only.

python3 wrapper.py FAULT TOO_LONG_S QEMU ARG...

Old QEMU execs it as it would exec new QEMU, so it holds every descriptor that is handed over. It
plants its fault and execs QEMU in turn.
"""

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

IOMMU_IOAS_UNMAP = 0x3B86
"""_IO(';', 0x86); include/uapi/linux/iommufd.h. Length 2^64-1 from IOVA 0: everything."""

IOMMU_IOAS_MAP_FILE = 0x3B8F
FIXED_IOVA, WRITEABLE, READABLE = 1, 2, 4
"""_IO(';', 0x8F), struct iommu_ioas_map_file, enum iommufd_ioas_map_flags; the same file, Linux 6.14."""
UNPINNED_S = 0.1
"""Some samples long."""

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
    time.sleep(float(sys.argv[2]))


def leak(argv: Sequence[str]) -> None:
    """Leave a descriptor behind in QEMU."""
    os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)


def swap_stream(argv: Sequence[str]) -> None:
    """Give QEMU another connection in place of the inherited chardev's."""
    ours, theirs = socket.socketpair()
    os.dup2(theirs.fileno(), _stream(argv), inheritable=True)
    # whoever holds the other end would see no end of file
    os.set_inheritable(ours.detach(), True)


def close_stream(argv: Sequence[str]) -> None:
    """Give QEMU a connection that has ended in place of the inherited chardev's."""
    ours, theirs = socket.socketpair()
    os.dup2(theirs.fileno(), _stream(argv), inheritable=True)
    ours.close()


def eat_byte(argv: Sequence[str]) -> None:
    """Take one byte of what the inherited chardev was sent."""
    with socket.socket(fileno=os.dup(_stream(argv))) as stream:
        select.select([stream], [], [], float(sys.argv[2]))
        stream.recv(1, socket.MSG_DONTWAIT)


def unmap(argv: Sequence[str]) -> None:
    """Tear down every mapping of every IOAS of the inherited iommufd, and so unpin guest RAM."""
    for fd, ioas in _spaces():
        with suppress(OSError):  # that object is no IOAS
            fcntl.ioctl(fd, IOMMU_IOAS_UNMAP, struct.pack("<IIQQ", 24, ioas, 0, 2**64 - 1))


def repin(argv: Sequence[str]) -> None:
    """Unmap all of guest RAM above its first MiB, and so unpin it; and map it again as it was."""
    (memory,) = descriptors("memfd:memory-backend-memfd")
    start, length = 1 << 20, os.fstat(memory).st_size - (1 << 20)
    done = 0
    for fd, ioas in _spaces():
        with suppress(OSError):
            fcntl.ioctl(fd, IOMMU_IOAS_UNMAP, struct.pack("<IIQQ", 24, ioas, start, length))
            time.sleep(UNPINNED_S)
            flags = FIXED_IOVA | WRITEABLE | READABLE
            request = struct.pack("<IIIiQQQ", 40, flags, ioas, memory, start, length, start)
            fcntl.ioctl(fd, IOMMU_IOAS_MAP_FILE, request)
            done += 1
    if not done:
        raise OSError("nothing was mapped again")


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


def close(of: str) -> Callable[[Sequence[str]], None]:
    """Close the inherited descriptors whose link holds `of`: of the device, or what holds its mappings."""

    def close(argv: Sequence[str]) -> None:
        found = descriptors(of)
        if not found:
            raise OSError(f"no descriptor of {of} was inherited")
        for fd in found:
            os.close(fd)

    return close


def _stream(argv: Sequence[str]) -> int:
    """The descriptor of the inherited chardev."""
    chardev = next(word for word in argv if word.startswith("socket,id=stream-fd,fd="))
    return int(chardev.rpartition("=")[2])


def _spaces() -> Iterator[tuple[int, int]]:
    """Whatever may be an IOAS of an inherited iommufd."""
    for fd in descriptors("/dev/iommu"):
        for ioas in range(1, 16):
            yield fd, ioas


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
    "close-device": close("[vfio-device]"),
    "close-container": close("/dev/vfio/vfio"),
    "close-iommufd": close("/dev/iommu"),
    "close-stream": close_stream,
    "eat-byte": eat_byte,
    "repin": repin,
    "company": company,
}


if __name__ == "__main__":
    try:
        FAULTS[sys.argv[1]](sys.argv[3:])
    except Exception:
        traceback.print_exc()  # and on: a fault that was not planted must not look like one that was caught
    os.execv(sys.argv[3], sys.argv[3:])
