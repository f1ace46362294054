"""The guest's side of all loads, by name: one line of `KINDS` a way to drive a device."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..loop import Loop
from ..rpc import AgentError, Wire

Totals = dict[str, dict[str, Any]]


class Driven(Protocol):
    """A load as the guest drives it, made with (loop, out, load, epoch) and started once."""

    def epoch(self, number: int) -> None:
        """Blocks begun from now on carry it."""

    @property
    def start(self) -> Callable[..., dict[str, Any]]:
        """Called with the settings: find the device and begin; its facts. AgentError if it cannot."""

    def stop_sending(self) -> Totals:
        """Begin no new block; what is in flight goes on. Totals by stream up to now."""

    def stop(self) -> Totals:
        """Give up what is in flight, send all rows, let the device go."""

    def counters(self) -> dict[str, dict[str, int]]:
        """Counters by layer."""

    def fault(self, kind: str) -> None:
        """Have something go wrong with the next block, to see whether the lab notices.

        It is told as fault.planted, which no checker reads. AgentError for a kind that it does not know.
        """


Kind = Callable[[Loop, Wire, str, int], Driven]


def _nic(loop: Loop, out: Wire, load: str, epoch: int) -> Driven:
    from .nic import Nic

    return Nic(loop, out, load, epoch)


def _block(loop: Loop, out: Wire, load: str, epoch: int) -> Driven:
    from .block import Block

    return Block(loop, out, load, epoch)


def _gpu(loop: Loop, out: Wire, load: str, epoch: int) -> Driven:
    from .gpu import Gpu

    return Gpu(loop, out, load, epoch)


def _edu(loop: Loop, out: Wire, load: str, epoch: int) -> Driven:
    from .edu import Edu

    return Edu(loop, out, load, epoch)


def _cuda(loop: Loop, out: Wire, load: str, epoch: int) -> Driven:
    from .cuda import Cuda

    return Cuda(loop, out, load, epoch)


# imported when asked for: each import costs the guest tens of milliseconds under emulation
KINDS: Mapping[str, Kind] = {"nic": _nic, "block": _block, "gpu": _gpu, "edu": _edu, "cuda": _cuda}


class Loads:
    """All loads that run; see `calls`."""

    def __init__(self, loop: Loop, out: Wire, wire: str = "") -> None:
        self._loop, self._out, self._wire = loop, out, wire
        self._running: dict[str, Driven] = {}
        self._epoch = 1
        self.calls: dict[str, Callable[..., Any]] = {
            "load_start": self.start,
            "load_stop_sending": lambda load: self._of(load).stop_sending(),
            "load_stop": self.stop,
            "load_counters": lambda load: self._of(load).counters(),
            "load_fault": lambda load, kind: self._of(load).fault(kind),
        }

    def epoch(self, number: int) -> None:
        self._epoch = number
        for load in self._running.values():
            load.epoch(number)

    def start(self, load: str, kind: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Start a load, in place of one of the same name."""
        if kind not in KINDS:
            raise AgentError(f"there is no load of kind {kind!r}; there are {', '.join(KINDS)}")
        self.stop(load)
        if self._wire and kind == "nic":
            settings = {"wire": self._wire, **{k: v for k, v in settings.items() if v or k != "wire"}}
        driven = KINDS[kind](self._loop, self._out, load, self._epoch)
        try:
            facts = driven.start(**settings)
        except Exception:
            driven.stop()
            raise
        self._running[load] = driven
        return facts

    def stop(self, load: str) -> Totals:
        """Stop a load; its totals, nothing if it did not run."""
        driven = self._running.pop(load, None)
        return driven.stop() if driven else {}

    def _of(self, load: str) -> Driven:
        if load not in self._running:
            running = ", ".join(self._running) or "none"
            raise AgentError(f"no load {load!r} runs in this guest; running: {running}")
        return self._running[load]
