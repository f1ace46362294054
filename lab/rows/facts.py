"""What a bench has, as lab/drivers/capabilities.py judges it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lab.bench import Bench
from lab.drivers.agent import HostAgent
from lab.drivers.capabilities import missing, shared
from lab.errors import BenchError, LabUsageError
from lab.rows import Case


def bench_facts(
    bench: Bench,
    agent: HostAgent,
    probe: Callable[[str], Mapping[str, Any]],
    qemus: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Ask the bench host, and both QEMUs.

    qemus: their paths there; those of the target file if none are given
    probe: agent.qemu_probe, or one that remembers: it takes a second or two under emulation
    """
    tools = bench.target_file.tools
    present = {function["bdf"]: function for function in agent.functions()}
    named = {name: present.get(function.bdf) for name, function in bench.functions.items()}
    return {
        "host": agent.capabilities(),
        "qemu": shared([probe(path) for path in dict.fromkeys(qemus or [tools.qemu_old, tools.qemu_new])]),
        "functions": named,
        "wires": [name for name, function in bench.functions.items() if function.wire],
        "screens": [name for name in bench.functions if _has_screen(bench, name)],
    }


def _has_screen(bench: Bench, name: str) -> bool:
    with suppress(BenchError, LabUsageError):
        bench.screen(name)
        return True
    return False


def require(case: Case, facts: Mapping[str, Any], bench: str) -> None:
    """Refuse a bench that cannot run a case.

    Raises:
        BenchError: naming everything that is missing, and the remedy.
    """
    if lacks := missing(case.needs, facts):
        raise BenchError(f"bench {bench} cannot run {case.name} by {case.backend}: " + "; ".join(lacks))
