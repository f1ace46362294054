"""What backs the guest's memory on the host, and how much of it the guest's balloon took."""

from contextlib import suppress

from lab.drivers.agent import HostAgent
from lab.errors import SutError
from lab.qemu.memory import MAIN, Memory, dimm_id
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder
from lab.witnesses.blind import blind_if_refused


def memory(
    agent: HostAgent, recorder: Recorder, pid: int, of: Memory, size_mib: int, *, when: str, update: int
) -> None:
    """Record `host.memory` of each backend: its file, its allocated bytes, samples of its pages by size."""
    for name, bytes_ in files(of, size_mib):
        with blind_if_refused(recorder, "memory"):
            seen = agent.memory_backing(pid, of.hint, bytes_)
            recorder.record("host.memory", when=when, update=update, of=name, **seen)


def balloon(monitor: Monitor, recorder: Recorder, *, when: str, update: int) -> None:
    """Record `guest.balloon` {actual_bytes}: what QEMU says the guest has left; nothing if it is gone."""
    with suppress(SutError):
        actual = monitor.execute("query-balloon")["actual"]
        recorder.record("guest.balloon", when=when, update=update, actual_bytes=actual)


def sizes(of: Memory, size_mib: int) -> list[int]:
    """The bytes of each backend."""
    return [mib << 20 for mib in (size_mib, *of.dimms_mib)]


def files(of: Memory, size_mib: int) -> list[tuple[str, int | None]]:
    """The backends and the bytes that their files are told by; alone, the largest is it."""
    if not of.dimms_mib:
        return [(MAIN, None)]
    modules = [(dimm_id(number), mib << 20) for number, mib in enumerate(of.dimms_mib)]
    return [(MAIN, size_mib << 20), *modules]
