"""Why a QEMU would refuse to update a guest, asked of it before there is a guest.

Source: QEMU qapi/migration.json, MigrationInfo `blocked-reasons` (since 6.0): devices that cannot be
migrated at all, and blockers of the mode that is set. What QEMU accepts and loses (a tap by name, a
vhost-vsock, private memory, all of them with 11.1.3) it does not say.
"""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.drivers.agent import HostAgent, Spawned
from lab.drivers.ssh import HostConnection
from lab.errors import BenchError, SutError
from lab.qemu.argv import GuestConfig
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder

MODE = "cpr-exec"
MEMORY_MIB = 64
"""RAM costs time to pin, and nothing runs in it."""

_OPEN_S = 60.0
_NOT_STARTED = ("-kernel", "-initrd", "-append")


def blocked_reasons(
    host: HostConnection, agent: HostAgent, config: GuestConfig, qemu: str, mode: str = MODE
) -> list[str]:
    """What QEMU says against updating this guest; none: it would try. No guest is started.

    Raises:
        BenchError: if QEMU does not start with these devices, or does not answer; with its last words.
    """
    small = replace(config, memory_mib=MEMORY_MIB, cpus=1)
    with ExitStack() as undo:
        host.check(["mkdir", "-p", "-m", "700", config.run_dir])
        undo.callback(host.run, ["rm", "-rf", config.run_dir])
        spawned = agent.spawn("qemu", stopped(small.argv(qemu)), sockets=["stream-fd"], taps=config.taps)
        undo.callback(agent.kill, spawned.pid)  # there is no guest to lose
        folder = Path(undo.enter_context(TemporaryDirectory(prefix="cprlab-blocked-")))
        recorder = Recorder(folder / "timeline.jsonl")
        undo.callback(recorder.close)
        connect = partial(host.stream_unix, config.qmp_path)
        ended = partial(_ended, host, agent, spawned)
        monitor = undo.enter_context(Monitor(connect, recorder, folder / "qmp.jsonl", ended))
        try:
            return _asked(monitor, mode)
        except SutError as error:
            raise BenchError(f"{qemu} cannot be asked what blocks {mode}: {error}") from error


def stopped(argv: list[str]) -> list[str]:
    """The same QEMU with its CPUs stopped, and without a kernel that it would have to load."""
    kept = list(argv)
    for option in _NOT_STARTED:
        if option in kept:
            at = kept.index(option)
            del kept[at : at + 2]
    return [*kept, "-S"]


def _asked(monitor: Monitor, mode: str) -> list[str]:
    monitor.open("old", _OPEN_S)
    monitor.execute("migrate-set-parameters", {"mode": mode})
    return [str(reason) for reason in monitor.execute("query-migrate").get("blocked-reasons", [])]


def _ended(host: HostConnection, agent: HostAgent, spawned: Spawned) -> str:
    try:
        end = agent.reap(spawned.pid, 0)
    except BenchError:
        return ""
    how = f"was killed by signal {end['signal']}" if end["signal"] else f"ended with {end['status']}"
    said = host.run(["tail", "-n", "1", spawned.log]).stdout.strip()
    return f"{how}; it said last: {said or 'nothing'}"
