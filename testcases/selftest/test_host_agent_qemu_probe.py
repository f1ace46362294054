"""What the host agent asks a QEMU, on an excerpt of what QEMU 11.1.3 answered, played by a fake program."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.agents.host.qemu_probe import probe
from lab.agents.rpc import AgentError
from lab.waiting import wait_until

GREETING = (
    '{"QMP": {"version": {"qemu": {"micro": 3, "minor": 1, "major": 11}, '
    '"package": "Debian 1:11.1.3+ds-1~bpo13+1"}, "capabilities": ["oob"]}}'
)
ANSWERS = {
    "capabilities": "{}",
    "version": '{"qemu": {"micro": 3, "minor": 1, "major": 11}, "package": "Debian 1:11.1.3+ds-1~bpo13+1"}',
    "schema": """[
        {"name": "query-status", "ret-type": "1", "meta-type": "command", "arg-type": "0"},
        {"name": "383", "members": [{"name": "none"}, {"name": "nic"}, {"name": "user"}, {"name": "tap"},
         {"name": "hubport"}, {"name": "vhost-vdpa"}], "meta-type": "enum",
         "values": ["none", "nic", "user", "tap", "hubport", "vhost-vdpa"]},
        {"name": "448", "members": [{"name": "normal"}, {"name": "cpr-reboot"}, {"name": "cpr-transfer"},
         {"name": "cpr-exec"}], "meta-type": "enum",
         "values": ["normal", "cpr-reboot", "cpr-transfer", "cpr-exec"]}]""",
    "machines": '[{"hotpluggable-cpus": true, "name": "pc-q35-11.1", "numa-mem-supported": true, '
    '"cpu-max": 4096, "deprecated": false, "alias": "q35"}, '
    '{"hotpluggable-cpus": false, "name": "none", "numa-mem-supported": false, "cpu-max": 1, '
    '"deprecated": false}]',
    "devices": '[{"name": "vhost-vdpa-device-pci", "parent": "pci-device"}, '
    '{"name": "edu", "parent": "pci-device"}]',
    "objects": '[{"name": "iommufd", "parent": "object"}]',
    "chardevs": '[{"name": "socket"}, {"name": "pty"}]',
}
BLKIO = "blkio_connect failed: Failed to connect to vDPA device path: Input/output error"
FAKE = """#!{python}
import json, sys, time
answers = {answers!r}
print({greeting!r}, flush=True)
for line in sys.stdin:
    ask = json.loads(line)
    if ask["id"] in answers:
        print(json.dumps({{"return": json.loads(answers[ask["id"]]), "id": ask["id"]}}), flush=True)
    else:
        desc = {blkio!r} if ask["execute"] == "blockdev-add" else "The command has not been found"
        print(json.dumps({{"error": {{"class": "GenericError", "desc": desc}}, "id": ask["id"]}}), flush=True)
"""
Script = Callable[[str], str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Makes a program of a text."""

    def make(text: str) -> str:
        path = tmp_path / "qemu"
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return make


def qemu(*, blkio: str = BLKIO, **answers: str) -> str:
    """A program that answers like QEMU; another answer, or "" for a command it does not know."""
    known = {name: answer for name, answer in (ANSWERS | answers).items() if answer}
    return FAKE.format(python=sys.executable, answers=known, greeting=GREETING, blkio=blkio)


def test_what_qemu_says_of_itself(script: Script) -> None:
    assert probe(script(qemu())) == {
        "version": "11.1.3",
        "modes": ["cpr-exec", "cpr-reboot", "cpr-transfer", "normal"],
        "machines": ["none", "pc-q35-11.1"],
        "devices": ["edu", "vhost-vdpa-device-pci"],
        "netdevs": ["hubport", "nic", "none", "tap", "user", "vhost-vdpa"],
        "blockdevs": ["virtio-blk-vhost-vdpa"],
        "objects": ["iommufd"],
        "chardevs": ["pty", "socket"],
    }


def test_a_qemu_before_8_2_has_no_mode(script: Script) -> None:
    schema = [entry for entry in json.loads(ANSWERS["schema"]) if entry["name"] != "448"]
    assert probe(script(qemu(schema=json.dumps(schema))))["modes"] == []


@pytest.mark.parametrize(
    "desc",
    [
        "Unknown driver 'virtio-blk-vhost-vdpa'",
        "Parameter 'driver' does not accept value 'virtio-blk-vhost-vdpa'",
    ],
    ids=["no module", "built without"],
)
def test_a_block_driver_that_cannot_be_loaded_is_not_there(script: Script, desc: str) -> None:
    assert probe(script(qemu(blkio=desc)))["blockdevs"] == []


def test_an_answer_longer_than_a_pipe_is_read_to_its_end(script: Script) -> None:
    many = [{"name": f"device-{number:06}"} for number in range(20_000)]
    assert len(probe(script(qemu(devices=json.dumps(many))))["devices"]) == 20_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#!/bin/sh\necho usage: foo >&2\nexit 1\n", "before its end; it said last: usage: foo$"),
        ("#!/bin/sh\n", "no answer for capabilities before its end; it said last: nothing$"),
        (
            qemu(objects=""),
            r"no answer for objects within 1 s; it said last: .*command has not been found.*$",
        ),
        ("no program", "is not a QEMU that runs here|no answer for capabilities"),
    ],
    ids=["another program", "silent", "without a command", "text"],
)
def test_what_is_no_qemu_is_one_line(script: Script, text: str, says: str) -> None:
    with pytest.raises(AgentError, match=says) as error:
        probe(script(text), deadline_s=1)
    assert "\n" not in str(error.value)


def test_a_path_without_a_program_is_said_at_once() -> None:
    with pytest.raises(AgentError, match=r"^/nonexistent/qemu is not a QEMU .* no such program$"):
        probe("/nonexistent/qemu")


def test_one_that_hangs_is_killed_with_all_that_it_started(script: Script, tmp_path: Path) -> None:
    """A wrapper's child as well, which holds the pipe."""
    began_s = time.monotonic()
    with pytest.raises(AgentError, match=r"within 1 s; it said last: nothing$"):
        probe(script(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/child\nwait\n"), deadline_s=1)
    assert time.monotonic() - began_s < 30
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: _gone(child), 5, "the child's end")


def _gone(pid: int) -> bool:
    """Ended, if perhaps not waited for by whoever adopted it."""
    try:
        os.kill(pid, 0)
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return True
