"""The seed of a virtual bench: keys made for this power-on, and files it should have already.

A tar archive as the second disk; the bench host unpacks it into / before sshd starts.
"""

import hashlib
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lab.drivers.ssh import BLOBS


@dataclass(frozen=True)
class KeyPair:
    """An ed25519 key in OpenSSH's formats; public is "ssh-ed25519 AAAA..."."""

    private: bytes
    public: str

    @classmethod
    def made(cls) -> "KeyPair":
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.OpenSSH, ser.NoEncryption())
        public = key.public_key().public_bytes(ser.Encoding.OpenSSH, ser.PublicFormat.OpenSSH)
        return cls(private, public.decode())


def write_private(path: Path, data: bytes) -> None:
    """A file only its owner may read, from the moment it exists."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(data)


def write_seed(path: Path, host_key: KeyPair, our_key: KeyPair, files: Sequence[Path]) -> None:
    """Write the archive; `files` become blobs, so that `HostConnection.put_blob` finds them there."""
    path.touch(mode=0o600)
    with tarfile.open(path, "w") as seed:
        _add(seed, "etc/ssh/ssh_host_ed25519_key", host_key.private, 0o600)
        _add(seed, "etc/ssh/ssh_host_ed25519_key.pub", host_key.public.encode() + b"\n", 0o644)
        _add(seed, "root/.ssh/authorized_keys", our_key.public.encode() + b"\n", 0o600)
        for file in files:
            content = file.read_bytes()
            _add(seed, f"{BLOBS.lstrip('/')}/{hashlib.sha256(content).hexdigest()}", content, 0o644)


def _add(seed: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    seed.addfile(member, io.BytesIO(content))
