"""What a bench must have for a case, by name: one table, from which fixtures and doctor tell what is missing.

A need is a name, or a name and what it is about: "kvm", "function:nvme", "mode:cpr-exec". The facts are

    host       what the host agent's `capabilities` says
    qemu       what `qemu_probe` says of the QEMUs in use: what all of them can do
    functions  {name in the target file: the function as the host sees it, or None if it is not there}
    wires      names of the functions with a wire
    screens    names of the functions with a screen that can be read from outside
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.errors import BenchError, LabUsageError

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Need:
    """One line of the table.

    met:    looks at the facts, and at what the need is about
    remedy: said if it is not met; "{}" stands for what the need is about
    about:  whether it is about something, as in "function:nvme"
    """

    met: Callable[[Facts, str], bool]
    remedy: str
    about: bool = False


def _host(key: str, remedy: str) -> Need:
    """A fact of the host that is true; an agent that does not know a capability does not have it."""
    return Need(lambda facts, _: bool(facts["host"].get(key)), remedy)


def _listed(where: str, key: str, remedy: str) -> Need:
    """A name in a list of facts."""
    return Need(lambda facts, name: name in facts[where].get(key, ()), remedy, about=True)


def _function(look: Callable[[Mapping[str, Any]], bool], remedy: str) -> Need:
    """Something of a function that is there."""

    def met(facts: Facts, name: str) -> bool:
        function = facts["functions"].get(name)
        return function is not None and look(function)

    return Need(met, remedy, about=True)


def _may_lock(facts: Facts, mib: str) -> bool:
    limit = facts["host"].get("memlock_bytes")
    # root has CAP_IPC_LOCK, for which the kernel does not look at the limit
    return bool(facts["host"].get("root")) or limit is None or limit >= int(mib) << 20


BACKENDS: Mapping[str, tuple[str, ...]] = {
    "type1": ("iommu", "kvm", "vfio-type1"),
    "iommufd": ("iommu", "kvm", "dev-iommu", "vfio-cdev", "iommufd-change-process"),
}
"""What an IOMMU back-end stands for, wherever it is a need."""

NEEDS: Mapping[str, Need] = {
    "root": _host("root", "its agent is not root: log in as root"),
    "iommu": _host(
        "iommu",
        "it has no IOMMU: switch it on in the firmware and boot with intel_iommu=on or amd_iommu=on",
    ),
    "kvm": _host(
        "kvm",
        "it has no /dev/kvm: switch on virtualization in the firmware and load kvm_intel or kvm_amd",
    ),
    "vfio-type1": _host("vfio_type1", "it has no /dev/vfio/vfio: its kernel needs CONFIG_VFIO_IOMMU_TYPE1"),
    "dev-iommu": _host("iommufd", "it has no /dev/iommu: its kernel needs CONFIG_IOMMUFD"),
    "vfio-cdev": _host("vfio_cdev", "it has no /dev/vfio/devices: its kernel needs CONFIG_VFIO_DEVICE_CDEV"),
    "iommufd-change-process": _host(
        "iommufd_change_process",
        "its kernel has no IOMMU_IOAS_CHANGE_PROCESS: it needs Linux 6.13 or newer",
    ),
    "tracefs": _host("tracefs", "it has no tracefs instances: its kernel needs CONFIG_FTRACE, mounted"),
    "pin-counters": _host(
        "pin_counters", "its kernel does not count pinned pages: it needs Linux 5.7 or newer"
    ),
    "vhost-net": _host("vhost_net", "it has no /dev/vhost-net: its kernel needs CONFIG_VHOST_NET"),
    "vhost-vsock": _host("vhost_vsock", "it has no /dev/vhost-vsock: its kernel needs CONFIG_VHOST_VSOCK"),
    "vhost-vdpa": _host("vhost_vdpa", "it has no vhost_vdpa driver: its kernel needs CONFIG_VHOST_VDPA"),
    "tun": _host("tun", "it has no /dev/net/tun: its kernel needs CONFIG_TUN"),
    "vduse": _host("vduse", "it has no /dev/vduse/control: its kernel needs CONFIG_VDPA_USER"),
    "qemu-storage-daemon": _host("qemu_storage_daemon", "it has no qemu-storage-daemon: install qemu-utils"),
    "vdpa": _listed(
        "host",
        "vdpa",
        "it has no vDPA management device {}: `vdpa mgmtdev show` lists those of its kernel and its hardware",
    ),
    "mdev": _listed("host", "mdev", "it has no mdev parent {}: its kernel or its hardware does not offer it"),
    "hugepages": Need(
        lambda facts, kb: int(kb) in facts["host"].get("hugepages_kb", ()),
        "it has no huge pages of {} kB: its kernel needs CONFIG_HUGETLBFS, its processor pages of that size",
        about=True,
    ),
    "shmem-thp": _listed(
        "host",
        "shmem_thp",
        "its shared memory cannot be told {} to transparent huge pages: it needs CONFIG_TRANSPARENT_HUGEPAGE",
    ),
    "memory-files": _listed(
        "host", "memory_files", "its kernel has no {}: build it with CONFIG_TMPFS, CONFIG_HUGETLBFS"
    ),
    "page-flags": _host(
        "kpageflags", "it has no /proc/kpageflags: its kernel needs CONFIG_PROC_PAGE_MONITOR"
    ),
    "memlock": Need(
        _may_lock, "its agent may not lock {} MiB: raise RLIMIT_MEMLOCK, or log in as root", True
    ),
    "mode": _listed("qemu", "modes", "its QEMU does not know the mode {}: cpr-exec needs 10.2 or newer"),
    "qemu-device": _listed("qemu", "devices", "its QEMU has no device {}: install the package that has it"),
    "qemu-netdev": _listed("qemu", "netdevs", "its QEMU has no netdev {}: it was built without"),
    "qemu-blockdev": _listed(
        "qemu", "blockdevs", "its QEMU cannot load the block driver {}: install qemu-block-extra"
    ),
    "qemu-object": _listed("qemu", "objects", "its QEMU has no object {}: it was built without"),
    "function": _function(
        lambda function: True,
        "it has no function {}: add an AssignableFunction of that name to its target file, with the address "
        "of one that is there",
    ),
    "reset": _function(
        lambda function: bool(function["reset_methods"]),
        "its function {} cannot be reset: the kernel knows no reset method for it",
    ),
    "sriov": _function(
        lambda function: bool(function["sriov_totalvfs"]),
        "its function {} has no SR-IOV: choose one that has, and switch SR-IOV on in the firmware",
    ),
    "wire": Need(
        lambda facts, name: name in facts["wires"],
        "its function {} has no wire: name the other end of its cable in the target file",
        about=True,
    ),
    "screen": Need(
        lambda facts, name: name in facts["screens"],
        "its function {} has no screen that can be read from outside: only the virtual bench offers one",
        about=True,
    ),
}


def missing(needs: Iterable[str], facts: Facts) -> list[str]:
    """One sentence for each need that is not met, in their order, with the remedy.

    Raises:
        LabUsageError: for a need that is not in the table.
    """
    return list(dict.fromkeys(text for need in _expanded(needs) if (text := _unmet(need, facts))))


def require(capabilities: Mapping[str, Any], iommu: str, bench: str) -> None:
    """Refuse a host that cannot assign by a back-end.

    Raises:
        BenchError: naming everything that is missing, and the remedy.
    """
    if lacks := missing([iommu], {"host": capabilities}):
        raise BenchError(f"bench {bench} cannot assign a device by {iommu}: " + "; ".join(lacks))


def shared(probes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all of some QEMUs can do, with their versions: `qemu` of the facts.

    Nothing for none, or if nothing is known of one.
    """
    facts: dict[str, Any] = {}
    for key, value in (probes[0] if probes else {}).items():
        if isinstance(value, list):
            facts[key] = [name for name in value if all(name in probe.get(key, ()) for probe in probes)]
        else:
            facts[key] = ", ".join(dict.fromkeys(str(probe.get(key, "unknown")) for probe in probes))
    return facts


def _expanded(needs: Iterable[str]) -> Iterable[str]:
    for need in needs:
        yield from BACKENDS.get(need, (need,))


def _unmet(need: str, facts: Facts) -> str:
    name, mark, about = need.partition(":")
    line = NEEDS.get(name)
    if line is None or line.about != bool(about) or bool(mark) != bool(about):
        known = ", ".join([*BACKENDS, *(f"{known}:…" if NEEDS[known].about else known for known in NEEDS)])
        raise LabUsageError(f"no such need {need!r}; there are: {known}")
    return "" if line.met(facts, about) else line.remedy.format(about)
