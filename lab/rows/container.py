"""A container for a guest's QEMU, by what it may use."""

import secrets
from dataclasses import dataclass

from lab.drivers.agent import HostAgent

RUN_DIR, BLOBS = "/run/cprlab", "/var/lib/cprlab/blobs"
"""What the guest's QEMU needs of the bench host: where its sockets are, where its kernel is."""


@dataclass(frozen=True)
class Contained:
    """Limits of a container, beyond the guest's RAM.

    headroom_mib: of memory, for QEMU, the kernel's tables for the guest, and the container's agent
    memlock_mib:  of what one process may pin. By iommufd new QEMU is charged for the guest's RAM before old
                  QEMU is not any more (Linux 7.3.4, IOMMU_IOAS_CHANGE_PROCESS; no process here has
                  CAP_IPC_LOCK): with less than twice the RAM the guest is lost
    """

    headroom_mib: int = 192
    memlock_mib: int = 512

    def made(self, agent: HostAgent, guest_mib: int) -> str:
        """Make it on the bench host; returns its name. The host agent removes it."""
        name = f"guest{secrets.token_hex(4)}"
        agent.container_create(
            name,
            memory_bytes=(guest_mib + self.headroom_mib) << 20,
            memlock_bytes=(guest_mib + self.memlock_mib) << 20,
            writable=[RUN_DIR],
            readable=[BLOBS],
        )
        return name
