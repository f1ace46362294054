"""A bench in use: the one way to it for fixtures, the command line and scripts.

with open_bench(Path("targets/virtual.yaml")) as bench:
    bench.connection.run(["uname", "-r"])
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from labgrid import Environment
from labgrid.exceptions import NoDriverFoundError

from lab import health
from lab.drivers import target_file
from lab.drivers.agent import HostAgent, NotRestored
from lab.drivers.labgrid_console import SerialConsole
from lab.drivers.labgrid_host import AssignableFunction, BenchHost
from lab.drivers.labgrid_strategy import BenchStrategy
from lab.drivers.labgrid_virtual import VirtualBenchDriver
from lab.drivers.screen import Screen
from lab.drivers.ssh import HostConnection
from lab.drivers.target_file import TargetFile
from lab.drivers.wire import WireProtocol
from lab.errors import LabUsageError
from lab.health.use import made_ready
from lab.link import Receiver


class Bench:
    """The bench host of a labgrid environment, whatever it is made of."""

    def __init__(self, environment: Environment, file: TargetFile) -> None:
        self.target_file = file
        self.environment = environment
        self.target = environment.get_target(target_file.HOST)
        self.host: BenchHost = self._driver(BenchHost)
        self.strategy: BenchStrategy = self._driver(BenchStrategy)
        self.virtual: VirtualBenchDriver | None = None
        with suppress(NoDriverFoundError):
            self.virtual = self.target.get_driver(VirtualBenchDriver, activate=False)
        self.console: SerialConsole | None = None
        with suppress(NoDriverFoundError):
            self.console = self.target.get_driver(SerialConsole, activate=False)

    @property
    def name(self) -> str:
        """The bench's name: its file's, without suffix."""
        return self.target_file.name

    @property
    def machine(self) -> str:
        """By what a real host is known, whatever its name: address, port and key; "" for a virtual bench."""
        return self.host.machine_words

    def ready(self) -> None:
        """Make it ready, again if it died. A real host that was found suspect is checked then.

        Raises:
            BenchError: it cannot be made ready, or is in quarantine or maintenance.
        """
        if self.virtual is not None:
            self.strategy.transition("ready")
        else:
            made_ready(self, health.Store())

    @contextmanager
    def agent(
        self, receiver: Receiver | None = None, *, name: str = "host agent", see: str = ""
    ) -> Iterator[HostAgent]:
        """A session with the host's agent, which may touch what the target file lists.

        A real host whose agent does not answer any more at the end is suspect, even if ssh does.

        Raises:
            NotRestored: what was changed on the host stays so: a virtual bench is switched off then, a real
                host goes into quarantine.
        """
        try:
            with HostAgent(self.connection, receiver, name=name, functions=self.allowed, see=see) as agent:
                yield agent
                if self.virtual is None and not agent.answers():
                    self._tell(health.Event.USE_FAILED, f"the {name} did not answer any more")
            if agent.left:
                with HostAgent(self.connection, name=name):
                    pass  # the next one undoes what the one before it could not yet
        except NotRestored as error:
            if self.virtual is not None:
                self.off()
            else:
                self._tell(health.Event.NOT_RESTORED, str(error))
            raise

    def off(self) -> None:
        """Disconnect, and power off where that is ours to do."""
        self.strategy.transition("off")

    @contextmanager
    def booting_anew(self) -> Iterator[None]:
        """Make the host boot anew inside, by whatever way; see BenchHost.booting_anew."""
        self.host.boots_s = self.strategy.boot_timeout_s
        try:
            with self.host.booting_anew():
                yield
        finally:
            self.host.boots_s = 0.0

    @property
    def connection(self) -> HostConnection:
        """The ssh connection to the host."""
        return self.host.connection

    @property
    def functions(self) -> Mapping[str, AssignableFunction]:
        """The functions that may be given to a guest, by name."""
        return self.host.functions

    @property
    def allowed(self) -> list[dict[str, Any]]:
        """What the host agent may touch, for its `functions`."""
        return [function.told for function in self.functions.values()]

    def function(self, name: str) -> AssignableFunction:
        """One of them; LabUsageError for an unknown name."""
        return self.host.function(name)

    def wire(self, name: str) -> WireProtocol:
        """The wire of a function; LabUsageError if it has none."""
        return self.host.wire(name)

    def screen(self, name: str) -> Screen:
        """The display of a function; LabUsageError if nothing looks at it."""
        return self.host.screen(name)

    @property
    def console_log(self) -> Path | None:
        """The host console's log on the controller; None if nobody logs it."""
        return self.host.console_log

    @property
    def facts(self) -> dict[str, Any]:
        """What a run record says about the bench: name, kind, acceleration, seconds of each boot phase."""
        if self.virtual is None:
            # an emulated host must not pass for metal, however it is reached: its processor says what it is
            under = self.connection.run(["grep", "-qw", "hypervisor", "/proc/cpuinfo"]).returncode == 0
            return {"name": self.name, "kind": "machine under a hypervisor" if under else "hardware"}
        chosen = self.virtual.acceleration
        vm = self.virtual.vm
        facts = {"name": self.name, "kind": "virtual", "boot_phases_s": dict(vm.phases)}
        facts["processors"] = dict(vm.processors)
        return facts | ({"acceleration": chosen.name, "acceleration_reason": chosen.reason} if chosen else {})

    def _tell(self, event: health.Event, reason: str) -> None:
        health.Store().happened(self.name, event, reason, self.machine)

    def _driver(self, kind: type) -> Any:
        try:
            return self.target.get_driver(kind, activate=False)
        except NoDriverFoundError:
            raise LabUsageError(
                f"{self.target_file.path}: target {target_file.HOST} has no driver {kind.__name__}"
            ) from None


def prepared(path: Path, *, log_dir: Path | None = None, seed_files: Sequence[Path] = ()) -> Bench:
    """A bench, not yet powered on; for `log_dir` and `seed_files` see VirtualBenchDriver.

    Raises:
        LabUsageError: the target file is wrong.
    """
    target_file.load(path)  # before labgrid reads it: its messages name no line
    bench = bench_of(Environment(str(path)))
    set_up(bench, log_dir=log_dir, seed_files=seed_files)
    return bench


def set_up(bench: Bench, *, log_dir: Path | None = None, seed_files: Sequence[Path] = ()) -> None:
    """What the next power-on shall use; on real hardware only a console's log."""
    if bench.console is not None:
        bench.console.log_dir = log_dir
    if bench.virtual is not None:
        bench.virtual.log_dir, bench.virtual.seed_files = log_dir, tuple(seed_files)


def bench_of(environment: Environment) -> Bench:
    """The bench of labgrid's own environment, as the pytest fixture `env` gives it.

    Raises:
        LabUsageError: its target file is wrong.
    """
    return Bench(environment, target_file.load(Path(environment.config_file)))


@contextmanager
def open_bench(
    path: Path, *, log_dir: Path | None = None, seed_files: Sequence[Path] = ()
) -> Iterator[Bench]:
    """A bench that is ready, and off again afterwards.

    Raises:
        LabUsageError: the target file is wrong.
        BenchError: the bench cannot be made ready.
    """
    bench = prepared(path, log_dir=log_dir, seed_files=seed_files)
    try:
        bench.ready()
        yield bench
    finally:
        bench.environment.cleanup()
