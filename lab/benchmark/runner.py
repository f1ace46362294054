"""Boots a guest with a row's devices, and measures its loads and their plain tools in turns."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from lab.bench import Bench
from lab.benchmark import Comparison, PlainTool, Series, Share
from lab.benchmark.ours import Run, limit, saturated
from lab.benchmark.tools import plain_tools
from lab.epochs import Epochs
from lab.evidence import Evidence
from lab.guest import Guest
from lab.loads import Load
from lab.preflight import require_safe
from lab.preflight.command import Command
from lab.preflight.facts import Facts
from lab.qemu.devices import guest_bdf
from lab.rows import Attached, Case, Site, far_ends
from lab.rows.facts import bench_facts, require
from lab.rows.guest_config import guest_config

SEED = 1
MEMORY_MIB = 512
"""The programs lie in the guest's memory, twice while it boots."""
BOOT_TIMEOUT_S = 240.0
NO_TOOL = "there is no plain tool that drives this path"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Benchmark:
    """How it is measured.

    kernel, initrd: the guest's, on the controller; the plain tools are in it
    folder:         on the controller, for what agents and guests say meanwhile
    rounds:         measurements of each
    seconds:        of one measurement
    tell:           told of each thing as it begins
    """

    bench: Bench
    kernel: Path
    initrd: Path
    folder: Path
    rounds: int
    seconds: float
    tell: Tell

    def compare(self, case: Case) -> list[Comparison]:
        """Every load of a case with every tool for its path, in one guest.

        Raises:
            LabError: the bench cannot run the case, or something could not be measured.
        """
        with self._booted(case) as (guest, epochs, attached):
            found: list[Comparison] = []
            for number, made in enumerate(attached):
                if made.load is not None:
                    found += self._compared(case, made.load(guest_bdf(number)), guest, epochs)
            return found

    def _compared(self, case: Case, load: Load, guest: Guest, epochs: Epochs) -> Iterator[Comparison]:
        tools: tuple[PlainTool, ...] = ()
        runs: list[Run] = []
        plain: dict[PlainTool, list[float]] = {}
        for number in range(1, self.rounds + 1):
            self.tell(f"{case.name}: round {number} of {self.rounds}: {load.name}")
            load, one = saturated(load, guest.link, epochs, self.seconds)
            runs.append(one)
            tools = tools or plain_tools(load, one.started)
            for tool in tools:
                self.tell(f"{case.name}: round {number} of {self.rounds}: {tool.name}")
                plain.setdefault(tool, []).append(tool.blocks_per_s(guest.link, self.seconds))
        if not tools:
            yield _comparison(case, load, runs, None, [])
        for tool, values in plain.items():
            yield _comparison(case, load, runs, tool, values)

    @contextmanager
    def _booted(self, case: Case) -> Iterator[tuple[Guest, Epochs, list[Attached]]]:
        evidence = Evidence(self.folder / f"{case.name}-{case.backend}")
        with ExitStack() as undo:
            undo.callback(evidence.conclude)
            agent = undo.enter_context(self.bench.agent(evidence))
            require(case, bench_facts(self.bench, agent, agent.qemu_probe), self.bench.name)
            site = Site(self.bench, agent, evidence, undo, SEED)
            attached = [device.attach(site) for device in case.row.devices]
            config = guest_config(self.bench, case, attached, self.kernel, self.initrd, memory_mib=MEMORY_MIB)
            qemu = self.bench.target_file.tools.qemu_old
            require_safe(Facts(Command.parse(config.argv(qemu))))
            self.tell(f"{case.name}: a guest boots")
            booted = Guest.booted(self.bench.connection, agent, config, qemu, evidence, BOOT_TIMEOUT_S)
            guest = undo.enter_context(booted)
            epochs = Epochs(evidence.recorder, [guest.link, *far_ends(attached).values()])
            epochs.open_next()
            yield guest, epochs, attached


def _comparison(
    case: Case, load: Load, runs: list[Run], tool: PlainTool | None, values: list[float]
) -> Comparison:
    streams = tool.streams if tool else tuple(stream.name for stream in load.streams)
    hz = {name: Series(tuple(one.rates_hz[name] for one in runs)).median for name in runs[0].rates_hz}
    shares = (Series(tuple(one.share.user for one in runs)), Series(tuple(one.share.system for one in runs)))
    return Comparison(
        row=case.name,
        backend=case.backend,
        load=load.name,
        path=tool.path if tool else " and ".join(streams),
        block_bytes=load.block_bytes,
        ours=Series(tuple(mean(one.rates_hz[name] for name in streams) for one in runs)),
        streams_hz=hz,
        asked_hz=load.probe_hz,
        limit=limit(Share(*(share.median for share in shares))),
        tool=tool.name if tool else None,
        checks=tool.checks if tool else NO_TOOL,
        plain=Series(tuple(values)) if tool else None,
    )
