"""The bench host for labgrid: one ssh connection, its functions and their wires, real or virtual."""
# labgrid is untyped: its Any stops here
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from labgrid import target_factory
from labgrid.driver import Driver
from labgrid.resource import NetworkService, Resource

from lab.drivers.endpoint import Endpoint
from lab.drivers.labgrid_virtual import VirtualBenchDriver
from lab.drivers.screen import Screen
from lab.drivers.ssh import HostConnection
from lab.drivers.wire import PacketWire, WireProtocol
from lab.errors import BenchError, HostSilent, LabUsageError
from lab.waiting import wait_until


@target_factory.reg_resource
@attrs.define(eq=False, slots=False)
class PinnedKey(Resource):
    """How to know a real host: the key its sshd must show, and the key we show it.

    host_key: "ssh-ed25519 AAAA...", as `ssh-keyscan -t ed25519 HOST` prints it
    key_file: private key on the controller; ~ is expanded
    """

    host_key: str
    key_file: str


_BOOT_ID = ["cat", "/proc/sys/kernel/random/boot_id"]
_BOOT_PERIOD_S = 1.0
_TOLD = ("bdf", "ids", "disk_model", "disk_serial", "disk_bytes", "without_reset")


@target_factory.reg_resource
@attrs.define(eq=False, slots=False)
class AssignableFunction(Resource):
    """A PCI function that may be given to a guest.

    bdf:  as the host sees it, e.g. 0000:3b:00.0
    wire: for a NIC, what its cable leads to: a FarPort, or the device's own name on the virtual bench
    ids, disk_model, disk_serial, disk_bytes, without_reset: what must be found there before it is bound, and
          what is let through; see Allowed in lab/agents/host/interlocks.py
    about, driver, group, numa_node, sriov_vfs, resets: as discovered, for people and for choosing a place;
          nothing is decided by them
    """

    bdf: str
    wire: str | None = None
    ids: str | None = None
    disk_model: str | None = None
    disk_serial: str | None = None
    disk_bytes: int | None = None
    without_reset: bool = False
    about: str = ""
    driver: str = ""
    group: str = ""
    numa_node: int = -1
    sriov_vfs: int = 0
    resets: str = ""

    @property
    def told(self) -> dict[str, Any]:
        """What the host agent is told of it; labgrid's own fields are no business of it."""
        return {name: getattr(self, name) for name in _TOLD}


@target_factory.reg_resource
@attrs.define(eq=False, slots=False)
class FarPort(Resource):
    """The port at the other end of a NIC's cable, on another machine. Not verified on hardware.

    host_key, key_file: as in PinnedKey
    """

    address: str
    interface: str
    host_key: str
    key_file: str
    username: str = "root"
    port: int = 22


@target_factory.reg_driver
@attrs.define(eq=False, slots=False)
class BenchHost(Driver):
    """The bench host as everything above sees it; active = connected.

    boots_s: set before it boots: how long that may take, to ssh

    Raises:
        BenchError: on activation, if the host does not boot or ssh does not answer.
    """

    bindings = {
        "machine": {"VirtualBenchDriver", "NetworkService"},
        "pinned": {"PinnedKey", None},
        "console": {"SerialConsole", None},
    }

    connect_timeout_s: float = 30.0

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._connection: HostConnection | None = None
        self.boots_s = 0.0

    def on_activate(self) -> None:
        timeout_s = max(self.connect_timeout_s, self.boots_s)
        self._connection = HostConnection(self._endpoint(), timeout_s=timeout_s, console_log=self.console_log)
        if isinstance(self.machine, VirtualBenchDriver):
            self.machine.vm.passed("ssh")

    def on_deactivate(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def alive(self) -> bool:
        """Whether the host still answers; asks it."""
        if self._connection is None or not self._connection.alive:
            return False
        try:
            return self._connection.run(["true"], timeout_s=10.0).returncode == 0
        except BenchError:
            return False

    @property
    def connection(self) -> HostConnection:
        """The connection.

        Raises:
            LabUsageError: the driver is not active.
        """
        if self._connection is None:
            raise LabUsageError(
                f"bench host {self.target.name} is not connected; bring its strategy to ready first"
            )
        return self._connection

    @contextmanager
    def booting_anew(self) -> Iterator[None]:
        """Make the host boot anew inside; afterwards it has booted, and `connection` leads to it again.

        A virtual bench's console must show the boot; a real host must show the id of another one, as it
        may answer for a while before it goes down.

        Raises:
            BenchError: it does not boot, or ssh does not answer.
        """
        if isinstance(self.machine, VirtualBenchDriver):
            boots = self.machine.vm.boots
            yield
            self.machine.vm.wait_booted_again(boots, self.machine.bench.boot_timeout_s)
            self.connection.renew(self.connect_timeout_s)
            return
        before, last = self.connection.check(_BOOT_ID), ["it did not go down"]
        yield

        def booted() -> bool:
            try:
                self.connection.renew(self.connect_timeout_s)
                return self.connection.check(_BOOT_ID) != before
            except BenchError as error:
                last[0] = str(error)
                return False

        timeout_s = max(self.connect_timeout_s, self.boots_s)
        try:
            wait_until(booted, timeout_s, "boot", period_s=_BOOT_PERIOD_S, error=TimeoutError)
        except TimeoutError:
            raise HostSilent(
                f"{self.target.name} did not boot anew within {timeout_s:g} s: {last[0]}"
            ) from None

    @property
    def console_log(self) -> Path | None:
        """The console's log on the controller; None if nobody logs it."""
        if isinstance(self.machine, VirtualBenchDriver):
            return self.machine.console_log
        return self.console.console_log if self.console is not None else None

    @property
    def functions(self) -> Mapping[str, AssignableFunction]:
        """The functions the target file allows to be assigned, by name."""
        return {r.name: r for r in self.target.resources if isinstance(r, AssignableFunction)}

    def function(self, name: str) -> AssignableFunction:
        """One function.

        Raises:
            LabUsageError: the target file has none of that name.
        """
        if name not in self.functions:
            raise LabUsageError(
                f"target {self.target.name} has no function {name!r}, only: {', '.join(self.functions)}"
            )
        return self.functions[name]

    def wire(self, name: str) -> WireProtocol:
        """The wire of a function.

        Raises:
            LabUsageError: the function has no wire.
        """
        wire = self.function(name).wire
        for port in self.target.resources:
            if isinstance(port, FarPort) and port.name == wire:
                return PacketWire(partial(_connect_to, port), port.interface)
        if wire and isinstance(self.machine, VirtualBenchDriver):
            return self.machine.wire(wire)
        raise LabUsageError(
            f"function {name!r} of target {self.target.name} has no wire; the target file says {wire!r}"
        )

    def screen(self, name: str) -> Screen:
        """The display of a function.

        Raises:
            LabUsageError: nothing here looks at it.
            BenchError: the function has none.
        """
        function = self.function(name)
        if isinstance(self.machine, VirtualBenchDriver):
            return self.machine.screen(function.bdf)
        raise LabUsageError(
            f"nothing looks at the display of {name!r} of target {self.target.name}: on real hardware that "
            "takes a capture card (HDMI to V4L2) on the controller, and cprlab has no driver for one yet; "
            "it would be a lab.drivers.screen.Screen"
        )

    @property
    def machine_words(self) -> str:
        """How a real host is known: user, address, port, and the end of its key; "" for a virtual one."""
        if isinstance(self.machine, VirtualBenchDriver):
            return ""
        service: NetworkService = self.machine
        key = self.pinned.host_key.split()[1][-12:] if self.pinned else "no key"
        return f"{service.username}@{service.address}:{service.port} {key}"

    def _endpoint(self) -> Endpoint:
        if isinstance(self.machine, VirtualBenchDriver):
            return self.machine.ready_endpoint()
        service: NetworkService = self.machine
        if self.pinned is None:
            raise LabUsageError(f"target {self.target.name} needs a PinnedKey for {service.address}")
        key_file = Path(self.pinned.key_file).expanduser()
        return Endpoint(service.address, service.port, service.username, key_file, self.pinned.host_key)


def _connect_to(port: FarPort) -> HostConnection:
    key_file = Path(port.key_file).expanduser()
    return HostConnection(Endpoint(port.address, port.port, port.username, key_file, port.host_key))
