"""A mediated device is made, and goes again, whatever ends the agent.

Claim: contract of the host agent: each change is journalled before it is made, and undone.
"""

from functools import partial
from pathlib import Path

import pytest

from lab.agents.host import mdev
from lab.agents.host.holders import wait_released
from lab.agents.host.journal import Journal
from lab.agents.rpc import AgentError
from testcases.selftest.host_agent_made import MakingHost, crash_after, journal_of, next_agent, tree

TYPES = "sys/class/mdev_bus/mtty/mdev_supported_types"


@pytest.fixture
def host(tmp_path: Path) -> MakingHost:
    made = MakingHost(tmp_path / "host")
    made.folder("sys/kernel/iommu_groups/11")
    return made


@pytest.fixture
def journal(host: MakingHost) -> Journal:
    return journal_of(host)


def devices(host: MakingHost) -> list[str]:
    return [path.name for path in (host.root / "sys/bus/mdev/devices").glob("*")]


def test_made_and_removed(host: MakingHost, journal: Journal) -> None:
    before = tree(host)
    made = mdev.create(host.sysfs, journal, "mtty", "mtty-2")
    assert devices(host) == [made["uuid"]]
    assert made["path"] == f"/sys/bus/mdev/devices/{made['uuid']}"
    assert (made["group"], made["vfio_cdev"]) == ("11", "/dev/vfio/devices/vfio0")
    for _ in range(2):
        mdev.remove(journal, made["uuid"])
        assert tree(host) == before and journal.undo_all() == []
    assert [name for name, _ in host.written] == ["create", "remove"]


def test_two_are_told_apart(host: MakingHost, journal: Journal) -> None:
    first, second = (mdev.create(host.sysfs, journal, "mtty", kind)["uuid"] for kind in ("mtty-1", "mtty-2"))
    mdev.remove(journal, first)
    assert devices(host) == [second]


def test_refusals(host: MakingHost, journal: Journal) -> None:
    host.file(f"{TYPES}/mtty-1/available_instances", "0\n")
    for parent, kind, said in (
        ("i915", "mtty-1", "there is no mdev parent 'i915'; parents: mtty"),
        ("mtty", "i915", "mtty makes no mdev of type 'i915'; types: mtty-1, mtty-2"),
        ("mtty", "mtty-1", "mtty has no more devices of type mtty-1"),
    ):
        with pytest.raises(AgentError, match=said):
            mdev.create(host.sysfs, journal, parent, kind)
    assert host.written == [] and not journal.path.exists()


def test_a_driver_that_does_not_bind_is_told_of_and_undone(
    host: MakingHost, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mdev, "vfio_cdev", lambda device: None)
    with pytest.raises(AgentError, match=r"\(mtty mtty-1\) did not bind"):
        mdev.create(host.sysfs, journal, "mtty", "mtty-1")
    assert devices(host) == []


@pytest.mark.parametrize("node", ["/dev/vfio/11", "/dev/vfio/devices/vfio0"])
def test_one_that_is_held_is_not_removed(
    host: MakingHost, journal: Journal, monkeypatch: pytest.MonkeyPatch, node: str
) -> None:
    monkeypatch.setattr(mdev, "wait_released", partial(wait_released, timeout_s=0.05))
    number = mdev.create(host.sysfs, journal, "mtty", "mtty-1")["uuid"]
    host.hold(88, node)
    assert f"mdev {number} is held by qemu (88)" in journal.undo_all()[0]["error"]
    host.end(88)
    assert "error" not in journal.undo_all()[0]
    assert devices(host) == []


@pytest.mark.parametrize("steps", range(2))
def test_a_crash_at_any_step_is_undone_by_the_next_agent(host: MakingHost, steps: int) -> None:
    before, crashed = tree(host), journal_of(host)
    with crash_after(host, steps):
        mdev.create(host.sysfs, crashed, "mtty", "mtty-1")
    assert len(devices(host)) == steps
    assert next_agent(host, crashed) == [] and tree(host) == before
