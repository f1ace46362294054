"""Who this host is, for the system that is booted in its place: its ssh keys, and its place in the network.

They go from this host's memory to this host's memory; its private keys leave it by no other way.
"""

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from .cpio import Archive

CAME_FROM = "etc/cprlab/came-from"
_SSH, _USERS = Path("/etc/ssh"), Path("/root/.ssh/authorized_keys")
_NET = Path("/sys/class/net")
_BOOT_ID, _CMDLINE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/cmdline")
_MANIFEST, _FROM = Path("/etc/cprlab/manifest"), Path("/", CAME_FROM)


def identity(ssh_connection: str) -> bytes:
    """An initramfs archive with it.

    ssh_connection: $SSH_CONNECTION, whose third word is the address by which the controller came

    Raises:
        AgentError: the next system could not be reached as this one is; says why.
    """
    archive = Archive()
    keys = sorted(_SSH.glob("ssh_host_*_key"))
    if not keys or not _USERS.exists():
        raise AgentError(f"this host has no ssh host keys in {_SSH}, or no {_USERS}")
    for key in keys:
        archive.file(f"etc/ssh/{key.name}", key.read_bytes(), 0o600)
    archive.file("root/.ssh/authorized_keys", _USERS.read_bytes(), 0o600)
    archive.file("etc/cprlab/host", "\n".join(_place(ssh_connection)).encode() + b"\n")
    archive.file(CAME_FROM, json.dumps(system()).encode())
    archive.character_device("dev/console", 5, 1)
    return archive.finish()


def system() -> dict[str, Any]:
    """The system that runs: {boot_id, release, root, came_from, digest}.

    root:      source and type of its root file system
    came_from: what `system` said of the one before, if this one was provisioned
    """
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    root = [mount for mount in mounts if mount[1] == "/"][-1]
    return {
        "boot_id": _BOOT_ID.read_text().strip(),
        "release": os.uname().release,
        "root": f"{root[0]} {root[2]}",
        "came_from": json.loads(_FROM.read_text()) if _FROM.exists() else None,
    }


def next_command_line(more: str) -> str:
    """This kernel's, without what is about this system's root, and with more."""
    dropped = (
        "root",
        "rootflags",
        "rootfstype",
        "ro",
        "rw",
        "init",
        "rdinit",
        "initrd",
        "BOOT_IMAGE",
        "resume",
    )
    kept = (word for word in _CMDLINE.read_text().split() if word.partition("=")[0] not in dropped)
    return " ".join([*dict.fromkeys(kept), more])


def _place(ssh_connection: str) -> list[str]:
    """Name, management NIC by its hardware address, its addresses, and the routes by it."""
    words = ssh_connection.split()
    if len(words) != 4:
        raise AgentError(f"this agent was not started over ssh: SSH_CONNECTION is {ssh_connection!r}")
    for link in _ip("address"):
        addresses = [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"]
        if words[2] in [address.partition("/")[0] for address in addresses]:
            break
    else:
        raise AgentError(f"no interface of this host has the address {words[2]} that ssh came by")
    name = str(link["ifname"])
    if not (_NET / name / "device").exists():
        raise AgentError(
            f"ssh comes by {name}, which is no plain NIC but a bond, bridge or VLAN: kexec would lose it"
        )
    place = [f"hostname {socket.gethostname()}", f"nic {link['address']}"]
    place += [f"address {address}" for address in addresses]
    return place + [
        f"route {_route(route)}" for route in _ip("route", "show", "dev", name) if "gateway" in route
    ]


def _route(route: dict[str, Any]) -> str:
    return f"{route['dst']} via {route['gateway']}"


def _ip(*words: str) -> list[dict[str, Any]]:
    try:
        done = subprocess.run(["ip", "-j", *words], capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise AgentError(f"ip -j {' '.join(words)}: {error}") from None
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found
