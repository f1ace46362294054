"""A guest's memory on a bench host: what the host must have, what it sets aside, and modules plugged."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lab.drivers.agent import HostAgent
from lab.drivers.capabilities import missing
from lab.errors import BenchError
from lab.evidence import Evidence
from lab.guest import Guest
from lab.qemu.memory import HUGE_MIB, Memory
from lab.waiting import wait_until

FOLDER = "guest"
SHMEM = {"4k": "never", "thp": "always"}
"""Page -> what shared memory is told of transparent huge pages."""

_ONLINE_S = 60.0
_SPARE_MIB = 16


def needs(memory: Memory) -> tuple[str, ...]:
    """What a bench must have for it, by names of lab/drivers/capabilities.py."""
    if memory.page == "any" and memory.kind != "file":
        return ()
    found = ["page-flags"]
    if memory.page in HUGE_MIB:
        found.append(f"hugepages:{HUGE_MIB[memory.page] << 10}")
    if memory.kind == "file":
        found.append("memory-files:hugetlbfs" if memory.page in HUGE_MIB else "memory-files:tmpfs")
    elif memory.page in SHMEM:
        found.append(f"shmem-thp:{SHMEM[memory.page]}")
    return tuple(found)


def require(memory: Memory, host: Mapping[str, Any], bench: str) -> None:
    """Refuse a host that has not what it takes.

    Raises:
        BenchError: naming everything that is missing, and the remedy.
    """
    if lacks := missing(needs(memory), {"host": host}):
        raise BenchError(f"bench {bench} cannot give a guest {memory}: " + "; ".join(lacks))


def set_aside(agent: HostAgent, memory: Memory, size_mib: int) -> Memory:
    """Have the host keep ready what it takes, until the agent ends: the memory, with its folder.

    Raises:
        AgentRefusal: the host has not so much.
    """
    total_mib, huge_mib = memory.total_mib(size_mib), HUGE_MIB.get(memory.page)
    if huge_mib:
        agent.hugepages_reserve(huge_mib << 10, total_mib // huge_mib)
    if memory.kind == "file" and huge_mib:
        return replace(memory, folder=agent.memory_mount("hugetlbfs", FOLDER, f"pagesize={huge_mib}M"))
    if memory.kind == "file":
        huge = "always" if memory.page == "thp" else "never"
        options = f"size={total_mib + _SPARE_MIB}M,huge={huge}"
        return replace(memory, folder=agent.memory_mount("tmpfs", FOLDER, options))
    if memory.page in SHMEM:
        agent.shmem_thp_set(SHMEM[memory.page])
    return memory


def plug(guest: Guest, evidence: Evidence) -> None:
    """Plug the modules of its memory into a running guest, and wait until its kernel uses them.

    Raises:
        SutError: QEMU refuses.
        BenchError: the guest does not take them in time.
    """
    memory = guest.config.memory
    if not memory.dimms_mib:
        return
    before_kb = guest.link.call("memory_kb")["total"]
    for backend, module in memory.pluggings():
        guest.monitor.execute("object-add", backend)
        guest.monitor.execute("device_add", module)
    plugged_kb = sum(memory.dimms_mib) << 10

    def grown() -> int:
        total: int = guest.link.call("memory_kb")["total"]
        return total if total - before_kb >= plugged_kb else 0

    after_kb = wait_until(grown, _ONLINE_S, f"{plugged_kb >> 10} MiB more in the guest")
    evidence.record(
        "guest.plugged", modules_mib=list(memory.dimms_mib), before_kb=before_kb, after_kb=after_kb
    )
