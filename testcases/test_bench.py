"""The virtual bench: boots in time, dies with its controller, stands beside others, is known by its key.

Source: issue 2, part 2.
"""

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import bench_state
from lab.bench import Bench, open_bench
from lab.cli.bench import ssh_argv
from lab.drivers import monitor
from lab.drivers.ssh import HostConnection
from lab.drivers.virtual_seed import KeyPair
from lab.errors import BenchError
from lab.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[1]
VIRTUAL = CHECKOUT / "targets/virtual.yaml"

HOLD = """
import sys
from pathlib import Path
from lab.bench import open_bench
with open_bench(Path(sys.argv[1]), log_dir=Path(sys.argv[2])) as bench:
    print(bench.virtual.vm.process.pid, bench.virtual.vm.machine.run_dir, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A virtual bench that is ready, shared by the cases that leave it alive."""
    with open_bench(VIRTUAL, log_dir=tmp_path_factory.mktemp("bench"), seed_files=[VIRTUAL]) as opened:
        yield opened


def test_it_is_ready_with_everything_a_guest_needs(bench: Bench) -> None:
    took_s = list(bench.facts["boot_phases_s"].values())
    assert len(took_s) == 4 and took_s[0] > 0 and took_s == sorted(took_s)
    found = bench.connection.check(
        ["sh", "-c", "ls -d /dev/kvm /dev/iommu /dev/vfio /sys/bus/pci/devices/0000:01:00.0"]
    )
    assert len(found.splitlines()) == 4
    assert bench.function("nic").bdf == "0000:01:00.0"


def test_its_console_is_kept_from_the_first_byte(bench: Bench) -> None:
    assert bench.console_log is not None
    text = bench.console_log.read_text(errors="replace")
    assert "Linux version" in text and "cprlab: ready" in text


def test_what_the_seed_brought_is_not_sent_again(bench: Bench) -> None:
    remote = bench.connection.put_blob(VIRTUAL)
    assert bench.connection.check(["cat", remote]) == VIRTUAL.read_text()
    assert bench.connection.check(["stat", "-c", "%Y", remote]).strip() == "0"  # the seed's, not sftp's


def test_a_file_arrives_whole_with_its_mode(bench: Bench, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho works\n")
    tool.chmod(0o755)
    bench.connection.put(tool, "/run/tools/tool")
    assert bench.connection.check(["/run/tools/tool"]) == "works\n"
    assert bench.connection.check(["ls", "/run/tools"]) == "tool\n"


def test_a_unix_socket_of_the_host_is_reached_through_ssh(bench: Bench) -> None:
    with bench.connection.stream(["socat", "UNIX-LISTEN:/run/echo.sock", "EXEC:cat"]):
        wait_until(
            lambda: bench.connection.run(["test", "-S", "/run/echo.sock"]).returncode == 0, 10, "the socket"
        )
        with bench.connection.stream_unix("/run/echo.sock") as reached:
            reached.sendall(b"hello")
            assert reached.recv(100) == b"hello"
    with pytest.raises(ConnectionRefusedError):
        bench.connection.stream_unix("/run/no.sock")


def test_the_wire_has_a_far_end(bench: Bench) -> None:
    with bench.wire("nic").far_end() as far:
        assert far.call("clock")["t_ns"] > 0


def test_another_host_key_is_refused(bench: Bench) -> None:
    with pytest.raises(BenchError, match="is not the pinned host"):
        HostConnection(replace(bench.connection.endpoint, host_key=KeyPair.made().public))


def test_a_real_hosts_target_file_goes_the_same_way(bench: Bench, tmp_path: Path) -> None:
    """The bench host plays a real one: NetworkService, PinnedKey, and a FarPort on a port of its own."""
    at = bench.connection.endpoint
    text = (CHECKOUT / "targets/example-host.yaml").read_text()
    path = tmp_path / "real.yaml"
    text = text.replace("bench-a.example.org, username: root", f"{at.host}, username: root, port: {at.port}")
    text = text.replace("bench-b.example.org", f"{at.host}\n          port: {at.port}").replace(
        "enp1s0f0", "lo"
    )
    text = re.sub("host_key: .*", f"host_key: {at.host_key}", text)
    path.write_text(text.replace("~/.ssh/id_ed25519", str(at.key_file)))
    with open_bench(path) as real, real.wire("nic").far_end() as far:
        assert real.connection.check(["hostname"]) == "bench\n"
        assert far.call("clock")["t_ns"] > 0
    assert bench.connection.alive


def test_a_bench_stays_up_between_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="b", dir="/tmp") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        state = bench_state.up(VIRTUAL)
        try:
            assert bench_state.up(VIRTUAL) == state
            assert [s.name for s in bench_state.states()] == ["virtual"]
            argv = ssh_argv(state, ["sh", "-c", "exit 7"])
            assert subprocess.run(argv, check=False, capture_output=True).returncode == 7
        finally:
            assert bench_state.down("virtual")
        assert bench_state.find("virtual") is None
        assert not list(Path(runtime).glob("cprlab-*"))


def test_two_benches_stand_side_by_side(bench: Bench, tmp_path: Path) -> None:
    with open_bench(VIRTUAL, log_dir=tmp_path) as other:
        assert other.connection.endpoint.port != bench.connection.endpoint.port
        boots = [b.connection.check(["cat", "/proc/sys/kernel/random/boot_id"]) for b in (bench, other)]
        assert boots[0] != boots[1]
    assert bench.connection.run(["true"]).returncode == 0


def test_a_controller_killed_by_sigkill_leaves_no_qemu(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(VIRTUAL), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    ) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline().split()[0])
        assert bench_state.start_ticks(pid) is not None
        holder.send_signal(signal.SIGKILL)
    wait_until(lambda: bench_state.start_ticks(pid) is None, 5, f"the end of QEMU {pid}")


def test_a_bench_that_dies_in_the_middle_is_an_error_and_comes_back(tmp_path: Path) -> None:
    with open_bench(VIRTUAL, log_dir=tmp_path) as bench:
        assert bench.virtual is not None
        bench.virtual.vm.process.kill()
        start_s = time.monotonic()
        with pytest.raises(BenchError, match=r"is lost; see its console in .*/console-host\.log"):
            bench.connection.check(["sleep", "30"])
        assert time.monotonic() - start_s < 5
        bench.ready()
        assert bench.connection.check(["uname", "-s"]) == "Linux\n"
        assert (tmp_path / "console-host.log.1").exists()


def test_a_host_that_does_not_boot_is_one_line_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.drivers.virtual_argv.KERNEL_ARGS", "root=/dev/nowhere console=ttyS0 panic=-1")
    with (
        pytest.raises(
            BenchError, match=r"bench host .* panicked; last on its console .*/console-host\.log: "
        ) as error,
        open_bench(VIRTUAL, log_dir=tmp_path),
    ):
        pass
    assert "\n" not in str(error.value)


def test_its_own_qemu_takes_commands(bench: Bench) -> None:
    assert bench.virtual is not None
    assert monitor.execute(bench.virtual.vm.machine.monitor, "query-status")["status"] == "running"
