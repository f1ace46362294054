"""Preflight: what would lose the guest in cpr-exec without a word from QEMU is refused before it."""

import pytest

from lab.errors import LabUsageError
from lab.qemu.argv import GuestConfig
from lab.qemu.devices import IommuBackend, VfioFunction
from lab.qemu.preflight import findings, require_safe

SAFE = [
    *("-object", "memory-backend-memfd,id=ram0,size=256M,share=on"),
    *("-machine", "q35,aux-ram-share=on,memory-backend=ram0"),
]


def guest(iommu: IommuBackend = "type1") -> GuestConfig:
    return GuestConfig("/k", "/i", "/run/g", iommu=iommu, devices=(VfioFunction("0000:01:00.0"),))


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["-m", "256M"], ["aux-ram-share", "guest RAM (memory-backend=none) is not shared"]),
        (["-machine", "q35,aux-ram-share=off,memory-backend=ram0", *SAFE[:2]], ["aux-ram-share"]),
        ([w.replace(",aux-ram-share=on", "") for w in SAFE], ["aux-ram-share"]),
        (
            [w.replace("share=on,", "share=off,").replace(",share=on", "") for w in SAFE[:2]] + SAFE[2:],
            ["ram0"],
        ),
        ([w.replace("size=256M,share=on", "size=256M,share=off") for w in SAFE], ["guest RAM"]),
        ([*SAFE, "-object", "memory-backend-ram,id=dimm1,size=1G"], ["memory backend dimm1 is not shared"]),
        (
            [*SAFE, "-object", "memory-backend-epc,id=epc0,size=64M,prealloc=on"],
            ["memory backend epc0 is memory-backend-epc, which CPR does not support"],
        ),
        ([w.replace("memory-backend=ram0", "memory-backend=ram1") for w in SAFE], ["memory-backend=ram1"]),
    ],
)
def test_what_loses_the_guest_is_named(argv: list[str], says: list[str]) -> None:
    found = [str(finding) for finding in findings(argv)]
    assert len(found) == len(says)
    assert all(part in text for part, text in zip(says, found, strict=True))
    with pytest.raises(LabUsageError, match="refusing cpr-exec"):
        require_safe(argv)


@pytest.mark.parametrize(
    "argv",
    [
        SAFE,
        [w.replace("-machine", "-M") for w in SAFE],
        [*SAFE, "-object", "memory-backend-file,id=dimm1,size=1G,mem-path=/dev/shm/x,share=on"],
        [*SAFE, "-object", "iommufd,id=iommufd0"],
    ],
)
def test_what_keeps_the_guest_passes(argv: list[str]) -> None:
    assert findings(argv) == []


@pytest.mark.parametrize("iommu", ["type1", "iommufd"])
def test_the_labs_own_guest_is_safe(iommu: IommuBackend) -> None:
    require_safe(guest(iommu).argv("qemu"))


def test_new_qemu_gets_all_of_old_qemus_arguments_and_incoming() -> None:
    old, new = guest().argv("qemu"), guest().incoming("qemu")
    assert new == [*old, "-incoming", "file:/run/g/vm.state"]
