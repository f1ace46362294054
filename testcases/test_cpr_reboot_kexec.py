"""cpr-reboot keeps the guest over a kexec of its host: another kernel, another QEMU, the same guest.

Claim under test: QEMU docs/devel/migration/CPR.rst, cpr-reboot: "if the RAM is backed by persistent shared
memory [...] the user may reboot to a new host kernel before restarting QEMU". Here it is a memfd, which
Linux's Live Update Orchestrator hands from kernel to kernel (Documentation/userspace-api/liveupdate.rst;
tried on 7.3.4); VFIO devices it cannot hand over.
"""

from dataclasses import replace

import pytest

from lab.checkers import ram_not_saved, ram_outlives_kexec, same_guest, update_completed
from lab.qemu.memory import Memory
from lab.rows import Case, Row
from lab.verdict import Outcome

pytestmark = [pytest.mark.nightly, pytest.mark.parametrize("mode", ["cpr-reboot"], indirect=True)]


@pytest.fixture
def row(mode):
    """No device but what every guest has."""
    return Case(Row("no-device", "no device", (), ("none",)), "none", mode)


@pytest.fixture
def memory(bench, handover):
    """A file that the host's next kernel will have."""
    size_mib = bench.target_file.options.guest.memory_mib
    return replace(Memory("file"), folder=handover.keep(size_mib << 20))


def test_the_guest_survives_a_kexec_of_its_host(update_over_kexec, verdict):
    """Guest RAM stays in place while the host's kernel is replaced; the guest goes on where it was."""
    update_over_kexec()

    verdict(update_completed(1), same_guest(), ram_not_saved(), ram_outlives_kexec())


def test_ram_that_changes_is_caught(bench, memory, update_over_kexec, judged):
    """A few bytes of the guest's RAM that are others in the next kernel are seen, and where they are."""
    where = ["of=" + memory.folder + "/ram0", "bs=1M", "seek=200", "conv=notrunc"]
    harm = ["dd", "if=/dev/urandom", "count=16", "iflag=count_bytes", *where]
    update_over_kexec(lambda: bench.connection.check(harm))

    [said] = judged(ram_outlives_kexec())
    assert said.outcome is Outcome.FAIL
    assert "1 of 128 pieces" in said.summary and "the first at 200 MiB" in said.summary
