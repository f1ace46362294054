"""What `cprlab hosts`, `restore` and `discover` print and take, without a host.

Claim: issue 7, "Health": states with a reason, for people and for programs; bad input is one line.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.health import Event, State, Store

CPRLAB = [sys.executable, "-c", "import sys; sys.argv[0] = 'cprlab'; from lab.cli import main; main()"]


def cprlab(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*CPRLAB, *words], capture_output=True, text=True, check=False, timeout=60)


def test_what_was_said_of_hosts() -> None:
    assert "all are good" in cprlab("hosts").stdout
    assert cprlab("hosts", "set", "bench-a", "maintenance", "--reason", "new [NIC]").returncode == 0
    Store().happened("bench-b", Event.NOT_RESTORED, "0000:3b:00.0: held")
    table = [line.rstrip() for line in cprlab("hosts").stdout.splitlines()]
    assert "bench-a" in table[1] and "maintenance" in table[1] and table[1].endswith("new [NIC]")
    assert "bench-b" in table[2] and "quarantined" in table[2] and table[2].endswith("0000:3b:00.0: held")
    told = json.loads(cprlab("hosts", "--json").stdout)
    assert [(one["host"], one["state"]) for one in told] == [
        ("bench-a", "maintenance"),
        ("bench-b", "quarantined"),
    ]
    assert told[1]["history"][0]["event"] == "not restored"
    set_good = cprlab("hosts", "set", "bench-a", "good", "--json")
    assert json.loads(set_good.stdout)["reason"] == "" and Store().read("bench-a").state is State.GOOD


WRONG = {
    "no reason": (("hosts", "set", "bench-a", "maintenance"), "why is bench-a maintenance?"),
    "no name": (("hosts", "set", "../x", "good"), "'../x' is no name of a host"),
    "neither": (("restore",), "either HOST or --bench TARGET was expected"),
    "both": (("discover", "root@a", "--bench", "targets/virtual.yaml"), "either HOST or --bench TARGET"),
    "no file": (("restore", "--bench", "no-such.yaml"), "target file no-such.yaml cannot be read"),
}


@pytest.mark.parametrize(("words", "line"), WRONG.values(), ids=WRONG)
def test_bad_input_is_one_line(words: tuple[str, ...], line: str) -> None:
    done = cprlab(*words)
    assert (done.returncode, done.stdout) == (2, "")
    [said] = done.stderr.splitlines()
    assert said.startswith("cprlab: ") and line in said


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    """It is said before a host is asked, if its name is known."""
    (tmp_path / "bench-a.yaml").write_text("mine")
    (tmp_path / "id").touch()
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJSExuxtVKA4TlAEyqoOFNWLAVp2rEfYSv4jZL3ZJDKO"
    where = (
        "--out",
        str(tmp_path),
        "--name",
        "bench-a",
        "--key-file",
        str(tmp_path / "id"),
        "--host-key",
        key,
    )
    done = cprlab("discover", "root@127.0.0.1", "--port", "1", *where)
    assert done.returncode == 2 and "bench-a.yaml already: --name for another, --force" in done.stderr
    assert (tmp_path / "bench-a.yaml").read_text() == "mine"
