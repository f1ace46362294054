"""A host is known by its pinned key, and whatever is wrong with ssh is one line that says what.

Source: issue 2, part 2 ("host keys are checked") and "What bad input gets". Against paramiko's own server.
"""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from lab.drivers.endpoint import Endpoint
from lab.drivers.ssh import HostConnection
from lab.drivers.virtual_seed import KeyPair, write_private
from lab.errors import BenchError


class FakeHost(paramiko.ServerInterface):
    """An ssh server on loopback that runs commands here, and has one unix socket that echoes."""

    def __init__(self, folder: Path) -> None:
        self.host_key, self.our_key = KeyPair.made(), KeyPair.made()
        for name, pair in (("host", self.host_key), ("ours", self.our_key)):
            write_private(folder / name, pair.private)
        self._key = paramiko.PKey.from_path(folder / "host")
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.endpoint = Endpoint("127.0.0.1", port, "root", folder / "ours", self.host_key.public)
        self.transports: list[paramiko.Transport] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for transport in self.transports:
            transport.close()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = f"{key.get_name()} {key.get_base64()}" == self.our_key.public
        return paramiko.common.AUTH_SUCCESSFUL if known else paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED if kind == "session" else self.unix_answer

    unix_answer = paramiko.common.OPEN_FAILED_CONNECT_FAILED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._run, args=(channel, command), daemon=True).start()
        return True

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(client)
            self.transports.append(transport)
            transport.add_server_key(self._key)
            transport.start_server(server=self, event=threading.Event())
            threading.Thread(target=self._echo, args=(transport,), daemon=True).start()

    def _echo(self, transport: paramiko.Transport) -> None:
        while channel := transport.accept(30):
            if self.unix_answer == paramiko.common.OPEN_SUCCEEDED:
                channel.sendall(channel.recv(100))
                channel.close()

    @staticmethod
    def _run(channel: paramiko.Channel, command: bytes) -> None:
        with channel.makefile("rb") as stdin:
            given = stdin.read()
        done = subprocess.run(["sh", "-c", command.decode()], input=given, capture_output=True, check=False)
        channel.sendall(done.stdout)
        channel.sendall_stderr(done.stderr)
        channel.send_exit_status(done.returncode)
        channel.close()


@pytest.fixture
def fake_host(tmp_path: Path) -> Iterator[FakeHost]:
    host = FakeHost(tmp_path)
    yield host
    host.close()


def connect(endpoint: Endpoint, **changed: object) -> HostConnection:
    fields = {name: getattr(endpoint, name) for name in Endpoint.__dataclass_fields__} | changed
    return HostConnection(Endpoint(**fields), timeout_s=1.0, console_log=Path("/console.log"))


def test_the_right_key_connects_and_argv_arrives_unharmed(fake_host: FakeHost) -> None:
    with connect(fake_host.endpoint) as host:
        done = host.run(
            ["sh", "-c", 'printf %s "$1"; cat; echo why >&2; exit 3', "sh", "a b'c$(x)"], input="in"
        )
    assert (done.returncode, done.stdout, done.stderr) == (3, "a b'c$(x)in", "why\n")


def test_check_says_what_failed(fake_host: FakeHost) -> None:
    with connect(fake_host.endpoint) as host, pytest.raises(BenchError, match="failed with 2: no such thing"):
        host.check(["sh", "-c", "echo no such thing >&2; exit 2"])


def test_a_stream_carries_bytes_until_its_stdin_closes(fake_host: FakeHost) -> None:
    with connect(fake_host.endpoint) as host, host.stream(["cat"]) as stream:
        stream.stdin.write(b"one\ntwo\n" * 50_000)
        stream.stdin.close()
        assert list(stream.stdout) == [b"one\n", b"two\n"] * 50_000


def test_a_unix_socket_of_the_host_is_a_local_socket(fake_host: FakeHost) -> None:
    fake_host.unix_answer = paramiko.common.OPEN_SUCCEEDED
    with connect(fake_host.endpoint) as host, host.stream_unix("/run/qmp") as reached:
        reached.sendall(b"hello")
        assert reached.recv(100) == b"hello"
        assert reached.recv(100) == b""  # the host closed it


def test_a_unix_socket_nobody_listens_on_is_refused(fake_host: FakeHost) -> None:
    with (
        connect(fake_host.endpoint) as host,
        pytest.raises(ConnectionRefusedError, match="nothing listens on /run/qmp"),
    ):
        host.stream_unix("/run/qmp")


def test_a_wrong_host_key_is_one_line_at_once(fake_host: FakeHost) -> None:
    with pytest.raises(
        BenchError, match=r"is not the pinned host: its key is ssh-ed25519 .*, pinned "
    ) as error:
        connect(fake_host.endpoint, host_key=KeyPair.made().public)
    assert "\n" not in str(error.value)


def test_a_refused_key_is_one_line_at_once(fake_host: FakeHost, tmp_path: Path) -> None:
    write_private(tmp_path / "other", KeyPair.made().private)
    with pytest.raises(BenchError, match=r"refused the key .*/other.*see its console in /console\.log"):
        connect(fake_host.endpoint, key_file=tmp_path / "other")


def test_a_server_without_banner_is_given_up(fake_host: FakeHost) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(BenchError, match="sends no ssh banner"),
    ):
        connect(fake_host.endpoint, port=mute.getsockname()[1])


def test_a_closed_port_is_named(fake_host: FakeHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(
        BenchError, match=f"root@127.0.0.1:{port} did not answer within 1 s: connection refused"
    ):
        connect(fake_host.endpoint, port=port)


def test_a_host_that_dies_in_the_middle_is_a_bench_error(fake_host: FakeHost) -> None:
    with connect(fake_host.endpoint) as host:
        threading.Timer(0.3, fake_host.close).start()
        with pytest.raises(BenchError, match="is lost; see its console in"):
            host.check(["sleep", "5"])
        with pytest.raises(BenchError, match="is lost"):
            host.run(["true"])


def test_a_connection_is_made_anew_in_place(fake_host: FakeHost) -> None:
    with HostConnection(fake_host.endpoint) as host, host.stream(["cat"]) as stream:
        fake_host.transports[0].close()
        host.renew()
        assert host.alive and host.check(["echo", "again"]) == "again\n"
        assert stream.stdout.read() == b""  # what ran before has ended


def test_a_command_that_hangs_is_given_up(fake_host: FakeHost) -> None:
    start_s = time.monotonic()
    with connect(fake_host.endpoint) as host, pytest.raises(BenchError, match=r"did not end within 0\.5 s"):
        host.run(["sleep", "5"], timeout_s=0.5)
    assert time.monotonic() - start_s < 4
