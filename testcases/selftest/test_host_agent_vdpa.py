"""vDPA devices are made for QEMU, read as disks of the host, and go again, whatever ends the agent.

Claim: contract of the host agent: each change is journalled before it is made, and undone.
"""

from pathlib import Path

import pytest

from lab.agents.host import vdpa, vduse
from lab.agents.host.holders import wait_released
from lab.agents.host.journal import Journal
from lab.agents.host.sysfs import Sysfs
from lab.agents.host.waiting import wait_until
from lab.agents.rpc import AgentError
from testcases.selftest.host_agent_made import (
    DEV_SHOW,
    MGMTDEV_SHOW,
    MakingHost,
    crash_after,
    journal_of,
    next_agent,
    tree,
)

MAC = "52:54:00:c9:f0:01"
DAEMON, QEMU = 77, 88
STEPS = 6
"""Of making one: management devices shown, added, override, unbind, bind, shown."""


@pytest.fixture
def host(tmp_path: Path) -> MakingHost:
    return MakingHost(tmp_path / "host")


@pytest.fixture
def journal(host: MakingHost) -> Journal:
    return journal_of(host)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for what does not come."""

    def wait(sysfs: Sysfs, what: str, paths: list[str], timeout_s: float) -> None:
        wait_released(sysfs, what, paths, min(timeout_s, 0.05))

    monkeypatch.setattr(vdpa, "wait_released", wait)
    monkeypatch.setattr(vduse, "START_S", 0.05)


def driver(host: MakingHost, name: str) -> str:
    return (host.root / "sys/bus/vdpa/devices" / name / "driver").readlink().name


def test_a_nic_for_qemu(host: MakingHost, journal: Journal) -> None:
    before = tree(host)
    assert vdpa.create(host.sysfs, journal, "cprnet", "vdpasim_net", MAC) == {
        "name": "cprnet",
        "path": "/dev/vhost-vdpa-0",
        "type": "network",
        "management": "vdpasim_net",
        "mac": MAC,
    }
    assert f"vdpa dev add name cprnet mgmtdev vdpasim_net mac {MAC}" in host.ran
    assert driver(host, "cprnet") == "vhost_vdpa"
    for _ in range(2):
        vdpa.remove(host.sysfs, journal, "cprnet")
        assert tree(host) == before and journal.undo_all() == []
    assert host.ran.count("vdpa dev del cprnet") == 1


def test_a_disk_comes_back_to_the_host(host: MakingHost, journal: Journal) -> None:
    before = tree(host)
    assert vdpa.create(host.sysfs, journal, "cprblk", "vdpasim_blk")["type"] == "block"
    assert "vdpa dev add name cprblk mgmtdev vdpasim_blk" in host.ran
    for _ in range(2):
        assert vdpa.as_disk(host.sysfs, journal, "cprblk") == "/dev/vdc"
        assert driver(host, "cprblk") == "virtio_vdpa"
    assert ["error" in undone for undone in journal.undo_all()] == [False]
    assert tree(host) == before


def test_no_other_driver_may_take_it_meanwhile(host: MakingHost, journal: Journal) -> None:
    vdpa.create(host.sysfs, journal, "cprblk", "vdpasim_blk")
    vdpa.as_disk(host.sysfs, journal, "cprblk")
    assert host.written == [
        *(("driver_override", "vhost_vdpa"), ("unbind", "cprblk"), ("bind", "cprblk")),
        *(("driver_override", "virtio_vdpa"), ("unbind", "cprblk"), ("bind", "cprblk")),
    ]


def refusal(host: MakingHost, journal: Journal, name: str, management: str) -> str:
    with pytest.raises(AgentError) as refused:
        vdpa.create(host.sysfs, journal, name, management)
    assert host.written == [] and not any("dev add" in said for said in host.ran), "a refusal changes nothing"
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_refusals(host: MakingHost, journal: Journal) -> None:
    assert "there are: vdpasim_blk, vdpasim_net, vduse" in refusal(host, journal, "x", "mlx5_core")
    for name in ("", "../x", "a b", "n" * 65):
        assert "is no name for a vDPA device" in refusal(host, journal, name, "vdpasim_net")
    (host.root / "sys/bus/vdpa/drivers/vhost_vdpa").rmdir()
    assert "CONFIG_VHOST_VDPA" in refusal(host, journal, "x", "vdpasim_net")


def test_a_device_of_someone_else_is_neither_taken_nor_removed(host: MakingHost, journal: Journal) -> None:
    host.sysfs.run(["vdpa", "dev", "add", "name", "theirs", "mgmtdev", "vdpasim_blk"])
    host.ran.clear()
    assert "there is a vDPA device theirs already" in refusal(host, journal, "theirs", "vdpasim_blk")
    with pytest.raises(AgentError, match="no vDPA device 'theirs' of this agent; it made: none"):
        vdpa.as_disk(host.sysfs, journal, "theirs")
    vdpa.remove(host.sysfs, journal, "theirs")
    assert "theirs" in host.vdpa


def test_a_nic_is_no_disk(host: MakingHost, journal: Journal) -> None:
    vdpa.create(host.sysfs, journal, "cprnet", "vdpasim_net", MAC)
    with pytest.raises(AgentError, match="cprnet is no disk, but of type network"):
        vdpa.as_disk(host.sysfs, journal, "cprnet")
    assert driver(host, "cprnet") == "vhost_vdpa"


@pytest.mark.parametrize("fails", ["dev add", "-j dev show"])
def test_what_half_succeeded_is_undone(host: MakingHost, journal: Journal, fails: str) -> None:
    before = tree(host)
    host.fails.add(fails)
    with pytest.raises(AgentError, match="Operation not supported"):
        vdpa.create(host.sysfs, journal, "cprnet", "vdpasim_net", MAC)
    assert tree(host) == before and journal.undo_all() == []


@pytest.mark.usefixtures("impatient")
def test_a_device_that_qemu_has_open_is_left_to_it(host: MakingHost, journal: Journal) -> None:
    vdpa.create(host.sysfs, journal, "cprblk", "vdpasim_blk")
    host.hold(QEMU, "/dev/vhost-vdpa-0")
    with pytest.raises(AgentError, match=r"cprblk is held by qemu \(88\)"):
        vdpa.as_disk(host.sysfs, journal, "cprblk")
    assert ["error" in undone for undone in journal.undo_all()] == [True]
    assert driver(host, "cprblk") == "vhost_vdpa"
    host.end(QEMU)
    assert ["error" in undone for undone in journal.undo_all()] == [False]
    assert host.vdpa == {}


@pytest.mark.usefixtures("impatient")
def test_without_its_daemon_a_vduse_device_is_not_added(host: MakingHost, journal: Journal) -> None:
    """It would block in the kernel for half a minute, and be broken afterwards."""
    assert "no daemon serves /dev/vduse/cprdisk" in refusal(host, journal, "cprdisk", "vduse")
    assert journal.undo_all() == []


def test_a_vduse_device_waits_for_its_daemon(
    host: MakingHost, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def comes_late(condition: object, timeout_s: float, what: object) -> None:
        host.daemon(DAEMON, "cprdisk")
        wait_until(condition, 0, what)  # type: ignore[arg-type]

    monkeypatch.setattr(vduse, "wait_until", comes_late)
    assert vdpa.create(host.sysfs, journal, "cprdisk", "vduse")["path"] == "/dev/vhost-vdpa-0"


def test_what_a_daemon_made_goes_after_it(host: MakingHost, journal: Journal) -> None:
    """The kernel keeps /dev/vduse/NAME when the daemon ends."""
    before = tree(host)
    host.daemon(DAEMON, "cprdisk")
    vdpa.create(host.sysfs, journal, "cprdisk", "vduse")
    vdpa.remove(host.sysfs, journal, "cprdisk")
    assert (host.vdpa, host.destroyed) == ({}, []), "its daemon still runs"
    assert "is served by qemu (77): end it first" in journal.undo_all()[0]["error"]
    host.end(DAEMON)
    vduse.sweep(host.sysfs, journal)
    assert host.destroyed == ["cprdisk"] and journal.undo_all() == []
    assert tree(host) == before


def test_a_daemon_that_died_is_not_waited_for(host: MakingHost, journal: Journal) -> None:
    host.daemon(DAEMON, "cprdisk")
    vdpa.create(host.sysfs, journal, "cprdisk", "vduse")
    host.end(DAEMON)
    vduse.sweep(host.sysfs, journal)
    assert host.destroyed == [], "the device is still there"
    host.written.clear()
    vdpa.remove(host.sysfs, journal, "cprdisk")
    assert host.written == [("msg_timeout", "1")]
    assert (host.vdpa, host.destroyed) == ({}, ["cprdisk"])


def test_a_daemon_that_lives_keeps_its_time(host: MakingHost, journal: Journal) -> None:
    host.daemon(DAEMON, "cprdisk")
    vdpa.create(host.sysfs, journal, "cprdisk", "vduse")
    vdpa.remove(host.sysfs, journal, "cprdisk")
    assert (host.root / "sys/class/vduse/cprdisk/msg_timeout").read_text() == "30\n"


def test_a_disk_whose_daemon_died_cannot_be_read(host: MakingHost, journal: Journal) -> None:
    host.daemon(DAEMON, "cprdisk")
    vdpa.create(host.sysfs, journal, "cprdisk", "vduse")
    assert vdpa.as_disk(host.sysfs, journal, "cprdisk") == "/dev/vdc"
    host.end(DAEMON)
    with pytest.raises(AgentError, match="no daemon serves it any more"):
        vdpa.as_disk(host.sysfs, journal, "cprdisk")


def test_a_failure_leaves_the_daemons_half_until_it_ends(host: MakingHost, journal: Journal) -> None:
    host.daemon(DAEMON, "cprdisk")
    host.fails.add("dev add")
    with pytest.raises(AgentError, match="Operation not supported"):
        vdpa.create(host.sysfs, journal, "cprdisk", "vduse")
    host.fails.clear()
    vdpa.create(host.sysfs, journal, "cprdisk", "vduse")
    vdpa.remove(host.sysfs, journal, "cprdisk")
    host.end(DAEMON)
    assert [undone["kind"] for undone in journal.undo_all()] == [vduse.KIND]


@pytest.mark.parametrize("management", ["vdpasim_net", "vdpasim_blk", "vduse"])
@pytest.mark.parametrize("steps", range(STEPS + 1))
def test_a_crash_at_any_step_is_undone_by_the_next_agent(
    host: MakingHost, steps: int, management: str
) -> None:
    before, crashed = tree(host), journal_of(host)
    if management == "vduse":
        host.daemon(DAEMON, "cpr")
    with crash_after(host, steps):
        vdpa.create(host.sysfs, crashed, "cpr", management)
    assert len(host.written) + len(host.ran) == steps
    if management == "vduse":
        host.end(DAEMON)  # it dies with the agent
        if steps == 0:
            host.destroy("cpr")  # nobody had asked the agent yet
    assert next_agent(host, crashed) == [] and tree(host) == before


@pytest.mark.parametrize("steps", range(5))
def test_a_crash_on_the_way_to_the_host_is_undone(host: MakingHost, steps: int) -> None:
    before, crashed = tree(host), journal_of(host)
    vdpa.create(host.sysfs, crashed, "cprblk", "vdpasim_blk")
    with crash_after(host, steps):
        vdpa.as_disk(host.sysfs, crashed, "cprblk")
    assert next_agent(host, crashed) == [] and tree(host) == before


def test_what_vdpa_says() -> None:
    assert vdpa.managements(MGMTDEV_SHOW) == ["vdpasim_blk", "vdpasim_net", "vduse"]
    assert vdpa.managements('{"mgmtdev":{}}') == []
    assert vdpa.device_type(DEV_SHOW, "cprlab0") == "network"
    assert vdpa.device_type(DEV_SHOW, "cprlabb") == "block"
    assert vdpa.device_type('{"dev":{}}', "cprlab0") == ""


def test_the_request_that_destroys_a_vduse_device() -> None:
    """Recorded: the kernel took it."""
    assert vduse._DESTROY == 0x41008103
