"""What in new QEMU's command line makes it no successor of old QEMU.

Source: QEMU docs/devel/migration/CPR.rst: "all old QEMU arguments plus -incoming", and what was plugged
since; docs/devel/migration/main.rst: both sides have the same machine, memory and devices.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from lab.preflight.command import Option
from lab.preflight.facts import Facts, Plugged
from lab.preflight.memory import DEFAULT_RAM
from lab.preflight.rule import Says, refuse, rule, warn
from lab.preflight.words import size_bytes

SOURCE = 'QEMU CPR.rst: "all old QEMU arguments plus -incoming"; seen with 11.1.3: new QEMU ends, guest lost'
FREE_MACHINE = {"accel", "graphics", "dump-guest-core", "mem-merge", "smm"}
"""Machine properties that the guest does not see, or that other options repeat."""
DECISIVE = ("driver", "bus", "addr", "host", "sysfsdev", "memdev", "multifunction")
"""Properties that make a device another one, or put it at another place."""
BACKEND = ("qom-type", "size", "mem-path", "hugetlbsize", "offset")
HARMLESS = ("qom-type", "hugetlbsize")
"""RAM of a memory-backend-memfd that becomes a -ram is taken over by QEMU 11.1.3, and the other way."""
REFERENCES = {
    "netdev": "netdev",
    "chardev": "chardev",
    "drive": "drive",
    "memdev": "object",
    "iommufd": "object",
}
"""Property of a device -> the option that must define what it names."""


@rule("incoming-missing", source=SOURCE, remedy="append -incoming file:STATE, or -incoming defer")
def incoming_missing(facts: Facts) -> Says:
    """Without -incoming new QEMU starts a guest of its own."""
    if facts.new is None:
        return
    ways = facts.new.all("incoming")
    cpr = [
        one
        for one in ways
        if ("channel-type" in one.properties and one["channel-type"] == "cpr") or one["uri"] == "cpr"
    ]
    if not ways:
        yield refuse(
            "new QEMU has no -incoming: it boots a guest anew, or with a VFIO device aborts"
            if facts.execs
            else "new QEMU has no -incoming"
        )
    elif not facts.execs and not cpr:
        yield refuse(
            "new QEMU has no -incoming of channel type cpr, which cpr-transfer needs beside the main one"
        )
    elif not facts.execs and len(ways) < 2:
        yield refuse("new QEMU has no -incoming for the main channel, which cpr-transfer needs beside cpr")


@rule(
    "machine-differs", source=SOURCE, remedy="give new QEMU the same -machine; pin its version (pc-q35-11.1)"
)
def machine_differs(facts: Facts) -> Says:
    """The type, and properties that the guest sees."""
    if facts.new is None:
        return
    old, new = (
        {k: v for k, v in one.machine.items() if k not in FREE_MACHINE} for one in (facts.old, facts.new)
    )
    for key, was, becomes in _changed(old, new):
        yield refuse(f"-machine {key}: {was} in old QEMU, {becomes} in new QEMU")
    if facts.old.accelerator != facts.new.accelerator:
        yield refuse(f"accelerator: {facts.old.accelerator} in old QEMU, {facts.new.accelerator} in new QEMU")


@rule("memory-differs", source=SOURCE, remedy="give new QEMU the same -m, -numa and memory backends")
def memory_differs(facts: Facts) -> Says:
    """Its size, and what it is made of."""
    if facts.new is None:
        return
    for key in ("size", "slots", "maxmem"):
        was, becomes = (_size(one.merged("m").get(key)) for one in (facts.old, facts.new))
        if was != becomes:
            yield refuse(f"-m {key}: {_told(was)} in old QEMU, {_told(becomes)} in new QEMU")
    mine, other = ({one.id: one for one in side.memory_backends} for side in (facts.old, facts.new))
    for name in sorted(mine.keys() & other.keys()):
        for key in BACKEND:
            was, becomes = mine[name][key], other[name][key]
            if was != becomes and (key != "size" or size_bytes(was, "B") != size_bytes(becomes, "B")):
                say = warn if key in HARMLESS else refuse
                text = f"memory backend {name}, {key}: {_told(was)} in old QEMU, {_told(becomes)} in new QEMU"
                yield say(text)


@rule("processors-differ", source=SOURCE, remedy="give new QEMU the same -smp and -cpu")
def processors_differ(facts: Facts) -> Says:
    """How many, of what kind."""
    if facts.new is None:
        return
    for key, was, becomes in _changed(facts.old.merged("smp"), facts.new.merged("smp")):
        yield refuse(f"-smp {key}: {was} in old QEMU, {becomes} in new QEMU")
    for key, was, becomes in _changed(facts.old.merged("cpu"), facts.new.merged("cpu")):
        # QEMU 11.1.3 runs the guest on
        yield warn(f"-cpu {key}: {was} in old QEMU, {becomes} in new QEMU: the guest did not boot on that")


@rule(
    "devices-differ", source=SOURCE, remedy="give new QEMU the same devices, in the same order, and no other"
)
def devices_differ(facts: Facts) -> Says:
    """Devices of one side alone, changed ones, and those whose place comes from their order."""
    if facts.new is None:
        return
    old, new = _by_name(facts.old.devices), _by_name(facts.new.devices)
    running = _names(facts.state.devices)
    for name in [
        one for one in old if one not in new and (running is None or one in running or not old[one].id)
    ]:
        yield refuse(f"device {name} is in old QEMU's command line and not in new QEMU's")
    for name in [one for one in new if one not in old and (running is None or one not in running)]:
        # QEMU 11.1.3 runs the guest on; without QMP it may be one that was plugged
        yield warn(f"device {name} is in new QEMU's command line and not in old QEMU's: no guest expects it")
    for name in [one for one in old if one in new]:
        yield from _device_changed(name, old[name], new[name])
    placed = [
        [name for name in side if name in old and name in new and "addr" not in old[name].properties]
        for side in (old, new)
    ]
    if placed[0] != placed[1]:
        yield refuse(
            f"devices without addr= are in another order, and so at other places: {', '.join(placed[1])}"
        )


def _device_changed(name: str, old: Option, new: Option) -> Says:
    for key, was, becomes in _changed(old.properties, new.properties):
        say = refuse if key in DECISIVE else warn
        yield say(f"device {name}, {key}: {was} in old QEMU, {becomes} in new QEMU")


@rule(
    "backend-missing",
    source=SOURCE,
    remedy="give new QEMU every -netdev, -chardev, -drive and -object that a device names",
)
def backend_missing(facts: Facts) -> Says:
    """A device of new QEMU that names what its command line does not define: it does not start."""
    if facts.new is None:
        return
    for device in facts.new.devices:
        for key, option in REFERENCES.items():
            kinds = ("drive", "blockdev") if option == "drive" else (option,)
            defined = {d for one in facts.new.all(*kinds) for d in (one.id, one["node-name"]) if d}
            if device[key] and device[key] not in defined:
                yield refuse(
                    f"device {_name(device)} names {key}={device[key]}, which new QEMU does not have"
                )


@rule(
    "plugged-missing",
    source=SOURCE + ' ("Unknown section or instance")',
    remedy="add what was plugged to new QEMU's command line, with the same id and address",
)
def plugged_missing(facts: Facts) -> Says:
    """Devices and memory that were plugged into the running guest."""
    running, objects = facts.state.devices, facts.state.objects
    if running is None or objects is None:
        return
    known = _by_name(facts.after.devices)
    first = _by_name(facts.old.devices)
    for one in running:
        if one.id and one.id not in known and one.id not in first:
            yield refuse(f"device {one.id} ({one.kind}) was plugged, and is not in new QEMU's command line")
    for kind, count in (
        _without_id(running) - Counter(o["driver"] for o in facts.after.devices if not o.id)
    ).items():
        if count:
            yield refuse(f"{count} device(s) {kind} without id are not in new QEMU's command line")
    backends = {one.id for one in facts.after.memory_backends}
    for one in objects:
        if one.id not in backends and one.id not in DEFAULT_RAM:
            yield refuse(f"memory backend {one.id} is in use, and is not in new QEMU's command line")


def _without_id(running: Sequence[Plugged]) -> Counter[str]:
    return Counter(one.kind for one in running if not one.id)


def _names(devices: Sequence[Plugged] | None) -> set[str] | None:
    return None if devices is None else {one.id for one in devices if one.id}


def _by_name(devices: Sequence[Option]) -> dict[str, Option]:
    """By id; those without by driver and number, like "virtio-rng-pci #1"."""
    seen: Counter[str] = Counter()
    found: dict[str, Option] = {}
    for device in devices:
        seen[device["driver"]] += not device.id
        found[device.id or f"{device['driver']} #{seen[device['driver']]}"] = device
    return found


def _name(device: Option) -> str:
    return device.id or device["driver"]


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield key, _told(old.get(key)), _told(new.get(key))


def _size(text: str | None) -> str | None:
    """As bytes, so that 1G is 1024M."""
    return str(size_bytes(text) or text) if text else text


def _told(value: str | None) -> str:
    return value or "not given"


RULES = (
    incoming_missing,
    machine_differs,
    memory_differs,
    processors_differ,
    devices_differ,
    backend_missing,
    plugged_missing,
)
