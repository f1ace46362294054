"""Taps, for a QEMU that inherits the descriptor, or opens the tap by its name.

Source: Linux Documentation/networking/tuntap.rst; include/uapi/linux/if_tun.h, if.h.
"""

import fcntl
import os
import struct
from collections.abc import Callable, Mapping, Sequence

from ..rpc import AgentError
from .journal import Entry, Journal
from .sysfs import Sysfs

KIND = "tap.persistent"
_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
# what QEMU sets itself when it opens a tap: a tap is opened again only with the flags it was made with
_FLAGS = 0x0002 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
_NAME_BYTES = 16


def opened(name: str) -> int:
    """The descriptor of a tap, which is made if there is none; it goes with its last descriptor."""
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise AgentError(f"cannot make tap {name}: {error}; is tun loaded, are we root?") from None
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _FLAGS))
    except OSError as error:
        os.close(fd)
        raise AgentError(f"cannot make tap {name}: {error.strerror}; are we root?") from None
    return fd


def persist(fd: int) -> None:
    """Let a tap stay when its last descriptor goes."""
    fcntl.ioctl(fd, _TUNSETPERSIST, 1)


class Taps:
    """The taps of this agent.

    opened, persist: something that acts like the kernel, in self-tests
    """

    def __init__(
        self,
        sysfs: Sysfs,
        journal: Journal,
        opened: Callable[[str], int] = opened,
        persist: Callable[[int], None] = persist,
    ) -> None:
        self._sysfs, self._journal = sysfs, journal
        self._opened, self._persist = opened, persist
        self._held: dict[str, int] = {}

    def create(self, name: str) -> dict[str, str]:
        """Make a tap and hold its descriptor, interface up: {name, mac}.

        Raises:
            AgentError: there is an interface of that name, or the kernel refuses.
        """
        self._refuse_unless_new(name)
        self._held[name] = self._opened(name)
        try:
            return self._described(name)
        except (AgentError, OSError):
            self.remove(name)
            raise

    def persistent(self, name: str) -> dict[str, str]:
        """Make a tap that nobody holds, interface up: {name, mac}. Only one process at a time may open it."""
        self._refuse_unless_new(name)
        entry = self._journal.begin(KIND, name, {}, {"persistent": True})
        try:
            fd = self._opened(name)
            try:
                self._persist(fd)
            finally:
                os.close(fd)
            return self._described(name)
        except (AgentError, OSError):
            self._journal.undo(entry)
            raise

    def remove(self, name: str) -> None:
        """Let go of a tap, or remove a persistent one; one that was not made here is left alone."""
        if (fd := self._held.pop(name, None)) is not None:
            os.close(fd)
        for entry in self._journal.changes(KIND, name):
            self._journal.undo(entry)

    def descriptors(self, names: Sequence[str]) -> Mapping[str, int]:
        """Those of some taps, by name.

        Raises:
            AgentError: one is not held here.
        """
        if unknown := [name for name in names if name not in self._held]:
            held = ", ".join(self._held) or "none"
            raise AgentError(f"tap {unknown[0]!r} is not held by this agent; it holds: {held}")
        return {name: self._held[name] for name in names}

    def close(self) -> None:
        """Let go of all that are held."""
        while self._held:
            os.close(self._held.popitem()[1])

    def _refuse_unless_new(self, name: str) -> None:
        if not 0 < len(name.encode()) < _NAME_BYTES or "/" in name or name != name.strip("."):
            raise AgentError(f"{name!r} is no name for a network interface")
        if (self._sysfs.root / "sys/class/net" / name).exists():
            raise AgentError(f"there is a network interface {name} already, which someone may be using")

    def _described(self, name: str) -> dict[str, str]:
        # the host's own router solicitations would be frames that no load sent
        ipv6 = self._sysfs.root / "proc/sys/net/ipv6/conf" / name / "disable_ipv6"
        if ipv6.exists():
            self._sysfs.write(ipv6, "1")
        self._sysfs.run(["ip", "link", "set", "dev", name, "up"])
        mac = (self._sysfs.root / "sys/class/net" / name / "address").read_text().strip()
        return {"name": name, "mac": mac}


def undo(sysfs: Sysfs, entry: Entry) -> None:
    """Remove the persistent tap that a journal entry names, whoever has it open."""
    if (sysfs.root / "sys/class/net" / entry.what / "tun_flags").exists():
        sysfs.run(["ip", "link", "delete", "dev", entry.what])
