"""The target file and the exporter file of a host, as text."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import yaml

from lab.discovery.entries import Entry, describes, function_entry, mapping, safe, scalar
from lab.discovery.machine import Machine
from lab.discovery.sorting import Discovery, KeptOut

_FAR_PORT = """\
The other end of a NIC's cable, a port of another machine (or of this one, if it is given to no guest):
- FarPort:
    name: port-b
    address: bench-b.example.org
    interface: enp1s0f0
    host_key: ssh-ed25519 AAAA...
    key_file: ~/.ssh/id_ed25519"""
_POWER = """\
Power, one of these and its driver below; without any the host is never switched. Passwords stand elsewhere.
- RedfishBmc: {url: "https://bmc.example.org", username: lab, password_env: BMC_PASSWORD}
- IpmiBmc: {host: bmc.example.org, username: lab, password_file: ~/.config/cprlab/bmc}
- NetworkPowerPort: {model: gude, host: pdu.example.org, index: "3"}"""
_CONSOLE = """\
Console: a line of ser2net; or an IpmiBmc as above, by serial over LAN.
- NetworkSerialPort: {host: ser2net.example.org, port: 4001, speed: 115200}"""
_DRIVERS = """\
- BmcPowerDriver: {}        # for RedfishBmc, IpmiBmc
- NetworkPowerDriver: {}    # for NetworkPowerPort
- SerialConsole: {}         # for NetworkSerialPort, IpmiBmc"""


def target_text(name: str, found: Discovery, machine: Machine, how: str, today: date) -> str:
    """The target file."""
    lines = [f"# {line}".rstrip() for line in _head(name, found, how, today)]
    lines += ["", f"imports: [{', '.join(machine.imports)}]", "", "targets:", "  host:", "    resources:"]
    for entry in machine.resources:
        lines += _resource(entry)
    lines += _comment(6, ["", *_functions_head(found)])
    for entry in _function_entries(found, machine):
        lines += ["", *_resource(entry)]
    lines += ["", *_comment(6, _kept_out(found.kept_out))]
    if machine.is_new:
        for hint in (_FAR_PORT, _POWER, _CONSOLE):
            lines += ["", *_comment(6, hint.splitlines())]
    lines += ["    drivers:"]
    if machine.is_new:
        lines += _comment(6, _DRIVERS.splitlines())
    for driver in machine.drivers:
        for cls, arguments in driver.items():
            lines += _resource(Entry(cls, cls, arguments, {}))
    lines += ["", *_rest(found, machine)]
    return "\n".join(lines) + "\n"


def exporter_text(name: str, found: Discovery, machine: Machine, how: str, today: date) -> str:
    """The exporter file of labgrid 26: one group, named as the host.

    It is a template of Jinja's, in which a line that begins with # is a statement, and with ## a comment.
    """
    lines = [f"## {line}".rstrip() for line in _exporter_head(name, how, today)]
    lines += ["", f"{name}:"]
    for entry in (*machine.resources, *_function_entries(found, machine)):
        lines += [f"  ## {line}".rstrip() for line in entry.comments]
        where = "  ## " if entry.off else "  "
        cls = {} if entry.name == entry.cls else {"cls": entry.cls}
        lines.append(f"{where}{entry.name}:")
        lines += [f"{where}  {line}" for line in _lines({**cls, **entry.arguments, **entry.facts})]
    if machine.is_new:
        hint = [line.removeprefix("- ") for text in (_POWER, _CONSOLE) for line in text.splitlines()]
        lines += [f"  ## {line}" for line in hint]
    return "\n".join(lines) + "\n"


def _head(name: str, found: Discovery, how: str, today: date) -> list[str]:
    host, iommu = found.survey["host"], found.survey["iommu"]
    can = found.survey["capabilities"]
    make = f"{host['vendor']} {host['product']}".strip() or "A machine that does not say what it is"
    types = sorted({kind or "unknown" for kind in iommu["types"].values()})
    units = (
        f"{', '.join(iommu['units'])}, {len(iommu['types'])} groups, for the host itself: {', '.join(types)}"
    )
    backends = [word for word, key in (("type1", "vfio_type1"), ("iommufd", "iommufd")) if can[key]]
    return [
        safe(f"{name}, as `{how}` found it on {today.isoformat()}."),
        safe(f"{make}, {host['cpus']} processors, Linux {host['kernel']}"),
        safe(f"IOMMU: {units if iommu['units'] else 'none'}; back-ends: {', '.join(backends) or 'none'}"),
        safe(f"vDPA management devices: {', '.join(can['vdpa']) or 'none'}"),
        safe(f"Parents of mediated devices: {', '.join(can['mdev']) or 'none'}"),
        safe(
            f"Console on its kernel's command line: {', '.join(host['consoles']) or 'none'}; "
            f"a BMC that it knows of: {'yes' if host['ipmi'] else 'no'}"
        ),
        "",
        "Do what TODO asks for and read what is SWITCHED OFF; nothing else has to be edited. Then:",
        f"  cprlab doctor --bench {name}.yaml",
    ]


def _exporter_head(name: str, how: str, today: date) -> list[str]:
    return [
        safe(f"{name} for labgrid's exporter, as `{how}` found it on {today.isoformat()}."),
        "The same resources as in the target file of that name; edit both, or discover again.",
        f"  labgrid-exporter --coordinator 127.0.0.1:20408 --name {name} {name}.yaml",
        "A comment needs two # here: labgrid reads this file as a template.",
    ]


def _functions_head(found: Discovery) -> list[str]:
    if not found.offers:
        return ["What may be given to a guest: nothing was found; the reasons stand below."]
    return [
        "What may be given to a guest, and nothing else: the host agent binds only what stands here, only if",
        "it still has these ids, and a disk only if it is this one (model, serial, size).",
    ]


def _function_entries(found: Discovery, machine: Machine) -> Iterable[Entry]:
    return (function_entry(offer, machine.wires.get(offer.function["bdf"], "")) for offer in found.offers)


def _kept_out(kept: Sequence[KeptOut]) -> list[str]:
    bridges = sum(bool(one.function["is_bridge"]) for one in kept)
    lines = [f"Kept out, and why ({bridges} bridges and root ports besides):"]
    for one in (one for one in kept if not one.function["is_bridge"]):
        lines.append(describes(one.function))
        lines += [safe(f"    {reason}") for reason in one.reasons]
    return lines


def _rest(found: Discovery, machine: Machine) -> list[str]:
    if not machine.is_new:
        return yaml.safe_dump(dict(machine.rest), sort_keys=False).splitlines() if machine.rest else []
    there = found.survey["host"]["qemus"]
    chosen = there[0] if there else "/usr/bin/qemu-system-x86_64"
    said = f"On the host: {', '.join(there)}." if there else "TODO: no QEMU was found on the host."
    return [
        f"# QEMU on the host: what the guest starts in, and what replaces it. {safe(said)}",
        "tools:",
        f"  qemu-old: {scalar(chosen)}",
        f"  qemu-new: {scalar(chosen)}",
        "",
        "# limits.guest_pause_s: the longest pause of the guest that passes",
        "options:",
        "  guest: {memory_mib: 1024, cpus: 1}",
        "  limits: {guest_pause_s: 1.0}",
    ]


def _resource(entry: Entry) -> list[str]:
    """One item of labgrid's list."""
    lines = _comment(6, entry.comments)
    named = {} if entry.name == entry.cls else {"name": entry.name}
    body = _lines({**named, **entry.arguments}, f"- {entry.cls}: ")
    prefix = "# " if entry.off else ""
    return [*lines, *(f"      {prefix}{line}" for line in body)]


def _lines(arguments: dict[str, Any], head: str = "") -> list[str]:
    """Arguments behind a head, in one line if there is room; lists are kept as they are."""
    if any(isinstance(value, list | dict) for value in arguments.values()):
        dumped = yaml.safe_dump(arguments, sort_keys=False, width=100).splitlines()
        return [head.rstrip(), *(f"    {line}" for line in dumped)]
    lines = mapping(arguments, len(head) + 6) if arguments else ["{}"]
    if not head:
        return [f"{key}: {scalar(value)}" for key, value in arguments.items()]
    return [head + lines[0]] if len(lines) == 1 else [head.rstrip(), *(f"    {line}" for line in lines)]


def _comment(columns: int, lines: Iterable[str]) -> list[str]:
    return [(" " * columns + f"# {line}").rstrip() if line else "" for line in lines]
