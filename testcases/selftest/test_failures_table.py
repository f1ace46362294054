"""The table of failures: whole, strict, and its programs do what they say."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lab.checkers import as_json, from_json
from lab.checkers.failure import ANSWERS
from lab.failures import IN_PLACE, LOST, UNHARMED, Failure
from lab.failures import listener as listener_file
from lab.failures.kills import SAVED_BYTES, kill_amid
from lab.failures.moments import all_ram
from lab.failures.newcomer import KILLER, without_vfio
from lab.failures.plugging import found, taken
from lab.failures.table import ALL, ALONE, FAILURES, TOGETHER, boots

QEMU_LIKE = """
import socket, sys, time, os
path = sys.argv[sys.argv.index("-qmp") + 1].removeprefix("unix:").split(",")[0]
os.unlink(path)
s = socket.socket(socket.AF_UNIX)
s.bind(path)
state = open(os.path.dirname(path) + "/vm.state")
time.sleep(60)
"""


def test_a_name_is_one_failure_and_no_boot_tries_it_twice() -> None:
    by_name = {failure.name: failure for failure in FAILURES}
    for boot in ALL:
        assert all(by_name[failure.name] is failure for failure in boot)
        assert len({failure.name for failure in boot}) == len(boot)
    assert len(boots()) == len(TOGETHER) + len(ALONE)


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_every_question_has_a_promised_answer_and_a_source(failure: Failure) -> None:
    assert failure.promised.keys() == ANSWERS.keys()
    assert failure.source and failure.title and failure.says
    assert bool(failure.reason) == bool(failure.known)
    for wrong in failure.known.values():
        assert wrong, "a known defect says what is wrong"
        assert all(failure.promised[question] != answer for question, answer in wrong.items())


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_its_claims_are_written_down_and_read_again(failure: Failure) -> None:
    claims = failure.answers("11.1.3")
    assert [claim.question for claim in claims] == list(ANSWERS)
    for claim in claims:
        written = as_json(claim)
        assert written is not None and from_json(written) == claim


@pytest.mark.parametrize("answers", [UNHARMED, LOST, IN_PLACE])
def test_the_usual_fates_answer_every_question(answers: "dict[str, str]") -> None:
    assert all(answers[question] in words for question, words in ANSWERS.items())


def test_a_defect_is_one_of_the_versions_it_was_seen_in() -> None:
    missing = next(failure for failure in FAILURES if failure.name == "exec-missing")
    expected = {v: missing.answers(v)[1].expected for v in ("11.1.3", "11.1", "11.10.0", "11.2.0")}
    assert expected == {"11.1.3": "lost", "11.1": "lost", "11.10.0": "lives", "11.2.0": "lives"}


def test_what_comes_before_another_is_survived() -> None:
    for boot in ALL:
        for failure in boot[:-1]:
            assert failure.answers("11.1.3")[1].expected == "lives", failure
            assert not failure.words


@pytest.mark.parametrize(
    "asked",
    [
        "exec-missing exec-no-permission exec-sandbox",
        "state-file-impossible file-system-full cancel-at-pre-switchover",
        "new-rejects-argv new-lacks-device new-crashes new-hangs",
        "kill-at-pre-switchover kill-at-save kill-at-exec kill-at-devices kill-at-load kill-at-running",
        "transfer-no-destination transfer-dies-early transfer-dies-late transfer-refuses-stream",
        "transfer-cont-in-old transfer-source-dies-early transfer-source-dies-late",
        "two-updates-at-once",
        "guest-reboots guest-paused guest-suspended hot-plug-before hot-plug-during",
    ],
)
def test_what_was_asked_for_is_there(asked: str) -> None:
    """The list of the project's task, line by line."""
    assert set(asked.split()) <= {failure.name for failure in FAILURES}


def test_a_command_line_without_its_vfio_devices() -> None:
    argv = ["qemu", "-device", "vfio-pci,id=dev0,host=1", "-device", "virtio-serial-pci", "-qmp", "x"]
    assert without_vfio(argv) == ["qemu", "-device", "virtio-serial-pci", "-qmp", "x"]


def test_a_guest_has_taken_a_device_when_it_has_addresses() -> None:
    """As query-pci of QEMU 11.1.3 shows one right after device_add, and one that the firmware has set up."""
    late = {"qdev_id": "late", "regions": [{"bar": 1, "address": -1}, {"bar": 4, "address": -1}]}
    slot = {
        "qdev_id": "port0",
        "regions": [{"bar": 0, "address": 4267708416}],
        "pci_bridge": {"devices": [late]},
    }
    ports = {"qdev_id": "ports", "regions": [{"bar": 0, "address": 49152}, {"bar": 1, "address": 4267704320}]}
    assert found([{"devices": [ports, slot]}]) == late and not taken(late)
    assert taken(ports)
    assert found([{"devices": [ports, {"qdev_id": "port0", "pci_bridge": {}}]}]) is None and not taken(None)


@pytest.mark.parametrize("end, begun", [("00000000000c2fff", False), ("000000000fffffff", True)])
def test_a_firmware_that_has_begun_has_made_all_ram(end: str, begun: bool) -> None:
    """Lines of QEMU 11.1.3 before and after."""
    told = (
        f'FlatView #0\r\n AS "memory", root: system\r\n  0000000000000000-{end} (prio 0, ram): ram0 KVM\r\n'
    )
    assert (
        all_ram(told + "  0000000000100000-000000000fffffff (prio 0, ram): ram0 @0000000000100000 KVM\r\n")
        is begun
    )


@pytest.mark.parametrize("phase", ["exec", "socket", "state"])
def test_the_killer_kills_in_a_phase(tmp_path: Path, phase: str) -> None:
    path = tmp_path / "qmp.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    (tmp_path / "vm.state").touch()
    words = [sys.executable, "-c", QEMU_LIKE, "-qmp", f"unix:{path},server=on"]
    before = path.stat().st_ctime_ns
    # a descriptor as old QEMU hands over: nobody may hold it once the process is gone
    ours, theirs = socket.socketpair()
    done = subprocess.run(
        [sys.executable, str(KILLER), "KILL", phase, *words],
        timeout=30,
        pass_fds=[theirs.fileno()],
        check=False,
        stderr=subprocess.PIPE,
    )
    theirs.close()
    ours.settimeout(10)
    assert done.returncode == -signal.SIGKILL
    assert done.stderr == f"SIGKILL at {phase}\n".encode()
    assert ours.recv(1) == b""
    ours.close()
    assert (path.stat().st_ctime_ns == before) == (phase == "exec")


def test_who_saves_is_killed_amid_it(tmp_path: Path) -> None:
    """Not before it has sent so much, and not at all if it never does."""
    program = "import os, sys; p = os.popen(sys.argv[2].replace('PID', str(os.getpid())), 'w')"
    program += "; p.write('x' * int(sys.argv[1])); p.close()"
    command = kill_amid(0).removesuffix("0") + "PID"
    ended = {
        sent: subprocess.run(
            [sys.executable, "-c", program, str(sent), command],
            timeout=30,
            check=False,
            stderr=subprocess.PIPE,
        )
        for sent in (SAVED_BYTES - 1, 4 * SAVED_BYTES)
    }
    assert [done.returncode for done in ended.values()] == [0, -signal.SIGKILL]
    assert [done.stderr for done in ended.values()] == [b"", b"SIGKILL while it saves\n"]


def test_the_listener_takes_everything(tmp_path: Path) -> None:
    path = str(tmp_path / "main.sock")
    command = [sys.executable, listener_file.__file__, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(path)
            sender = threading.Thread(target=stream.sendall, args=(os.urandom(1 << 20),))
            sender.start()
            sender.join(10)
            assert not sender.is_alive()
        assert process.wait(10) == 0
