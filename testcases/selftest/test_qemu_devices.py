"""The devices of a guest: what QEMU is told of each, in old QEMU and in new QEMU alike."""

import itertools
from typing import Any

import pytest

from lab.qemu.argv import GuestConfig, with_descriptors
from lab.qemu.devices import (
    Device,
    TapByName,
    TapNet,
    VdpaBlockdev,
    VdpaDevice,
    VdpaNet,
    VfioFunction,
    VfioMdev,
    VhostVsock,
    guest_bdf,
)

MAC = "52:54:00:12:34:56"
FUNCTION = VfioFunction("0000:01:00.0")
MDEV = VfioMdev("/sys/bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001")
NIC = f"mac={MAC},addr=0x10,romfile="


def argv(*devices: Device, **config: Any) -> list[str]:
    return GuestConfig("/k", "/i", "/run/g", **{"iommu": "type1", **config}, devices=devices).argv("qemu")


def after(words: list[str], flag: str) -> list[str]:
    """The values of an option."""
    return [value for word, value in itertools.pairwise(words) if word == flag]


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (FUNCTION, ["vfio-pci,id=vfio0,host=0000:01:00.0,addr=0x10"]),
        (
            VfioFunction("0000:01:00.0", ("enable-migration=off",)),
            ["vfio-pci,id=vfio0,host=0000:01:00.0,addr=0x10,enable-migration=off"],
        ),
        (MDEV, [f"vfio-pci,id=vfio0,sysfsdev={MDEV.path},addr=0x10"]),
        (
            VdpaNet("/dev/vhost-vdpa-0", MAC),
            ["vhost-vdpa,id=net0,vhostdev=/dev/vhost-vdpa-0", f"virtio-net-pci,id=vdpa0,netdev=net0,{NIC}"],
        ),
        (
            VdpaDevice("/dev/vhost-vdpa-1"),
            ["vhost-vdpa-device-pci,id=vdpa0,vhostdev=/dev/vhost-vdpa-1,addr=0x10"],
        ),
        (
            VdpaBlockdev("/dev/vhost-vdpa-1"),
            [
                "driver=virtio-blk-vhost-vdpa,cache.direct=on,node-name=disk0,path=/dev/vhost-vdpa-1",
                "virtio-blk-pci,id=vdpa0,drive=disk0,addr=0x10",
            ],
        ),
        (
            TapNet("tap0", MAC, vhost=True),
            ["tap,id=net0,fd={fd:tap:tap0},vhost=on", f"virtio-net-pci,id=tap0,netdev=net0,{NIC}"],
        ),
        (
            TapByName("tap0", MAC, vhost=False),
            [
                "tap,id=net0,ifname=tap0,script=no,downscript=no,vhost=off",
                f"virtio-net-pci,id=tap0,netdev=net0,{NIC}",
            ],
        ),
        (VhostVsock(42), ["vhost-vsock-pci,id=vsock0,guest-cid=42,addr=0x10"]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_what_qemu_is_told(device: Device, words: list[str]) -> None:
    assert device.argv(0, "type1")[1::2] == words


def test_ids_are_unique_by_position() -> None:
    tap = TapNet("tap0", MAC, vhost=True)
    told = ",".join(argv(FUNCTION, tap, MDEV, VdpaDevice("/dev/vhost-vdpa-0"), VhostVsock(3)))
    for name in ("vfio0", "tap1", "net1", "vfio2", "vdpa3", "vsock4"):
        assert told.count(f"id={name},") == 1
    for number in range(5):
        assert told.count(f"addr={int(guest_bdf(number)[8:10], 16):#x}") == 1


@pytest.mark.parametrize("device", [FUNCTION, MDEV])
def test_iommufd_is_one_object_that_every_vfio_device_names(device: Device) -> None:
    words = argv(device, device, iommu="iommufd")
    assert after(words, "-object").count("iommufd,id=iommufd0") == 1
    assert [w.endswith(",iommufd=iommufd0") for w in after(words, "-device") if w.startswith("vfio")] == [
        True,
        True,
    ]


def test_without_a_vfio_device_there_is_no_iommufd() -> None:
    assert "iommufd" not in " ".join(argv(VdpaNet("/dev/vhost-vdpa-0", MAC), VhostVsock(3), iommu="iommufd"))


def test_a_guest_with_an_iommu_of_its_own_has_it_before_all_devices() -> None:
    words = argv(FUNCTION, viommu=True)
    assert after(words, "-device")[0] == "intel-iommu,intremap=on,caching-mode=on"
    assert after(words, "-machine") == ["q35,kernel-irqchip=split,aux-ram-share=on,memory-backend=ram0"]
    assert after(words, "-append")[0].endswith(" intel_iommu=on,sm_off")


def test_kernel_arguments_come_last() -> None:
    plain, more = argv(), argv(kernel_args="pci=nomsi")
    assert after(more, "-append") == [f"{after(plain, '-append')[0]} pci=nomsi"]
    assert "intel-iommu" not in " ".join(plain)


def test_inherited_descriptors_get_their_numbers() -> None:
    words = ["-chardev", "socket,id=s,fd={fd:s},x=1", "tap,id=net0,fd={fd:tap:tap0},vhost=on", "{fd:s}{fd:s}"]
    assert with_descriptors(words, {"s": 7, "tap:tap0": 101}) == [
        "-chardev",
        "socket,id=s,fd=7,x=1",
        "tap,id=net0,fd=101,vhost=on",
        "77",
    ]
    with pytest.raises(KeyError, match="tap:tap0"):
        with_descriptors(words, {"s": 7})
