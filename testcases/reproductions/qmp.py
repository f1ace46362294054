"""The few words of QMP that the reproductions need; the monitor is ./qmp.sock.

qmp.py PID wait                wait until QEMU answers
qmp.py PID do COMMAND [JSON]   execute a command, print what it returned
qmp.py PID update [COMMAND]    update by cpr-exec, to COMMAND instead of the same QEMU; print how it went
                               (the state goes to $SAVE_TO or file:vm.state, and comes from file:vm.state)
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0
BUSY = {"inmigrate", "finish-migrate", "postmigrate", "save-vm", "restore-vm"}


class Ended(Exception):
    """QEMU closed the monitor."""


class Monitor:
    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect("qmp.sock")
        self._lines = self._socket.makefile("r")
        self._lines.readline()
        self.ask("qmp_capabilities")

    def close(self) -> None:
        """QEMU serves one monitor at a time."""
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """What a command returned; RuntimeError if QEMU refuses it."""
        try:
            self._socket.sendall(json.dumps({"execute": command, "arguments": arguments or {}}).encode())
            for line in self._lines:
                message = json.loads(line)
                if "error" in message:
                    raise RuntimeError(message["error"]["desc"])
                if "return" in message:
                    return message["return"]
        except ConnectionError:
            pass
        raise Ended


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait(pid: int, ready: Callable[[], Any]) -> bool:
    """Whether `ready` came true before QEMU ended; SystemExit if neither happens."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if not alive(pid):
            return False
        if ready():
            return True
        time.sleep(0.05)
    sys.exit(f"QEMU did not get on within {PATIENCE_S:g} s")


def status() -> str:
    """QEMU's runstate; "" if it does not answer."""
    try:
        monitor = Monitor()
        return str(monitor.ask("query-status")["status"])
    except (OSError, Ended):
        return ""


def update(pid: int, command: list[str]) -> None:
    argv = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    if "-incoming" in argv:
        del argv[argv.index("-incoming") :]
    command = command or [*argv, "-incoming", "file:vm.state"]
    monitor = Monitor()
    monitor.ask("migrate-set-parameters", {"mode": "cpr-exec", "cpr-exec-command": command})
    print("blocked-reasons:", monitor.ask("query-migrate").get("blocked-reasons", []))
    try:
        monitor.ask("migrate", {"uri": os.environ.get("SAVE_TO", "file:vm.state")})
        print("migrate: accepted")
        while (migration := monitor.ask("query-migrate"))["status"] != "failed":
            time.sleep(0.05)
        print("update: failed:", migration.get("error-desc"))
    except RuntimeError as refused:
        print("migrate: refused:", refused)
    except Ended:
        pass
    monitor.close()
    there = wait(pid, lambda: status() not in BUSY | {""})
    print("afterwards: QEMU is", status() if there else "gone")


def main(pid: int, what: str, *words: str) -> None:
    if what == "wait":
        if not wait(pid, status):
            sys.exit("QEMU has ended")
    elif what == "update":
        update(pid, list(words))
    elif what == "do":
        print(json.dumps(Monitor().ask(words[0], json.loads(words[1]) if words[1:] else None)))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
