"""A lab on this machine: labgrid's own coordinator and exporters, on loopback, to test and to show."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.errors import BenchError
from lab.waiting import wait_until

_START_S = 60.0
"""Two seconds on an idle machine."""
_STOP_S = 10.0

Groups = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""What an exporter offers: group -> resource name -> its class as `cls`, and its parameters."""


@dataclass
class Program:
    """A program of labgrid in a process of its own.

    log: takes what it prints
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self, ready: str) -> str:
        """Start it, and wait until it printed what fits the pattern; returns its first group.

        Raises:
            BenchError: it ended, or did not print that.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                # it must not outlive us, however we end; the thread that starts it must not end before
                ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", *self.arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        match = wait_until(lambda: self._said(ready), _START_S, f"the start of {self.name} (log: {self.log})")
        assert match is not None
        return match[1]

    def _said(self, pattern: str) -> re.Match[str] | None:
        assert self.process is not None
        match = re.search(pattern, self.log.read_text(errors="replace"))
        if match is None and self.process.poll() is not None:
            raise BenchError(f"{self.name} ended with {self.process.returncode}; see {self.log}")
        return match

    def kill(self) -> None:
        """As a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and insist."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@dataclass
class LocalCoordinator:
    """A coordinator.

    address: 127.0.0.1:PORT, the same after a restart
    """

    program: Program
    address: str

    def restart(self) -> None:
        """As after a crash: what it had not written to disk is forgotten."""
        self.program.kill()
        self.program.arguments = (*self.program.arguments[:-1], self.address)
        self.program.start(_LISTENS)


_LISTENS = r"listening on \S*?:(\d+)"


@contextmanager
def coordinator(folder: Path) -> Iterator[LocalCoordinator]:
    """A coordinator on a free port; it keeps its state in the folder."""
    program = Program("coordinator", ("labgrid.remote.coordinator", "-l", "127.0.0.1:0"), folder)
    try:
        yield LocalCoordinator(program, f"127.0.0.1:{program.start(_LISTENS)}")
    finally:
        program.kill()  # asked to end, it waits 5 s for whoever is connected


@contextmanager
def exporter(address: str, name: str, groups: Groups, folder: Path) -> Iterator[Program]:
    """An exporter that offers this."""
    folder.mkdir(parents=True, exist_ok=True)
    offered = folder / f"{name}.yaml"
    offered.write_text(yaml.safe_dump(dict(groups)), encoding="utf-8")
    with exporter_of(address, name, offered, folder) as program:
        yield program


@contextmanager
def exporter_of(address: str, name: str, offered: Path, folder: Path) -> Iterator[Program]:
    """An exporter that offers what is in its file."""
    options = ("-c", address, "-n", name, "--hostname", "127.0.0.1", str(offered))
    program = Program(name, ("labgrid.remote.exporter", *options), folder)
    try:
        program.start("(Exporter ready)")
        yield program
    finally:
        program.stop()
