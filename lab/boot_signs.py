"""Why a guest does not boot, from what QEMU and its console show long before the time is over."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from lab.drivers.agent import HostAgent
from lab.errors import BenchError, SutError
from lab.evidence import Evidence
from lab.link import AgentRefusal

PATIENCE_S = 2.0
"""Between two looks at what a guest shows that does not boot."""

CONSOLE, PANIC = "console-guest.log", "Kernel panic"

T = TypeVar("T")


@dataclass(frozen=True)
class BootSigns:
    """What a guest that does not boot shows of it, long before the time is over."""

    agent: HostAgent
    pid: int
    evidence: Evidence

    def awaited(self, ask: Callable[[float], T], timeout_s: float) -> T:
        """Ask, with some patience each time, until there is an answer.

        Raises:
            BenchError: QEMU ended, the guest's kernel panicked, or the time is over; with last words.
                Before the first update it is the bench that is not as it must be, so it is no evidence.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return ask(min(PATIENCE_S, max(0.1, deadline - time.monotonic())))
            except SutError as error:
                if why := self._of_death() or (str(error) if time.monotonic() > deadline else ""):
                    raise BenchError(f"the guest did not boot: {why}; {self._last_words()}") from error

    def _of_death(self) -> str:
        with suppress(AgentRefusal):  # it runs
            ended = self.agent.reap(self.pid, 0.0)
            return f"QEMU ended with {ended['signal'] or ended['status']}"
        return next((line for line in self._console() if PANIC in line), "")

    def _last_words(self) -> str:
        """What QEMU and the guest's console said last, on one line; of a panic it was said already."""
        console, stderr = self._console(), self.evidence.last_log("qemu")
        if any(PANIC in line for line in console):
            return f"see {self.evidence.folder}"
        said = [f"QEMU said: {stderr}"] if stderr else []
        said += [f"its console ends: {console[-1]}"] if console else ["its console is empty"]
        return "; ".join([*said, f"see {self.evidence.folder}"])

    def _console(self) -> list[str]:
        text = (self.evidence.folder / CONSOLE).read_text(errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()]
