"""What a bench host must have for an IOMMU back-end, told in one line if it has not."""

from collections.abc import Mapping
from typing import Any

from lab.errors import BenchError

NEEDED = {
    "type1": ("iommu", "kvm", "vfio_type1"),
    "iommufd": ("iommu", "kvm", "iommufd", "vfio_cdev", "iommufd_change_process"),
}
REMEDY = {
    "iommu": "it has no IOMMU: switch it on in the firmware and boot with intel_iommu=on or amd_iommu=on",
    "kvm": "it has no /dev/kvm: switch on virtualization in the firmware and load kvm_intel or kvm_amd",
    "vfio_type1": "it has no /dev/vfio/vfio: its kernel needs CONFIG_VFIO_IOMMU_TYPE1",
    "iommufd": "it has no /dev/iommu: its kernel needs CONFIG_IOMMUFD",
    "vfio_cdev": "it has no /dev/vfio/devices: its kernel needs CONFIG_VFIO_DEVICE_CDEV",
    "iommufd_change_process": "its kernel has no IOMMU_IOAS_CHANGE_PROCESS: it needs Linux 6.13 or newer",
}


def require(capabilities: Mapping[str, Any], iommu: str, bench: str) -> None:
    """Refuse a host that lacks something.

    Raises:
        BenchError: naming everything that is missing, and the remedy.
    """
    if missing := [REMEDY[name] for name in NEEDED[iommu] if not capabilities.get(name)]:
        raise BenchError(f"bench {bench} cannot assign a device by {iommu}: " + "; ".join(missing))
