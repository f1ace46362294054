"""Which functions the host's own network stands on, and by what.

Source: Linux Documentation/ABI/testing/sysfs-class-net, proc_net(5), ip-address(8), ip-route(8); ssh(1).
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from ..rpc import AgentError
from .sysfs import Sysfs

_LINK_LOCAL_SCOPE = "20"


def management_functions(sysfs: Sysfs) -> dict[str, str]:
    """BDF -> why: it carries an address or a route of this host, directly or below a bridge, bond or VLAN.

    An IPv6 link-local address alone does not count, for every NIC that is up has one, unless ssh came by it.
    """
    found: dict[str, str] = {}
    for name, why in _addressed(sysfs):
        for lower in sorted(_lower(sysfs, name)):
            below = "" if lower == name else f" below {name}, which"
            for bdf in _owners(sysfs, lower):
                found.setdefault(bdf, f"it carries this host's own network connection: {lower}{below} {why}")
    return found


def part_functions(sysfs: Sysfs) -> dict[str, str]:
    """BDF -> why: its interface is part of a bridge, a bond, a team, or below a VLAN, addressed or not."""
    found: dict[str, str] = {}
    for upper in sorted((sysfs.root / "sys/class/net").glob("*/upper_*")):
        for bdf in _owners(sysfs, upper.parent.name):
            whole = upper.name.removeprefix("upper_")
            found.setdefault(bdf, f"its interface {upper.parent.name} is part of {whole}")
    return found


def interfaces(sysfs: Sysfs, bdf: str) -> list[str]:
    """The network interfaces of a function that this network namespace has."""
    folder = sysfs.root / "sys/class/net"
    return sorted(path.name for path in folder.glob("*") if bdf in _owners(sysfs, path.name))


def _owners(sysfs: Sysfs, interface: str) -> set[str]:
    return sysfs.owners([sysfs.root / "sys/class/net" / interface])


def _addressed(sysfs: Sysfs) -> Iterator[tuple[str, str]]:
    """(interface, why): those that have an address or a route, and those by which ssh came."""
    for line in _lines(sysfs, "proc/net/route")[1:]:
        yield line.split()[0], "has a route"
    for fields in map(str.split, _lines(sysfs, "proc/net/if_inet6")):
        if fields[3] != _LINK_LOCAL_SCOPE and fields[5] != "lo":
            yield fields[5], "has an IPv6 address"
    # not all have a route of the main table: a /32, a VRF, a rule
    for interface in _asked(sysfs, ["ip", "-j", "-4", "address", "show"]):
        if interface.get("ifname") != "lo" and interface.get("addr_info"):
            yield interface["ifname"], f"has the address {interface['addr_info'][0].get('local')}"
    yield from _of_ssh(sysfs, os.environ.get("SSH_CONNECTION", "").split())


def _of_ssh(sysfs: Sysfs, connection: list[str]) -> Iterator[tuple[str, str]]:
    """connection: client, its port, server, its port."""
    if len(connection) != 4:
        return
    if "%" in connection[2]:
        yield connection[2].split("%", 1)[1], "is where ssh came by"
    for route in _asked(sysfs, ["ip", "-j", "route", "get", connection[0].split("%", 1)[0]]):
        if route.get("dev") not in (None, "lo"):
            yield route["dev"], f"leads to {connection[0]}, where ssh came from"


def _lower(sysfs: Sysfs, name: str) -> set[str]:
    """An interface and all those below it."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            links = (sysfs.root / "sys/class/net" / name).glob("lower_*")
            waiting += [link.name.removeprefix("lower_") for link in links]
    return found


def _asked(sysfs: Sysfs, argv: Sequence[str]) -> list[dict[str, Any]]:
    """What `ip` says; nothing on a host without it, where the files must do."""
    with suppress(AgentError, ValueError):
        answer: list[dict[str, Any]] = json.loads(sysfs.run(argv))
        return answer
    return []


def _lines(sysfs: Sysfs, path: str) -> list[str]:
    try:
        return (sysfs.root / path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
