"""A host of which only an address is known: discovered, never harmed, put back, not used when it is not well.

Source: issue 7, "Hosts as places", "Interlocks", "Undo", "Health". The host is a virtual bench that is
reached by ssh alone, as a real one is; all cases share one boot of it.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.bench import Bench, open_bench, prepared
from lab.drivers.agent import HostAgent
from lab.drivers.ssh import HostConnection
from lab.errors import BenchError
from lab.health import State, Store
from lab.link import AgentRefusal
from lab.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[1]
CPRLAB = [sys.executable, "-c", "import sys; sys.argv[0] = 'cprlab'; from lab.cli import main; main()"]
HOST = """
imports: [lab.drivers.labgrid_bench]
targets:
  host:
    resources:
      - VirtualBench:
          cpus: 2
          memory_mib: 2048
          devices:
            - {name: nic, model: igb}
            - {name: nic2, model: igb}
            - {name: nvme, model: nvme, iops: 40}
            - {name: spare, model: nvme}
            - {name: edu, model: edu}
            - {name: pair, model: e1000e}
            - {name: pair2, model: e1000e, shares_group: true}
    drivers: [VirtualBenchDriver: {}, BenchHost: {}, BenchStrategy: {}]
"""
SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"
MANAGEMENT, ROOT_DISK = "0000:00:04.0", "0000:00:02.0"
NIC, NIC2, NVME, SPARE, EDU = (f"0000:{bus:02}:00.0" for bus in range(1, 6))
PAIR, PAIR2 = "0000:06:00.0", "0000:06:00.1"


@dataclass(frozen=True)
class Host:
    """A host by ssh, and what was written of it.

    state: the controller's folder of what it knows of hosts
    """

    bench: Bench
    connection: HostConnection
    target: Path
    exporter: Path
    found: Mapping[str, Any]
    state: Path

    def sh(self, script: str) -> str:
        return self.connection.check(["sh", "-c", script])

    def driver(self, bdf: str) -> str:
        return self.sh(f"basename $(readlink /sys/bus/pci/devices/{bdf}/driver || echo none)").strip()

    def interface(self, bdf: str) -> str:
        return self.sh(f"ls /sys/bus/pci/devices/{bdf}/net").strip()


def cprlab(state: Path, *words: str, timeout_s: float = 200.0) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "XDG_STATE_HOME": str(state)}
    argv = [*CPRLAB, *words]
    return subprocess.run(
        argv, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False, timeout=timeout_s
    )


def someones_data(connection: HostConnection, folder: Path) -> None:
    """A file system on the second disk."""
    image = folder / "ext4"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(image), "4M"], check=True, env={"PATH": SBIN})
    connection.put(image, "/tmp/ext4")
    connection.check(
        ["dd", "if=/tmp/ext4", f"of=/dev/{disk_named(connection, 'spare')}", "bs=1M", "conv=fsync"]
    )


def disk_named(connection: HostConnection, serial: str) -> str:
    """The kernel numbers disks as they come."""
    look = f"grep -l '^{serial} *$' /sys/class/block/nvme*n1/device/serial"
    return connection.check(["sh", "-c", look]).split("/")[4]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Booted, and discovered by `cprlab discover`, from its address, port and keys."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "machine.yaml").write_text(HOST)
    with open_bench(folder / "machine.yaml", log_dir=folder) as bench:
        someones_data(bench.connection, folder)
        at = bench.connection.endpoint
        reached = ["--port", str(at.port), "--host-key", at.host_key, "--key-file", str(at.key_file)]
        where = ["--name", "host-a", "--out", str(folder / "targets")]
        done = cprlab(folder / "state", "discover", f"root@{at.host}", *reached, *where, "--json")
        assert done.returncode == 0, done.stderr
        target = folder / "targets/host-a.yaml"
        # the case of a host that is silent waits for it
        target.write_text(target.read_text().replace("BenchHost: {}", "BenchHost: {connect_timeout_s: 8.0}"))
        yield Host(
            bench,
            bench.connection,
            target,
            folder / "targets/exporters/host-a.yaml",
            json.loads(done.stdout),
            folder / "state",
        )


def test_what_it_offers_and_why_not_the_rest(host: Host) -> None:
    offered = {one["name"]: (one["bdf"], one["doubts"]) for one in host.found["offered"]}
    assert offered.pop("nvme2")[1] == ["its disk is not blank: what is on it, a guest would overwrite"]
    assert offered == {
        name: (bdf, []) for name, bdf in (("nic", NIC), ("nic2", NIC2), ("nvme", NVME), ("edu", EDU))
    }
    kept = {one["bdf"]: one["reasons"][0] for one in host.found["kept_out"]}
    assert kept[MANAGEMENT].startswith("it carries this host's own network connection: eth")
    assert kept[ROOT_DISK] == "it holds a disk that this host uses: vda is mounted on /"
    assert [kept[bdf].partition(" with ")[2] for bdf in (PAIR, PAIR2)] == [
        f"{bdf} (e1000e): bind them all or none" for bdf in (PAIR2, PAIR)
    ]
    assert all(reason in host.target.read_text() for reason in kept.values() if "bridge" not in reason)


def test_the_target_file_is_a_bench_without_an_edit(host: Host) -> None:
    """Every function it offers can be given to VFIO, and comes back."""
    done = cprlab(host.state, "hosts", "check", "--bench", str(host.target), "--json")
    assert done.returncode == 0, done.stderr
    looked = json.loads(done.stdout)["looked_at"]
    for bdf, driver in ((NIC, "igb"), (NIC2, "igb"), (NVME, "nvme"), (EDU, "no driver")):
        assert f"{bdf} can be given to VFIO, and comes back to {driver}" in looked
    assert not any(SPARE in line for line in looked)


def told(bdf: str, **more: object) -> Mapping[str, object]:
    return {"bdf": bdf, **more}


DISK = {"disk_model": "QEMU NVMe Ctrl", "disk_bytes": 1 << 30}
NOTHING = ""
REFUSED = {
    "the NIC ssh comes by": (told(MANAGEMENT), NOTHING, "carries this host's own network connection: eth"),
    "an address without a route": (
        told(NIC),
        "ip address add 192.0.2.7/32 dev {interface}",
        "own network connection: eth. has the address 192.0.2.7",
    ),
    "the group of a NIC with an address": (
        told(PAIR),
        "ip address add 192.0.2.8/32 dev $(ls /sys/bus/pci/devices/0000:06:00.1/net)",
        r"0000:06:00\.1 is in its IOMMU group, and of that: it carries this host's own network",
    ),
    "a port of a bridge": (
        told(NIC),
        "ip link add br0 type bridge; ip link set {interface} master br0",
        "its interface eth. is part of br0",
    ),
    "the root disk": (told(ROOT_DISK), NOTHING, "holds a disk that this host uses: vda is mounted on /"),
    "a mounted disk": (
        told(SPARE, disk_serial="spare", **DISK),
        "mount /dev/{disk} /mnt",
        r"holds a disk that this host uses: nvme\dn1 is mounted on /mnt",
    ),
    "a disk that is mounted where nobody sees it": (
        told(SPARE, disk_serial="spare", **DISK),
        "unshare -m sh -c 'mount /dev/{disk} /mnt; exec sleep 99' >/dev/null 2>&1 &"
        " until grep -q {disk} /proc/[0-9]*/mountinfo; do :; done",
        r"its disk nvme\dn1 is claimed by the kernel",
    ),
    "a disk that a process has open": (
        told(SPARE, disk_serial="spare", **DISK),
        "sleep 99 < /dev/{disk} >/dev/null 2>&1 & until ls -l /proc/[0-9]*/fd | grep -q {disk}; do :; done",
        r"its disk nvme\dn1 is held open by sleep \(\d+\)",
    ),
    "another disk": (
        told(SPARE, disk_serial="nvme", **DISK),
        NOTHING,
        "does not hold the one disk of the target file: .* serial nvme, .*; found: .* serial spare, ",
    ),
    "a disk without a name": (told(SPARE), NOTHING, "can hold disks: name the one that may be overwritten"),
    "another device": (
        told(EDU, ids="10de:2331"),
        NOTHING,
        "is 1234:11e8, and the target file says 10de:2331",
    ),
    "a group that is not whole": (
        told(PAIR),
        NOTHING,
        r"shares IOMMU group \d+ with 0000:06:00\.1 \(e1000e\)",
    ),
    "no reset": (
        told(EDU),
        "echo > /sys/bus/pci/devices/0000:05:00.0/reset_method",
        "the kernel knows no way to reset it",
    ),
}
UNDO = [
    "for nic in /sys/class/net/eth*; do for last in 7 8; do",
    "  ip address del 192.0.2.$last/32 dev ${nic##*/}; done; done",
    "ip link delete br0; umount /mnt; echo default > /sys/bus/pci/devices/0000:05:00.0/reset_method",
    "pkill -x sleep; until ! pgrep -x sleep; do :; done",
]
"""Whatever was arranged."""


@contextmanager
def arranged(host: Host, script: str, bdf: str) -> Iterator[None]:
    if not script:
        yield
        return
    if "{interface}" in script:
        script = script.replace("{interface}", host.interface(bdf))
    script = script.replace("{disk}", disk_named(host.connection, "spare"))
    host.sh(script)
    try:
        yield
    finally:
        host.sh("\n".join(["exec 2>/dev/null", *UNDO]))


def test_each_is_refused_and_nothing_is_changed(host: Host) -> None:
    """One agent for all: starting one takes longer than being refused."""
    drivers = {str(function["bdf"]): host.driver(str(function["bdf"])) for function, _, _ in REFUSED.values()}
    wrong = {}
    with HostAgent(host.connection) as agent:
        for name, (function, script, line) in REFUSED.items():
            bdf = str(function["bdf"])
            agent.allow([function])
            with arranged(host, script, bdf):
                said = refusal(agent, bdf)
                if not re.search(line, said) or host.driver(bdf) != drivers[bdf]:
                    wrong[name] = said
        assert agent.restore() == []
    assert wrong == {}


def refusal(agent: HostAgent, bdf: str) -> str:
    try:
        agent.bind(bdf)
    except AgentRefusal as refused:
        return str(refused)
    agent.give_back(bdf)
    return "it was bound"


def test_what_the_target_file_does_not_name_is_refused(host: Host) -> None:
    with prepared_host(host) as bench, bench.agent() as agent:
        with pytest.raises(AgentRefusal, match=rf"{PAIR} is not on the target file's list of functions"):
            agent.bind(PAIR)
        with pytest.raises(AgentRefusal, match=rf"{PAIR} is not on the target file's list of functions"):
            agent.vf_create(PAIR, "02:00:00:00:00:01")


def change_everything(agent: HostAgent) -> None:
    """One change of every kind that the lab makes."""
    agent.bind(NVME)
    agent.bind(str(agent.vf_create(NIC, "02:63:70:72:00:02")["bdf"]))
    agent.vdpa_create("cprnet", "vdpasim_net", "02:63:70:72:00:03")
    agent.mdev_create("mtty", "mtty-1")
    agent.tap_persistent("cprtap0")
    agent.hugepages_reserve(2048, 8)
    agent.shmem_thp_set("never")
    agent.memory_mount("tmpfs", "cprmem", "size=1M")
    agent.watch_trace(1)
    agent.container_create("cprbox", memory_bytes=64 << 20, memlock_bytes=1 << 20)


LOOK = """
exec 2>/dev/null
for f in /sys/bus/pci/devices/*; do
  echo $f $(readlink $f/driver) $(cat $f/driver_override) $(cat $f/sriov_numvfs)
done
cat /sys/bus/pci/devices/0000:01:00.0/sriov_drivers_autoprobe /sys/kernel/mm/hugepages/*/nr_hugepages
cat /sys/kernel/mm/transparent_hugepage/shmem_enabled /proc/self/mounts /sys/kernel/tracing/kprobe_events
ip -o link | cut -d' ' -f2,3; ls /sys/bus/vdpa/devices /sys/bus/mdev/devices /sys/kernel/tracing/instances
ls /sys/fs/cgroup | grep cprlab; ls /run/cprlab-memory; find /run/cprlab-containers -type f; lsmod; true
"""


def test_a_killed_agents_changes_are_undone_by_restore(host: Host) -> None:
    before = looked(host)
    kinds = leave_behind(host, change_everything)
    assert looked(host) != before
    done = restored(host)
    assert done.returncode == 0, done.stderr
    undone = json.loads(done.stdout)["undone"]
    assert [one["kind"] for one in undone] == kinds[::-1]
    assert set(kinds) == {
        *("pci.driver", "sriov.function", "vdpa.device", "mdev.device", "tap.persistent", "memory.setting"),
        *("memory.mount", "trace.instance", "trace.kprobes", "container"),
    }
    assert looked(host) == before
    again = restored(host)
    assert json.loads(again.stdout) == {"undone": [], "left": ""}


def test_a_host_that_cannot_be_restored_is_not_handed_out_until_it_is(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(host.state))
    leave_behind(host, lambda agent: agent.bind(EDU))
    group = host.sh(f"basename $(readlink /sys/bus/pci/devices/{EDU}/iommu_group)").strip()
    host.sh(f"sleep 300 <> /dev/vfio/{group} >/dev/null 2>&1 &")  # somebody else has it
    done = restored(host)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"cannot undo what was changed before: {EDU}: {EDU} is held by sleep" in line
    health = Store().read("host-a")
    assert health.state is State.QUARANTINED and "is held by sleep" in health.reason
    with (
        pytest.raises(BenchError, match=r"host host-a is in quarantine since .* is held by sleep"),
        opened(host),
    ):
        pass
    assert "quarantined" in cprlab(host.state, "hosts").stdout
    host.sh("pkill -x sleep")
    assert restored(host).returncode == 0
    assert Store().read("host-a").state is State.SUSPECT
    with opened(host):  # it is checked
        assert Store().read("host-a").state is State.GOOD
    assert host.driver(EDU) == "none"


def test_a_wedged_host_is_broken_and_suspect_and_checked_when_it_is_back(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(host.state))
    assert host.bench.virtual is not None
    process = host.bench.virtual.vm.process
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(BenchError, match="did not answer within 8 s"), opened(host):
            pass
    finally:
        process.send_signal(signal.SIGCONT)
    assert Store().read("host-a").state is State.SUSPECT
    with opened(host):
        assert Store().read("host-a").state is State.GOOD


@pytest.mark.nightly
def test_its_first_verdict(host: Host, tmp_path: Path) -> None:
    """The page's last step: NVMe by iommufd, with no wire and no screen, on a host that ssh alone knows.

    What is edited is what an emulated host needs: less memory, longer pauses.
    """
    text = host.target.read_text().replace("memory_mib: 1024", "memory_mib: 256, tick_ms: 10")
    host.target.write_text(text.replace("guest_pause_s: 1.0", "guest_pause_s: 10.0"))
    case = ["testcases/test_cpr_exec_devices.py", "-k", "nvme and iommufd"]
    done = cprlab(
        host.state, "run", *case, "--bench", str(host.target), "--runs-dir", str(tmp_path), timeout_s=600.0
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout


def looked(host: Host) -> str:
    return host.sh(LOOK)


def leave_behind(host: Host, change: Any) -> list[str]:
    """Change the host and kill the agent: the kinds of change that stand in its journal."""
    with prepared_host(host) as bench:
        allowed = bench.allowed
    agent = HostAgent(host.connection, functions=allowed)
    with agent:
        change(agent)
        kinds = journalled(host)
        host.sh(f"kill -9 {agent.facts['pid']}")
        wait_until(lambda: agent.link.gone(), 10, "the end of the agent")
    return kinds


def journalled(host: Host) -> list[str]:
    lines = host.sh("cat /var/lib/cprlab/journal.jsonl").split("\n")
    records = [json.loads(line) for line in lines if line]
    undone = {record["undone"] for record in records if "undone" in record}
    return [record["kind"] for record in records if "kind" in record and record["entry"] not in undone]


def restored(host: Host) -> "subprocess.CompletedProcess[str]":
    return cprlab(host.state, "restore", "--bench", str(host.target), "--json")


@contextmanager
def prepared_host(host: Host) -> Iterator[Bench]:
    """The host of the target file that was written, connected to as it is."""
    bench = prepared(host.target)
    try:
        bench.target.activate(bench.host)
        yield bench
    finally:
        bench.environment.cleanup()


@contextmanager
def opened(host: Host) -> Iterator[Bench]:
    with open_bench(host.target) as bench:
        yield bench
