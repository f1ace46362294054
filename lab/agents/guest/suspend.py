"""Suspend to RAM, from within.

Source: Linux Documentation/admin-guide/pm/sleep-states.rst, /sys/power/state; Documentation/driver-api/
driver-model/binding.rst, bind and unbind.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..loop import NEVER, Loop
from ..rpc import AgentError, Wire

STATE = Path("/sys/power/state")
PORTS_DRIVER = Path("/sys/bus/virtio/drivers/virtio_console")
ANSWER_NS = 1_000_000_000
"""The call is answered before the guest sleeps; an answer that is not out by then comes after it."""


class Suspend:
    """Puts the guest to sleep; it goes on when its machine wakes it up.

    driver: of the virtio-serial ports. Linux 7.3.4 does not bring an open port back: after any sleep
            virtio_console says POLLHUP of it for ever, though QEMU has it connected on both sides. So the
            driver lets its devices go before the sleep and finds them anew after it.
    """

    def __init__(self, loop: Loop, out: Wire, state: Path = STATE, driver: Path = PORTS_DRIVER) -> None:
        self._loop, self._out, self._state, self._driver = loop, out, state, driver

    def suspend(self) -> None:
        """Sleep soon; event guest.resumed {slept_ns, error} when that is over, error empty if it slept.

        Raises:
            AgentError: this kernel cannot.
        """
        try:
            states = self._state.read_text(encoding="ascii").split()
        except OSError as error:
            raise AgentError(f"this guest cannot sleep: {error}") from None
        if "mem" not in states:
            raise AgentError(f"this guest cannot suspend to RAM, {self._state} has: {' '.join(states)}")
        self._loop.at(time.monotonic_ns() + ANSWER_NS, self._sleep)

    def _sleep(self, _: int) -> int:
        began_ns, error = time.clock_gettime_ns(time.CLOCK_BOOTTIME), ""
        try:
            with _unbound(self._driver):
                self._state.write_text("mem", encoding="ascii")
        except OSError as refusal:
            error = str(refusal)
        slept_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - began_ns
        self._out.event("guest.resumed", t_src_ns=time.monotonic_ns(), slept_ns=slept_ns, error=error)
        return NEVER


@contextmanager
def _unbound(driver: Path) -> Iterator[None]:
    """Take a driver's devices from it; open descriptors of them are dead from then on (ENODEV)."""
    devices = [device.name for device in sorted(driver.glob("virtio[0-9]*"))]
    for device in devices:
        (driver / "unbind").write_text(device, encoding="ascii")
    try:
        yield
    finally:
        for device in devices:
            (driver / "bind").write_text(device, encoding="ascii")
