"""Which plain tools there are for a load, by its kind: one line each."""

from collections.abc import Callable, Mapping
from typing import Any

from lab.benchmark import PlainTool
from lab.benchmark.fio import Fio
from lab.benchmark.framebuffer import Framebuffer
from lab.benchmark.pktgen import Pktgen
from lab.loads import Load

Started = Mapping[str, Any]
"""Data of the event load.start."""


def plain_tools(load: Load, started: Started) -> tuple[PlainTool, ...]:
    """Those for the path that a load was started on; none for one that only we drive."""
    return KINDS[load.kind](load, started) if load.kind in KINDS else ()


def _nic(load: Load, started: Started) -> tuple[PlainTool, ...]:
    settings = load.settings()
    # of the load with a far end the interface is one fact among others
    interface = started.get("interface", started)
    if settings.get("wire"):  # no network interface
        return ()
    to = settings.get("peer") or interface["mac"]
    return (Pktgen(interface["name"], to, load.block_bytes, settings["sends"]),)


def _block(load: Load, started: Started) -> tuple[PlainTool, ...]:
    disk = started["disk"]["path"], load.block_bytes, started["depth"], started["slots"]
    return (Fio(*disk, verify=True), Fio(*disk, verify=False))


def _gpu(load: Load, started: Started) -> tuple[PlainTool, ...]:
    return (Framebuffer(load.block_bytes),)


KINDS: Mapping[str, Callable[[Load, Started], tuple[PlainTool, ...]]] = {
    "nic": _nic,
    "block": _block,
    "gpu": _gpu,
}
