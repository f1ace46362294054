"""The monitor and cpr-exec against a real QEMU on the controller: no bench, no guest, no device.

QEMU comes from the bench's root file system and runs under TCG; what is shown is what the lab
records of an update that works, of one that is refused, and of one that kills QEMU.
"""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import images
from lab.cpr.cpr_exec import CprExec
from lab.errors import OutcomeUnknown, Refused
from lab.images.controller_qemu import qemu_argv, qemu_env
from lab.preflight.modes import cpr_modes
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder, Timeline


class Qemu:
    """A QEMU without a guest, and its monitor."""

    def __init__(self, folder: Path) -> None:
        self.folder, root = folder, images.ensure_root().root_dir
        self.argv = [
            *qemu_argv(root),
            *("-accel", "tcg", "-m", "64M", "-nodefaults", "-display", "none"),
            *("-object", "memory-backend-memfd,id=ram0,size=64M,share=on"),
            *("-machine", "q35,aux-ram-share=on,memory-backend=ram0"),
            *("-qmp", f"unix:{folder}/qmp.sock,server=on,wait=off"),
        ]
        self.process = subprocess.Popen(self.argv, env=qemu_env(root), stderr=subprocess.DEVNULL)
        self.recorder = Recorder(folder / "timeline.jsonl")
        self.monitor = Monitor(self._connect, self.recorder, folder / "qmp.jsonl", self._ended)

    def update(self, command: list[str], number: int = 1) -> list[str]:
        """Update, and return the kinds of what was recorded of it."""
        CprExec(self.monitor, command, f"{self.folder}/vm.state", timeout_s=20).apply(self.recorder, number)
        events = Timeline.load(self.recorder.path).events
        return [e.kind for e in events if e.data.get("update") == number and e.kind.startswith("cpr.")]

    def end(self) -> None:
        self.monitor.close()
        self.recorder.close()
        self.process.kill()
        self.process.wait()

    def _connect(self) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(f"{self.folder}/qmp.sock")
        except OSError:
            stream.close()
            raise
        return stream

    def _ended(self) -> str:
        status = self.process.poll()
        return "" if status is None else f"ended with {status}"


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[Qemu]:
    qemu = Qemu(tmp_path)
    try:
        qemu.monitor.open("old", 20)
        yield qemu
    finally:
        qemu.end()


def test_updates_in_a_row_are_recorded_as_ok(qemu: Qemu) -> None:
    new = [*qemu.argv, "-incoming", f"file:{qemu.folder}/vm.state"]
    for number in (1, 2, 3):
        assert qemu.update(new, number) == ["cpr.invoke", "cpr.ok"]
    assert qemu.process.poll() is None


def test_both_sides_of_an_update_are_told_apart(qemu: Qemu) -> None:
    qemu.update([*qemu.argv, "-incoming", f"file:{qemu.folder}/vm.state"])
    timeline = Timeline.load(qemu.recorder.path)
    stops = [e.data["side"] for e in timeline.of("qmp.event", name="STOP")]
    greeted = [(e.data["side"], e.data["update"]) for e in timeline.of("qmp.connected")]
    assert (stops, greeted) == (["old"], [("old", 0), ("new", 1)])
    assert (
        timeline.of("qmp.reply", side="new", command="query-migrate")[0].data["result"]["status"]
        == "completed"
    )


def test_a_new_qemu_that_is_not_there_is_a_refusal_and_old_qemu_lives(qemu: Qemu) -> None:
    assert qemu.update(["/nonexistent/qemu"]) == ["cpr.invoke", "cpr.fail"]
    reason = Timeline.load(qemu.recorder.path).of("cpr.fail")[0].data["reason"]
    assert "execvp /nonexistent/qemu failed: No such file or directory" in reason
    assert qemu.monitor.execute("query-status")["status"] == "running"


def test_a_new_qemu_that_ends_at_once_is_a_failed_update(qemu: Qemu) -> None:
    assert qemu.update(["/bin/false"]) == ["cpr.invoke", "cpr.fail"]
    assert "ended with 1" in Timeline.load(qemu.recorder.path).of("cpr.fail")[0].data["reason"]


def test_a_command_that_qemu_does_not_know_is_refused(qemu: Qemu) -> None:
    with pytest.raises(Refused, match="no-such-command"):
        qemu.monitor.execute("no-such-command")


def test_a_qemu_that_is_killed_leaves_the_outcome_unknown(qemu: Qemu) -> None:
    qemu.process.kill()
    qemu.process.wait()
    with pytest.raises(OutcomeUnknown):
        qemu.monitor.execute("query-status")


def test_the_modes_of_this_qemu_are_found_in_its_schema(qemu: Qemu) -> None:
    assert {"cpr-exec", "cpr-transfer", "cpr-reboot"} <= cpr_modes(qemu.monitor.execute("query-qmp-schema"))
