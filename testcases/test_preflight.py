"""What preflight refuses is lost: each update is forced, and loses what the finding says.

Claims under test: lab/preflight, whose findings name their sources. What shows the others is in
lab/preflight/proofs.py: rows, known defects and reproductions that were there before.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from lab.checkers import (
    file_kept,
    prealloc_touches,
    preflight_refuses,
    preflight_sees,
    same_guest,
    unpromised,
    update_completed,
    update_refused,
)
from lab.preflight.command import Command
from lab.qemu.memory import MEMFD, Memory
from lab.running_qemu import Question, looked_at

RNG = ("-device", "virtio-rng-pci,id=rng0,addr=0x1d")
SECOND_MONITOR = ("-qmp", "unix:/run/cprlab/second.sock,server=on,wait=off")
PLUGGED = Memory(dimms_mib=(128,))


def without(option: str, holds: str = "") -> Callable[[list[str]], list[str]]:
    """New QEMU's command line lacks an option with a value that holds something."""

    def rewrite(words: list[str]) -> list[str]:
        at = next(n for n, word in enumerate(words[1:], 1) if holds in word and words[n - 1] == option)
        return [*words[: at - 1], *words[at + 1 :]]

    return rewrite


def with_other(old: str, new: str) -> Callable[[list[str]], list[str]]:
    """It has other words wherever there is `old`."""

    def rewrite(words: list[str]) -> list[str]:
        assert any(old in word for word in words)
        return [word.replace(old, new) for word in words]

    return rewrite


def unplugged(words: list[str]) -> list[str]:
    """It lacks what was plugged into the running guest."""
    return without("-device", "pc-dimm")(without("-object", "id=more0")(words))


def one_processor(words: list[str]) -> list[str]:
    return [*words, "-smp", "1"]


@dataclass(frozen=True)
class Spoilt:
    """An update that cannot go well.

    rewrite: what is done to new QEMU's command line
    through: what new QEMU is started through
    words:   what both QEMUs are given
    """

    finding: str
    rewrite: Callable[[list[str]], list[str]] = list
    through: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    memory: Memory = MEMFD


SPOILT = [
    Spoilt("incoming-missing", without("-incoming")),
    Spoilt("machine-differs", with_other("q35,", "pc,")),
    Spoilt("memory-differs", with_other("256M", "512M")),
    Spoilt("processors-differ", one_processor, words=("-smp", "2")),
    Spoilt("devices-differ", without("-device", "rng0"), words=RNG),
    Spoilt("backend-missing", without("-chardev", "id=stream-path")),
    Spoilt("plugged-missing", unplugged, memory=PLUGGED),
    Spoilt("pty-path", words=("-chardev", "pty,id=more,path=/run/cprlab/pty")),
    Spoilt("environment-dropped", through=("env", "-i")),
    Spoilt("sandbox-denies-exec", words=("-sandbox", "on,spawn=deny")),
]


@pytest.mark.nightly
@pytest.mark.parametrize(
    "spoilt, qemu_words, memory",
    [
        pytest.param(one, one.words, one.memory, id=one.finding, marks=pytest.mark.forced(one.finding))
        for one in SPOILT
    ],
    indirect=["qemu_words", "memory"],
)
def test_what_is_refused_is_lost(spoilt, load, update, verdict):
    """QEMU accepts the update, and the guest does not live on."""
    with load() as running:
        running.settle()
        with update(*spoilt.through, rewrite=spoilt.rewrite):
            running.settle(timeout_s=15)

    verdict(preflight_refuses(spoilt.finding), unpromised(same_guest()))


@pytest.fixture
def log_sized(bench, guest, evidence):
    """Record how long the console's log is: log_sized("before")."""

    def log_sized(when: str) -> None:
        path = guest.config.console_log
        size = int(bench.connection.check(["stat", "-c", "%s", path]))
        evidence.record("file.size", path=path, bytes=size, when=when)

    return log_sized


@pytest.mark.nightly
@pytest.mark.forced("file-truncated")
def test_a_log_without_append_is_lost(load, update, log_sized, verdict):
    """The guest lives on, and what its console had said is gone."""
    with load() as running:
        running.settle()
        log_sized("before")
        with update(rewrite=with_other("logappend=on", "logappend=off")):
            running.settle()
        log_sized("after")

    log_lost = unpromised(file_kept())
    verdict(preflight_refuses("file-truncated"), update_completed(), same_guest(), log_lost)


@pytest.fixture
def faults_counted(bench, guest, evidence):
    """Record the page faults of QEMU in an update: with faults_counted(prealloc=True)."""

    def faults():
        # proc_pid_stat(5): field 10, minflt, is of all threads, and outlives an exec
        return int(bench.connection.check(["cut", "-d", " ", "-f", "10", f"/proc/{guest.pid}/stat"]))

    @contextmanager
    def faults_counted(*, prealloc):
        before = faults()
        yield
        evidence.record("qemu.faults", prealloc=prealloc, faults=faults() - before)

    return faults_counted


@pytest.mark.nightly
def test_prealloc_is_done_again(load, update, faults_counted, verdict):
    """New QEMU touches all memory anew, and the guest is paused the longer (cprlab pause says how long)."""
    with load() as running:
        running.settle()
        with faults_counted(prealloc=False), update():
            running.settle()
        with (
            faults_counted(prealloc=True),
            update(rewrite=with_other("memfd,id=ram0", "memfd,prealloc=on,id=ram0")),
        ):
            running.settle()

    verdict(update_completed(), same_guest(), prealloc_touches())


@pytest.mark.nightly
@pytest.mark.forced("kernel-type1", "blocked")
def test_a_kernel_without_update_vaddr_is_refused(compatible_container, load, update, verdict):
    """QEMU refuses by itself, and the guest goes on: preflight says so before, and QEMU's own blockers do."""
    with load() as running:
        running.settle()
        with update():
            running.settle()

    refused = update_refused("does not support VFIO_UPDATE_VADDR")
    verdict(preflight_refuses("kernel-type1"), preflight_refuses("blocked"), refused, same_guest("fail"))


@pytest.mark.nightly
@pytest.mark.parametrize("iommu", ["type1", "iommufd"], indirect=True)
@pytest.mark.parametrize("memory", [PLUGGED], indirect=True, ids=str)
@pytest.mark.parametrize("qemu_words", [SECOND_MONITOR], indirect=True, ids=["two monitors"])
def test_a_running_qemu_is_looked_at(bench, agent, guest, evidence, verdict):
    """Of a guest that runs all is known, by its second monitor; what was plugged must be in new QEMU."""
    now = agent.process(guest.pid)["cmdline"]
    complete, bare = Command.parse(guest.command(now[0])), Command.parse([*now, "-incoming", "defer"])

    for look, new in (("complete", complete), ("without what was plugged", bare)):
        report = looked_at(bench.connection, agent, Question(None, new, guest.pid, "cpr-exec"))
        evidence.record(
            "preflight.look",
            look=look,
            refused=[finding.name for finding in report.refused],
            untold=[one.what for one in report.untold],
            assumed=list(report.assumed),
        )

    missing = preflight_sees("without what was plugged", ("plugged-missing",))
    verdict(preflight_sees("complete"), missing)
