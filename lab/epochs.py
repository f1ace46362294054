"""Epochs: numbers that prove that evidence is fresh.

Epoch 1 is before the first update; after each update the controller opens the next one. What
carries a number was made after that number was opened, whichever buffer it waited in.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from lab.errors import SutError
from lab.timeline import Recorder


class Agent(Protocol):
    """An agent that stamps what it produces."""

    @property
    def name(self) -> str: ...

    def call(self, call: str, timeout_s: float = ..., **args: Any) -> Any: ...


class Epochs:
    """The open epoch, and how the next one is opened.

    used: the last one that these agents were told of before
    """

    def __init__(self, recorder: Recorder, agents: Sequence[Agent], used: int = 0) -> None:
        self.number = self.used = used
        self._recorder, self._agents = recorder, agents

    def open_next(self) -> None:
        """Record `epoch`, then tell every agent; a guest that cannot be told is `guest.unreachable`."""
        self.number += 1
        self._recorder.record("epoch", number=self.number)
        for agent in self._agents:
            try:
                agent.call("epoch", number=self.number)
            except SutError as error:
                self._recorder.record("guest.unreachable", reason=str(error))
