"""Devices and network back-ends that an update loses, or hurts."""

import re
from collections.abc import Iterator

from lab.preflight.command import Option
from lab.preflight.facts import Facts
from lab.preflight.rule import Says, note, refuse, rule, untold, warn

_BDF = re.compile(r"(?:[0-9a-f]{4,}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
NOT_MIGRATABLE = ("amd-iommu", "vhost-vdpa-device-pci", "vhost-vdpa-device")
"""Devices whose vmstate is unmigratable in QEMU 11.1.3."""


@rule(
    "tap-by-name",
    source="reproductions/tap-by-name (11.1.3: /dev/net/tun is opened without O_CLOEXEC, net/tap-linux.c)",
    remedy="open the tap yourself, let QEMU inherit it, and use -netdev tap,fd=N in both command lines",
)
def tap_by_name(facts: Facts) -> Says:
    """Old QEMU's descriptor keeps the tap busy for new QEMU."""
    for one in _taps(facts):
        if any(key in one.properties for key in ("fd", "fds", "helper", "br")):
            continue
        queues = one["queues"]
        name = one["ifname"] or "named by the kernel"
        if queues and queues != "1":
            yield warn(
                f"tap {name} with {queues} queues is opened beside old QEMU's: frames in those are lost"
            )
        elif facts.execs:
            yield refuse(
                f"tap {name} is opened by its name: new QEMU finds it busy and ends, the guest is lost"
            )
        else:
            yield refuse(
                f"tap {name} is opened by its name: new QEMU finds it busy and ends, the old one goes on"
            )


@rule(
    "tap-frames",
    source="test_known_defects.py: two frames at each update (11.1.3)",
    remedy="none yet; the guest's protocols must send them again",
)
def tap_frames(facts: Facts) -> Says:
    """Frames that wait in an inherited tap are read by a QEMU that does not run the guest."""
    for one in _taps(facts):
        if "fd" in one.properties or "fds" in one.properties:
            when = "at each update" if facts.execs else "while old and new QEMU both read from it"
            yield warn(f"netdev {one.id or one['type']} on an inherited tap loses frames to the guest {when}")


@rule(
    "tap-by-helper",
    source="QEMU qemu-bridge-helper: each start makes a new tap; not tried by this lab",
    remedy="open the tap yourself, let QEMU inherit it, and use -netdev tap,fd=N in both command lines",
)
def tap_by_helper(facts: Facts) -> Says:
    """New QEMU gets another tap than the guest's."""
    for one in [*_taps(facts), *_nets(facts, "bridge")]:
        if "fd" not in one.properties and (
            one["type"] == "bridge" or {"helper", "br"} & one.properties.keys()
        ):
            yield warn(
                f"netdev {one.id or one['type']} gets its tap from a helper: new QEMU gets another tap"
            )


@rule(
    "vhost-net-leak",
    source="reproductions/vhost-net-leak (11.1.3)",
    remedy="leave vhost=on out, or restart QEMU before its limit of descriptors is reached",
)
def vhost_net_leak(facts: Facts) -> Says:
    """/dev/vhost-net is opened without O_CLOEXEC."""
    names = [one.id or one["type"] for one in _taps(facts) if one.on("vhost")]
    if facts.execs and names:
        yield note(f"each update leaves a descriptor of /dev/vhost-net behind, for {', '.join(names)}")


@rule(
    "vhost-vsock",
    source="reproductions/vhost-vsock (11.1.3); Linux drivers/vhost/vsock.c: one owner of a CID",
    remedy="unplug the vsock before the update and plug it again after it",
)
def vhost_vsock(facts: Facts) -> Says:
    """New QEMU finds the CID in use."""
    for one in facts.after.devices:
        if one["driver"].startswith("vhost-vsock"):
            after = "the guest is lost" if facts.execs else "the guest goes on in old QEMU"
            yield refuse(
                f"vhost-vsock with CID {one['guest-cid']}: new QEMU finds it in use and ends; {after}"
            )


@rule(
    "vdpa-busy",
    source="test_cpr_transfer.py; Linux drivers/vhost/vdpa.c, vhost_vdpa_open: one opener",
    remedy="update by cpr-exec",
)
def vdpa_busy(facts: Facts) -> Says:
    """Two processes cannot have one vDPA device."""
    if facts.execs:
        return
    found = [*_nets(facts, "vhost-vdpa"), *(d for d in facts.after.devices if d["vhostdev"])]
    found += [one for one in facts.after.all("blockdev") if "vhost-vdpa" in one["driver"]]
    for one in found:
        yield refuse(f"vDPA device {one['vhostdev'] or one['path']}: new QEMU finds it busy and ends")


@rule(
    "not-migratable",
    source="QEMU 11.1.3, query-migrate blocked-reasons; test_qemu_blocked.py",
    remedy="leave it out; a vDPA disk can be given by -blockdev virtio-blk-vhost-vdpa",
)
def not_migratable(facts: Facts) -> Says:
    """What QEMU itself refuses to update, known before it runs."""
    for one in facts.after.devices:
        if one["driver"] in NOT_MIGRATABLE:
            yield refuse(f"device {one.id or one['driver']}: QEMU cannot migrate {one['driver']}, by no mode")
    if any("+invtsc" in o.value or o.on("invtsc") for o in facts.after.all("cpu")):
        yield refuse("-cpu with invtsc: QEMU refuses to migrate it, by any mode")


@rule(
    "vfio-mdev-type1",
    source='QEMU 11.1.3: "CPR does not support vfio mdev"; row mdev of lab/rows/table.py',
    remedy="assign it by iommufd: -object iommufd,id=iommufd0 and iommufd=iommufd0",
)
def vfio_mdev_type1(facts: Facts) -> Says:
    """A mediated device in a type1 container."""
    for one in facts.after.by_type1:
        if "mdev" in one["sysfsdev"]:
            yield refuse(
                f"device {one.id or one['driver']} is a mediated device by type1, which QEMU refuses"
            )


@rule(
    "vfio-tcg",
    source="reproductions/vfio-tcg (11.1.3: SIGSEGV in old QEMU)",
    remedy="-accel kvm",
)
def vfio_tcg(facts: Facts) -> Says:
    """Its VFIO code takes KVM for granted."""
    if facts.execs and facts.old.vfio and facts.old.accelerator == "tcg":
        yield refuse(
            "a VFIO device under TCG: old QEMU dies by SIGSEGV when it is told to update, the guest is lost"
        )


@rule(
    "vfio-no-flr",
    source="reproductions/no-flr-reset (11.1.3: new QEMU resets it by PM or bus on its way in)",
    remedy="assign another function; one with FLR in /sys/bus/pci/devices/BDF/reset_method is safe",
)
def vfio_no_flr(facts: Facts) -> Says:
    """Without FLR, QEMU tries a hot reset and a PM reset, which end memory decoding and bus mastering.

    Both are tried where the kernel offers no reset, or a PM reset (QEMU hw/vfio/pci.c, vfio_pci_reset).
    """
    for one in facts.after.vfio if facts.execs else ():
        bdf = _bdf(one)
        if not bdf:
            continue  # no PCI function of the host, or not named as one
        methods = facts.host.resets.get(bdf)
        if methods is None:
            yield untold(f"whether function {bdf} has FLR; without it the guest is lost")
        elif "flr" not in methods and "af_flr" not in methods and ("pm" in methods or not methods):
            how = " ".join(methods) or "none"
            yield refuse(
                f"function {bdf} has no FLR (resets: {how}): it loses decoding and DMA, the guest is lost"
            )


def _bdf(device: Option) -> str:
    named = device["host"] or device["sysfsdev"].rpartition("/")[2]
    if not _BDF.fullmatch(named):
        return ""
    return named if named.count(":") == 2 else f"0000:{named}"


def bdfs(facts: Facts) -> list[str]:
    """The PCI functions of the host that new QEMU is given."""
    return [bdf for one in facts.after.vfio if (bdf := _bdf(one))]


def _nets(facts: Facts, kind: str) -> Iterator[Option]:
    return (one for one in facts.after.all("netdev", "nic", "net") if one["type"] == kind)


def _taps(facts: Facts) -> list[Option]:
    return list(_nets(facts, "tap"))


RULES = (
    tap_by_name,
    tap_frames,
    tap_by_helper,
    vhost_net_leak,
    vhost_vsock,
    vdpa_busy,
    not_migratable,
    vfio_mdev_type1,
    vfio_tcg,
    vfio_no_flr,
)
