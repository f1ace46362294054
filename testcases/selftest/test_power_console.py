"""A real host's console is logged while somebody looks, and where it was blind the log says so.

The console server is real (lab/emulation/serial_line.py); what it says comes from a file.
"""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from labgrid import Target, target_factory
from labgrid.resource import NetworkSerialPort

from lab.drivers.labgrid_console import SerialConsole
from lab.emulation.serial_line import SerialLine
from lab.errors import BenchError
from lab.waiting import wait_until


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "said"


@pytest.fixture
def port(said: Path, tmp_path: Path) -> int:
    """Of a console server."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number = int(probe.getsockname()[1])
    SerialLine(said, tmp_path / "no-console").serve(("127.0.0.1", number))
    return number


def console(port: int, folder: Path) -> SerialConsole:
    target = Target("host")
    NetworkSerialPort(target, name=None, host="127.0.0.1", port=port, protocol="raw")
    target_factory.make_driver(target, "SerialConsole", "serial", {})
    made: SerialConsole = target.get_driver(SerialConsole, activate=False)
    made.log_dir = folder
    target.activate(made)
    return made


@pytest.fixture
def active(port: int, tmp_path: Path) -> Iterator[SerialConsole]:
    made = console(port, tmp_path / "log")
    yield made
    made.target.deactivate(made)


def says(said: Path, log: Path, text: bytes) -> None:
    """Say it, until somebody who just connected heard it."""

    def heard() -> bool:
        with said.open("ab") as file:
            file.write(text)
        return text in log.read_bytes()

    wait_until(heard, 5.0, f"{text!r} in {log}")


def test_what_is_said_is_logged_and_can_be_waited_for(active: SerialConsole, said: Path) -> None:
    assert active.console_log is not None
    says(said, active.console_log, b"Linux version 7\r\n")
    assert active._read(timeout=5.0).startswith(b"Linux version 7")


def test_a_line_that_is_not_there_is_said_once_and_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    made = console(port, tmp_path / "log")
    try:
        log = made.console_log
        assert log is not None
        wait_until(lambda: b"[cprlab: blind from here: " in log.read_bytes(), 5.0, "the note")
        with pytest.raises(
            BenchError, match="nothing can be typed on the console of host: it is not connected"
        ):
            made.write(b"x")
        said = tmp_path / "said"
        SerialLine(said, tmp_path / "no-console").serve(("127.0.0.1", port))
        says(said, log, b"back\r\n")
        assert log.read_bytes().count(b"blind from here") == 1
    finally:
        made.target.deactivate(made)


def test_each_activation_has_a_log_of_its_own(port: int, tmp_path: Path) -> None:
    for _ in range(2):
        made = console(port, tmp_path / "log")
        made.target.deactivate(made)
    assert {file.name for file in (tmp_path / "log").iterdir()} == {"console-host.log", "console-host.log.1"}
