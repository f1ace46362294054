"""The guest's QEMU command line as data.

The same `GuestConfig` gives the argv of old QEMU and, with `-incoming`, that of new QEMU: cpr-exec
asks for "all old QEMU arguments plus -incoming" (QEMU docs/devel/migration/CPR.rst).
"""

import re
from dataclasses import dataclass

from lab.qemu.chardevs import Chardev
from lab.qemu.devices import IOMMUFD, Device, IommuBackend, TapNet
from lab.qemu.memory import MEMFD, Memory

AGENT_PORT = "cprlab.agent"
STREAM_FD, STREAM_PATH = "cprlab.stream.fd", "cprlab.stream.path"
_DESCRIPTOR = re.compile(r"\{fd:([^}]+)\}")


@dataclass(frozen=True)
class GuestConfig:
    """A guest of the lab: a kernel and an initramfs, RAM that survives an update, and its devices.

    kernel, initrd: paths on the bench host
    run_dir:        folder on the bench host for its sockets and files
    log_dir:        folder for the console's log, if it is another one
    devices:        what it is given beside console and agent; the order makes their ids
    kernel_args:    appended to the guest kernel's command line
    viommu:         whether it has an IOMMU of its own (an emulated Intel one)
    memory:         what its RAM is made of
    chardevs:       connections beside the lab's own
    container:      name of the one on the bench host that its QEMU runs in; "" for none
    extra:          further words, like those that QEMU traces by
    """

    kernel: str
    initrd: str
    run_dir: str
    iommu: IommuBackend
    devices: tuple[Device, ...] = ()
    memory_mib: int = 256
    cpus: int = 1
    accel: str = "kvm"
    machine: str = "q35"
    kernel_args: str = ""
    viommu: bool = False
    memory: Memory = MEMFD
    log_dir: str = ""
    container: str = ""
    chardevs: tuple[Chardev, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def qmp_path(self) -> str:
        return f"{self.run_dir}/qmp.sock"

    @property
    def agent_path(self) -> str:
        return f"{self.run_dir}/agent.sock"

    @property
    def stream_path(self) -> str:
        return f"{self.run_dir}/stream.sock"

    @property
    def console_log(self) -> str:
        return f"{self.home}/console.log"

    @property
    def home(self) -> str:
        """The folder of what is one for all QEMUs of the guest."""
        return self.log_dir or self.run_dir

    @property
    def sockets(self) -> tuple[str, ...]:
        """The chardevs whose descriptors QEMU inherits."""
        held = (one.id for one in self.chardevs if one.backend.far == "fd" and one.id != self.stdio)
        return ("stream-fd", *held)

    @property
    def stdio(self) -> str:
        """The chardev that is QEMU's standard input and output; "" for none."""
        return next((one.id for one in self.chardevs if one.backend.name == "stdio"), "")

    @property
    def taps(self) -> tuple[str, ...]:
        """The taps whose descriptors QEMU inherits."""
        return tuple(device.tap for device in self.devices if isinstance(device, TapNet))

    @property
    def state_file(self) -> str:
        return f"{self.run_dir}/vm.state"

    def argv(self, qemu: str, *, new: bool = False) -> list[str]:
        """The command that starts the guest; `{fd:NAME}` stands for a descriptor the host agent opens.

        new: that of new QEMU, which has what was plugged into the running guest
        """
        return [
            qemu,
            *("-name", "cprlab-guest"),
            *("-accel", self.accel),
            *("-cpu", "host"),
            *("-smp", str(self.cpus)),
            # share=on and aux-ram-share=on are what keeps guest RAM in place over an exec; cpr-exec does not
            # ask for them itself up to QEMU 11.1 and loses the guest without them (see preflight)
            *self.memory.objects(self.memory_mib, new=new),
            *("-machine", f"{self._machine()},{self.memory.machine}"),
            *("-m", self.memory.size(self.memory_mib)),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-kernel", self.kernel, "-initrd", self.initrd),
            *("-append", self._kernel_line()),
            *("-qmp", f"unix:{self.qmp_path},server=on,wait=off"),
            *self._viommu(),
            *self._console(),
            *self._ports(),
            *(word for one in self.chardevs for word in one.argv(self.run_dir, self.home)),
            *self._devices(),
            *self.memory.devices(new=new),
            *self.extra,
        ]

    def incoming(self, qemu: str) -> list[str]:
        """The command of new QEMU for one update."""
        return [*self.argv(qemu, new=True), "-incoming", f"file:{self.state_file}"]

    def _machine(self) -> str:
        # interrupt remapping needs the I/O APIC in QEMU
        return f"{self.machine},kernel-irqchip=split" if self.viommu else self.machine

    def _kernel_line(self) -> str:
        own_iommu = ["intel_iommu=on,sm_off"] if self.viommu else []
        return " ".join(["console=ttyS0 quiet panic=-1", *own_iommu, *self.kernel_args.split()])

    def _viommu(self) -> list[str]:
        # it must come before the devices that sit behind it; caching-mode: VFIO has to see every mapping
        return ["-device", "intel-iommu,intremap=on,caching-mode=on"] if self.viommu else []

    def _console(self) -> list[str]:
        # logappend: new QEMU opens the file again, and would truncate what old QEMU wrote
        log = f"logfile={self.console_log},logappend=on"
        return [
            *("-chardev", f"socket,id=console,path={self.run_dir}/console.sock,server=on,wait=off,{log}"),
            *("-serial", "chardev:console"),
        ]

    def _ports(self) -> list[str]:
        return [
            *("-device", "virtio-serial-pci,id=ports"),
            *("-chardev", f"socket,id=agent,path={self.agent_path},server=on,wait=off"),
            *("-device", f"virtserialport,chardev=agent,name={AGENT_PORT}"),
            *("-chardev", "socket,id=stream-fd,fd={fd:stream-fd}"),
            *("-device", f"virtserialport,chardev=stream-fd,name={STREAM_FD}"),
            *("-chardev", f"socket,id=stream-path,path={self.stream_path},server=on,wait=off"),
            *("-device", f"virtserialport,chardev=stream-path,name={STREAM_PATH}"),
        ]

    def _devices(self) -> list[str]:
        wanted = self.iommu == "iommufd" and any(device.by_vfio for device in self.devices)
        argv = ["-object", f"iommufd,id={IOMMUFD}"] if wanted else []
        for number, device in enumerate(self.devices):
            argv += device.argv(number, self.iommu)
        return argv


def with_descriptors(argv: list[str], descriptors: dict[str, int]) -> list[str]:
    """Replace every `{fd:NAME}` by its descriptor number.

    Raises:
        KeyError: if a name has no descriptor.
    """
    return [_DESCRIPTOR.sub(lambda mark: str(descriptors[mark[1]]), word) for word in argv]
