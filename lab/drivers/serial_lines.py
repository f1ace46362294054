"""A host's serial line, by whatever carries it: a console server's TCP port, or the BMC (serial over LAN)."""

import subprocess
from typing import Protocol

import pexpect  # type: ignore[import-untyped]
import serial  # type: ignore[import-untyped]

from lab.drivers.ipmitool import Ipmitool

_CHUNK_BYTES = 4096
_PATIENCE_S = 0.1
# ipmitool's own way out is a key; one that no console is sent
_ESCAPE = "\x1e"


class LineLost(Exception):
    """The line cannot be opened, or ended; the message says why."""


class Line(Protocol):
    """An open line."""

    def read(self) -> bytes:
        """What came within a moment, possibly nothing; raises LineLost."""

    def write(self, data: bytes) -> None:
        """Type; raises LineLost."""

    def close(self) -> None: ...


class TcpLine:
    """A port of a console server: raw, or by RFC 2217.

    Raises:
        LineLost: it does not answer.
    """

    def __init__(self, host: str, port: int, *, protocol: str, speed: int) -> None:
        url = (
            f"rfc2217://{host}:{port}?ign_set_control" if protocol == "rfc2217" else f"socket://{host}:{port}"
        )
        try:
            self._serial = serial.serial_for_url(url, baudrate=speed, timeout=_PATIENCE_S)
        except (serial.SerialException, OSError) as error:
            raise LineLost(f"{host}:{port} does not answer: {error}") from None

    def read(self) -> bytes:
        try:
            return bytes(self._serial.read(_CHUNK_BYTES))
        except (serial.SerialException, OSError) as error:
            raise LineLost(str(error)) from None

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError) as error:
            raise LineLost(str(error)) from None

    def close(self) -> None:
        self._serial.close()


class SolLine:
    """Serial over LAN of a BMC. A session that somebody left behind there is ended: BMCs have but one.

    Raises:
        LineLost: the BMC gives none.
    """

    def __init__(self, bmc: Ipmitool) -> None:
        stale = bmc.argv("sol", "deactivate")
        subprocess.run(stale, env=bmc.env(), capture_output=True, check=False, timeout=60)
        program, *words = bmc.argv("-e", _ESCAPE, "sol", "activate")
        # it wants a terminal; when we die, that hangs up and ends it
        self._child = pexpect.spawn(program, words, env=bmc.env(), echo=False, timeout=_PATIENCE_S)
        self._bmc = bmc

    def read(self) -> bytes:
        try:
            return bytes(self._child.read_nonblocking(_CHUNK_BYTES, _PATIENCE_S))
        except pexpect.TIMEOUT:
            return b""
        except pexpect.EOF:
            self._child.close()
            raise LineLost(f"{self._bmc} ended serial over LAN ({self._child.exitstatus})") from None

    def write(self, data: bytes) -> None:
        self._child.send(data)

    def close(self) -> None:
        self._child.close(force=True)
