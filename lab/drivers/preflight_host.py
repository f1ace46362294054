"""What preflight wants to know of a QEMU's host, by the host agent."""

from collections.abc import Mapping
from typing import Any

from lab.drivers.agent import HostAgent
from lab.preflight.command import Command
from lab.preflight.devices import bdfs
from lab.preflight.facts import UNLIMITED, Facts, Host


def looked(agent: HostAgent, command: Command, pid: int | None) -> dict[str, Any]:
    """What the host agent says that matters to a command line, with the argv of a process."""
    paths = [one["mem-path"] for one in command.memory_backends if one["mem-path"]]
    return agent.update_facts(pid, bdfs(Facts(command)), paths)


def host_of(seen: Mapping[str, Any]) -> Host:
    """The same as preflight looks at it."""
    limit = seen.get("memlock_bytes", 0)
    return Host(
        update_vaddr=seen["update_vaddr"],
        change_process=seen["change_process"],
        memlock_bytes=(UNLIMITED if limit is None else limit) if "memlock_bytes" in seen else None,
        ipc_lock=seen.get("ipc_lock"),
        is_folder=seen["folders"],
        resets={bdf: tuple(methods) for bdf, methods in seen["resets"].items()},
    )
