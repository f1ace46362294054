"""A virtual function is made only where nobody uses one, and goes again, whatever ends the agent.

Claim: contract of the host agent: each change is journalled before it is made, and undone.
"""

from functools import partial
from pathlib import Path

import pytest

from lab.agents.host import binding, sriov
from lab.agents.host.holders import wait_released
from lab.agents.host.journal import Journal
from lab.agents.rpc import AgentError
from testcases.selftest.host_agent_fakes import DISK, MANAGEMENT, NIC, NIC2, told
from testcases.selftest.host_agent_made import (
    IP_LINK_SHOW,
    PF_INTERFACE,
    VF,
    VF_GROUP,
    VF_MAC,
    MakingHost,
    crash_after,
    journal_of,
    next_agent,
    tree,
)

STEPS = 7
"""Of making one: two writes, the interface up, the address, spoof checking looked at, off, looked at."""


@pytest.fixture
def host(tmp_path: Path) -> MakingHost:
    return MakingHost(tmp_path / "host")


@pytest.fixture
def journal(host: MakingHost) -> Journal:
    return journal_of(host)


def test_made_and_removed(host: MakingHost, journal: Journal) -> None:
    before = tree(host)
    assert sriov.create(host.sysfs, journal, NIC, VF_MAC) == {
        "bdf": VF,
        "pf": NIC,
        "pf_interface": PF_INTERFACE,
        "group": VF_GROUP,
        "group_members": [VF],
        "mac": VF_MAC,
        "spoof_checking": False,
    }
    assert host.sysfs.driver(VF) is None, "the host's own driver has not taken it"
    assert f"ip link set dev {PF_INTERFACE} vf 0 mac {VF_MAC}" in host.ran
    sriov.remove(host.sysfs, journal, VF)
    host.spoofchk = True
    assert tree(host) == before
    assert journal.path.read_text() == ""


def test_the_host_is_told_before_the_function_is_there_not_to_take_it(
    host: MakingHost, journal: Journal
) -> None:
    sriov.create(host.sysfs, journal, NIC, VF_MAC)
    assert host.written == [("sriov_drivers_autoprobe", "0"), ("sriov_numvfs", "1")]
    assert host.ran[0] == f"ip link set dev {PF_INTERFACE} up", "before its address is set"


def test_an_interface_that_was_up_stays_up(host: MakingHost, journal: Journal) -> None:
    host.set_up(PF_INTERFACE, True)
    sriov.create(host.sysfs, journal, NIC, VF_MAC)
    journal.undo_all()
    assert host.is_up(PF_INTERFACE)


def test_a_function_that_is_bound_is_given_back_first(host: MakingHost, journal: Journal) -> None:
    sriov.create(host.sysfs, journal, NIC, VF_MAC)
    binding.bind(host.sysfs, journal, told(VF))
    assert host.sysfs.driver(VF) == "vfio-pci"
    assert [undone["kind"] for undone in journal.undo_all()] == [binding.KIND, sriov.KIND]
    assert VF not in host.sysfs.bdfs()


def test_removing_one_gives_it_back_first(host: MakingHost, journal: Journal) -> None:
    sriov.create(host.sysfs, journal, NIC, VF_MAC)
    binding.bind(host.sysfs, journal, told(VF))
    for _ in range(2):
        sriov.remove(host.sysfs, journal, VF)
        assert VF not in host.sysfs.bdfs() and journal.undo_all() == []


@pytest.mark.parametrize("bdf", [NIC, NIC2, DISK])
def test_one_that_was_not_made_is_left_alone(host: MakingHost, journal: Journal, bdf: str) -> None:
    sriov.create(host.sysfs, journal, NIC, VF_MAC)
    sriov.remove(host.sysfs, journal, bdf)
    assert VF in host.sysfs.bdfs()


def test_one_that_is_held_is_not_removed(
    host: MakingHost, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sriov, "wait_released", partial(wait_released, timeout_s=0.05))
    sriov.create(host.sysfs, journal, NIC, VF_MAC)
    host.hold(77, f"/dev/vfio/{VF_GROUP}")
    (undone,) = journal.undo_all()
    assert f"{VF} is held by qemu (77)" in undone["error"] and VF in host.sysfs.bdfs()
    host.end(77)
    assert ["error" in undone for undone in journal.undo_all()] == [False]
    assert VF not in host.sysfs.bdfs()


@pytest.mark.parametrize("gone", ["the function", "the NIC"])
def test_what_is_gone_needs_no_undoing(host: MakingHost, journal: Journal, gone: str) -> None:
    sriov.create(host.sysfs, journal, NIC, VF_MAC)
    host.remove_vf()
    if gone == "the NIC":
        (host.root / "sys/bus/pci/devices" / NIC).unlink()
    assert ["error" in undone for undone in journal.undo_all()] == [False]


def test_a_nic_with_virtual_functions_is_not_bound(host: MakingHost, journal: Journal) -> None:
    sriov.create(host.sysfs, journal, NIC, VF_MAC)
    with pytest.raises(AgentError, match="has 1 virtual functions, which would go with its own driver"):
        binding.bind(host.sysfs, journal, told(NIC))


def refusal(host: MakingHost, journal: Journal, bdf: str, mac: str = VF_MAC) -> str:
    host.written.clear()
    with pytest.raises(AgentError) as refused:
        sriov.create(host.sysfs, journal, bdf, mac)
    assert (host.written, host.ran) == ([], []), "a refusal changes nothing"
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_refusals(host: MakingHost, journal: Journal) -> None:
    assert "no PCI function" in refusal(host, journal, "0000:99:00.0")
    assert f"{NIC2} has no SR-IOV" in refusal(host, journal, NIC2)
    for mac in ("", "52:54:00:c9:ff", "01:00:5e:00:00:01", f"{VF_MAC} vlan 5"):
        assert "is not the MAC address of a NIC" in refusal(host, journal, NIC, mac)


def test_virtual_functions_of_someone_else_are_left_alone(host: MakingHost, journal: Journal) -> None:
    host.file(f"sys/devices/pci0000:00/{NIC}/sriov_numvfs", "3\n")
    assert f"{NIC} has 3 virtual functions already" in refusal(host, journal, NIC)


def test_a_nic_that_is_assigned_is_refused(host: MakingHost, journal: Journal) -> None:
    binding.bind(host.sysfs, journal, told(NIC))
    assert f"{NIC} is bound to vfio-pci" in refusal(host, journal, NIC)
    (host.root / "sys/bus/pci/devices" / NIC / "driver").unlink()
    assert f"{NIC} is bound to no driver" in refusal(host, journal, NIC)


def test_the_hosts_own_connection_is_refused(host: MakingHost, journal: Journal) -> None:
    net = host.folder(f"sys/devices/pci0000:00/{MANAGEMENT}/net/eth0")
    host.link("sys/class/net/eth0", net)
    host.file(f"sys/devices/pci0000:00/{MANAGEMENT}/sriov_totalvfs", "7\n")
    host.file("proc/net/route", "Iface\tDestination\neth0\t00000000\n")
    assert "network connection" in refusal(host, journal, MANAGEMENT)


def test_a_disk_has_no_address(host: MakingHost, journal: Journal) -> None:
    for name, value in (("totalvfs", "7"), ("numvfs", "0")):
        host.file(f"sys/devices/pci0000:00/{DISK}/sriov_{name}", f"{value}\n")
    assert f"{DISK} (nvme) has no network interface" in refusal(host, journal, DISK)


@pytest.mark.parametrize("fails", ["up", "mac", "spoofchk", "show"])
def test_what_half_succeeded_is_undone(host: MakingHost, journal: Journal, fails: str) -> None:
    before = tree(host)
    host.fails.add(fails)
    with pytest.raises(AgentError, match="Operation not supported"):
        sriov.create(host.sysfs, journal, NIC, VF_MAC)
    assert tree(host) == before


@pytest.mark.parametrize(("says", "left"), [(True, False), (False, False), (None, None)])
def test_spoof_checking_is_switched_off_where_the_driver_knows_it(
    host: MakingHost, journal: Journal, says: bool | None, left: bool | None
) -> None:
    host.spoofchk = says
    assert sriov.create(host.sysfs, journal, NIC, VF_MAC)["spoof_checking"] is left
    assert any("spoofchk" in said for said in host.ran) is bool(says)


def test_what_ip_says_of_spoof_checking() -> None:
    assert sriov.spoof_checking(IP_LINK_SHOW) is True
    assert sriov.spoof_checking(IP_LINK_SHOW.replace("true", "false")) is False
    assert sriov.spoof_checking('[{"ifname":"eth1","vfinfo_list":[]}]') is None
    assert sriov.spoof_checking('[{"ifname":"lo"}]') is None


@pytest.mark.parametrize("steps", range(STEPS + 1))
def test_a_crash_at_any_step_is_undone_by_the_next_agent(host: MakingHost, steps: int) -> None:
    before, crashed = tree(host), journal_of(host)
    with crash_after(host, steps):
        sriov.create(host.sysfs, crashed, NIC, VF_MAC)
    assert len(host.written) + len(host.ran) == steps
    assert next_agent(host, crashed) == [] and tree(host) == before


@pytest.mark.parametrize("steps", range(4))
def test_a_crash_while_undoing_is_gone_on_with(host: MakingHost, steps: int) -> None:
    before, crashed = tree(host), journal_of(host)
    sriov.create(host.sysfs, crashed, NIC, VF_MAC)
    with crash_after(host, steps):
        crashed.undo_all()
    assert next_agent(host, crashed) == [] and tree(host) == before
