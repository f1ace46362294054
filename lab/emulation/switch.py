"""Orders of a BMC, done one after the other by the main thread; whoever gave one does not wait for it."""

import logging
import queue
from collections.abc import Callable

from lab.emulation.machine import SwitchedMachine
from lab.errors import LabError

log = logging.getLogger(__name__)


class Switch:
    """The power of one machine, to be asked and ordered from any thread."""

    def __init__(self, machine: SwitchedMachine) -> None:
        self._machine = machine
        self._orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._acts: dict[str, Callable[[], None]] = {
            "on": machine.on,
            "off": machine.off,
            "reset": machine.reset,
            "interrupt": machine.interrupt,
            "press": machine.press_power,
        }

    @property
    def is_on(self) -> bool:
        return self._machine.is_on

    def order(self, what: str) -> None:
        """on, off, reset, interrupt, press or cycle."""
        for act in ("off", "on") if what == "cycle" else (what,):
            self._orders.put(act)

    def obey(self) -> None:
        """Do what is ordered, for ever; the main thread's work."""
        while True:
            act = self._orders.get()
            try:
                self._acts[act]()
            except LabError as error:
                log.error("order %r was not done: %s", act, error)
