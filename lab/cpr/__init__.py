"""Update modes: one a file, each acts and records, none judges or retries."""

from typing import Protocol

from lab.timeline import Recorder


class Mode(Protocol):
    """One way to update.

    mode: its name in QAPI (enum MigMode); "restart" for the control, which uses none
    """

    @property
    def mode(self) -> str: ...

    def apply(self, recorder: Recorder, update: int) -> None:
        """Update once; what QEMU makes of it is recorded as `cpr.ok`, `cpr.fail` or `cpr.info`."""
        ...
