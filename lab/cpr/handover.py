"""A kexec of the bench host while no QEMU runs the guest: the host's next kernel gets the guest's RAM.

Source: Linux Documentation/admin-guide/mm/kho.rst (kho=on), userspace-api/liveupdate.rst (liveupdate=on);
QEMU docs/devel/migration/CPR.rst, cpr-reboot: with RAM that persists "the user may reboot to a new host
kernel before restarting QEMU".
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from lab.drivers.agent import HostAgent
from lab.errors import BenchError, OutcomeUnknown
from lab.evidence import Evidence
from lab.link import AgentRefusal
from lab.qemu.memory import MAIN

NEEDED = ("kho=on", "liveupdate=on")
"""What a kernel must be told before it hands memory over or takes any."""
DISK = "/var/lib/cprlab"
"""A folder of the bench host that a kexec leaves as it is; what is in /run goes with the kernel."""


class Host(Protocol):
    """The bench host: `lab.drivers.labgrid_host.BenchHost`."""

    def booting_anew(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Handover:
    """Boots a bench host by kexec, and hands a memory file from kernel to kernel.

    kernel: path of the one to boot, on the bench host; it needs no initrd
    """

    host: Host
    agent: HostAgent
    evidence: Evidence
    kernel: str

    def boot(self) -> None:
        """Boot the kernel with today's command line and what a handover needs, and start the host agent anew.

        Recorded as `host.booted` {boot_id, before, command_line}.

        Raises:
            BenchError: the host does not come back, or did not boot.
        """
        before, words = self.agent.facts["boot_id"], str(self.agent.facts["cmdline"]).split()
        line = " ".join([*words, *(word for word in NEEDED if word not in words)])
        self.agent.kexec_load(self.kernel, line)
        with self.host.booting_anew():
            self.agent.kexec()
        self.agent.renew()
        if (boot_id := self.agent.facts["boot_id"]) == before:
            raise BenchError("the bench host was to boot by kexec, and is the same boot as before")
        self.evidence.record("host.booted", boot_id=boot_id, before=before, command_line=line)

    def keep(self, size_bytes: int) -> str:
        """Make the memory file that the next kernel will have; returns the folder in which it is `ram0`.

        Raises:
            AgentRefusal: the kernel cannot.
        """
        return self.agent.memory_keep(MAIN, size_bytes)

    def hand_over(self, update: int, then: Callable[[], object] = lambda: None) -> None:
        """Boot, and take the memory file back; `host.kept` records its content before and after.

        then: what is done to it before it is looked at again

        Raises:
            OutcomeUnknown: the next kernel does not have it.
            BenchError: as `boot`.
        """
        self._look("before", update)
        self.boot()
        try:
            self.agent.memory_take(MAIN)
        except AgentRefusal as refusal:
            raise OutcomeUnknown(f"the guest's RAM did not outlive the kexec: {refusal}") from refusal
        then()
        self._look("after", update)

    def _look(self, when: str, update: int) -> None:
        seen = self.agent.memory_look(MAIN)
        boot_id = self.agent.facts["boot_id"]
        self.evidence.record("host.kept", when=when, update=update, boot_id=boot_id, **seen)
