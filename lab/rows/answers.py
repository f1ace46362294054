"""Which cases a bench can run, and why not the others: asked of host and QEMU before anyone tries."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.bench import Bench
from lab.drivers.agent import HostAgent
from lab.drivers.capabilities import missing
from lab.errors import LabError
from lab.evidence import Evidence
from lab.qemu.argv import GuestConfig
from lab.qemu.blocked import blocked_reasons
from lab.rows import Case, Site

SEED = 1
"""Nothing is sent."""


@dataclass(frozen=True)
class Answer:
    """Whether a bench can run a case.

    why:             what speaks against it, a sentence each
    refused:         whether QEMU is expected to refuse the update, and does
    blocked_reasons: what QEMU says against updating a guest with these devices; None: it was not asked
    """

    row: str
    backend: str
    ok: bool
    why: tuple[str, ...] = ()
    refused: bool = False
    blocked_reasons: tuple[str, ...] | None = None


def answers(
    cases: Iterable[Case], facts: Mapping[str, Any], ask: Callable[[Case], list[str]] | None
) -> Iterator[Answer]:
    """One answer a case, as each is known.

    facts: as lab/drivers/capabilities.py looks at them
    ask:   what QEMU says against updating a guest with the case's devices, as `Asking` does
    """
    for case in cases:
        lacks = tuple(missing(case.needs, facts))
        if lacks or ask is None:
            yield Answer(case.name, case.backend, not lacks, lacks)
        else:
            yield _asked(case, ask)


def _asked(case: Case, ask: Callable[[Case], list[str]]) -> Answer:
    try:
        reasons = tuple(ask(case))
    except LabError as error:
        return Answer(case.name, case.backend, False, (" ".join(str(error).split()),))
    if case.refused is None:
        why = tuple(f"its QEMU would refuse to update this guest: {reason}" for reason in reasons)
    else:
        why = () if reasons else (f"its QEMU was expected to refuse ({case.refused}), and says nothing",)
    return Answer(case.name, case.backend, not why, why, case.refused is not None and not why, reasons)


@dataclass(frozen=True)
class Asking:
    """Makes a case's devices, starts QEMU with them but without a guest, asks it, and undoes everything.

    folder: on the controller, for what agents say meanwhile
    """

    bench: Bench
    agent: HostAgent
    folder: Path

    def __call__(self, case: Case) -> list[str]:
        """What QEMU says against an update.

        Raises:
            LabError: if a device cannot be made, or QEMU does not start with it.
        """
        with ExitStack() as undo:
            undo.callback(self.agent.restore)
            evidence = Evidence(self.folder / f"{case.name}-{case.backend}")
            undo.callback(evidence.conclude)
            site = Site(self.bench, self.agent, evidence, undo, SEED)
            config = GuestConfig(
                kernel="none",
                initrd="none",
                run_dir=f"/run/cprlab/{secrets.token_hex(4)}",
                iommu="iommufd" if case.backend == "iommufd" else "type1",
                devices=tuple(device.attach(site).device for device in case.row.devices),
                viommu=case.row.viommu,
            )
            qemu = self.bench.target_file.tools.qemu_old
            return blocked_reasons(self.bench.connection, self.agent, config, qemu)
