"""Which page frames of the host back the guest's memory, at offsets sampled over all of it."""

from lab.drivers.agent import HostAgent
from lab.timeline import Recorder
from lab.witnesses.blind import blind_if_refused

PAGE_BYTES = 4096


def spread(ram_bytes: int, samples: int = 64) -> list[int]:
    """Page offsets over the whole memory, its first and last page among them."""
    last = ram_bytes // PAGE_BYTES - 1
    return [number * last // (samples - 1) * PAGE_BYTES for number in range(samples)]


def pfns(
    agent: HostAgent,
    recorder: Recorder,
    pid: int,
    *,
    ram_bytes: int,
    when: str,
    update: int,
    hint: str = "memfd:",
) -> None:
    """Record `host.pfns` {pages: [[ram_offset, pfn, file_inode]]}; PFN -1 where the file has no page."""
    with blind_if_refused(recorder, "pfns"):
        pages = agent.pfns(pid, spread(ram_bytes), hint)
        recorder.record("host.pfns", when=when, update=update, pages=pages)
