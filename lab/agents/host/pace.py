"""How soon the agent reads what waits for it in the kernel: at once, or now and then to disturb nobody.

What is read late has its own time all the same: QEMU stamps its lines, the kernel its events.
"""

import threading

CALM_S = 0.5
"""Pipe and ring buffers hold far more than an update writes in that time."""


class Pace:
    """Shared by all readers; they hurry unless told otherwise."""

    def __init__(self) -> None:
        self._hurry = threading.Event()
        self._hurry.set()

    def calm(self, on: bool) -> None:
        """From now on read now and then, or at once again."""
        if on:
            self._hurry.clear()
        else:
            self._hurry.set()

    def rest(self) -> None:
        """Between two reads."""
        self._hurry.wait(CALM_S)
