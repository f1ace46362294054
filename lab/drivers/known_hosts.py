"""The key of an ssh server: as somebody has accepted it before, or as it shows it, which proves nothing."""

import base64
import hashlib
import socket
from collections.abc import Mapping
from pathlib import Path

import paramiko

from lab.errors import BenchError

KNOWN_HOSTS = (Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts"))
_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
_PATIENCE_S = 15.0


def accepted(address: str, port: int) -> str | None:
    """The key that stands in OpenSSH's files for a host; None if none does."""
    name = address if port == 22 else f"[{address}]:{port}"
    for file in KNOWN_HOSTS:
        path = file.expanduser()
        if not path.is_file():
            continue
        known = paramiko.HostKeys()
        known.load(str(path))
        keys: Mapping[str, paramiko.PKey] = known.lookup(name) or {}
        for kind in _TYPES:
            if kind in keys:
                return f"{kind} {keys[kind].get_base64()}"
    return None


def shown(address: str, port: int) -> str:
    """The key a server shows to anybody.

    Raises:
        BenchError: no ssh answers there.
    """
    try:
        with socket.create_connection((address, port), timeout=_PATIENCE_S) as connection:
            transport = paramiko.Transport(connection)
            transport.get_security_options().key_types = (*_TYPES[:2], "rsa-sha2-512", "rsa-sha2-256")
            try:
                transport.start_client(timeout=_PATIENCE_S)
                key = transport.get_remote_server_key()
            finally:
                transport.close()
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise BenchError(f"no ssh answers at {address}, port {port}: {error}") from None
    return f"{key.get_name()} {key.get_base64()}"


def is_key(text: str) -> bool:
    """Whether a text is a public key as OpenSSH writes it."""
    try:
        kind, encoded = text.split()[:2]
        paramiko.PKey.from_type_string(kind, base64.b64decode(encoded, validate=True))
    except (ValueError, paramiko.SSHException):
        return False
    return True


def fingerprint(key: str) -> str:
    """As `ssh-keygen -l` prints it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
