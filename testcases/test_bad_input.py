"""Bad input on a bench: one clear line, the evidence kept, exit status 2, devices given back, nothing left.

Source: issue 2, "What bad input gets". What needs no bench is tried in selftest/test_bad_input_*.py.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.bench import open_bench
from lab.drivers.capabilities import require
from lab.drivers.virtual_seed import KeyPair, write_private
from lab.errors import BenchError
from lab.link import AgentRefusal

CHECKOUT = Path(__file__).resolve().parents[1]
# a second attempt at what cannot work takes time and shows nothing more
VIRTUAL = (CHECKOUT / "targets/virtual.yaml").read_text().replace("bench_attempts: 2", "bench_attempts: 1")
EXAMPLE = (CHECKOUT / "targets/example-host.yaml").read_text()
CASES = "testcases/bad_input_cases.py"
CPRLAB = [sys.executable, "-c", "import sys; sys.argv[0] = 'cprlab'; from lab.cli import main; main()"]

SMALL_DISK = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'
DEVICES = """- {name: nic, model: igb, wire: true}
            - {name: twin, model: nvme}
            - {name: other, model: nvme, shares_group: true}
"""
FUNCTIONS = """- AssignableFunction: {name: twin, bdf: "0000:02:00.0"}
      - AssignableFunction: {name: ghost, bdf: "0000:0b:00.0"}
    drivers:
"""
BAD_BENCH = VIRTUAL.replace("- {name: nic, model: igb, wire: true}\n", DEVICES).replace(
    "    drivers:\n", f"      {FUNCTIONS}", 1
)


@dataclass(frozen=True)
class Run:
    """What `cprlab run` came to.

    record: run.json; empty if there is none
    left:   what it left running or lying in its runtime folder
    """

    status: int
    stdout: str
    stderr: str
    folder: Path | None
    record: Mapping[str, Any]
    left: Sequence[str]

    def case(self, name: str) -> Mapping[str, Any]:
        [found] = [case for case in self.record["cases"] if case["nodeid"].split("::")[1] == name]
        return dict(found)

    def timeline(self, name: str) -> list[dict[str, Any]]:
        assert self.folder is not None
        path = self.folder / self.case(name)["folder"] / "timeline.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


def run(folder: Path, bench: str, select: str, *options: str, before: Sequence[str] = ()) -> Run:
    """`cprlab run` on the cases of CASES that match, in a runtime folder of its own."""
    (folder / "bad.yaml").write_text(bench)
    where = ["--bench", str(folder / "bad.yaml"), "--runs-dir", str(folder / "runs")]
    with tempfile.TemporaryDirectory(prefix="b", dir="/tmp") as runtime:
        done = subprocess.run(
            [*before, *CPRLAB, "run", CASES, "-k", select, *where, *options],
            cwd=CHECKOUT,
            env={**os.environ, "XDG_RUNTIME_DIR": runtime, "XDG_STATE_HOME": str(folder / "state")},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        left = [str(path) for path in Path(runtime).iterdir()] + _processes(runtime)
    found = next((folder / "runs").glob("*/run.json"), None)
    record = json.loads(found.read_text()) if found else {}
    return Run(done.returncode, done.stdout, done.stderr, found and found.parent, record, left)


def full(folder: Path, size: str, select: str) -> Run:
    """As `run`, with the run records on a file system of that size."""
    (folder / "runs").mkdir()
    mounted = ["sh", "-c", SMALL_DISK, "sh", size, str(folder / "runs")]
    return run(folder, VIRTUAL, select, before=["unshare", "--map-root-user", "--mount", *mounted])


def _processes(word: str) -> list[str]:
    """The command lines that hold a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        found += [line] if word in line else []
    return found


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of all cases that a single bench can serve."""
    select = "not test_full_disk and not test_host_answers"
    return run(tmp_path_factory.mktemp("bad"), BAD_BENCH, select, "--qemu-new", "host:/bin/true")


BROKEN = {
    "QEMU that is none": (
        "test_option_qemu_new[type1-cpr-exec]",
        r"/bin/true is not a QEMU: --version ended with 0 and said",
    ),
    "QEMU that is not there": (
        "test_qemu_new[type1-cpr-exec-host:/no/such/qemu]",
        r"/no/such/qemu is not a QEMU that runs here: .*No such file",
    ),
    "host without iommufd": (
        "test_iommufd[cpr-exec-iommufd-good QEMU]",
        r"bench bad cannot run nic by iommufd: it has no /dev/iommu: its kernel needs CONFIG_IOMMUFD",
    ),
    "unknown BDF": (
        "test_function[cpr-exec-ghost-good QEMU]",
        r"bench bad cannot run ghost by type1: it has no function ghost: add an AssignableFunction",
    ),
    "function in a group with others": (
        "test_function[cpr-exec-twin-good QEMU]",
        r"0000:02:00\.0 shares IOMMU group \d+ with 0000:02:00\.1 \(nvme\): bind them all or none",
    ),
    "guest that does not boot": (
        "test_guest_does_not_boot[type1-cpr-exec-a text file-good QEMU]",
        r"the guest did not boot: Kernel panic - not syncing: VFS: .*; see /.*test_guest_does_not_boot",
    ),
    "bench that dies": (
        "test_bench_dies[type1-cpr-exec-good QEMU]",
        r"host agent on bad is gone: .*; see the bench host's console in /.*/console-host\.log",
    ),
}


@pytest.mark.parametrize(("name", "line"), BROKEN.values(), ids=BROKEN)
def test_a_case_that_cannot_work_is_broken_and_says_why(bad: Run, name: str, line: str) -> None:
    """Not failed, not skipped; its line is in the table, its timeline is kept."""
    case = bad.case(name)
    assert case["status"] == "broken" and case["outcome"] is None
    assert re.search(line, case["reason"]), case["reason"]
    assert case["reason"] in " ".join(bad.stdout.split()) or case["reason"][:60] in bad.stdout
    assert bad.timeline(name)


def test_the_run_is_broken_and_leaves_nothing(bad: Run) -> None:
    assert bad.status == 2
    assert bad.left == []
    assert "Traceback" not in bad.stdout + bad.stderr


def test_devices_are_given_back(bad: Run) -> None:
    """A case of the same session looked, after those before it."""
    case = bad.case("test_all_is_given_back")
    assert case["status"] == "passed", case["reason"]


def test_what_a_guest_that_does_not_boot_said_is_kept(bad: Run) -> None:
    name = "test_guest_does_not_boot[type1-cpr-exec-a text file-good QEMU]"
    assert bad.folder is not None
    console = bad.folder / bad.case(name)["folder"] / "console-guest.log"
    assert "Kernel panic" in console.read_text(errors="replace")
    assert "qemu.start" in {event["kind"] for event in bad.timeline(name)}


def test_a_case_after_a_dead_bench_gets_a_fresh_one(bad: Run) -> None:
    case = bad.case("test_fresh_bench")
    assert case["status"] == "passed", case["reason"]
    assert bad.folder is not None
    logs = sorted(path.name for path in (bad.folder / "bench").iterdir())
    assert logs == ["console-host.log", "console-host.log.1"]
    kinds = {event["kind"] for event in bad.timeline("test_bench_dies[type1-cpr-exec-good QEMU]")}
    assert {"load.settled", "guest.heartbeat"} <= kinds
    assert not {kind for kind in kinds if kind.startswith("cpr.")}


def test_a_host_without_iommu_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "off.yaml"
    path.write_text(VIRTUAL.replace("cpus: 2\n", "cpus: 2\n          iommu: none\n"))
    with open_bench(path, log_dir=tmp_path) as bench, bench.agent() as agent:
        with pytest.raises(BenchError, match="bench off cannot assign a device by type1: it has no IOMMU"):
            require(agent.capabilities(), "type1", bench.name)
        with pytest.raises(AgentRefusal, match=r"0000:01:00\.0 has no IOMMU group: switch the IOMMU on"):
            agent.bind(bench.function("nic").bdf)
        assert bench.connection.check(["readlink", "/sys/bus/pci/devices/0000:01:00.0/driver"]).endswith(
            "igb\n"
        )


def test_a_disk_that_fills_up_while_a_run_is_recorded(tmp_path: Path) -> None:
    """The runs lie on a small file system, which no other process sees and which is gone afterwards."""
    came = full(tmp_path, "80M", "test_full_disk or test_host_answers")
    assert came.status == 2 and came.left == []
    standing, *progress, line = came.stderr.splitlines()
    assert standing.startswith("calibration: "), came.stderr
    assert re.fullmatch(
        r"cprlab: the disk filled up during the run; what was recorded until then is in .*", line
    ), came.stderr
    assert progress == ["2 cases"] and came.stdout == ""


def test_a_disk_too_small_for_a_record_is_refused_at_once(tmp_path: Path) -> None:
    came = full(tmp_path, "8M", "test_host_answers")
    assert came.status == 2
    assert came.stderr.startswith("cprlab: a run record needs 64 MiB in ") and came.stderr.count("\n") == 1


def test_ssh_that_does_not_answer(tmp_path: Path) -> None:
    """The host takes connections and says nothing."""
    key = tmp_path / "key"
    write_private(key, KeyPair.made().private)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bench = EXAMPLE.replace("bench-a.example.org", "127.0.0.1", 1)
        bench = bench.replace("username: root}", f"username: root, port: {silent.getsockname()[1]}}}", 1)
        bench = bench.replace("BenchHost: {}", "BenchHost: {connect_timeout_s: 1.0}")
        came = run(tmp_path, bench.replace("~/.ssh/id_ed25519", str(key)), "test_host_answers")
    assert came.status == 2
    case = came.case("test_host_answers")
    assert case["status"] == "broken"
    assert re.fullmatch(
        r"HostSilent: ssh at root@127.0.0.1:\d+ did not answer within 1 s: "
        "it accepts connections but sends no ssh banner",
        case["reason"],
    ), case["reason"]
    assert case["reason"][:60] in came.stdout


def test_a_wrong_target_file(tmp_path: Path) -> None:
    """pytest exits with 4, its status for wrong usage, `cprlab run` with 2; both with one line."""
    path = tmp_path / "bad.yaml"
    wrong = VIRTUAL.replace("memory_mib: 3072", "memory: 3072")
    came = run(tmp_path, wrong, "test_host_answers")
    assert (came.status, came.stdout, came.record) == (2, "", {})
    assert re.fullmatch(rf"cprlab: {re.escape(str(path))}:\d+: \S+\.memory: unknown key", came.stderr.strip())
    argv = [sys.executable, "-m", "pytest", "--lg-env", str(path), CASES]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 4
    assert [line for line in done.stderr.splitlines() if line] == [
        came.stderr.strip().replace("cprlab", "ERROR")
    ]
