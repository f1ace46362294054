"""The agents' sources as one file, which is brought to the host once."""

import tempfile
import zipfile
from pathlib import Path
from typing import Protocol

from lab import agents

_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)


class Blobs(Protocol):
    """Where a file can be left: `lab.drivers.ssh.HostConnection`."""

    def put_blob(self, local: Path) -> str: ...


def put_agents(connection: Blobs) -> str:
    """Bring lab/agents to a host as a zip file; returns what PYTHONPATH must name there."""
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "agents.zip"
        pack(packed)
        return connection.put_blob(packed)


def pack(path: Path) -> None:
    """Write lab/agents as package `agents`: the same bytes for the same sources, so that it is sent once."""
    source = Path(agents.__file__).parent
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(source.rglob("*.py")):
            entry = zipfile.ZipInfo(f"agents/{file.relative_to(source)}", _EPOCH_OF_ZIP)
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
