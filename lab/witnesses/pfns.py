"""Which page frames of the host back the guest's memory, at offsets sampled over all of it."""

from lab.drivers.agent import HostAgent
from lab.qemu.memory import Memory
from lab.timeline import Recorder
from lab.witnesses.blind import blind_if_refused
from lab.witnesses.memory import files, sizes

PAGE_BYTES = 4096


def spread(ram_bytes: int, samples: int = 64) -> list[int]:
    """Page offsets over the whole memory, its first and last page among them."""
    last = ram_bytes // PAGE_BYTES - 1
    return [number * last // (samples - 1) * PAGE_BYTES for number in range(samples)]


def pfns(
    agent: HostAgent, recorder: Recorder, pid: int, of: Memory, size_mib: int, *, when: str, update: int
) -> None:
    """Record `host.pfns` {pages: [[ram_offset, pfn, file_inode]]}; PFN -1 where the file has no page.

    of, size_mib: the guest's memory; offsets of modules that were plugged go on after those of its RAM
    """
    pages, start = [], 0
    with blind_if_refused(recorder, "pfns"):
        for ram_bytes, told_by in zip(sizes(of, size_mib), files(of, size_mib), strict=True):
            found = agent.pfns(pid, spread(ram_bytes), of.hint, told_by[1])
            pages += [[start + offset, pfn, inode] for offset, pfn, inode in found]
            start += ram_bytes
        recorder.record("host.pfns", when=when, update=update, pages=pages)
