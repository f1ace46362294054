"""`cprlab preflight --argv`: what it prints, and how it exits. It needs no bench."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .preflight_words import INCOMING, TYPE1, words

ROOT = Path(__file__).resolve().parents[2]
CPRLAB = [sys.executable, "-c", "import sys; sys.argv[0] = 'cprlab'; from lab.cli import main; main()"]


def asked(*options: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    command = [*CPRLAB, "preflight", *options]
    return subprocess.run(
        command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False, timeout=60
    )


def written(folder: Path, name: str, argv: list[str]) -> str:
    path = folder / name
    path.write_text("\n".join(argv) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        ((), 0, "cpr-exec: clean"),
        (("-serial", "pty"), 0, "pty-renumbered"),
        (("-serial", "file:/c.log"), 1, "file-truncated"),
        (("-serial", "file:/c.log", *TYPE1), 1, "cannot tell (vfio-no-flr)"),
        (TYPE1, 2, "cpr-exec: cannot tell"),
    ],
    ids=["clean", "a warning", "refused", "refused, more not known", "cannot tell"],
)
def test_exit_status_and_text(tmp_path: Path, more: tuple[str, ...], status: int, says: str) -> None:
    done = asked("--argv", written(tmp_path, "old", words(*more)))
    assert (done.returncode, done.stderr) == (status, "")
    assert says in done.stdout
    if status == 1:
        assert all(word in done.stdout for word in ("severity", "reason", "source", "remedy", "append=on"))


def test_new_qemus_command_line_is_compared(tmp_path: Path) -> None:
    old = written(tmp_path, "old", words())
    same, other = [*words(), *INCOMING], [*words(size="512M")]
    assert asked("--argv", old, "--new-argv", written(tmp_path, "same", same)).returncode == 0
    done = asked("--argv", old, "--new-argv", written(tmp_path, "other", other))
    assert done.returncode == 1 and "memory-differs" in done.stdout and "incoming-missing" in done.stdout


def test_a_script_hides_new_qemus_command_line(tmp_path: Path) -> None:
    done = asked(
        "--argv", written(tmp_path, "old", words()), "--new-argv", written(tmp_path, "new", ["/start", "vm1"])
    )
    assert done.returncode == 2 and "/start vm1 names no QEMU" in done.stdout


def test_the_mode_and_the_version_count(tmp_path: Path) -> None:
    old = written(tmp_path, "old", words())
    assert asked("--argv", old, "--qemu-version", "10.0.13").returncode == 1
    assert asked("--argv", old, "--qemu-version", "10.0.13", "--mode", "cpr-transfer").returncode == 0


def test_json_is_all_there_is_on_stdout(tmp_path: Path) -> None:
    done = asked("--argv", written(tmp_path, "old", words("-serial", "file:/c.log")), "--json")
    told = json.loads(done.stdout)
    [finding] = told["findings"]
    assert (told["mode"], told["result"], done.returncode) == ("cpr-exec", 1, 1)
    assert (
        finding.keys() == {"name", "severity", "reason", "source", "remedy"}
        and finding["name"] == "file-truncated"
    )


def test_it_may_come_by_stdin() -> None:
    assert asked("--argv", "-", stdin=" ".join(words())).returncode == 0


BAD = {
    "no such file": (["--argv", "/nonexistent"], "", "/nonexistent: No such file"),
    "a folder": (["--argv", "/"], "", "--argv /: Is a directory"),
    "empty": (["--argv", "-"], "", "it is empty"),
    "no QEMU": (["--argv", "-"], "hello world, again", "none of its words is a QEMU"),
    "cut short": (["--argv", "-"], "qemu-kvm -m", "-m, lacks its value"),
    "broken JSON": (["--argv", "-"], "qemu-kvm -device '{\"driver\"'", "begins like JSON and is none"),
    "nothing": ([], "", "which QEMU?"),
    "both": (["--argv", "-", "--pid", "7"], "", "which QEMU?"),
    "a PID of no bench": (["--pid", "7"], "", "--pid wants --bench"),
    "no mode": (["--argv", "-", "--mode", "normal"], "", "--mode normal: preflight knows cpr-exec and"),
    "no target": (["--pid", "7", "--bench", "/none.yaml"], "", "no target file /none.yaml"),
}


@pytest.mark.parametrize(("options", "stdin", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_line(options: list[str], stdin: str, says: str) -> None:
    done = asked(*options, stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("cprlab: ") and says in line
