"""A host that its BMC alone switches, reached by ssh and a serial line, and nothing else is known about it.

The host is emulated (lab/emulation); everything between it and these cases is what a real host would be
reached by.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import bench_state
from lab.bench import Bench, open_bench
from lab.drivers.agent import HostAgent
from lab.emulation.started import emulated_host
from lab.errors import BenchError
from lab.provision import back, bench_image, provision
from lab.waiting import wait_until

pytestmark = pytest.mark.nightly

BOOT_ID = ["cat", "/proc/sys/kernel/random/boot_id"]


@pytest.fixture(scope="module", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is said of these hosts is not kept among the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The target file of an emulated host; the far end of its cable is a port of its own."""
    with emulated_host(tmp_path_factory.mktemp("metal"), "--far", "loop") as path:
        yield path


@pytest.fixture
def bench(target: Path, tmp_path: Path, own_state: None) -> Iterator[Bench]:
    """A bench that was switched on by its BMC, or left on by the case before."""
    with open_bench(target, log_dir=tmp_path) as opened:
        yield opened


def hang(bench: Bench) -> None:
    """Make the host's kernel panic and stay so; nobody answers this."""
    with pytest.raises(BenchError):
        bench.connection.run(["sh", "-c", "echo c >/proc/sysrq-trigger"], timeout_s=5.0)


def test_it_is_switched_on_by_its_bmc_used_and_off_again(target: Path, tmp_path: Path) -> None:
    """Redfish, the serial line, ssh, the far end of the cable; and at the end it is as it was found."""
    with open_bench(target, log_dir=tmp_path) as bench:
        assert bench.virtual is None and bench.strategy.power.get()
        assert bench.facts["kind"] == "machine under a hypervisor"  # no report may call it hardware
        assert bench.connection.check(["hostname"]) == "bench\n"
        with bench.wire("nic").far_end() as far:
            assert far.call("clock")["t_ns"] > 0
        assert bench.console_log is not None
        console = bench.console_log.read_text(errors="replace")
        assert "Linux version" in console and "cprlab: ready" in console
        bench.off()
        bench.target.activate(bench.strategy.power)
        assert not bench.strategy.power.get()


def test_killed_by_sigkill_it_leaves_no_qemu(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "lab.emulation", str(tmp_path)]
    checkout = Path(__file__).resolve().parents[1]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=checkout) as process:
        assert process.stdout is not None and process.stdout.readline().startswith("ready: ")
        [pid] = (int(child) for child in _children(process.pid))  # the machine at the far end
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: bench_state.start_ticks(pid) is None, 5, f"the end of QEMU {pid}")


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_it_is_provisioned_checked_and_brought_back(tmp_path: Path) -> None:
    """Kexec into the bench image in RAM: every file is compared; then a reset, and its own disk again."""
    told: list[str] = []
    with (
        emulated_host(tmp_path / "metal", "--far", "loop") as target,
        open_bench(target, log_dir=tmp_path) as bench,
    ):
        asked = bench_image()
        own = bench.connection.check(["cat", "/proc/cmdline"])
        found = provision(bench, asked, told.append)
        assert found["digest"] == asked.root.digest and found["files"] > 1000 and not found["wrong"]
        assert "ext4" not in found["root"]
        assert "/dev/vda" not in bench.connection.check(["cat", "/proc/mounts"])
        assert bench.connection.check(["hostname"]) == "bench\n"
        bench.connection.check(["rm", "/usr/bin/fio"])
        with HostAgent(bench.connection) as agent:
            assert agent.provisioned()["wrong"] == ["usr/bin/fio"]
        back(bench, told.append)
        assert bench.connection.check(["cat", "/proc/cmdline"]) == own
        assert "/dev/vda / ext4" in bench.connection.check(["cat", "/proc/mounts"])


def test_a_wedged_host_is_power_cycled_and_used(bench: Bench) -> None:
    """Its kernel hangs, its ssh is silent: what was begun is an error, and the next case gets a host."""
    before = bench.connection.check(BOOT_ID)
    hang(bench)
    bench.ready()
    assert bench.connection.check(BOOT_ID) != before
    assert bench.strategy.status.name == "ready" and bench.strategy.broken is None


def test_ipmi_switches_it_and_carries_its_console(tmp_path: Path) -> None:
    """ipmitool against a BMC of another make: power, and serial over LAN into the same log."""
    with (
        emulated_host(tmp_path / "metal", "--far", "loop", "--bmc", "ipmi") as target,
        open_bench(target, log_dir=tmp_path) as bench,
    ):
        log = bench.console_log
        assert log is not None
        wait_until(lambda: b"cprlab: ready" in log.read_bytes(), 20.0, "the end of the boot on its console")
        before = bench.connection.check(BOOT_ID)
        hang(bench)
        bench.ready()
        assert bench.connection.check(BOOT_ID) != before
        wait_until(lambda: b"Kernel panic" in log.read_bytes(), 20.0, "why it hung, on its console")


def test_a_host_that_does_not_come_back_is_broken(bench: Bench) -> None:
    """Its own system cannot boot any more: power-cycled once, then an error with the reason."""
    bench.connection.check(["cp", "/etc/cprlab-boot", "/etc/cprlab-boot.kept"])
    bench.connection.check(["sh", "-c", "printf '#!/bin/sh\\nexec sleep 999999\\n' >/etc/cprlab-boot; sync"])
    hang(bench)
    bench.strategy.boot_timeout_s = 20.0
    with pytest.raises(BenchError, match="did not answer within 20 s"):
        bench.ready()
    with pytest.raises(BenchError, match="failed 2 times"):
        bench.ready()
