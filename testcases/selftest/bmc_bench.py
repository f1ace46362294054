"""A real Redfish service and a real IPMI BMC, with a machine behind them that is a variable."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from lab.drivers.virtual_seed import write_private
from lab.emulation import certificate, ipmi, redfish
from lab.emulation.host import IPMI, REDFISH, USER, own_address
from lab.emulation.serial_line import SerialLine
from lab.emulation.switch import Switch


@dataclass
class Toy:
    """What a switch switches; remembers what it was told."""

    is_on: bool = False
    told: list[str] = field(default_factory=list)

    def on(self) -> None:
        self.is_on = True

    def off(self) -> None:
        self.is_on = False

    def reset(self) -> None:
        self.told.append("reset")

    def interrupt(self) -> None:
        self.told.append("interrupt")

    def press_power(self) -> None:
        self.told.append("press")


@dataclass(frozen=True)
class BmcBench:
    """Where it is, and what gets in."""

    address: str
    folder: Path
    toy: Toy
    password: str
    serial: SerialLine

    @property
    def redfish(self) -> dict[str, Any]:
        """Arguments of RedfishBmc."""
        at = {"url": f"https://{self.address}:{REDFISH}", "certificate": str(self.folder / "bmc.pem")}
        return {**at, "username": USER, "password_file": str(self.folder / "password")}

    @property
    def ipmi(self) -> dict[str, Any]:
        """Arguments of IpmiBmc."""
        at = {"host": self.address, "port": IPMI}
        return {**at, "username": USER, "password_file": str(self.folder / "password")}


@contextmanager
def bmc_bench(folder: Path) -> Iterator[BmcBench]:
    """Once a process, as the emulator of Redfish is global; it ends with the process."""
    toy, address, password = Toy(), own_address(), secrets.token_urlsafe(12)
    switch = Switch(cast(Any, toy))
    threading.Thread(target=switch.obey, daemon=True).start()
    write_private(folder / "password", f"{password}\n".encode())
    write_private(folder / "users", redfish.user_line(USER, password).encode())
    certificate.make(folder / "bmc.pem", folder / "bmc.key", address)
    system, tls = redfish.OneSystem(switch, "SYS1", "toy"), (folder / "bmc.pem", folder / "bmc.key")
    redfish.serve(system, (address, REDFISH), tls, folder / "users")
    serial = SerialLine(folder / "serial.log", folder / "no-console")
    ipmi.serve(ipmi.OneBmc(switch, serial, {USER: password}, IPMI, address))
    serial.serve((address, 4001))
    yield BmcBench(address, folder, toy, password, serial)
