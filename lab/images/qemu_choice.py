"""Which QEMU is meant by --qemu-old, --qemu-new or a case: the bench host's, Debian's, or a user's own."""

import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabUsageError
from lab.images.portable_qemu import PortableQemu
from lab.images.progress import Progress
from lab.images.qemu_debian import ensure_debian_qemu
from lab.images.qemu_own import ensure_own_qemu

FORMS = "host:PATH, deb:VERSION, deb:SUITE, or a file or folder of the controller"


@dataclass(frozen=True)
class OnBench:
    """A QEMU that is on the bench host already, by its path there."""

    path: str

    def __str__(self) -> str:
        return f"host:{self.path}"


@dataclass(frozen=True)
class FromDebian:
    """A build of a Debian suite: a version, the start of one, or a suite."""

    asked: str

    def __str__(self) -> str:
        return f"deb:{self.asked}"


@dataclass(frozen=True)
class Own:
    """A user's build on the controller: the executable, or the folder that it was installed or built in."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


Choice = OnBench | FromDebian | Own


def parsed(text: str) -> Choice:
    """What a user wrote; as a string it is the same in full.

    Raises:
        LabUsageError: it has none of the forms.
    """
    kind, mark, rest = text.partition(":")
    if mark and kind == "host":
        if not rest.startswith("/"):
            raise LabUsageError(
                f"a QEMU on the bench host is named by its full path, host:/..., not {text!r}"
            )
        return OnBench(rest)
    if mark and kind == "deb":
        if not re.fullmatch(r"[0-9a-z][0-9a-zA-Z.+~-]*", rest):
            raise LabUsageError(f"a QEMU of Debian's is named deb:VERSION or deb:SUITE, not {text!r}")
        return FromDebian(rest)
    if not text:
        raise LabUsageError(f"no QEMU is named; there are {FORMS}")
    return Own(Path(text).expanduser().absolute())


def brought(choice: FromDebian | Own, progress: Progress | None = None) -> PortableQemu:
    """The build, ready to be brought to a bench host; from the cache if it is there.

    Raises:
        LabUsageError: there is no such build, or it is no QEMU.
        BenchError: it cannot be had now, such as without a network.
    """
    if isinstance(choice, FromDebian):
        return ensure_debian_qemu(choice.asked, progress)
    return ensure_own_qemu(choice.path)
