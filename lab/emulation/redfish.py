"""The Redfish side of an emulated BMC: sushy-tools' emulator, with one system that really switches.

Source: sushy-tools 2.2, sushy_tools/emulator/resources/systems/base.py; DSP2046, ComputerSystem.Reset.
"""

import ssl
import threading
from pathlib import Path
from typing import Any

import bcrypt
from sushy_tools import error
from sushy_tools.emulator import main as emulator
from sushy_tools.emulator.resources.systems.base import AbstractSystemsDriver
from werkzeug.serving import WSGIRequestHandler, make_server

from lab.emulation.switch import Switch

ORDERS = {
    "On": "on",
    "ForceOn": "on",
    "ForceOff": "off",
    "GracefulShutdown": "press",
    "ForceRestart": "reset",
    "GracefulRestart": "reset",
    "Nmi": "interrupt",
}


class OneSystem(AbstractSystemsDriver):  # type: ignore[misc]  # untyped
    """What the emulator asks of the machines behind it."""

    def __init__(self, switch: Switch, identity: str, name: str) -> None:
        self._switch, self._identity, self._name = switch, identity, name
        self._boot_device = "Hdd"

    @property
    def driver(self) -> str:
        return "<cprlab>"

    @property
    def systems(self) -> list[str]:
        return [self._identity]

    def uuid(self, identity: str) -> str:
        if identity != self._identity:
            raise error.NotFound(f"there is no system {identity}")
        return identity

    def name(self, identity: str) -> str:
        return self._name

    def get_power_state(self, identity: str) -> str:
        return "On" if self._switch.is_on else "Off"

    def set_power_state(self, identity: str, state: str) -> None:
        self.uuid(identity)
        if state not in ORDERS:
            raise error.BadRequest(f"no reset type {state}")
        self._switch.order(ORDERS[state])

    def get_boot_device(self, identity: str) -> str:
        return self._boot_device

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        raise error.NotSupportedError("this host boots from its disk")

    def get_nics(self, identity: str) -> list[dict[str, str]]:
        return []


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Its line a request is nobody's evidence."""


def serve(system: OneSystem, address: tuple[str, int], tls: tuple[Path, Path], users: Path) -> None:
    """Answer on a thread of its own, until the process ends. One a process: the emulator is a global.

    tls:   certificate and its key
    users: "name:bcrypt" lines, see `user_line`
    """
    app = emulator.app
    type(app).systems = property(lambda _: system)
    app.configure(extra_config={"SUSHY_EMULATOR_AUTH_FILE": str(users)})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    server = make_server(*address, app, threaded=True, ssl_context=context, request_handler=_Quiet)
    threading.Thread(target=server.serve_forever, name="redfish", daemon=True).start()


def user_line(username: str, password: str) -> str:
    """A line of the emulator's file of users."""
    return f"{username}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"
