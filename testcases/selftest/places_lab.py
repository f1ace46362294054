"""A small lab for self-tests: who takes a place, how, and how it is cut off."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.drivers.virtual_seed import KeyPair, write_private
from lab.places.coordinator import Coordinator
from lab.places.holding import Holding
from lab.places.lease import Terms, Watch, holder_name
from lab.places.local import Groups
from lab.places.permit import Permit
from lab.places.turn import Tell, take_turn

ROOT = Path(__file__).resolve().parents[2]
NOWHERE: Groups = {
    "bench": {
        "host": {"cls": "NetworkService", "address": "127.0.0.1", "username": "root", "port": 1},
        "key": {
            "cls": "PinnedKey",
            "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJSExuxtVKA4TlAEyqoOFNWLAVp2rEfYSv4jZL3ZJDKO",
            "key_file": "/dev/null",
        },
    }
}
"""What an exporter offers of a host that is not there."""


def nowhere(folder: Path) -> Groups:
    """The same, with a key of ours that can be read."""
    write_private(folder / "key", KeyPair.made().private)
    host, key = NOWHERE["bench"]["host"], NOWHERE["bench"]["key"]
    return {"bench": {"host": host, "key": {**key, "key_file": str(folder / "key")}}}


@contextmanager
def holding(
    address: str, run_id: str, wanted: dict[str, str], *, lease_s: float = 30.0, tell: Tell = print
) -> Iterator[Holding]:
    """A place, held under a name of its own, without a run."""
    terms = Terms(lease_s)
    name = holder_name("ctl", "alice", run_id, terms)
    with Permit() as permit, Coordinator(address, name) as coordinator:
        taken = take_turn(coordinator, wanted, Watch(), tell, limit_s=60.0)
        held = Holding(coordinator, taken.place, taken.asked_s, terms, permit)
        try:
            yield held
        finally:
            held.end({})


HOLDER = """
import sys
from testcases.selftest.places_lab import holding
with holding(sys.argv[1], sys.argv[2], {"name": sys.argv[3]}, lease_s=float(sys.argv[4])) as held:
    if sys.argv[5:]:
        held.mark_in_use()
    print("holds", flush=True)
    sys.stdin.read()
"""


def holder(address: str, run_id: str, place: str, lease_s: float, *mark: str) -> "subprocess.Popen[bytes]":
    """A process that holds a place until it is ended; it has it when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, address, run_id, place, str(lease_s), *mark],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    lines = iter(process.stdout.readline, b"")
    assert any(b"holds" in line for line in lines), "it never had the place"
    return process


class Line:
    """A line to the coordinator that can be cut: TCP, forwarded."""

    def __init__(self, to: str) -> None:
        host, port = to.split(":")
        self._to = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """End what is open; new connections are taken."""
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _serve(self) -> None:
        while True:
            near, _ = self._server.accept()
            far = socket.create_connection(self._to)
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
