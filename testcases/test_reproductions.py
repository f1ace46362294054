"""The minimal reproductions show what they showed when their output was recorded: red when it is mended.

Each is a script that wants QEMU and a host, nothing of this lab; its head says what was expected and
what came. mtty-resuming.sh is not run here: it panics the bench host.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bench import Bench

HERE = Path(__file__).parent / "reproductions"
REMOTE = "/run/cprlab-reproductions"
KILLS_THE_HOST = "mtty-resuming"
SHARED = "common"
MENDED = "svm-first-touch"
"""Mended by images/kernel.patch: recorded on a bench kernel without it."""
FUNCTION = "edu"
"""The function of the bench that a script is given if its usage asks for a BDF."""
NAMES = sorted(p.stem for p in HERE.glob("*.sh") if p.stem not in (SHARED, KILLS_THE_HOST, MENDED))
TIMEOUT_S = 120.0

STATE = """
pgrep -l qemu
ls /tmp /dev/vfio /sys/class/net /sys/bus/mdev/devices
cd /sys/bus/pci/devices
for f in *; do echo $f $(readlink $f/driver) $(cat $f/driver_override $f/reset_method); done
"""


def state(bench: Bench) -> str:
    """What a script might leave behind on the bench host."""
    return bench.connection.run(["sh", "-c", STATE]).stdout


@pytest.fixture
def scripts(bench: Bench) -> Iterator[str]:
    """The folder of the scripts on the bench host."""
    for path in sorted(HERE.glob("*.sh")) + sorted(HERE.glob("*.py")):
        bench.connection.put(path, f"{REMOTE}/{path.name}")
    yield REMOTE
    bench.connection.check(["rm", "-r", REMOTE])


@pytest.mark.parametrize("name", NAMES)
def test_the_defect_is_there(name: str, bench: Bench, scripts: str) -> None:
    """A script says by its exit status that the defect is there, and its last line is as recorded."""
    before = state(bench)
    usage = f"\n# Usage: {name}.sh BDF" in (HERE / f"{name}.sh").read_text(encoding="utf-8")
    words = [bench.function(FUNCTION).bdf] if usage else []
    done = bench.connection.run([f"{scripts}/{name}.sh", *words], timeout_s=TIMEOUT_S)
    print(done.stdout, done.stderr, sep="")

    recorded = (HERE / f"{name}.out").read_text(encoding="utf-8")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, recorded.splitlines()[-1])
    assert state(bench) == before


SAID = ("migrate: ", "update: ", "afterwards: ", "with the fix", "PRESENT: ")
"""Beginnings of lines that are the same each time."""


FIXED = [name for name in NAMES if "\nwith the fix" in (HERE / f"{name}.out").read_text(encoding="utf-8")]


@pytest.mark.nightly
@pytest.mark.parametrize("name", FIXED)
def test_the_fix_mends_it(name: str, bench: Bench, scripts: str) -> None:
    """With the fix in a copy of QEMU's binary a script says what it said when its output was recorded."""
    usage = f"\n# Usage: {name}.sh BDF" in (HERE / f"{name}.sh").read_text(encoding="utf-8")
    words = [bench.function(FUNCTION).bdf] if usage else []
    done = bench.connection.run(["env", "FIX=1", f"{scripts}/{name}.sh", *words], timeout_s=2 * TIMEOUT_S)
    print(done.stdout, done.stderr, sep="")

    def said(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith(SAID)]

    sessions = (HERE / f"{name}.out").read_text(encoding="utf-8").split("\n$ ")
    recorded = said(sessions[-1])
    assert done.returncode == 0 and said(done.stdout) == recorded


def test_the_bench_kernel_is_mended(bench: Bench, scripts: str) -> None:
    """No guest is lost for touching device registers right after an exception of its own."""
    done = bench.connection.run([f"{scripts}/{MENDED}.sh"], timeout_s=TIMEOUT_S)
    print(done.stdout, done.stderr, sep="")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "ABSENT: the guest came to its end")


def test_every_script_has_its_output_beside_it() -> None:
    assert {p.stem for p in HERE.glob("*.out")} == {*NAMES, KILLS_THE_HOST, MENDED}
