"""Connects to an ssh server whose key is pinned, and says in one line why it cannot."""

import base64
import logging
import socket
import time
from pathlib import Path

import paramiko

from lab.drivers.endpoint import Endpoint
from lab.errors import BenchError, HostSilent, LabUsageError
from lab.waiting import wait_until

log = logging.getLogger(__name__)
# what fails in there comes to us as exceptions; its own log would say it twice
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

_KEEPALIVE_S = 10
_ONE_TRY_S = 20.0


def connected(endpoint: Endpoint, timeout_s: float, see: str) -> paramiko.SSHClient:
    """An authenticated client; a server that is not up yet is tried again until the deadline.

    see: appended to messages: "; see its console in ..."

    Raises:
        HostSilent: no ssh in time.
        BenchError: at once, the wrong host key or a refused login.
        LabUsageError: our key file cannot be read.
    """
    private = _private_key(endpoint.key_file)
    deadline = time.monotonic() + timeout_s
    last: list[str] = ["no attempt ended"]

    def attempt() -> paramiko.SSHClient | None:
        try:
            return _connect(endpoint, private, max(0.5, min(_ONE_TRY_S, deadline - time.monotonic())))
        except paramiko.BadHostKeyException as error:
            raise BenchError(_wrong_key(endpoint, error.key)) from None
        except paramiko.AuthenticationException as error:
            raise BenchError(f"{endpoint} refused the key {endpoint.key_file}: {error}{see}") from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            last[0] = _reason(error)
            return None

    log.debug("connecting to %s", endpoint)
    try:
        client = wait_until(attempt, timeout_s, "ssh", error=TimeoutError)
    except TimeoutError:
        raise HostSilent(f"ssh at {endpoint} did not answer within {timeout_s:g} s: {last[0]}{see}") from None
    assert client is not None
    return client


def _connect(endpoint: Endpoint, private: paramiko.PKey, timeout_s: float) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    kind, _, encoded = endpoint.host_key.partition(" ")
    name = endpoint.host if endpoint.port == 22 else f"[{endpoint.host}]:{endpoint.port}"
    client.get_host_keys().add(
        name, kind, paramiko.PKey.from_type_string(kind, base64.b64decode(encoded.split()[0]))
    )
    try:
        client.connect(
            endpoint.host,
            endpoint.port,
            endpoint.username,
            pkey=private,
            timeout=timeout_s,
            banner_timeout=timeout_s,
            auth_timeout=timeout_s,
            allow_agent=False,
            look_for_keys=False,
        )
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(_KEEPALIVE_S)
    except BaseException:
        client.close()
        raise
    return client


def _private_key(path: Path) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(path)
    except (OSError, ValueError, TypeError, paramiko.SSHException) as error:
        reason = getattr(error, "strerror", None) or error
        raise LabUsageError(f"ssh key file {path} cannot be read: {reason}") from error


def _wrong_key(endpoint: Endpoint, came: paramiko.PKey) -> str:
    return (
        f"{endpoint} is not the pinned host: its key is {came.get_name()} ...{came.get_base64()[-12:]}, "
        f"pinned ...{endpoint.host_key.split()[1][-12:]}; check its address and host_key in the target file"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError | paramiko.ssh_exception.NoValidConnectionsError):
        return "connection refused"
    if isinstance(error, socket.timeout):
        return "no reply"
    # the second is what paramiko says when both of its timeouts end together
    if "banner" in str(error) or "No existing session" in str(error):
        return "it accepts connections but sends no ssh banner"
    return str(error) or type(error).__name__
