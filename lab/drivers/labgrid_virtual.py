"""The virtual bench for labgrid: power and console of a bench host that is a QEMU process."""
# labgrid is untyped: its Any stops here
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

import logging
import socket
from pathlib import Path
from typing import Any

import attrs
from labgrid import target_factory
from labgrid.driver import Driver
from labgrid.driver.consoleexpectmixin import ConsoleExpectMixin
from labgrid.protocol import ConsoleProtocol, PowerProtocol
from labgrid.resource import Resource
from labgrid.step import step

from lab import images
from lab.drivers.acceleration import Acceleration, acceleration
from lab.drivers.console_log import LogReader
from lab.drivers.endpoint import Endpoint
from lab.drivers.run_dirs import console_log, private_run_dir
from lab.drivers.screen import MonitorScreen
from lab.drivers.virtual_argv import Machine
from lab.drivers.virtual_devices import MODELS, WIRE_FAR, WIRE_QEMU, Device, bdf, wire_path
from lab.drivers.virtual_machine import VirtualMachine
from lab.drivers.virtual_seed import KeyPair
from lab.drivers.wire import UnixWire
from lab.errors import BenchError, LabUsageError
from lab.images.controller_qemu import qemu_argv, qemu_env
from lab.images.store import cache_folder

log = logging.getLogger(__name__)


@target_factory.reg_resource
@attrs.define(eq=False, slots=False)
class VirtualBench(Resource):
    """A bench host to be made of QEMU.

    devices:        [{name, model, wire, shares_group, iops}]; the first is at 0000:01:00.0, the second at
                    0000:02:00.0, or at 0000:01:00.1 if it shares a group, ...
    iommu:          intel, or none
    boot_timeout_s: longest time from power on to sshd
    """

    cpus: int = 2
    memory_mib: int = 3072
    devices: list[dict[str, Any]] = attrs.field(factory=list)
    iommu: str = "intel"
    boot_timeout_s: float = 60.0


@target_factory.reg_driver
@attrs.define(eq=False, slots=False)
class VirtualBenchDriver(ConsoleExpectMixin, Driver, PowerProtocol, ConsoleProtocol):
    """Power, console and ssh endpoint of the virtual bench.

    The console is read from its log, so that reading never takes bytes from anybody and a reader
    that sleeps never stops the host.  Power goes off when the driver is deactivated.

    log_dir:    set before power on: where console-host.log goes; else into cprlab's state folder
    seed_files: set before power on: files the host shall have already, see HostConnection.put_blob

    Raises:
        BenchError: on `on` and `ready_endpoint`, if the host does not start or boot.
    """

    bindings = {"bench": VirtualBench}

    # ConsoleExpectMixin asks for these
    txdelay: float = 0.0
    txchunk: int = 1

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.log_dir: Path | None = None
        self.seed_files: tuple[Path, ...] = ()
        self.acceleration: Acceleration | None = None
        self._vm: VirtualMachine | None = None
        self._reader: LogReader | None = None

    def on_deactivate(self) -> None:
        self.off()

    @Driver.check_active
    @step()
    def on(self) -> None:
        """Power on; does nothing if it is on."""
        if self._vm is None or not self._vm.running:
            self.off()
            self._vm = self._powered_on()
            self._reader = LogReader(self.console_log)

    @step()
    def off(self) -> None:
        """Power off, hard."""
        if self._vm is not None:
            self._vm.stop()
            self._vm = None

    @Driver.check_active
    @step()
    def cycle(self) -> None:
        """Off, then on with a fresh disk and fresh keys."""
        self.off()
        self.on()

    @property
    def vm(self) -> VirtualMachine:
        """The running machine: its process, run folder, monitor and phases.

        Raises:
            LabUsageError: power is off.
        """
        if self._vm is None:
            raise LabUsageError(
                f"the virtual bench of target {self.target.name} is powered off; power it on first"
            )
        return self._vm

    def ready_endpoint(self) -> Endpoint:
        """Where ssh answers, once the host said it is ready."""
        self.vm.wait_ready(self.bench.boot_timeout_s)
        log.info("bench host ready after %.1f s", self.vm.phases["ready"])
        return self.vm.endpoint

    @property
    def console_log(self) -> Path:
        """The console's log, complete from the first byte."""
        return self.vm.machine.console_log

    def wire(self, name: str) -> UnixWire:
        """The wire of the NIC with this name.

        Raises:
            BenchError: no device of that name has one.
        """
        wires = [device.name for device in self._devices() if device.wire]
        if name not in wires:
            raise BenchError(f"the virtual bench has no wire {name!r}, only: {', '.join(wires) or 'none'}")
        run_dir = self.vm.machine.run_dir
        return UnixWire(wire_path(run_dir, name, WIRE_FAR), wire_path(run_dir, name, WIRE_QEMU))

    def screen(self, at: str) -> MonitorScreen:
        """The display of the function at this address.

        Raises:
            BenchError: there is none.
        """
        devices = self._devices()
        for index, device in enumerate(devices):
            if MODELS[device.model].has_screen and bdf(devices, index) == at:
                return MonitorScreen(self.vm.machine.monitor, device.name)
        raise BenchError(f"the virtual bench has no display at {at}")

    def resolve_conflicts(self, client: Driver) -> None:
        """Several drivers may use it at once: nobody takes the console from anybody."""

    def _powered_on(self) -> VirtualMachine:
        root, kernel = images.ensure_root(), images.ensure_kernel()
        program, env = qemu_argv(root.root_dir), qemu_env(root.root_dir)
        self.acceleration = acceleration(program, env, kernel, cache_folder().parent / "kvm-probe.json")
        log.info("bench host runs under %s: %s", self.acceleration.name.upper(), self.acceleration.reason)
        run_dir = private_run_dir()
        machine = Machine(
            run_dir=run_dir,
            kernel=kernel,
            disk=root.disk_image,
            seed=run_dir / "seed.tar",
            console_log=console_log(self.log_dir, run_dir),
            cpus=self.bench.cpus,
            memory_mib=self.bench.memory_mib,
            devices=self._devices(),
            accelerator=self.acceleration.name,
            iommu=self.bench.iommu,
        )
        return VirtualMachine(machine, program, env, (KeyPair.made(), KeyPair.made()), self.seed_files)

    def _devices(self) -> tuple[Device, ...]:
        return tuple(Device(**device) for device in self.bench.devices)

    def _read(self, size: int = 1, timeout: float = 0.0, max_size: int | None = None) -> bytes:
        assert self._reader is not None
        return self._reader.read(size, timeout, max_size)

    def _write(self, data: bytes) -> int:
        with socket.socket(socket.AF_UNIX) as console:
            console.connect(str(self.vm.machine.console))
            console.sendall(data)
            console.shutdown(socket.SHUT_WR)
        return len(data)
