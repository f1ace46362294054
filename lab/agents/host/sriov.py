"""A virtual function, made on a physical one for as long as the lab needs it.

Source: Linux Documentation/PCI/pci-iov-howto.rst; Documentation/ABI/testing/sysfs-bus-pci: sriov_*.
"""

import json
import re
from typing import Any

from ..rpc import AgentError
from . import binding
from .holders import vfio_nodes, wait_released
from .interlocks import VFIO, Uses, refuse
from .journal import Entry, Journal
from .sysfs import Sysfs, link_name

KIND = "sriov.function"
_UNICAST_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")
_IS_UP = 1


def create(sysfs: Sysfs, journal: Journal, bdf: str, mac: str) -> dict[str, Any]:
    """Make one virtual function on a physical one, without a driver and with the MAC address `mac`.

    {bdf, pf, pf_interface, group, group_members, mac, spoof_checking}. The interface of the physical function
    is brought up: without it the virtual function has neither mailbox nor link.
    spoof_checking: whether the NIC drops frames with another sender address; None where its driver
                    does not tell

    Raises:
        AgentError: it cannot be made there, or the host could not spare it.
    """
    interface = _refuse_unless_ready(sysfs, bdf, mac)
    autoprobe = sysfs.attribute(bdf, "sriov_drivers_autoprobe")
    before = {"numvfs": "0", "autoprobe": autoprobe, "interface": interface, "up": _is_up(sysfs, interface)}
    entry = journal.begin(KIND, bdf, before, {"numvfs": "1", "mac": mac})
    try:
        function = _made(sysfs, bdf, autoprobe)
        # order: igb warns in the kernel's log of an address that is set while the interface is down
        sysfs.run(["ip", "link", "set", "dev", interface, "up"])
        sysfs.run(["ip", "link", "set", "dev", interface, "vf", "0", "mac", mac])
        spoof_checking = _without_spoof_checking(sysfs, interface)
    except (AgentError, OSError):
        journal.undo(entry)
        raise
    return {
        "bdf": function,
        "pf": bdf,
        "pf_interface": interface,
        "group": sysfs.group(function),
        "group_members": sysfs.group_members(function),
        "mac": mac,
        "spoof_checking": spoof_checking,
    }


def remove(sysfs: Sysfs, journal: Journal, bdf: str) -> None:
    """Give a virtual function back and remove it; one that was not made here is left alone."""
    for entry in journal.all_changes(KIND):
        if _virtual(sysfs, entry.what) == bdf:
            binding.give_back(journal, bdf)
            journal.undo(entry)


def made(sysfs: Sysfs, journal: Journal) -> set[str]:
    """The virtual functions that were made here."""
    return {function for entry in journal.all_changes(KIND) if (function := _virtual(sysfs, entry.what))}


def undo(sysfs: Sysfs, entry: Entry) -> None:
    """Remove the virtual function that a journal entry names, and put its physical function back."""
    bdf, before = entry.what, entry.before
    if not (sysfs.pci / "devices" / bdf).is_dir():
        return
    if (function := _virtual(sysfs, bdf)) is not None:
        # removing it would block in the kernel for as long as a process holds it
        wait_released(sysfs, function, vfio_nodes(sysfs, function))
    for name, value in (("sriov_numvfs", before["numvfs"]), ("sriov_drivers_autoprobe", before["autoprobe"])):
        if value is not None and sysfs.attribute(bdf, name) != value:
            sysfs.write(sysfs.device(bdf) / name, value)
    if not before["up"] and _is_up(sysfs, before["interface"]):
        sysfs.run(["ip", "link", "set", "dev", before["interface"], "down"])


def spoof_checking(text: str) -> bool | None:
    """What `ip -j link show dev PF` says of the first virtual function's sender addresses being checked."""
    functions = json.loads(text)[0].get("vfinfo_list", [])
    return next((vf.get("spoofchk") for vf in functions if vf["vf"] == 0), None)


def _refuse_unless_ready(sysfs: Sysfs, bdf: str, mac: str) -> str:
    """Raises AgentError, with the reason; returns the physical function's interface."""
    driver, device = sysfs.driver(bdf), sysfs.device(bdf)
    if not _UNICAST_MAC.fullmatch(mac.lower()):
        raise AgentError(f"{mac!r} is not the MAC address of a NIC")
    refuse(bdf, Uses.of(sysfs).objections(bdf))
    if int(sysfs.attribute(bdf, "sriov_totalvfs") or 0) == 0:
        raise AgentError(f"{bdf} has no SR-IOV: choose another, or switch SR-IOV on in the firmware")
    if driver in (None, VFIO):
        raise AgentError(
            f"{bdf} is bound to {driver or 'no driver'}: it makes virtual functions by its own driver, "
            "give it back first"
        )
    if (there := sysfs.attribute(bdf, "sriov_numvfs")) != "0":
        raise AgentError(f"{bdf} has {there} virtual functions already, which someone may be using")
    interfaces = sorted(path.name for path in (device / "net").glob("*"))
    if not interfaces:
        raise AgentError(f"{bdf} ({driver}) has no network interface to set a MAC address by")
    return interfaces[0]


def _made(sysfs: Sysfs, bdf: str, autoprobe: str | None) -> str:
    device = sysfs.device(bdf)
    # the host's own driver of virtual functions must not take it
    if autoprobe is not None:
        sysfs.write(device / "sriov_drivers_autoprobe", "0")
    sysfs.write(device / "sriov_numvfs", "1")
    if (function := _virtual(sysfs, bdf)) is None:
        raise AgentError(f"{bdf} has no virtual function after asking for one; see dmesg")
    return function


def _virtual(sysfs: Sysfs, bdf: str) -> str | None:
    return link_name(sysfs.pci / "devices" / bdf / "virtfn0")


def _without_spoof_checking(sysfs: Sysfs, interface: str) -> bool | None:
    show = ["ip", "-j", "link", "show", "dev", interface]
    if spoof_checking(sysfs.run(show)):
        sysfs.run(["ip", "link", "set", "dev", interface, "vf", "0", "spoofchk", "off"])
    return spoof_checking(sysfs.run(show))


def _is_up(sysfs: Sysfs, interface: str) -> bool:
    flags = sysfs.root / "sys/class/net" / interface / "flags"
    return flags.exists() and bool(int(flags.read_text(), 16) & _IS_UP)
