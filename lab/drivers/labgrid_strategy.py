"""Brings a bench to a state: off or ready."""
# labgrid is untyped: its Any stops here
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

import enum
import logging

import attrs
from labgrid import target_factory
from labgrid.step import step
from labgrid.strategy import Strategy

from lab.errors import BenchError, LabError, LabUsageError

log = logging.getLogger(__name__)

_ATTEMPTS = 2


class Status(enum.Enum):
    """unknown: nobody has looked; off: disconnected, and powered off where we may; ready: takes a guest"""

    unknown = 0
    off = 1
    ready = 2


@target_factory.reg_driver
@attrs.define(eq=False, slots=False)
class BenchStrategy(Strategy):
    """off, ready: each asked for before every case, so that a bench that died is brought back.

    It never uses labgrid's `never_retry`: that sets `broken`, and labgrid's pytest plugin *skips*
    everything after it. A dead bench is a BenchError in every case that wants it.

    Raises:
        BenchError: the bench cannot be brought there; where its power is ours, it was switched on twice.
            After two failures in a row at once, to lose no time.
    """

    bindings = {"host": "BenchHost", "power": {"PowerProtocol", None}}

    status: Status = attrs.field(default=Status.unknown, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._failures = 0
        self._last: Exception | None = None

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

    def _become_ready(self) -> None:
        if self._failures >= _ATTEMPTS:
            raise BenchError(
                f"bench {self.target.name} failed {self._failures} times: {self._last}"
            ) from self._last
        if self.status is Status.ready:
            log.warning("bench %s does not answer any more; powering it on again", self.target.name)
        # an emulated host was once seen to hang while its kernel started: what has power is tried twice
        attempts = _ATTEMPTS - self._failures if self.power is not None else 1
        for left in reversed(range(attempts)):
            try:
                return self._power_on()
            except Exception as error:
                self._failures, self._last = self._failures + 1, error
                self._off()
                if left:
                    log.warning("bench %s: %s; trying once more", self.target.name, error)
        if isinstance(self._last, LabError):
            raise self._last
        raise BenchError(f"bench {self.target.name} cannot be made ready: {self._last}") from self._last

    def _power_on(self) -> None:
        self._off()
        if self.power is not None:
            self.target.activate(self.power)
            self.power.cycle()
        self.target.activate(self.host)
        self._failures, self.status = 0, Status.ready

    def _off(self) -> None:
        self.target.deactivate(self.host)
        if self.power is not None:
            self.target.activate(self.power)
            self.power.off()
        self.status = Status.off


def _status(status: Status | str) -> Status:
    try:
        wanted = status if isinstance(status, Status) else Status[status]
    except KeyError:
        wanted = Status.unknown
    if wanted is Status.unknown:
        raise LabUsageError(f"a bench can be made off or ready, not {status!r}")
    return wanted
