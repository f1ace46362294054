"""An emulated host with everything around it: BMC, serial line, ssh, and the machine its cable leads to."""

import logging
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import images
from lab.drivers import target_file
from lab.drivers.acceleration import acceleration
from lab.drivers.run_dirs import private_run_dir
from lab.drivers.virtual_argv import Machine
from lab.drivers.virtual_devices import MODELS, Device, bdf
from lab.drivers.virtual_seed import KeyPair, write_private
from lab.emulation import certificate, disk, ipmi, redfish
from lab.emulation.described import FAR_INTERFACE, Described
from lab.emulation.machine import SwitchedMachine
from lab.emulation.serial_line import SerialLine
from lab.emulation.switch import Switch
from lab.images.controller_qemu import qemu_argv, qemu_env
from lab.images.store import cache_folder

log = logging.getLogger(__name__)

USER, SYSTEM = "admin", "437XR1138R2"
SSH, FAR_SSH, REDFISH, IPMI, SERIAL = 2222, 2223, 8443, 6230, 4001
VIRTUAL = Path(__file__).resolve().parents[2] / "targets/virtual.yaml"
_BOOT = "/etc/cprlab-boot"
# a host that hangs stays hung: what brings it back is outside of it
_MORE_ARGS = f"init={_BOOT} panic=0"
_INIT = "#!/bin/sh\n{}exec /sbin/cprlab-init\n"
# what an administrator configures once: the port's name, and that it is up
_PORT_UP = """/bin/busybox mount -t sysfs sysfs /sys
for nic in /sys/bus/pci/devices/{at}/net/*; do
    /bin/busybox ip link set "${{nic##*/}}" name {name} && /bin/busybox ip link set {name} up
done
/bin/busybox umount /sys
"""


@dataclass(frozen=True)
class Wanted:
    """What to emulate.

    folder: takes everything a user of the host needs, and its disks
    bmc:    redfish, or ipmi, whose BMC carries the console, too
    far:    machine: the cable leads to another machine; loop: to another port of the same one
    """

    folder: Path
    name: str = "bench-a"
    bmc: str = "redfish"
    far: str = "machine"
    memory_mib: int = 3072
    cpus: int = 2


def own_address() -> str:
    """An address of this process: loopback has sixteen million of them, and PIDs have at most 22 bits."""
    pid = os.getpid()
    return f"127.{64 + (pid >> 16)}.{pid >> 8 & 255}.{pid & 255}"


def run(wanted: Wanted, ready: Callable[[Path], object]) -> None:
    """Emulate until the process ends; from the main thread. The host is off until its BMC is told otherwise.

    ready: called with the target file once its BMC answers

    Raises:
        BenchError: an image or a tool is missing.
    """
    wanted.folder.mkdir(parents=True, exist_ok=True)
    run_dir = private_run_dir()
    try:
        path, switch = _assembled(wanted, run_dir)
        ready(path)
        switch.obey()
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def _assembled(wanted: Wanted, run_dir: Path) -> tuple[Path, Switch]:
    """All of it, listening; its target file, and the switch that waits for the main thread."""
    address = own_address()
    ours, key = KeyPair.made(), wanted.folder / "key"
    write_private(key, ours.private)
    host_key, far_key = KeyPair.made(), KeyPair.made()
    devices = [Device("nic", "igb", wire=True), Device("nvme", "nvme", iops=40)]
    far = Device("far", "igb", cable=run_dir / "host" / "nic")
    host_devices = (*devices, far) if wanted.far == "loop" else tuple(devices)
    loop_up = _PORT_UP.format(at=bdf(host_devices, 2), name=FAR_INTERFACE) if wanted.far == "loop" else ""

    make = _Maker(wanted, run_dir, address, ours.public)
    host = make.machine("host", host_devices, SSH, host_key, loop_up)
    serial = SerialLine(host.machine.console_log, host.machine.console)
    switch = Switch(host)
    far_ssh = SSH
    if wanted.far == "machine":
        far_ssh = FAR_SSH
        up = _PORT_UP.format(at=bdf((far,), 0), name=FAR_INTERFACE)
        make.machine("far", (far,), FAR_SSH, far_key, up, memory_mib=384, cpus=1).on()
    described = Described(
        address=address,
        ssh=SSH,
        host_key=host_key.public,
        key_file=key,
        bmc=_bmc(wanted, address, switch, serial),
        serial=SERIAL if wanted.bmc == "redfish" else None,
        functions={
            device.name: {"bdf": bdf(host_devices, index), **_disk(device)}
            for index, device in enumerate(devices)
        },
        far_ssh=far_ssh,
        far_key=far_key.public if wanted.far == "machine" else host_key.public,
    )
    if described.serial is not None:
        serial.serve((address, SERIAL))
    path = wanted.folder / f"{wanted.name}.yaml"
    path.write_text(described.target_file(_options()))
    (wanted.folder / f"{wanted.name}.exporter").write_text(described.exporter_file(wanted.name))
    return path, switch


def _disk(device: Device) -> dict[str, Any]:
    """By what a disk is known again: QEMU's name of the model, and the device's as serial (device_argv)."""
    if not (size := MODELS[device.model].disk_bytes):
        return {}
    return {"disk_model": "QEMU NVMe Ctrl", "disk_serial": device.name, "disk_bytes": size}


@dataclass(frozen=True)
class _Maker:
    """Makes machines of the same images."""

    wanted: Wanted
    run_dir: Path
    address: str
    our_key: str

    def machine(
        self,
        name: str,
        devices: tuple[Device, ...],
        ssh: int,
        host_key: KeyPair,
        on_boot: str,
        *,
        memory_mib: int = 0,
        cpus: int = 0,
    ) -> SwitchedMachine:
        """A machine that is off, installed on a disk of its own."""
        root, kernel = images.ensure_root(), images.ensure_kernel()
        program, env = qemu_argv(root.root_dir), qemu_env(root.root_dir)
        chosen = acceleration(program, env, kernel, cache_folder().parent / "kvm-probe.json")
        run_dir, own_disk = self.run_dir / name, self.wanted.folder / f"{name}.raw"
        run_dir.mkdir(mode=0o700)
        files = {
            "/etc/ssh/ssh_host_ed25519_key": (host_key.private, 0o600),
            "/etc/ssh/ssh_host_ed25519_key.pub": (f"{host_key.public}\n".encode(), 0o644),
            "/root/.ssh/authorized_keys": (f"{self.our_key}\n".encode(), 0o600),
            _BOOT: (_INIT.format(on_boot).encode(), 0o755),
        }
        disk.install(root.disk_image, own_disk, files)
        machine = Machine(
            run_dir=run_dir,
            kernel=kernel,
            disk=own_disk,
            seed=None,
            console_log=self.wanted.folder / f"{name}-serial.log",
            cpus=cpus or self.wanted.cpus,
            memory_mib=memory_mib or self.wanted.memory_mib,
            devices=devices,
            accelerator=chosen.name,
            keeps_disk=True,
            ssh_at=f"{self.address}:{ssh}",
            more_args=_MORE_ARGS,
        )
        return SwitchedMachine(machine, program, env)


def _bmc(wanted: Wanted, address: str, switch: Switch, serial: SerialLine) -> dict[str, dict[str, Any]]:
    """Start the BMC, and say how it is reached."""
    password, password_file = secrets.token_urlsafe(12), wanted.folder / "bmc.password"
    write_private(password_file, f"{password}\n".encode())
    known = {"username": USER, "password_file": str(password_file)}
    if wanted.bmc == "ipmi":
        ipmi.serve(ipmi.OneBmc(switch, serial, {USER: password}, IPMI, address))
        return {"IpmiBmc": {"host": address, "port": IPMI, **known}}
    pem, pem_key, users = (wanted.folder / f"bmc.{suffix}" for suffix in ("pem", "key", "users"))
    certificate.make(pem, pem_key, address)
    write_private(users, redfish.user_line(USER, password).encode())
    system = redfish.OneSystem(switch, SYSTEM, wanted.name)
    redfish.serve(system, (address, REDFISH), (pem, pem_key), users)
    return {"RedfishBmc": {"url": f"https://{address}:{REDFISH}", "certificate": str(pem), **known}}


def _options() -> dict[str, Any]:
    """Its processors are as slow as the virtual bench's."""
    return target_file.load(VIRTUAL).options.model_dump(mode="json", exclude_none=True)
