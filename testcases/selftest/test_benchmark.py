"""A benchmark: what the plain tools say is understood, and ours and theirs are measured in turns."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.agents.guest.programs import file_read, file_write, program_run
from lab.agents.rpc import AgentError
from lab.benchmark import Comparison, Series, Share, runner
from lab.benchmark.fio import Fio, blocks_per_s
from lab.benchmark.framebuffer import copied_bytes
from lab.benchmark.ours import Run, limit, saturated, share
from lab.benchmark.pktgen import Pktgen, packets_per_s
from lab.benchmark.tools import plain_tools
from lab.cli import benchmark
from lab.cli.benchmark import ROWS
from lab.errors import BenchError
from lab.images import guest_programs
from lab.images.guest_programs import with_programs
from lab.loads import Agent, Load
from lab.loads.block import BlockLoad
from lab.loads.dma_engine import DmaEngineLoad
from lab.loads.nic import LoopLoad, NicLoad
from lab.rows.table import row

RECORDED = Path(__file__).with_name("recorded")
"""What the tools said on the virtual bench."""
PKTGEN_HZ = 87983 / 2.950880
FIO_HZ, FIO_VERIFY_HZ = (78 + 79) / 2 / 3.810, (40 + 116) / 2 / 3.789
"""Both at a disk held back to 40 requests a second."""
DD_S = 0.00824412
STAT = """cpu  191 0 1020 21 46 0 3 6 0 0
cpu0 191 0 1020 21 46 0 3 6 0 0
intr 3567 13 0 0
"""
STAT_LATER = """cpu  226 0 1039 21 451 0 3 9 0 0
cpu0 226 0 1039 21 451 0 3 9 0 0
intr 4166 13 0 0
"""


def recorded(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def test_pktgen() -> None:
    assert packets_per_s(recorded("pktgen.txt")) == pytest.approx(PKTGEN_HZ, rel=1e-3)


def test_pktgen_that_did_not_run() -> None:
    said = recorded("pktgen.txt").partition("Result:")[0] + "Result: Idle\n"
    with pytest.raises(BenchError, match="it says: Result: Idle"):
        packets_per_s(said)
    with pytest.raises(BenchError, match="it says: nothing"):
        packets_per_s("")


@pytest.mark.parametrize(("name", "hz"), [("fio.json", FIO_HZ), ("fio-verify.json", FIO_VERIFY_HZ)])
def test_fio(name: str, hz: float) -> None:
    assert blocks_per_s(recorded(name)) == pytest.approx(hz, rel=1e-3)


def test_fio_may_say_something_first() -> None:
    assert blocks_per_s("fio: a note\n" + recorded("fio.json")) == pytest.approx(FIO_HZ, rel=1e-3)


@pytest.mark.parametrize(
    ("was", "instead", "says"),
    [
        ('"error" : 0', '"error" : 84', "fio ended with error 84"),
        ('"total_ios" : ', '"total_ios" : 0, "was" : ', "after 0 writes, 0 reads"),
        ('"job_runtime"', '"another"', "fio gave no result"),
        ("{", "", "fio gave no result"),
    ],
)
def test_fio_that_failed(was: str, instead: str, says: str) -> None:
    said = recorded("fio-verify.json")
    assert was in said
    with pytest.raises(BenchError, match=says):
        blocks_per_s(said.replace(was, instead))


def test_fio_verifies_with_what_the_load_uses() -> None:
    argv = Fio("/dev/vda", 4096, 32, 1024, verify=True).argv(4)
    wanted = {"--filename=/dev/vda", "--bs=4096", "--iodepth=32", "--size=4194304", "--runtime=4"}
    assert wanted <= set(argv)
    assert {"--direct=1", "--verify=crc32c", "--rw=write"} <= set(argv)
    assert not any("verify" in word for word in Fio("/dev/vda", 4096, 32, 1024, verify=False).argv(4))


def test_dd() -> None:
    size, seconds = copied_bytes(recorded("dd.txt"))
    assert (size, seconds) == (256000, DD_S)


def test_dd_that_failed() -> None:
    with pytest.raises(BenchError, match="No such device"):
        copied_bytes("dd: failed to open '/dev/fb0': No such device")


def test_the_processor() -> None:
    found = share(STAT, STAT_LATER)
    assert found.user == pytest.approx(35 / 462) and found.system == pytest.approx(22 / 462)
    assert limit(found) == "what is behind the device: the guest's processor is only 12% busy"
    four = STAT_LATER + "cpu1 0\ncpu2 0\ncpu3 0\n"
    assert share(STAT, four).user == pytest.approx(4 * 35 / 462)
    assert limit(Share(0.5, 0.4)) == "the guest's processor, 90% busy: 50% Python, 40% kernel"


def test_a_ratio_is_one_of_medians() -> None:
    found = comparison(Series((10.0, 30.0, 11.0)), Series((44.0, 40.0, 90.0)))
    assert found.ratio == pytest.approx(0.25)
    told = found.as_json()
    assert told["ratio"] == 0.25 and told["ours_mb_per_s"] == 0.011
    assert told["tool_blocks_per_s"] == {
        "median": 44.0,
        "min": 40.0,
        "max": 90.0,
        "values": [44.0, 40.0, 90.0],
    }


def test_without_a_tool_there_is_no_ratio() -> None:
    found = comparison(Series((10.0,)), None)
    assert found.ratio is None and found.as_json()["tool_mb_per_s"] is None


def comparison(ours: Series, plain: Series | None) -> Comparison:
    streams = {"to-guest": 583.2, "from-guest": 32.61}
    tool = "t" if plain else None
    return Comparison("nic", "type1", "nic", "p", 1000, ours, streams, 600.0, "l", tool, "c", plain)


FAR = cast(Agent, None)
DISK = {"disk": {"path": "/dev/nvme0n1"}, "depth": 32, "slots": 512}


@pytest.mark.parametrize(
    ("load", "started", "tools"),
    [
        (
            NicLoad(FAR),
            {"interface": {"name": "eth0", "mac": "02:00:00:00:00:09"}},
            (Pktgen("eth0", "02:63:70:72:00:01", 768, "from-guest"),),
        ),
        # what a loop is sent must be for itself
        (
            LoopLoad(),
            {"name": "eth1", "mac": "02:00:00:00:00:09"},
            (Pktgen("eth1", "02:00:00:00:00:09", 768, "loop"),),
        ),
        (NicLoad(FAR, wire="vsock:2:1024"), {"interface": {"name": "vsock:2:1024"}}, ()),
        (
            BlockLoad(),
            DISK,
            (
                Fio("/dev/nvme0n1", 4096, 32, 512, verify=True),
                Fio("/dev/nvme0n1", 4096, 32, 512, verify=False),
            ),
        ),
        (DmaEngineLoad(), {}, ()),
    ],
)
def test_the_tools_for_a_load(load: Load, started: Mapping[str, Any], tools: tuple[Any, ...]) -> None:
    found = plain_tools(load, started)
    assert found == tools
    assert {name for tool in found for name in tool.streams} <= {stream.name for stream in load.streams}


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_of_the_command_are_in_the_table(name: str) -> None:
    assert row(name).backends


def test_a_load_is_asked_for_more_until_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def run(load: Load, *_: object) -> Run:
        asked.append(load.probe_hz)
        return Run({"loop": min(load.probe_hz, 1000.0)}, {}, Share(1, 0))

    monkeypatch.setattr("lab.benchmark.ours.run", run)
    load, first = saturated(LoopLoad(probe_hz=600.0), FAR, cast(Any, None), 1.0)
    assert asked == [600.0, 1200.0, 2400.0] and load.probe_hz == 2400.0
    # 1000 of 1200 might have been the pace
    assert first.rates_hz == {"loop": 1000.0}


def test_ours_and_theirs_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    def run(*_: object) -> Run:
        turns.append("ours")
        return Run({"write": 30.0, "read": 10.0}, DISK, Share(0.1, 0.1))

    def theirs(self: Fio, *_: object) -> float:
        turns.append(self.name)
        return 40.0

    monkeypatch.setattr(runner, "saturated", lambda load, *_: (load, run()))
    monkeypatch.setattr(Fio, "blocks_per_s", theirs)
    case = cast(Any, SimpleNamespace(name="nvme", backend="type1"))
    none = cast(Any, None)
    told: list[str] = []
    measuring = runner.Benchmark(none, none, none, none, 2, 1.0, told.append)
    guest = cast(Any, SimpleNamespace(link=None))
    found = list(measuring._compared(case, BlockLoad(), guest, none))
    assert turns == ["ours", "fio verify=crc32c", "fio"] * 2
    assert [(one.tool, one.ratio) for one in found] == [("fio verify=crc32c", 0.5), ("fio", 0.5)]
    assert told[-1] == "nvme: round 2 of 2: fio"


def test_the_table_says_what_was_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark._print([comparison(Series((1234.5, 1.0, 1300.0)), Series((2469.0,)))], {"gpu": "no [display]"})
    said = capsys.readouterr().out
    assert "1,234 (1 to 1,300)" in said and "0.5" in said
    assert "nic: ours is limited by l; it did to-guest 583/s, from-guest 32.6/s" in said
    assert "gpu: not measured: no [display]" in said


def test_the_agent_runs_a_program() -> None:
    code = "import sys; print(sys.stdin.read().upper()); print('aside', file=sys.stderr); sys.exit(3)"
    done = program_run([sys.executable, "-c", code], 60.0, stdin="start")
    assert done == {"status": 3, "stdout": "START\n", "stderr": "aside\n"}


def test_the_agent_kills_a_program_that_goes_on() -> None:
    code = "import time; print('on', flush=True); time.sleep(600)"
    done = program_run([sys.executable, "-c", code], 2.0)
    assert done["status"] is None and done["stdout"] in ("", "on\n")


@pytest.mark.parametrize(
    "call",
    [
        lambda at: program_run([f"{at}/none"], 1.0),
        lambda at: file_read(f"{at}/none"),
        lambda at: file_write(f"{at}/none/none", ["count 0"]),
    ],
)
def test_the_agent_says_what_is_not_there(call: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=f"{tmp_path}/none.*: No such file"):
        call(tmp_path)


def test_the_agent_names_the_command_that_the_kernel_refused() -> None:
    with pytest.raises(AgentError, match=r"does not take 'count 0': No space left"):
        file_write("/dev/full", ["count 0", "delay 0"])


def test_the_agent_writes_and_reads_a_file(tmp_path: Path) -> None:
    file_write(str(tmp_path / "pgctrl"), ["count 0", "delay 0"])
    assert file_read(str(tmp_path / "pgctrl")) == "count 0\ndelay 0\n"


def test_programs_are_joined_to_an_initramfs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    for name in ("usr/bin/fio", "usr/bin/dd", "usr/lib/x86_64-linux-gnu/libaio.so.1"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"content of {name}\n")
    looked: list[str] = []

    def libraries(root: Path, program: str, log_dir: Path) -> list[str]:
        looked.append(program)
        return ["usr/lib/x86_64-linux-gnu/libaio.so.1"]

    monkeypatch.setattr(guest_programs, "libraries", libraries)
    initrd = tmp_path / "guest.cpio"
    initrd.write_bytes(b"base" * 128)
    joined = with_programs(initrd, root, out_dir=tmp_path / "out")
    assert with_programs(initrd, root, out_dir=tmp_path / "out") == joined
    assert looked == ["usr/bin/fio", "usr/bin/dd"]
    content = joined.read_bytes()
    assert content.startswith(b"base" * 128)
    for name in ("usr/bin/fio", "usr/bin/dd", "usr/lib/x86_64-linux-gnu/libaio.so.1"):
        assert content.count(f"content of {name}\n".encode()) == 1
    for number in range(guest_programs.KEPT):
        (root / "usr/bin/fio").write_text(f"another {number}\n")
        assert with_programs(initrd, root, out_dir=tmp_path / "out").exists()
    assert len(list((tmp_path / "out").glob("*.cpio"))) == guest_programs.KEPT and not joined.exists()


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "guest.cpio").write_bytes(b"base")
    with pytest.raises(BenchError, match="has no /usr/bin/fio"):
        with_programs(tmp_path / "guest.cpio", tmp_path, out_dir=tmp_path / "out")
