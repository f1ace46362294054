"""What a bench lacks for a case: every need of the table, met and not met."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from lab.drivers.capabilities import BACKENDS, NEEDS, missing, shared
from lab.errors import LabUsageError

NIC = {"bdf": "0000:01:00.0", "reset_methods": ["flr", "bus"], "sriov_totalvfs": 7}
FACTS: dict[str, Any] = {
    "host": {
        **dict.fromkeys(["root", "iommu", "kvm", "vfio_type1", "iommufd", "vfio_cdev"], True),
        **dict.fromkeys(["iommufd_change_process", "tracefs", "pin_counters", "vhost_net"], True),
        **dict.fromkeys(["vhost_vsock", "vhost_vdpa", "tun", "vduse", "qemu_storage_daemon"], True),
        "kpageflags": True,
        "hugepages_kb": [2048],
        "shmem_thp": ["always", "never"],
        "memory_files": ["tmpfs"],
        "memlock_bytes": None,
        "vdpa": ["vdpasim_net", "vdpasim_blk"],
        "mdev": {"mtty": ["mtty-1", "mtty-2"]},
    },
    "qemu": {
        "version": "11.1.3",
        "modes": ["normal", "cpr-exec"],
        "devices": ["vfio-pci"],
        "netdevs": ["vhost-vdpa"],
        "blockdevs": ["virtio-blk-vhost-vdpa"],
        "objects": ["iommufd"],
    },
    "functions": {"nic": NIC, "gone": None, "bare": {"reset_methods": [], "sriov_totalvfs": None}},
    "wires": ["nic"],
    "screens": ["gpu"],
}
"""A bench that has everything."""

ABOUT = {
    "hugepages": ("2048", "1048576"),
    "shmem-thp": ("always", "force"),
    "memory-files": ("tmpfs", "hugetlbfs"),
    "vdpa": ("vdpasim_net", "mlx5"),
    "mdev": ("mtty", "vgpu"),
    "mode": ("cpr-exec", "cpr-luo"),
    "qemu-device": ("vfio-pci", "edu"),
    "qemu-netdev": ("vhost-vdpa", "af-xdp"),
    "qemu-blockdev": ("virtio-blk-vhost-vdpa", "nfs"),
    "qemu-object": ("iommufd", "sev-guest"),
    "function": ("nic", "nvme"),
    "reset": ("nic", "bare"),
    "sriov": ("nic", "bare"),
    "wire": ("nic", "gone"),
    "screen": ("gpu", "nic"),
}
"""A need that is about something: what is there, and what is not."""


def facts(**host: Any) -> Mapping[str, Any]:
    """The bench above, with other facts of its host."""
    return FACTS | {"host": FACTS["host"] | host}


def test_a_bench_that_has_everything_lacks_nothing() -> None:
    plain = [name for name, need in NEEDS.items() if not need.about]
    about = [f"{name}:{there}" for name, (there, _) in ABOUT.items()]
    assert {*ABOUT, "memlock"} == NEEDS.keys() - {*plain}
    assert missing([*BACKENDS, *plain, *about, "memlock:256"], FACTS) == []


@pytest.mark.parametrize("name", [name for name, need in NEEDS.items() if not need.about])
def test_a_host_without_it_is_told_the_remedy(name: str) -> None:
    """False, and an agent that knows nothing of it."""
    key = {"dev-iommu": "iommufd", "page-flags": "kpageflags"}.get(name, name.replace("-", "_"))
    without = copy.deepcopy(FACTS)
    assert without["host"].pop(key) is True
    assert missing([name], facts(**{key: False})) == missing([name], without) == [NEEDS[name].remedy]


@pytest.mark.parametrize("name", ABOUT)
def test_what_is_not_there_is_named(name: str) -> None:
    _, absent = ABOUT[name]
    [text] = missing([f"{name}:{absent}"], FACTS)
    assert absent in text and "{}" not in text


def test_a_function_that_the_host_does_not_have_is_not_there() -> None:
    assert len(missing(["function:gone", "reset:gone", "sriov:gone"], FACTS)) == 3


@pytest.mark.parametrize(
    ("root", "limit", "may"),
    [
        (False, 8 << 20, False),
        (False, 256 << 20, True),
        (False, None, True),
        # the kernel does not look at the limit of a process with CAP_IPC_LOCK
        (True, 8 << 20, True),
    ],
)
def test_how_much_memory_may_be_locked(root: bool, limit: int | None, may: bool) -> None:
    assert (missing(["memlock:256"], facts(root=root, memlock_bytes=limit)) == []) is may


def test_each_sentence_comes_once_and_in_order() -> None:
    none = FACTS | {"host": {}}
    told = missing(["type1", "iommufd", "kvm", "tun"], none)
    assert told == [
        NEEDS[name].remedy for name in dict.fromkeys([*BACKENDS["type1"], *BACKENDS["iommufd"]])
    ] + [NEEDS["tun"].remedy]


@pytest.mark.parametrize("need", ["nonesuch", "function", "function:", "kvm:3", "", ":x", "kvm:"])
def test_a_need_that_nobody_knows_is_an_error(need: str) -> None:
    with pytest.raises(LabUsageError, match=r"no such need .*; there are: type1, iommufd, root, .*function:"):
        missing([need], FACTS)


def test_two_qemus_can_do_what_both_can() -> None:
    old = {"version": "10.2.0", "modes": ["cpr-exec", "normal"], "devices": ["edu"]}
    new = {"version": "11.1.3", "modes": ["cpr-exec", "cpr-new", "normal"], "devices": []}
    both = {"version": "10.2.0, 11.1.3", "modes": ["cpr-exec", "normal"], "devices": []}
    assert (shared([old, new]), shared([new]), shared([])) == (both, new, {})
    assert shared([{}, new]) == {}
    assert shared([new, {}])["modes"] == []
