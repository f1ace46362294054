"""Where a host's ssh is, and how to know that it is the right one."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Endpoint:
    """An ssh server that is known by its key.

    key_file: our private key; there are no passwords
    host_key: the server's public key, "ssh-ed25519 AAAA..."
    """

    host: str
    port: int
    username: str
    key_file: Path
    host_key: str

    def __str__(self) -> str:
        return f"{self.username}@{self.host}:{self.port}"
