"""Devices that an agent made go when it ends: processes first, then what they used, newest first.

Claim: contract of the host agent: on the end of its session everything is undone, in order.
"""

import inspect
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.agents.host import (
    binding,
    container,
    hostmem,
    liveupdate,
    making,
    mdev,
    probes,
    sriov,
    tap,
    trace,
    vdpa,
    vduse,
)
from lab.agents.host.agent import HostAgent
from lab.agents.rpc import AgentError, Wire
from lab.drivers import agent as controller
from testcases.selftest.host_agent_fakes import DISK, NIC, told
from testcases.selftest.host_agent_made import VF, VF_MAC, MakingHost, tree, undo_table

DAEMON = 77


@pytest.fixture
def host(tmp_path: Path) -> MakingHost:
    made = MakingHost(tmp_path / "host")
    made.disk()
    return made


@pytest.fixture
def started(host: MakingHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], HostAgent]:
    monkeypatch.setattr("lab.agents.host.agent.undo_table", lambda sysfs: undo_table(host))
    return lambda: HostAgent(Wire(io.BytesIO()), tmp_path / "state", host.sysfs)


@pytest.fixture
def agent(started: Callable[[], HostAgent]) -> Iterator[HostAgent]:
    session = started()
    session.allow([vars(told(bdf)) for bdf in (NIC, DISK)])
    yield session
    session.end()


def everything(host: MakingHost, calls: dict[str, Callable[..., Any]]) -> None:
    calls["vf_create"](NIC, VF_MAC)
    calls["bind"](VF)
    calls["vdpa_create"]("cprblk", "vdpasim_blk")
    calls["vdpa_as_disk"]("cprblk")
    calls["mdev_create"]("mtty", "mtty-1")
    host.daemon(DAEMON, "cprdisk")
    calls["vdpa_create"]("cprdisk", "vduse")
    calls["bind"](DISK)


ORDER = [
    binding.KIND,
    *(vdpa.KIND, vduse.KIND),
    mdev.KIND,
    vdpa.KIND,
    *(binding.KIND, sriov.KIND),
]


def test_all_is_undone_newest_first(host: MakingHost, agent: HostAgent) -> None:
    host.folder("sys/kernel/iommu_groups/11")
    before = tree(host)
    everything(host, agent.calls())
    host.end(DAEMON)
    undone = agent.restore()
    assert [entry["kind"] for entry in undone] == ORDER
    assert not any("error" in entry for entry in undone)
    host.spoofchk = True
    assert tree(host) == before


def test_the_next_agent_undoes_what_a_killed_one_left(
    host: MakingHost, started: Callable[[], HostAgent]
) -> None:
    host.folder("sys/kernel/iommu_groups/11")
    before, killed = tree(host), started()
    killed.allow([vars(told(bdf)) for bdf in (NIC, DISK)])
    everything(host, killed.calls())
    host.end(DAEMON)
    killed._journal.close()  # as the kernel does for a dead process
    following = started()
    assert [entry["kind"] for entry in following.hello()["restored"]] == ORDER
    host.spoofchk = True
    assert tree(host) == before
    assert following.end() == []


def test_processes_end_before_what_they_use_goes(
    host: MakingHost, agent: HostAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU before the daemon of its device: else it would wait half a minute for an answer."""
    happened: list[str] = []
    agent.calls()["vdpa_create"]("cprblk", "vdpasim_blk")
    for name in ("daemon", "qemu"):
        child = agent._spawner.child(agent.spawn(name, ["sleep", "1000"])["pid"])
        monkeypatch.setattr(child, "kill", noting(happened, name, child.kill))
    object.__setattr__(host.sysfs, "run", noting(happened, "undone", host.run))
    agent.end()
    assert happened == ["qemu", "daemon", "undone"]


def noting(happened: list[str], what: str, act: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*args: Any) -> Any:
        happened.append(what)
        return act(*args)

    return noted


@pytest.mark.parametrize("call", ["kill", "reap"])
def test_what_a_daemon_made_goes_when_it_has_ended(host: MakingHost, agent: HostAgent, call: str) -> None:
    pid = agent.spawn("daemon", ["sleep", "1000" if call == "kill" else "0"])["pid"]
    host.daemon(DAEMON, "cprdisk")
    calls = agent.calls()
    calls["vdpa_create"]("cprdisk", "vduse")
    calls["vdpa_remove"]("cprdisk")
    assert host.destroyed == []
    host.end(DAEMON)  # it stands for what was spawned
    calls[call](pid)
    assert host.destroyed == ["cprdisk"]


def test_a_refusal_reaches_the_caller(agent: HostAgent) -> None:
    with pytest.raises(AgentError, match=r"tap 'cprtap0' is not held by this agent"):
        agent.spawn("qemu", ["true"], taps=["cprtap0"])


def test_whatever_is_journalled_can_be_undone(host: MakingHost) -> None:
    kinds = {module.KIND for module in (binding, container, mdev, probes, sriov, tap, trace, vdpa, vduse)}
    others = {binding.MODULE, hostmem.MOUNT, hostmem.SETTING, liveupdate.LINK, liveupdate.KEXEC}
    assert making.undo_table(host.sysfs).keys() == kinds | others


@pytest.mark.parametrize(
    "name",
    [
        *(
            "vf_create",
            "vf_remove",
            "vdpa_create",
            "vdpa_as_disk",
            "vdpa_remove",
            "mdev_create",
            "mdev_remove",
        ),
        *("tap_create", "tap_persistent", "tap_remove", "disk_of", "medium_read", "qemu_probe", "spawn"),
        *("memory_keep", "memory_take", "memory_look", "kexec_load", "kexec"),
        *("hugepages_reserve", "shmem_thp_set", "memory_mount", "memory_backing", "pfns"),
    ],
)
def test_controller_and_agent_agree_on_arguments(agent: HostAgent, name: str) -> None:
    ours = list(inspect.signature(getattr(controller.HostAgent, name)).parameters)[1:]
    theirs = list(inspect.signature(agent.calls()[name]).parameters)
    assert ours == theirs[: len(ours)]
