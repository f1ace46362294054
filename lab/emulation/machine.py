"""A machine with a power switch: a QEMU process while it is on, a disk that stays while it is off."""

import logging
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from lab.drivers import monitor
from lab.drivers.processors import one_processor
from lab.drivers.virtual_argv import Machine, machine_argv
from lab.drivers.virtual_devices import MODELS, disk_path
from lab.drivers.virtual_machine import spawned
from lab.errors import BenchError

log = logging.getLogger(__name__)


@dataclass
class SwitchedMachine:
    """On, off, reset: as a BMC does it, without asking the operating system.

    Switch it from the main thread: its QEMU dies with the thread that started it.
    """

    machine: Machine
    program: Sequence[str]
    env: Mapping[str, str]
    _process: "subprocess.Popen[bytes] | None" = None
    _running: ExitStack = field(default_factory=ExitStack)

    @property
    def is_on(self) -> bool:
        """Whether it has power; it loses it, too, when its own system powers off."""
        return self._process is not None and self._process.poll() is None

    def on(self) -> None:
        """Power on; nothing if it is on."""
        if self.is_on:
            return
        self.off()
        for device in self.machine.devices:
            if size := MODELS[device.model].disk_bytes:
                with disk_path(self.machine.run_dir, device.name).open("ab") as disk:
                    disk.truncate(size)
        argv = [*self._pinned(), *self.program, *machine_argv(self.machine)]
        self._process = spawned(argv, self.env, self.machine.run_dir / "qemu.stderr")
        log.info("%s: powered on", self.machine.run_dir.name)

    def off(self) -> None:
        """Cut the power; nothing if it is off."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            log.info("%s: powered off", self.machine.run_dir.name)
        self._running.close()

    def reset(self) -> None:
        """Push the reset button; nothing if it is off."""
        if self.is_on:
            monitor.execute(self.machine.monitor, "system_reset")

    def interrupt(self) -> None:
        """Send an NMI, by which a kernel says where it hangs."""
        if self.is_on:
            monitor.execute(self.machine.monitor, "inject-nmi")

    def press_power(self) -> None:
        """Push the power button for a moment: its system may power off, or not heed it."""
        if self.is_on:
            monitor.execute(self.machine.monitor, "system_powerdown")

    def last_words(self) -> str:
        """What its QEMU said last."""
        try:
            said = (self.machine.run_dir / "qemu.stderr").read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            raise BenchError(f"{self.machine.run_dir.name} was never powered on") from None
        return said[-1] if said else "nothing"

    def _pinned(self) -> list[str]:
        """Kept on one processor of the controller, as every emulated machine of the lab is."""
        if self.machine.accelerator != "tcg":
            return []
        return ["taskset", "--cpu-list", str(self._running.enter_context(one_processor()))]
