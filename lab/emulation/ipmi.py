"""The IPMI side of an emulated BMC: pyghmi's server, with power and serial over LAN of one machine.

pyghmi and not QEMU's ipmi-bmc-extern: that one is a BMC as the host sees it, and speaks to no network;
not virtualbmc: it is this same server, tied to libvirt.
Source: IPMI 2.0, sections 13 (RMCP+), 15 (serial over LAN), 28.3 (chassis control).
"""

import threading

from pyghmi import exceptions
from pyghmi.ipmi import bmc
from pyghmi.ipmi.private import session

from lab.emulation.serial_line import SerialLine
from lab.emulation.switch import Switch

_NOT_IN_THIS_STATE = 0xD5


class OneBmc(bmc.Bmc):  # type: ignore[misc]  # untyped
    """What the server asks of the machine behind it; completion codes as in IPMI 2.0, table 5-2."""

    def __init__(
        self, switch: Switch, serial: SerialLine, users: dict[str, str], port: int, address: str
    ) -> None:
        super().__init__(users, port=port, address=address)
        # pyghmi 1.6.19 wakes its own reader by a packet to 127.0.0.1, wherever it listens: serial over LAN
        # then waits for the next packet of somebody else
        session.myself = address
        self._switch, self._serial = switch, serial

    def get_power_state(self) -> str:
        return "on" if self._switch.is_on else "off"

    def is_active(self) -> bool:
        """Its serial line may be listened to before it is powered on."""
        return True

    def power_on(self) -> None:
        self._switch.order("on")

    def power_off(self) -> None:
        self._switch.order("off")

    def power_cycle(self) -> int | None:
        return self._if_on("cycle")

    def power_reset(self) -> int | None:
        return self._if_on("reset")

    def power_shutdown(self) -> int | None:
        return self._if_on("press")

    def pulse_diag(self) -> int | None:
        return self._if_on("interrupt")

    def iohandler(self, data: bytes) -> None:
        """What the user of the console types."""
        self._serial.say(bytes(data))

    def activate_payload(self, request: object, user: object) -> None:
        """Begin serial over LAN."""
        before = self.sol
        super().activate_payload(request, user)
        if (console := self.sol) not in (None, before):

            def hear(data: bytes) -> None:
                try:
                    console.send_data(data)
                except exceptions.IpmiException as gone:
                    raise OSError(str(gone)) from gone

            threading.Thread(
                target=self._serial.listen_to,
                args=(hear, lambda: self.sol is console),
                name="serial over LAN",
                daemon=True,
            ).start()

    def _if_on(self, order: str) -> int | None:
        if not self._switch.is_on:
            return _NOT_IN_THIS_STATE
        self._switch.order(order)
        return None


def serve(one: OneBmc) -> None:
    """Answer on a thread of its own, until the process ends."""
    threading.Thread(target=one.listen, name="ipmi", daemon=True).start()
