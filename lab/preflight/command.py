"""A QEMU command line taken apart: what it is started through, and its options in their order.

Source: QEMU qemu-options.hx (which options take a value; one dash or two), system/vl.c.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath

from lab.errors import LabUsageError
from lab.preflight.words import Properties, is_on, properties, size_bytes

FLAGS = {
    *("S", "s", "h", "help", "version", "daemonize", "enable-kvm", "mem-prealloc", "nodefaults"),
    *("nographic", "no-user-config", "no-reboot", "no-shutdown", "only-migratable", "preconfig", "snapshot"),
    *("full-screen", "usb", "win2k-hack", "no-fd-bootchk", "no-acpi", "no-hpet", "singlestep"),
    *("enable-fips", "enable-sync-profile", "semihosting", "old-param", "xen-attach", "alt-grab"),
    *("ctrl-grab", "no-quit", "portrait", "sdl", "curses", "rotate-none"),
}
"""Options without a value; all others have one."""

FIRST = {
    "machine": "type",
    "device": "driver",
    "object": "qom-type",
    "netdev": "type",
    "nic": "type",
    "net": "type",
    "chardev": "backend",
    "accel": "accel",
    "smp": "cpus",
    "m": "size",
    "numa": "type",
    "sandbox": "enable",
    "mon": "chardev",
    "vnc": "vnc",
    "incoming": "uri",
    "cpu": "model",
    "name": "guest",
}
"""What a first value without a name is."""

ALIASES = {"M": "machine"}
_PROGRAMS = (re.compile(r"(qemu-system-|qemu-kvm)[a-z0-9_.-]*|kvm"), re.compile(r"qemu(-[a-z0-9_.-]+)?"))
"""A user or a script may be called qemu, too: looked for in this order."""
DEFAULT_RAM_BYTES = 128 << 20


@dataclass(frozen=True)
class Option:
    """One option: its name without dashes, and its value; "" for one without."""

    name: str
    value: str = ""

    @cached_property
    def properties(self) -> Properties:
        return properties(self.value, FIRST.get(self.name, ""))

    @property
    def id(self) -> str:
        return self.properties.get("id", "")

    def __getitem__(self, key: str) -> str:
        """A property; "" for one that is not there."""
        return self.properties.get(key, "")

    def on(self, key: str, *, absent: bool = False) -> bool:
        return is_on(self.properties.get(key), absent=absent)

    def __str__(self) -> str:
        return f"-{self.name} {self.value}".rstrip()


@dataclass(frozen=True)
class Command:
    """A QEMU command line.

    through: the words that QEMU is started through, like ("env", "-i"); empty for none
    program: QEMU; "" if none of the words looks like one
    """

    through: tuple[str, ...]
    program: str
    options: tuple[Option, ...]

    @classmethod
    def parse(cls, argv: Sequence[str]) -> "Command":
        """Take it apart.

        Raises:
            LabUsageError: there is no program, or an option lacks its value.
        """
        words = list(argv)
        if not words or not words[0] or words[0].startswith("-"):
            raise LabUsageError(
                f"no QEMU command line: it begins with {words[0]!r}" if words else "it is empty"
            )
        at = _program_at(words)
        if at is None:
            return cls(tuple(words), "", ())
        return cls(tuple(words[:at]), words[at], tuple(_options(words[at + 1 :])))

    def all(self, *names: str) -> list[Option]:
        """Its options of these names, in their order."""
        return [option for option in self.options if option.name in names]

    def merged(self, name: str) -> dict[str, str]:
        """The properties of an option that may be repeated and then adds up, like -machine."""
        found: dict[str, str] = {}
        for option in self.all(name):
            found |= option.properties
        return found

    def last(self, name: str) -> Option | None:
        return next(reversed(self.all(name)), None)

    def has(self, name: str) -> bool:
        return bool(self.all(name))

    def without(self, *names: str) -> "Command":
        kept = tuple(option for option in self.options if option.name not in names)
        return replace(self, options=kept)

    # -- what rules ask for

    @property
    def machine(self) -> dict[str, str]:
        return self.merged("machine")

    @property
    def devices(self) -> list[Option]:
        return self.all("device")

    @property
    def vfio(self) -> list[Option]:
        """Devices assigned by VFIO."""
        return [device for device in self.devices if device["driver"].startswith("vfio-")]

    @property
    def by_iommufd(self) -> list[Option]:
        return [device for device in self.vfio if device["iommufd"]]

    @property
    def by_type1(self) -> list[Option]:
        return [device for device in self.vfio if not device["iommufd"]]

    @property
    def memory_backends(self) -> list[Option]:
        return [one for one in self.all("object") if one["qom-type"].startswith("memory-backend-")]

    @property
    def chardevs(self) -> list[Option]:
        return self.all("chardev")

    @property
    def ram_bytes(self) -> int | None:
        """What -m gives, with the backends of modules in the command line; None if it cannot be read."""
        option = self.last("m")
        main = size_bytes(option["size"] or str(DEFAULT_RAM_BYTES >> 20)) if option else DEFAULT_RAM_BYTES
        plugged = {d["memdev"] for d in self.devices if d["driver"] in ("pc-dimm", "nvdimm")}
        sizes = [main, *(size_bytes(b["size"], "B") for b in self.memory_backends if b.id in plugged)]
        return None if None in sizes else sum(size for size in sizes if size)

    @property
    def accelerator(self) -> str:
        """The first that is asked for; without any, QEMU takes TCG unless its program is named ...kvm.

        Source: QEMU system/vl.c, configure_accelerators.
        """
        if self.has("enable-kvm"):
            return "kvm"
        named = self.all("accel")
        chosen = named[0]["accel"] if named else self.machine.get("accel", "")
        default = "kvm" if self.program.endswith("kvm") else "tcg"
        return chosen.split(":")[0] or default


def read(data: bytes) -> list[str]:
    """The words of a file: ended by NUL as in /proc/PID/cmdline, one a line, or one line for a shell.

    Lines that hold an option with its value, as in a script, are read as a shell reads them.

    Raises:
        LabUsageError: it is empty, no text, or cannot be split.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise LabUsageError(f"it is no text: {error}") from None
    if "\0" in text:
        words = text.removesuffix("\0").split("\0")
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        by_shell = len(lines) == 1 or any(line.startswith("-") and " " in line for line in lines)
        words = _shell(text.replace("\\\n", " ")) if by_shell else lines
    if not any(words):
        raise LabUsageError("it is empty")
    return words


def _shell(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise LabUsageError(f"it is no line for a shell: {error}") from None


def _program_at(words: Sequence[str]) -> int | None:
    """Where QEMU is among the words before its options; None if none of them can be it."""
    for pattern in _PROGRAMS:
        for position, word in enumerate(words):
            if pattern.fullmatch(PurePosixPath(word).name):
                return position
    alone = len(words) == 1 or words[1].startswith("-")
    return 0 if alone and PurePosixPath(words[0]).name not in WRAPPERS else None


WRAPPERS = {
    *("env", "sudo", "su", "runuser", "doas", "setpriv", "nice", "ionice", "taskset", "numactl", "chrt"),
    *("sh", "bash", "dash", "python3", "systemd-run", "prlimit", "timeout", "nohup", "setsid", "stdbuf"),
    *("unshare", "nsenter", "ip", "chroot", "strace", "ltrace", "gdb", "valgrind", "ssh", "docker", "crun"),
    *("podman", "runc", "cgexec", "choom", "exec"),
}
"""Programs that start another one: never taken for a QEMU of an unusual name."""


def _options(words: Sequence[str]) -> Iterator[Option]:
    left = iter(words)
    for word in left:
        if not word.startswith("-"):
            yield Option("hda", word)  # a disk image, as in `qemu disk.img`
            continue
        name = word[2:] if word.startswith("--") else word[1:]
        name = ALIASES.get(name, name)
        if name in FLAGS:
            yield Option(name)
            continue
        value = next(left, None)
        if value is None:
            raise LabUsageError(f"the last option, {word}, lacks its value")
        yield Option(name, value)
