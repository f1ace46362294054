"""Brings a bench to a state: off or ready."""
# labgrid is untyped: its Any stops here
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

import enum
import logging
from collections.abc import Callable
from contextlib import suppress

import attrs
from labgrid import target_factory
from labgrid.step import step
from labgrid.strategy import Strategy

from lab.drivers.labgrid_virtual import VirtualBenchDriver
from lab.errors import BenchError, HostSilent, LabError, LabUsageError
from lab.waiting import wait_until

log = logging.getLogger(__name__)

_ATTEMPTS = 2
_SHUTDOWN_S = 60.0
# --force: its services are ended by a signal and its file systems unmounted, whatever hangs
_POWEROFF = ["sh", "-c", "sync; nohup poweroff -f >/dev/null 2>&1 &"]


class Status(enum.Enum):
    """unknown: nobody has looked; off: disconnected, and powered as it was found; ready: takes a guest"""

    unknown = 0
    off = 1
    ready = 2


@target_factory.reg_driver
@attrs.define(eq=False, slots=False)
class BenchStrategy(Strategy):
    """off, ready: each asked for before every case, so that a bench that died is brought back.

    It never uses labgrid's `never_retry`: that sets `broken`, and labgrid's pytest plugin *skips*
    everything after it. A dead bench is a BenchError in every case that wants it.

    The virtual bench is powered on each time. A real host is left as it is found: one that answers is used,
    one that is off is powered on, and off again at the end. One that is silent is wedged: if its power is
    ours, it is power-cycled and tried once more.

    boot_timeout_s: of a real host, from power on to ssh

    Raises:
        BenchError: the bench cannot be brought there, by two attempts where its power is ours.
            After two failures in a row at once, to lose no time.
    """

    bindings = {
        "host": "BenchHost",
        "power": {"PowerProtocol", None},
        "console": {"SerialConsole", None},
    }

    boot_timeout_s: float = 600.0
    status: Status = attrs.field(default=Status.unknown, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._failures = 0
        self._last: Exception | None = None
        self._found_off: bool | None = None

    @step(args=["status"])
    def transition(self, status: Status | str) -> None:
        """Go to a state; nothing happens if it is reached already."""
        wanted = _status(status)
        if wanted is Status.off:
            self._off()
        elif self.status is Status.ready and self.host.alive:
            return
        else:
            self._become_ready()

    @step(args=["status"])
    def force(self, status: Status | str) -> None:
        """Believe that the bench is in a state, and attach to it."""
        wanted = _status(status)
        if wanted is Status.ready:
            self.target.activate(self.host)
        self.status = wanted

    def reset(self) -> bool:
        """Boot the host anew by its power; False if its power is not ours, or can only be switched."""
        press = getattr(self.power, "reset", None)
        if press is None:
            return False
        self.target.activate(self.power)
        press()
        return True

    def _become_ready(self) -> None:
        if self._failures >= _ATTEMPTS:
            raise BenchError(
                f"bench {self.target.name} failed {self._failures} times: {self._last}"
            ) from self._last
        if self.status is Status.ready:
            log.warning("bench %s does not answer any more", self.target.name)
        ways = self._ways()
        for number, way in enumerate(ways, 1):
            try:
                way()
                self._failures, self.status = 0, Status.ready
                return
            except Exception as error:
                self._failures, self._last = self._failures + 1, error
                self._let_go()
                if not self._may_help(error):
                    break
                if number < len(ways):
                    log.warning("bench %s: %s; its power is switched", self.target.name, error)
        if isinstance(self._last, LabError):
            raise self._last
        raise BenchError(f"bench {self.target.name} cannot be made ready: {self._last}") from self._last

    def _ways(self) -> list[Callable[[], None]]:
        """What to try, one after the other."""
        if self.power is None:
            return [self._attach]
        if isinstance(self.power, VirtualBenchDriver):
            # an emulated host was once seen to hang while its kernel started
            return [self._power_on, self._power_on][self._failures :]
        self.target.activate(self.power)
        is_off = self._is_off()
        if self._found_off is None:
            self._found_off = is_off
        if is_off:
            return [self._power_on, self._power_on][self._failures :]
        return [self._attach, self._power_on][self._failures :]

    def _may_help(self, error: Exception) -> bool:
        """Whether switching the power may help: a host that answers and refuses our key keeps its power."""
        return isinstance(self.power, VirtualBenchDriver) or isinstance(error, HostSilent)

    def _is_off(self) -> bool:
        """Whether the power is known to be off; some PDUs cannot be asked, and a BMC may be dead."""
        ask = getattr(self.power, "get", None)
        try:
            return ask is not None and not ask()
        except Exception as error:  # labgrid's drivers raise what their libraries do
            log.warning("power of bench %s is not known: %s", self.target.name, error)
            return False

    def _attach(self) -> None:
        self._let_go()
        if self.console is not None:
            self.target.activate(self.console)
        self.target.activate(self.host)

    def _power_on(self) -> None:
        self._let_go()
        self.target.activate(self.power)
        if self.console is not None:
            self.target.activate(self.console)
        self.power.cycle()
        self.host.boots_s = self.boot_timeout_s
        try:
            self.target.activate(self.host)
        finally:
            self.host.boots_s = 0.0

    def _let_go(self) -> None:
        """Disconnect; what is only emulated goes with it."""
        self.target.deactivate(self.host)
        if isinstance(self.power, VirtualBenchDriver):
            self.target.activate(self.power)
            self.power.off()

    def _off(self) -> None:
        if self._found_off:
            self._shut_down()
        self._let_go()
        self.status, self._found_off = Status.off, None

    def _shut_down(self) -> None:
        """Power off as its own system would, and hard if it does not."""
        self.target.activate(self.power)
        with suppress(BenchError, LabUsageError):  # it is wedged or was never reached
            self.host.connection.run(_POWEROFF)
            wait_until(self._is_off, _SHUTDOWN_S, f"the end of bench {self.target.name}", period_s=0.5)
        self.power.off()


def _status(status: Status | str) -> Status:
    try:
        wanted = status if isinstance(status, Status) else Status[status]
    except KeyError:
        wanted = Status.unknown
    if wanted is Status.unknown:
        raise LabUsageError(f"a bench can be made off or ready, not {status!r}")
    return wanted
