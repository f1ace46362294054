"""Memory that outlives the host's kernel, and the kexec that it outlives.

Source: Linux Documentation/userspace-api/liveupdate.rst and include/uapi/linux/liveupdate.h (Live Update
Orchestrator, LUO; tried on Linux 7.3.4), admin-guide/mm/kho.rst; kexec_file_load(2), reboot(2).
"""

import ctypes
import fcntl
import mmap
import os
import platform
import struct
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from .journal import Entry, Journal

LINK, KEXEC = "kept-memory", "kexec"
"""Kinds of change: a name for a memfd of ours, and a kernel that is loaded."""
FOLDER = Path("/run/cprlab-kept")
PIECE_BYTES = 2 << 20
_DEVICE = "/dev/liveupdate"
# _IO(0xBA, number): of the device, then of a session
_CREATE, _RETRIEVE, _PRESERVE_FD, _RETRIEVE_FD, _FINISH = (0xBA00 + n for n in (0x00, 0x01, 0x40, 0x41, 0x42))
_SESSION, _FILE, _END = struct.Struct("<Ii64s"), struct.Struct("<IiQ"), struct.Struct("<II")
_TOKEN = 1
_FILE_LOAD = {"x86_64": 320, "aarch64": 294}
_UNLOAD, _NO_INITRAMFS = 0x1, 0x4
_RB_KEXEC = 0x45584543


class KeptMemory:
    """Memory files of this agent, each preserved for the next kernel in a session of its own.

    Each has a name in FOLDER, by which a process of this host opens it while the agent lives.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._files: dict[str, tuple[int, ...]] = {}

    def keep(self, name: str, size_bytes: int) -> str:
        """Make one that the next kernel will have, and return the folder with its name.

        Raises:
            AgentError: this kernel cannot hand memory over; the text says what it lacks.
        """
        device, session = _session(_CREATE, name)
        memory = os.memfd_create(name, os.MFD_CLOEXEC)
        os.ftruncate(memory, size_bytes)
        self._files[name] = (memory, session, device)
        _asked(session, _PRESERVE_FD, _FILE, memory, _TOKEN, what=f"{size_bytes} bytes are not preserved")
        return self._named(name)

    def take(self, name: str) -> str:
        """Take one that the kernel before this one handed over, and return the folder with its name.

        Raises:
            AgentError: it handed no such memory over.
        """
        device, session = _session(_RETRIEVE, name)
        memory = _asked(session, _RETRIEVE_FD, _FILE, -1, _TOKEN, what=f"memory {name!r} is not handed over")
        self._files[name] = (memory, session, device)
        _asked(session, _FINISH, _END, 0, what=f"session {name!r} cannot be finished")
        return self._named(name)

    def look(self, name: str) -> dict[str, Any]:
        """{bytes, piece_bytes, pieces}: a CRC-32 of each piece; nobody should write to it meanwhile."""
        memory = self._files[name][0]
        size = os.fstat(memory).st_size
        with (
            mmap.mmap(memory, size, mmap.MAP_SHARED, mmap.PROT_READ) as mapped,
            memoryview(mapped) as content,
        ):
            pieces = [zlib.crc32(content[at : at + PIECE_BYTES]) for at in range(0, size, PIECE_BYTES)]
        return {"bytes": size, "piece_bytes": PIECE_BYTES, "pieces": pieces}

    def close(self) -> None:
        """Let go of all; what was not handed over is lost."""
        for files in self._files.values():
            for fd in files:
                os.close(fd)
        self._files.clear()

    def _named(self, name: str) -> str:
        link = FOLDER / name
        self._journal.begin(LINK, str(link), {}, {})
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        link.symlink_to(f"/proc/{os.getpid()}/fd/{self._files[name][0]}")
        return str(FOLDER)


def kexec_load(journal: Journal, kernel: str, command_line: str, initramfs: str = "") -> None:
    """Load the kernel that `kexec` starts, with an initramfs if one is named.

    Raises:
        AgentError: this kernel does not take it.
    """
    journal.begin(KEXEC, kernel, {}, {"command_line": command_line})
    with ExitStack() as files:
        try:
            fds = [
                files.enter_context(Path(name).open("rb")).fileno() for name in (kernel, initramfs) if name
            ]
        except OSError as error:
            raise AgentError(f"there is no kernel to load: {error}") from None
        _file_load(fds, command_line.encode() + b"\0", 0 if initramfs else _NO_INITRAMFS)


def kexec() -> None:
    """Start the kernel that was loaded: does not return, and nobody is told.

    What was written to disks is on them. No process is ended in order.

    Raises:
        AgentError: no kernel was loaded.
    """
    os.sync()
    _libc(ctypes.CDLL(None, use_errno=True).reboot(_RB_KEXEC), "this host does not kexec")


def undo_link(entry: Entry) -> None:
    """Take the name away; the memory goes with the agent that held it."""
    Path(entry.what).unlink(missing_ok=True)


def undo_load(entry: Entry) -> None:
    """Forget the kernel that was loaded; after a kexec there is none, which is no error."""
    _file_load([], b"", _UNLOAD)


def _file_load(fds: Sequence[int], line: bytes, flags: int) -> None:
    """kexec_file_load(2), for which the C library has no function; fds: kernel, initramfs."""
    number = _FILE_LOAD.get(platform.machine())
    if number is None:
        raise AgentError(f"nobody wrote down the number of kexec_file_load on {platform.machine()}")
    text = ctypes.c_char_p(line or None)
    call = ctypes.CDLL(None, use_errno=True).syscall
    kernel, initramfs = (*fds, -1, -1)[:2]
    done = call(number, kernel, initramfs, ctypes.c_ulong(len(line)), text, ctypes.c_ulong(flags))
    _libc(done, "this host loads no kernel")


def _libc(result: int, what: str) -> None:
    if result < 0:
        raise AgentError(f"{what}: {os.strerror(ctypes.get_errno())}")


def _session(request: int, name: str) -> tuple[int, int]:
    """The device, which stays open, and a session of this name."""
    try:
        device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        needs = "its kernel needs CONFIG_LIVEUPDATE, and kho=on liveupdate=on on its command line"
        raise AgentError(f"this host hands no memory over: {error}; {needs}") from None
    try:
        return device, _asked(device, request, _SESSION, -1, name.encode(), what=f"no session {name!r}")
    except AgentError:
        os.close(device)
        raise


def _asked(fd: int, request: int, form: struct.Struct, *fields: Any, what: str) -> int:
    """Do one request, and return its second field, where the kernel puts a descriptor."""
    argument = bytearray(form.pack(form.size, *fields))
    try:
        fcntl.ioctl(fd, request, argument)
    except OSError as error:
        raise AgentError(f"{what}: {error}") from None
    return int(form.unpack(argument)[1])
