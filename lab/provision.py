"""Brings a real host into a known system and back: kexec into the bench image over ssh, in RAM alone.

The host's disks stay as they are, so that a boot by any way leads back. Not verified on hardware.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import images
from lab.bench import Bench
from lab.drivers.agent import HostAgent
from lab.errors import BenchError, LabUsageError
from lab.images.provisioned import ProvisionedRoot, ensure_provisioned

STATE = "/var/lib/cprlab"
"""A folder of the host's own disk."""
_REBOOT = ["sh", "-c", "sync; nohup reboot -f >/dev/null 2>&1 &"]
_RELEASE_AT, _SETUP_BYTES = 0x20E, 0x200

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Asked:
    """A system to boot a host into: a bzImage, and a root for its RAM."""

    kernel: Path
    root: ProvisionedRoot

    @property
    def release(self) -> str:
        """What `uname -r` says under this kernel.

        Raises:
            LabUsageError: it is no bzImage.
        """
        return release_of(self.kernel)


def bench_image() -> Asked:
    """The virtual bench's kernel and root; they are built first if need be."""
    return Asked(images.ensure_kernel(), ensure_provisioned())


def provision(bench: Bench, asked: Asked, tell: Tell) -> Mapping[str, Any]:
    """Boot a bench that is ready into a system, and check that it is this one; says what runs.

    tell: is told each step before it is taken

    Raises:
        LabUsageError: the bench is virtual.
        BenchError: the host cannot do it, does not come back, or runs another system than asked for.
    """
    _require_real(bench)
    release = asked.release
    tell(f"copying kernel {release} ({_mib(asked.kernel)}) and root ({_mib(asked.root.initramfs)})")
    kernel, root = (bench.connection.put_blob(file) for file in (asked.kernel, asked.root.initramfs))
    with HostAgent(bench.connection, name=f"host agent on {bench.name}") as agent:
        before = agent.facts["boot_id"]
        tell("loading them")
        line = agent.provision_load(STATE, kernel, root, f"cprlab.root={asked.root.digest[:12]}")
        tell(f"starting it by kexec, with the command line {line!r}")
        with bench.booting_anew():
            agent.kexec()
        agent.renew()
        tell("comparing every file with what was asked for")
        found = agent.provisioned()
    if wrong := differences(asked, release, before, found):
        raise BenchError(f"bench {bench.name} does not run the system asked for: {wrong}; back: --back")
    return found


def back(bench: Bench, tell: Tell) -> Mapping[str, Any]:
    """Boot a bench that was provisioned into its own system, and check that it is the one it came from.

    Raises:
        LabUsageError: the bench is virtual, or was not provisioned.
        BenchError: it does not come back, or came back as another system.
    """
    _require_real(bench)
    with HostAgent(bench.connection, name=f"host agent on {bench.name}") as agent:
        now = agent.provisioned()
        if (own := now["came_from"]) is None:
            raise LabUsageError(f"bench {bench.name} runs its own system: {now['release']} on {now['root']}")
        tell(f"booting its own system: {own['release']} on {own['root']}")
        with bench.booting_anew():
            if not bench.strategy.reset():
                bench.connection.run(_REBOOT)
        agent.renew()
        found = agent.provisioned()
    if wrong := changed(own, now["boot_id"], found):
        raise BenchError(f"bench {bench.name} did not come back as it was: {wrong}")
    return found


def differences(asked: Asked, release: str, before: str, found: Mapping[str, Any]) -> str:
    """What is not as asked for, in words; empty if all is."""
    wrong = []
    if found["boot_id"] == before:
        wrong.append("it is the same boot as before")
    if found["release"] != release:
        wrong.append(f"its kernel is {found['release']}, not {release}")
    if found["digest"] != asked.root.digest:
        wrong.append(f"its root is {str(found['digest'])[:12]}, not {asked.root.digest[:12]}")
    if found["wrong"]:
        first, count = found["wrong"][0], len(found["wrong"])
        wrong.append(f"{count} of its {found['files']} files differ, the first is /{first}")
    return ", ".join(wrong)


def changed(own: Mapping[str, Any], before: str, found: Mapping[str, Any]) -> str:
    """What is not as it was before provisioning, in words; empty if all is."""
    wrong = ["it is the same boot as before"] if found["boot_id"] == before else []
    wrong += [
        f"{what} is {found[what]}, was {own[what]}"
        for what in ("release", "root")
        if found[what] != own[what]
    ]
    return ", ".join(wrong)


def release_of(kernel: Path) -> str:
    """The release in the head of a bzImage.

    Source: Linux Documentation/arch/x86/boot.rst, kernel_version.

    Raises:
        LabUsageError: it is none, or cannot be read.
    """
    try:
        with kernel.open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise LabUsageError(f"kernel {kernel} cannot be read: {error.strerror}") from error
    if head[0x202:0x206] != b"HdrS":
        raise LabUsageError(f"kernel {kernel} is no bzImage")
    at = int.from_bytes(head[_RELEASE_AT : _RELEASE_AT + 2], "little") + _SETUP_BYTES
    return head[at:].split(b"\0", 1)[0].decode(errors="replace").split(" ")[0]


def _require_real(bench: Bench) -> None:
    if bench.virtual is not None:
        raise LabUsageError(
            f"bench {bench.name} is virtual: it is made of these images anew at each power on"
        )


def _mib(file: Path) -> str:
    return f"{file.stat().st_size >> 20} MiB"
