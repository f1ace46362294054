"""Hosts of which nothing is real but their ssh: `python -m lab.emulation.fake_hosts FOLDER COUNT`.

For a simulated lab: the lab's own drivers connect, check the pinned key, and every command succeeds. Its
first line is "ready"; then FOLDER/hosts.json says how they are reached.
"""

import json
import logging
import socket
import sys
import threading
from contextlib import suppress
from io import StringIO
from pathlib import Path

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from lab.drivers.virtual_seed import KeyPair, write_private

ADDRESS = "127.0.0.1"
HOSTS = "hosts.json"


class _Host(paramiko.ServerInterface):
    """Lets in whoever shows the key, and says yes."""

    def __init__(self, client: paramiko.PKey) -> None:
        self._client = client

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return int(AUTH_SUCCESSFUL if key == self._client else AUTH_FAILED)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=_succeed, args=(channel,), daemon=True).start()
        return True


def _succeed(channel: paramiko.Channel) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):
        while channel.recv(1024):  # its end comes after the client knows that the command was taken
            pass
        channel.send_exit_status(0)
    channel.close()


def _serve(server: socket.socket, key: paramiko.PKey, client: paramiko.PKey) -> None:
    while True:
        connection, _ = server.accept()
        transport = paramiko.Transport(connection)
        transport.add_server_key(key)
        with suppress(EOFError, OSError, paramiko.SSHException):
            transport.start_server(server=_Host(client), event=threading.Event())


def main() -> None:
    """Serve until the process is ended."""
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    host, client = KeyPair.made(), KeyPair.made()
    write_private(folder / "key", client.private)
    keys = [paramiko.Ed25519Key.from_private_key(StringIO(pair.private.decode())) for pair in (host, client)]
    servers = [socket.create_server((ADDRESS, 0)) for _ in range(count)]
    for server in servers:
        threading.Thread(target=_serve, args=(server, *keys), daemon=True).start()
    ports = [server.getsockname()[1] for server in servers]
    told = {"address": ADDRESS, "ports": ports, "host_key": host.public, "key_file": str(folder / "key")}
    (folder / HOSTS).write_text(json.dumps(told))
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
