"""Kernel functions that have no trace event, traced by kprobes: the end of an address space, and of a KVM.

Source: Linux Documentation/trace/kprobetrace.rst; mm/mmap.c exit_mmap (in exec: fs/exec.c,
exec_mmap -> mmput), virt/kvm/kvm_main.c kvm_destroy_vm (in exec: by fs/file.c, do_close_on_exec).
"""

import os
from contextlib import suppress
from pathlib import Path

from ..rpc import AgentError
from .journal import Entry, Journal

KIND = "trace.kprobes"
GROUP = "cprlab"
_FUNCTIONS = ("exit_mmap", "kvm_destroy_vm")


def _definitions() -> list[str]:
    began = [f"p:{GROUP}/{name} {name}" for name in _FUNCTIONS]
    return [*began, *(f"r:{GROUP}/{name}_done {name}" for name in _FUNCTIONS)]


def define(journal: Journal, tracefs: Path) -> Entry:
    """Define the events cprlab:exit_mmap and cprlab:exit_mmap_done, and so on; an instance may enable them.

    Raises:
        OSError: this kernel has no kprobe events, or no such function.
    """
    entry = journal.begin(KIND, str(tracefs), {}, {})
    try:
        for definition in _definitions():
            _append(tracefs, definition)
    except OSError:
        with suppress(AgentError, OSError):
            journal.undo(entry)
        raise
    return entry


def remove(entry: Entry) -> None:
    """Undo KIND; what was never defined is no error."""
    for definition in _definitions():
        name = definition.split()[0].split(":")[1]
        with suppress(OSError):
            _append(Path(entry.what), f"-:{name}")


def _append(tracefs: Path, line: str) -> None:
    # not by a Python file: in mode "a" that seeks to the end, which this file refuses
    fd = os.open(tracefs / "kprobe_events", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)
