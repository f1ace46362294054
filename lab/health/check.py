"""The health check: what a run needs of its host, done for real once, in seconds.

It is less than a calibrated case, which also boots a guest: `cprlab run -k nvme` is that.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from lab.drivers.agent import HostAgent
from lab.drivers.target_file import TargetFile
from lab.errors import BenchError

NEEDED = ("root", "iommu", "vfio_pci", "kvm")
_DEAD = {4: "a machine check", 7: "an oops or a BUG", 14: "a soft lockup"}
"""Bits of /proc/sys/kernel/tainted after which a kernel may run, and is not believed.

Source: Linux Documentation/admin-guide/tainted-kernels.rst.
"""


class Looked(Protocol):
    """A bench whose host answers."""

    @property
    def target_file(self) -> TargetFile: ...
    @property
    def allowed(self) -> list[dict[str, Any]]: ...
    def agent(self) -> AbstractContextManager[HostAgent]: ...


def looked_at(bench: Looked) -> list[str]:
    """What was looked at, a line each, if all of it is well.

    The agent starts, which undoes what an earlier one left; the kernel has not died since it booted; the host
    can do what every case needs; each function can be given to VFIO and comes back to its driver; old and new
    QEMU start and answer.

    Raises:
        BenchError: the first thing that is not.
    """
    with bench.agent() as agent:
        looked = ["its agent starts, and nothing is left of an earlier one"]
        looked.append(_kernel(agent.facts))
        looked.append(_capabilities(agent.capabilities()))
        looked += [_bound_and_given_back(agent, function["bdf"]) for function in bench.allowed]
        tools = bench.target_file.tools
        for path in dict.fromkeys([tools.qemu_old, tools.qemu_new]):
            looked.append(f"{path} answers: {agent.qemu_probe(path)['version']}")
    return looked


def _kernel(facts: Mapping[str, Any]) -> str:
    if died := [what for bit, what in _DEAD.items() if facts["tainted"] >> bit & 1]:
        raise BenchError(f"its kernel went through {' and '.join(died)} since it booted: boot it anew")
    return f"its kernel {facts['kernel']} has not died since it booted"


def _capabilities(found: Mapping[str, Any]) -> str:
    if lacks := [name for name in NEEDED if not found.get(name)]:
        raise BenchError(f"it lacks {', '.join(lacks)}: cprlab doctor --bench says more")
    return f"it has {', '.join(NEEDED)}"


def _bound_and_given_back(agent: HostAgent, bdf: str) -> str:
    before = agent.device(bdf)["driver"]
    agent.bind(bdf)
    agent.give_back(bdf)
    after = agent.device(bdf)["driver"]
    if after != before:
        raise BenchError(f"{bdf} was bound to {before or 'no driver'} and came back to {after or 'none'}")
    return f"{bdf} can be given to VFIO, and comes back to {before or 'no driver'}"
