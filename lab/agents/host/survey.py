"""What a host is made of, and what of it a guest could be given, for `cprlab discover`; changes nothing."""

import os
import platform
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from . import inuse, netuse
from .capabilities import capabilities
from .functions import described
from .interlocks import Allowed, Uses, device_ids, objections
from .sysfs import Sysfs, link_name

_DMI = "sys/class/dmi/id"
_QEMUS = tuple(f"{folder}/bin/qemu-system-{platform.machine()}" for folder in ("usr", "usr/local", "opt/*"))


def survey(sysfs: Sysfs) -> dict[str, Any]:
    """{host, iommu, capabilities, functions}.

    functions: as `functions` describes them, and with {ids, model, objections: [{kind, text}],
               interfaces: [{name, mac, carrier}], disks: [{disk, model, serial, bytes, blank, partitions}],
               physfn: of a virtual function the physical one, boot_display}
    """
    uses, models = Uses.of(sysfs), _models(sysfs)
    return {
        "host": _host(sysfs),
        "iommu": _iommu(sysfs),
        "capabilities": capabilities(sysfs),
        "functions": [_function(sysfs, bdf, uses, models.get(bdf, "")) for bdf in sysfs.bdfs()],
    }


def _host(sysfs: Sysfs) -> dict[str, Any]:
    """consoles: of the kernel's command line; ipmi: whether it can talk to a BMC of its own"""
    command_line = _text(sysfs.root / "proc/cmdline").split()
    return {
        "name": platform.node(),
        "kernel": platform.release(),
        "vendor": _text(sysfs.root / _DMI / "sys_vendor"),
        "product": _text(sysfs.root / _DMI / "product_name"),
        "cpus": os.cpu_count(),
        "consoles": [word.removeprefix("console=") for word in command_line if word.startswith("console=")],
        "ipmi": (sysfs.root / "dev/ipmi0").exists(),
        "qemus": [str(path) for where in _QEMUS for path in sorted(Path("/").glob(where))],
    }


def _iommu(sysfs: Sysfs) -> dict[str, Any]:
    """units: like dmar0; types: {group: how the host's own DMA goes through it, like "identity"}"""
    groups = sysfs.root / "sys/kernel/iommu_groups"
    folders = sorted(groups.glob("[0-9]*"), key=lambda path: int(path.name))
    return {
        "units": sorted(path.name for path in (sysfs.root / "sys/class/iommu").glob("*")),
        "types": {folder.name: _text(folder / "type") for folder in folders},
    }


def _function(sysfs: Sysfs, bdf: str, uses: Uses, model: str) -> dict[str, Any]:
    found = [vars(one) for one in objections(sysfs, bdf, uses, Allowed(bdf))]
    return described(sysfs, bdf) | {
        "ids": device_ids(sysfs, bdf),
        "model": model,
        "objections": found,
        "interfaces": [_interface(sysfs, name) for name in netuse.interfaces(sysfs, bdf)],
        "disks": [_disk(sysfs, disk) for disk in inuse.disks(sysfs, bdf)],
        "physfn": link_name(sysfs.device(bdf) / "physfn"),
        "boot_display": sysfs.attribute(bdf, "boot_vga") == "1",
    }


def _interface(sysfs: Sysfs, name: str) -> dict[str, Any]:
    """carrier: whether its cable leads somewhere; None while it is down, where nobody can tell"""
    folder = sysfs.root / "sys/class/net" / name
    carrier = _text(folder / "carrier")
    return {"name": name, "mac": _text(folder / "address"), "carrier": carrier == "1" if carrier else None}


def _disk(sysfs: Sysfs, disk: str) -> dict[str, Any]:
    folder = sysfs.root / "sys/class/block" / disk
    partitions = sorted(path.parent.name for path in folder.resolve().glob("*/partition"))
    return inuse.identity(sysfs, disk) | {"blank": inuse.is_blank(sysfs, disk), "partitions": partitions}


def _models(sysfs: Sysfs) -> dict[str, str]:
    """BDF -> what lspci calls it; nothing on a host without lspci."""
    with suppress(AgentError):
        return parsed(sysfs.run(["lspci", "-D", "-mm"]))
    return {}


def parsed(text: str) -> dict[str, str]:
    """BDF -> "vendor device", out of what `lspci -D -mm` prints."""
    found = {}
    for line in text.splitlines():
        with suppress(ValueError):  # a quote without its other half
            words = shlex.split(line)
            if len(words) >= 4:
                found[words[0]] = f"{words[2]} {words[3]}"
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # also of the carrier of an interface that is down
        return ""
