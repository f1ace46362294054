"""A real host's console for labgrid: its serial line, logged on the controller from power on."""
# labgrid is untyped: its Any stops here
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

import logging
import os
import threading
from pathlib import Path

import attrs
from labgrid import target_factory
from labgrid.driver import Driver
from labgrid.driver.consoleexpectmixin import ConsoleExpectMixin
from labgrid.protocol import ConsoleProtocol

from lab.drivers.console_log import LogReader
from lab.drivers.credentials import credentials
from lab.drivers.ipmitool import Ipmitool
from lab.drivers.labgrid_bmc import IpmiBmc
from lab.drivers.run_dirs import console_log
from lab.drivers.serial_lines import Line, LineLost, SolLine, TcpLine
from lab.errors import BenchError

log = logging.getLogger(__name__)

_AGAIN_S = 1.0


@target_factory.reg_driver
@attrs.define(eq=False, slots=False)
class SerialConsole(ConsoleExpectMixin, Driver, ConsoleProtocol):
    """The console of a host with a serial line: a NetworkSerialPort (ser2net), or serial over LAN.

    A thread reads it into a log while the driver is active, and connects again when the line is lost; where
    it was blind, the log says so. Unlike the virtual bench's it begins when somebody looks, not at power on.

    log_dir: set before activation: where console-host.log goes; else into cprlab's state folder
    """

    bindings = {"line": {"NetworkSerialPort", "IpmiBmc"}}

    # ConsoleExpectMixin asks for these
    txdelay: float = 0.0
    txchunk: int = 1

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.log_dir: Path | None = None
        self.console_log: Path | None = None
        self._open: Line | None = None
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None
        self._reader: LogReader | None = None

    def on_activate(self) -> None:
        self.console_log = console_log(self.log_dir, Path(f"serial-{self.line.host}-{os.getpid()}"))
        self.console_log.touch()
        self._reader = LogReader(self.console_log)
        self._ends.clear()
        self._thread = threading.Thread(target=self._listen, args=(self.console_log,), daemon=True)
        self._thread.start()

    def on_deactivate(self) -> None:
        self._ends.set()
        if self._thread is not None:
            self._thread.join()

    def resolve_conflicts(self, client: Driver) -> None:
        """Several drivers may use it at once: nobody takes the console from anybody."""

    def _listen(self, path: Path) -> None:
        why = ""
        with path.open("ab", buffering=0) as file:
            while not self._ends.is_set():
                try:
                    self._open, why = self._opened(), ""
                    try:
                        while not self._ends.is_set():
                            file.write(self._open.read())
                    finally:
                        line, self._open = self._open, None
                        line.close()
                except Exception as lost:  # a thread that died would be blind and not say so
                    if str(lost) != why:  # once, not every second
                        why = str(lost)
                        log.warning("console of %s: %s", self.target.name, why)
                        file.write(f"\r\n[cprlab: blind from here: {why}]\r\n".encode())
                    self._ends.wait(_AGAIN_S)

    def _opened(self) -> Line:
        if isinstance(self.line, IpmiBmc):
            return SolLine(Ipmitool(self.line.host, self.line.port, credentials(self.line)))
        return TcpLine(self.line.host, self.line.port, protocol=self.line.protocol, speed=self.line.speed)

    def _read(self, size: int = 1, timeout: float = 0.0, max_size: int | None = None) -> bytes:
        assert self._reader is not None
        return self._reader.read(size, timeout, max_size)

    def _write(self, data: bytes) -> int:
        try:
            if self._open is None:
                raise LineLost("it is not connected")
            self._open.write(data)
        except LineLost as lost:
            raise BenchError(f"nothing can be typed on the console of {self.target.name}: {lost}") from None
        return len(data)
