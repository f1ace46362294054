"""The QEMU command line of a virtual bench's host, as data."""

from dataclasses import dataclass
from pathlib import Path

from lab.drivers.virtual_devices import Device, device_argv

KERNEL_ARGS = " ".join(
    [
        "root=/dev/vda rw console=ttyS0 init=/sbin/cprlab-init",
        # sm_off: legacy mode, as caching-mode=on emulates it; iommu=pt: the host's own devices stay
        # untranslated, so only what the guest is given costs TCG time
        "intel_iommu=on,sm_off iommu=pt",
        # huge pages under the guest's memfd, where there are any: a new KVM faults in 128 of them and not
        # 65,536 small ones after every exec, each by a nested page fault that is emulated
        "transparent_hugepage_shmem=always",
        # a dead host ends, and says so on its console
        "panic=-1",
    ]
)

ACCELERATORS = {
    "kvm": ["-accel", "kvm", "-cpu", "host"],
    "tcg": ["-accel", "tcg,thread=multi", "-cpu", "max"],
}

# by the target file's word; none: a host whose IOMMU the firmware left off
IOMMUS = {
    "intel": ["-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on"],
    "none": [],
}


@dataclass(frozen=True)
class Machine:
    """What one virtual bench consists of.

    run_dir:     private folder for sockets and small files; kept short, as a socket's path ends at 107 bytes
    disk:        the root file system; never written to, unless the machine keeps its disk
    seed:        the second disk; None for a host that was installed
    console_log: takes every byte of the console from the first one on
    ssh_at:      address and port of the controller that lead to its ssh; port 0: the kernel picks one
    more_args:   for its kernel, behind KERNEL_ARGS
    """

    run_dir: Path
    kernel: Path
    disk: Path
    seed: Path | None
    console_log: Path
    cpus: int
    memory_mib: int
    devices: tuple[Device, ...]
    accelerator: str
    iommu: str = "intel"
    keeps_disk: bool = False
    ssh_at: str = "127.0.0.1:0"
    more_args: str = ""

    @property
    def console(self) -> Path:
        """The console's unix socket; it takes one client at a time."""
        return self.run_dir / "console"

    @property
    def monitor(self) -> Path:
        """The QMP socket of the bench host's QEMU; it takes one client at a time."""
        return self.run_dir / "qmp"


def machine_argv(machine: Machine) -> list[str]:
    """Everything after the program.

    The split irqchip and intremap go together: VFIO wants interrupt remapping. Disks have fixed
    slots, so that the root is vda and the seed vdb.
    """
    # fmt: off
    return [
        "-name", f"cprlab-bench,process={machine.run_dir.name}",
        "-nodefaults", "-no-user-config", "-display", "none",
        *ACCELERATORS[machine.accelerator],
        "-machine", "q35,kernel-irqchip=split",
        "-m", f"{machine.memory_mib}M", "-smp", str(machine.cpus),
        *IOMMUS[machine.iommu],
        "-kernel", str(machine.kernel), "-append", f"{KERNEL_ARGS} {machine.more_args}".rstrip(),
        "-chardev",
        f"socket,id=console,path={machine.console},server=on,wait=off,logfile={machine.console_log},"
        "logappend=on",
        "-serial", "chardev:console",
        "-chardev", f"socket,id=monitor,path={machine.monitor},server=on,wait=off",
        "-object", "monitor-qmp,id=qmp,chardev=monitor",
        "-drive",
        f"if=none,id=root,format=raw,file={machine.disk},snapshot={'off' if machine.keeps_disk else 'on'}",
        "-device", "virtio-blk-pci,drive=root,addr=0x2",
        *_seed_argv(machine.seed),
        # restrict: the bench reaches nothing; port 0: the kernel picks one, so benches cannot collide
        "-netdev", f"user,id=management,restrict=on,hostfwd=tcp:{machine.ssh_at}-:22",
        "-device", "virtio-net-pci,netdev=management,addr=0x4,romfile=",
        *device_argv(machine.devices, machine.run_dir),
    ]
    # fmt: on


def _seed_argv(seed: Path | None) -> list[str]:
    if seed is None:
        return []
    drive = f"if=none,id=seed,format=raw,file={seed},read-only=on"
    return ["-drive", drive, "-device", "virtio-blk-pci,drive=seed,addr=0x3"]
