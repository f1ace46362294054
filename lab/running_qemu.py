"""Preflight on a bench, of a QEMU that runs there or would: its command line, its host, its QMP."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lab import bench_state
from lab.bench import open_bench
from lab.drivers.agent import HostAgent
from lab.drivers.preflight_host import host_of, looked
from lab.drivers.ssh import HostConnection
from lab.errors import BenchError, LabUsageError, SutError
from lab.preflight import Report, Untold, preflight
from lab.preflight.command import Command
from lab.preflight.facts import Facts, State
from lab.qemu.monitor import Monitor
from lab.qemu.state import monitor_paths, state
from lab.timeline import Recorder

_OPEN_S = 10.0
"""A monitor that serves somebody else greets nobody."""


@dataclass(frozen=True)
class Question:
    """A QEMU to look at: a process, or a command line that none runs yet.

    old, new: command lines from files; None: that of the process, and old with -incoming
    pid:      of the process; None if there is none
    """

    old: Command | None
    new: Command | None
    pid: int | None
    mode: str
    version: str = ""


def answered(target: Path, question: Question) -> Report:
    """What preflight says, asked on a bench: one that is up, or one that is made ready for it.

    Raises:
        LabUsageError: there is no such target file, or the process is no QEMU.
        BenchError: the bench, or the process, is not there.
    """
    with _host(target) as host, HostAgent(host) as agent:
        return looked_at(host, agent, question)


def looked_at(host: HostConnection, agent: HostAgent, question: Question) -> Report:
    """The same on a host that is connected.

    Raises:
        LabUsageError: the process is no QEMU.
        BenchError: there is no such process.
    """
    old = question.old or _running(agent, question.pid)
    told, version, why = State(), question.version, ""
    if question.pid is not None:
        told, version, why = _by_qmp(host, old, question)
    after = question.new or old
    modes, new_version = _probed(agent, after)
    seen = host_of(looked(agent, after, question.pid))
    facts = Facts(old, question.new, question.mode, version, new_version, modes, state=told, host=seen)
    report = preflight(facts)
    if why:
        lacks = Untold("plugged-missing", f"what was plugged and what blocks the mode: {why}")
        report = replace(report, untold=(*report.untold, lacks))
    return report


@contextmanager
def _host(target: Path) -> Iterator[HostConnection]:
    """The bench that is up by this name; else the one of the target file, for as long as it takes."""
    if not target.is_file():
        raise LabUsageError(f"no target file {target}")
    if (up := bench_state.find(target.stem)) is not None:
        with HostConnection(up.endpoint) as host:
            yield host
    else:
        with open_bench(target) as bench:
            yield bench.connection


def _running(agent: HostAgent, pid: int | None) -> Command:
    words = agent.process(int(pid or 0))["cmdline"]
    command = Command.parse(words)
    if not command.program:
        raise LabUsageError(f"process {pid} is no QEMU: it is {' '.join(words)[:80]}")
    return command


def _seen_by(pid: int | None, path: str) -> str:
    """A path of a process, which may be in a container, as the host sees it."""
    return f"/proc/{pid}/root{path}" if path.startswith("/") else f"/proc/{pid}/cwd/{path}"


def _probed(agent: HostAgent, command: Command) -> tuple[frozenset[str] | None, str]:
    """The modes and the version of new QEMU; unknown if its program does not say."""
    try:
        said: dict[str, Any] = agent.qemu_probe(command.program)
    except BenchError:
        return None, ""
    return frozenset(said["modes"]), str(said["version"])


def _by_qmp(host: HostConnection, old: Command, question: Question) -> tuple[State, str, str]:
    """What QEMU says of itself, its version, and why it says nothing."""
    why = "its command line has no QMP socket by path"
    for path in monitor_paths(old):
        with ExitStack() as undo:
            folder = Path(undo.enter_context(TemporaryDirectory(prefix="cprlab-preflight-")))
            recorder = Recorder(folder / "timeline.jsonl")
            undo.callback(recorder.close)
            connect = partial(host.stream_unix, _seen_by(question.pid, path))
            monitor = undo.enter_context(Monitor(connect, recorder, folder / "qmp.jsonl"))
            try:
                version = monitor.open("old", _OPEN_S)
            except SutError as error:
                why = f"{path}: {error}"
                continue
            told = state(monitor, question.mode)
            return told, version, "" if told.devices is not None else f"{path} did not answer all"
    return State(), question.version, why
