"""Power of a real host for labgrid, by its BMC: Redfish or IPMI. Not verified on hardware."""
# labgrid is untyped: its Any stops here
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from pathlib import Path
from typing import Protocol

import attrs
from labgrid import target_factory
from labgrid.driver import Driver
from labgrid.protocol import PowerProtocol, ResetProtocol
from labgrid.resource import Resource
from labgrid.step import step

from lab.drivers.credentials import credentials
from lab.drivers.ipmitool import Ipmitool
from lab.waiting import wait_until


@target_factory.reg_resource
@attrs.define(eq=False, slots=False)
class RedfishBmc(Resource):
    """A BMC with a Redfish service; see lab.drivers.redfish.Redfish.

    password_env, password_file: one of them; the file's mode is 0600
    """

    url: str
    username: str
    password_env: str | None = None
    password_file: str | None = None
    system: str | None = None
    certificate: str | None = None


@target_factory.reg_resource
@attrs.define(eq=False, slots=False)
class IpmiBmc(Resource):
    """A BMC that speaks IPMI 2.0 over LAN; passwords as for RedfishBmc."""

    host: str
    username: str
    port: int = 623
    password_env: str | None = None
    password_file: str | None = None


class Bmc(Protocol):
    """What both can; see their classes for what they raise."""

    def is_on(self) -> bool: ...

    def order(self, what: str) -> None: ...


@target_factory.reg_driver
@attrs.define(eq=False, slots=False)
class BmcPowerDriver(Driver, PowerProtocol, ResetProtocol):
    """Power of a host, asked of its BMC until it is as ordered.

    switch_timeout_s: longest time from an order to the power's new state

    Raises:
        BenchError: the BMC cannot be asked, or does not do it in time.
        LabUsageError: its password or certificate cannot be read, or it has no such system.
    """

    bindings = {"bmc": {"RedfishBmc", "IpmiBmc"}}

    switch_timeout_s: float = 60.0

    @Driver.check_active
    @step()
    def on(self) -> None:
        """Power on; does nothing if it is on."""
        if not self.get():
            self._order("on", wanted=True)

    @Driver.check_active
    @step()
    def off(self) -> None:
        """Power off, hard; does nothing if it is off."""
        if self.get():
            self._order("off", wanted=False)

    @Driver.check_active
    @step()
    def cycle(self) -> None:
        """Off, and on again."""
        self.off()
        self.on()

    @Driver.check_active
    @step()
    def reset(self) -> None:
        """Boot anew without switching power; one that is off is switched on."""
        self._bmc().order("reset" if self.get() else "on")

    @Driver.check_active
    @step()
    def get(self) -> bool:
        """Whether it is on."""
        return self._bmc().is_on()

    def _order(self, what: str, *, wanted: bool) -> None:
        bmc = self._bmc()
        bmc.order(what)
        wait_until(
            lambda: bmc.is_on() is wanted,
            self.switch_timeout_s,
            f"power {what}, ordered of {bmc},",
            period_s=0.5,
        )

    def _bmc(self) -> Bmc:
        return bmc_of(self.bmc)


def bmc_of(resource: RedfishBmc | IpmiBmc) -> Bmc:
    """The BMC a resource describes."""
    known = credentials(resource)
    if isinstance(resource, IpmiBmc):
        return Ipmitool(resource.host, resource.port, known)
    from lab.drivers.redfish import Redfish  # here: it takes half a second to import, and few benches need it

    pin = Path(resource.certificate) if resource.certificate else None
    return Redfish(resource.url, known, system=resource.system, certificate=pin)
