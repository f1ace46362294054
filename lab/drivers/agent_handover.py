"""What the host agent does for a kexec, from the controller's side; see lab/agents/host/liveupdate.py."""

from typing import Any

from lab.errors import BenchError
from lab.link import AgentLink, AgentRefusal

_MEMORY_S = 120.0
"""Allocating all of a guest's memory, or reading it, on an emulated host."""
_GONE_S = 3.0
"""A kexec that works is never answered."""


class HandingOver:
    """The calls of `lab.drivers.agent.HostAgent` around a kexec.

    Raises:
        AgentRefusal: from every call, if the agent cannot do it.
    """

    link: AgentLink

    def memory_keep(self, name: str, size_bytes: int) -> str:
        """Make a memory file that the next kernel will have; returns the folder in which it has its name."""
        return str(self.link.call("memory_keep", _MEMORY_S, name=name, size_bytes=size_bytes))

    def memory_take(self, name: str) -> str:
        """Take a memory file from the kernel before this one; returns the folder as above."""
        return str(self.link.call("memory_take", _MEMORY_S, name=name))

    def memory_look(self, name: str) -> dict[str, Any]:
        """{bytes, piece_bytes, pieces}: the CRC-32 of each piece of a memory file."""
        seen: dict[str, Any] = self.link.call("memory_look", _MEMORY_S, name=name)
        return seen

    def kexec_load(self, kernel: str, command_line: str) -> None:
        self.link.call("kexec_load", 60.0, kernel=kernel, command_line=command_line)

    def provision_load(self, folder: str, kernel: str, root: str, more: str) -> str:
        """Load a kernel and a root for its RAM; returns the command line it will have."""
        return str(
            self.link.call("provision_load", 120.0, folder=folder, kernel=kernel, root=root, more=more)
        )

    def provisioned(self) -> dict[str, Any]:
        """The running system, each of its files compared; see lab/agents/host/provisioned.py."""
        seen: dict[str, Any] = self.link.call("provisioned", _MEMORY_S)
        return seen

    def kexec(self) -> None:
        """Start the kernel that was loaded. The connection to the host does not notice by itself."""
        try:
            self.link.call("kexec", _GONE_S)
        except AgentRefusal:
            raise
        except BenchError:
            return
        raise BenchError("the host agent answered after a kexec: the host still runs")
