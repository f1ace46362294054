"""Facts for preflight: a QEMU that nothing speaks against, and what is changed of it."""

from dataclasses import dataclass, replace

from lab.preflight.command import Command
from lab.preflight.facts import UNLIMITED, Facts, Host, Plugged, State

QEMU = "/usr/bin/qemu-system-x86_64"
BDF = "0000:01:00.0"
TYPE1 = ("-device", f"vfio-pci,id=vfio0,host={BDF},addr=0x10")
IOMMUFD = (
    "-object",
    "iommufd,id=iommufd0",
    "-device",
    f"vfio-pci,id=vfio0,host={BDF},addr=0x10,iommufd=iommufd0",
)
INCOMING = ("-incoming", "file:/run/vm.state")
TRANSFER_IN = ("-incoming", "defer", "-incoming", '{"channel-type":"cpr","addr":{"transport":"socket"}}')
RAM = "memory-backend-memfd,id=ram0,size=256M,share=on"
MACHINE = "q35,aux-ram-share=on,memory-backend=ram0"
SOUND_HOST = Host(True, True, UNLIMITED, True, {"/m/ram0": False, "/m": True}, {BDF: ("flr", "pm", "bus")})
NOTHING_PLUGGED = State(
    frozenset({"normal", "cpr-exec", "cpr-transfer"}), (), (), (Plugged("memory-backend-memfd", "ram0"),)
)


def words(
    *more: str, ram: str = RAM, machine: str = MACHINE, accel: str = "kvm", size: str = "256M"
) -> list[str]:
    """A command line that nothing speaks against, with some more in it."""
    return [QEMU, "-accel", accel, "-object", ram, "-machine", machine, "-m", size, *more]


def facts(
    *more: str, mode: str = "cpr-exec", host: Host = SOUND_HOST, new: list[str] | None = None, **changed: str
) -> Facts:
    """Of that QEMU, on a host that lacks nothing; new QEMU's command line is the same with -incoming."""
    old = words(*more, **changed)
    into = INCOMING if mode == "cpr-exec" else TRANSFER_IN
    after = Command.parse([*old, *into] if new is None else new)
    return Facts(Command.parse(old), after, mode, "11.1.3", "11.1.3", host=host, state=NOTHING_PLUGGED)


def became(*more: str, old: tuple[str, ...] = (), through: tuple[str, ...] = (), **changed: str) -> Facts:
    """New QEMU's command line is another one than old QEMU's."""
    return facts(*old, new=[*through, *words(*more, **changed), *INCOMING])


def alone(*more: str, **changed: str) -> Facts:
    """Only old QEMU's command line is known."""
    return Facts(Command.parse(words(*more, **changed)))


def plugged(*devices: Plugged, new: tuple[str, ...] = ()) -> Facts:
    known = became(*new)
    return replace(known, state=replace(known.state, devices=devices))


@dataclass(frozen=True)
class Line:
    """A rule, what it says of some facts, and of which it says nothing.

    says: severity, or "untold"
    text: what its reason holds
    """

    rule: str
    says: str
    text: str
    of: Facts


def private(ram: str) -> str:
    return f"{ram},id=ram0,size=256M"


SANDBOX = ("-sandbox", "on,spawn=deny")
NIC = ("-device", "virtio-net-pci,id=nic0,netdev=net0,addr=0x3")
RNG = ("-device", "virtio-rng-pci,id=rng0,addr=0x4")
DIMM = Plugged("pc-dimm", "dimm0")
FILE = "memory-backend-file,id=ram0,size=256M,share=on,mem-path="
WEAK = Host(True, True, 300 << 20, False, {}, {BDF: ("flr",)})
