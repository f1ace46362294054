"""Reads of an ELF file what decides whether, and with which loader, it runs here.

Source: ELF gABI, ELF-64 object file format; machine numbers of linux/elf-em.h.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabUsageError

X86_64 = 62
_MACHINES = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    183: "aarch64",
    243: "riscv",
}
_CLASS_64, _LITTLE_ENDIAN = 2, 1
_EXECUTABLE, _SHARED = 2, 3
_PT_INTERP = 3


@dataclass(frozen=True)
class Elf:
    """An x86-64 executable.

    interpreter: its loader, an absolute path; None if it is linked statically
    """

    interpreter: str | None


def read(path: Path) -> Elf:
    """Look at an executable.

    Raises:
        LabUsageError: it cannot be read, is no executable, or is one of another architecture.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
            _require_ours(path, head)
            table, size, number = (*struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54))
            file.seek(table)
            entries = file.read(size * number)
            for at in range(0, len(entries), size):
                kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", entries, at)
                if kind == _PT_INTERP:
                    file.seek(offset)
                    return Elf(file.read(length).rstrip(b"\0").decode())
    except OSError as error:
        raise LabUsageError(f"{path} cannot be read: {error.strerror}") from error
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise LabUsageError(f"{path} is a damaged ELF file: {error}") from error
    return Elf(None)


def _require_ours(path: Path, head: bytes) -> None:
    if head[:4] != b"\x7fELF":
        raise LabUsageError(f"{path} is not an ELF executable; a QEMU is built from source as one")
    if len(head) < 64:
        raise LabUsageError(f"{path} is a damaged ELF file: it has {len(head)} bytes")
    order = "<" if head[5] == _LITTLE_ENDIAN else ">"
    kind, machine = struct.unpack_from(f"{order}HH", head, 16)
    if head[4] != _CLASS_64 or head[5] != _LITTLE_ENDIAN or machine != X86_64:
        name = _MACHINES.get(machine, f"machine {machine}")
        raise LabUsageError(f"{path} is for {name}, the bench host is x86-64")
    if kind not in (_EXECUTABLE, _SHARED):
        raise LabUsageError(f"{path} is no executable (ELF type {kind})")
