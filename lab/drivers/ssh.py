"""One ssh connection to a host, many channels on it: commands, streams, files, unix sockets.

Source: paramiko 5; RFC 4254.
"""

import hashlib
import shlex
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import paramiko

from lab.drivers import ssh_unix
from lab.drivers.endpoint import Endpoint
from lab.drivers.ssh_channel import Completed, Stream, run_channel
from lab.drivers.ssh_connect import connected
from lab.errors import BenchError

BLOBS = "/var/lib/cprlab/blobs"
"""Files on the host by the sha256 of their content."""

_OPEN_CHANNEL_S = 20.0
_LOST = (paramiko.SSHException, OSError, EOFError)


class HostConnection:
    """Talks to a host; safe to use from several threads; a context manager.

    console_log: where the host's console is logged on the controller, for messages

    Raises:
        BenchError: ssh does not answer, its key is not the pinned one, or it refuses ours.
    """

    def __init__(
        self, endpoint: Endpoint, *, timeout_s: float = 30.0, console_log: Path | None = None
    ) -> None:
        self.endpoint = endpoint
        self._see = f"; see its console in {console_log}" if console_log else ""
        self._connect(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the connection stands, as far as this side knows."""
        return self._transport.is_active()

    def run(
        self, argv: Sequence[str], timeout_s: float = 30.0, input: bytes | str | None = None
    ) -> Completed:
        """Run a command to its end; a failed one is not an error here.

        Raises:
            BenchError: the connection is lost, or the command takes longer than `timeout_s`.
        """
        command = shlex.join(argv)
        with self._session(f"run {command!r}") as channel:
            channel.exec_command(command)
            data = input.encode() if isinstance(input, str) else input
            try:
                done = run_channel(channel, timeout_s, data or b"")
            except TimeoutError:
                raise BenchError(
                    f"{command!r} on {self.endpoint} did not end within {timeout_s:g} s{self._see}"
                ) from None
            if done.returncode == -1 and not self.alive:
                raise EOFError  # not a signal: nobody said how the command ended
            return replace(done, argv=tuple(argv))

    def check(self, argv: Sequence[str], timeout_s: float = 30.0, input: bytes | str | None = None) -> str:
        """Run a command that must succeed, and return its stdout.

        Raises:
            BenchError: also if it fails.
        """
        done = self.run(argv, timeout_s, input)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()[-1]
            raise BenchError(f"{shlex.join(argv)!r} on {self.endpoint} failed with {done.returncode}: {said}")
        return done.stdout

    def stream(self, argv: Sequence[str]) -> Stream:
        """Start a long-lived command; the caller reads stdout and stderr, and closes it."""
        with self._guard(f"start {shlex.join(argv)!r}"):
            channel = self._open_session()
            channel.exec_command(shlex.join(argv))
            return Stream.over(channel)

    def stream_unix(self, path: str) -> socket.socket:
        """Connect to a unix stream socket on the host; returns a local socket, pumped by threads.

        Raises:
            ConnectionRefusedError: nothing listens there; this may be evidence, so it is no BenchError.
            BenchError: the connection to the host is lost.
        """
        with self._guard(f"reach socket {path}"):
            try:
                return ssh_unix.as_socket(ssh_unix.open_channel(self._transport, path, _OPEN_CHANNEL_S))
            except paramiko.ChannelException as refused:
                raise ConnectionRefusedError(f"nothing listens on {path} of {self.endpoint}") from refused

    def put(self, local: Path, remote: str) -> None:
        """Copy a file with its mode; it appears complete or not at all."""
        self._put(local, remote, mode=local.stat().st_mode & 0o777)

    def put_blob(self, local: Path) -> str:
        """Bring a file to the host unless it is there, and return its path, named by its content."""
        with local.open("rb") as file:
            remote = f"{BLOBS}/{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if self.run(["test", "-f", remote]).returncode != 0:
            self._put(local, remote, mode=0o644)
        return remote

    def get(self, remote: str) -> bytes:
        """The content of a file on the host."""
        with self._guard(f"read {remote}"), self._client.open_sftp() as sftp, sftp.open(remote, "rb") as file:
            return file.read()

    def renew(self, timeout_s: float = 30.0) -> None:
        """Connect anew to a host that was booted anew; what ran on the connection before has ended.

        Raises:
            BenchError: as on making one.
        """
        self.close()
        self._connect(timeout_s)

    def close(self) -> None:
        """End all channels; what runs in them gets end-of-file."""
        with suppress(*_LOST):
            self._client.close()

    def __enter__(self) -> "HostConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, timeout_s: float) -> None:
        self._client = connected(self.endpoint, timeout_s, self._see)
        transport = self._client.get_transport()
        assert transport is not None
        self._transport = transport

    def _put(self, local: Path, remote: str, mode: int) -> None:
        self.check(["mkdir", "-p", str(PurePosixPath(remote).parent)])
        partial = f"{remote}.{uuid.uuid4().hex}.partial"
        with self._guard(f"write {remote}"), self._client.open_sftp() as sftp:
            sftp.put(str(local), partial)
            sftp.chmod(partial, mode)
            sftp.posix_rename(partial, remote)

    @contextmanager
    def _session(self, what: str) -> Iterator[paramiko.Channel]:
        with self._guard(what):
            channel = self._open_session()
            try:
                yield channel
            finally:
                channel.close()

    def _open_session(self) -> paramiko.Channel:
        return self._transport.open_session(timeout=_OPEN_CHANNEL_S)

    @contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except ConnectionRefusedError:
            raise
        except _LOST as error:
            state = "is lost" if not self.alive else f"failed ({error or type(error).__name__})"
            raise BenchError(
                f"could not {what}: the connection to {self.endpoint} {state}{self._see}"
            ) from error
