"""What a host or a QEMU lacks is told in one line, with the remedy.

Source: issue 2, "What bad input gets". On a bench the same is tried by testcases/test_bad_input.py.
"""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab import cli
from lab.boot_signs import CONSOLE, BootSigns
from lab.drivers.agent import HostAgent
from lab.drivers.capabilities import BACKENDS, NEEDS, require
from lab.errors import BenchError, LabUsageError, OutcomeUnknown
from lab.evidence import Evidence
from lab.link import AgentRefusal
from lab.preflight.modes import cpr_modes, require_mode


def schema(*modes: str) -> list[Mapping[str, Any]]:
    """A query-qmp-schema with hidden type names, as QEMU gives it."""
    kinds = [["on", "off"], ["normal", "exec"], list(modes)]
    enums = [
        {"meta-type": "enum", "name": str(number), "members": [{"name": name} for name in names]}
        for number, names in enumerate(kinds)
    ]
    return [{"meta-type": "command", "name": "quit"}, *enums]


QEMUS = {
    "10.1, without cpr-exec": (
        schema("normal", "cpr-reboot", "cpr-transfer"),
        "it has: cpr-reboot, cpr-transfer, normal; cpr-exec needs 10.2 or newer",
    ),
    "8.1, without any mode": (schema("nothing"), "it has: no CPR mode at all; cpr-exec needs 10.2 or newer"),
}


@pytest.mark.parametrize(("told", "has"), QEMUS.values(), ids=QEMUS)
def test_a_qemu_without_cpr_exec_is_refused(told: list[Mapping[str, Any]], has: str) -> None:
    with pytest.raises(LabUsageError) as error:
        require_mode("cpr-exec", cpr_modes(told), "10.1.0")
    assert str(error.value) == f"QEMU 10.1.0 does not know cpr-exec, {has}"


def test_a_qemu_with_cpr_exec_is_taken() -> None:
    require_mode("cpr-exec", cpr_modes(schema("normal", "cpr-reboot", "cpr-exec")), "11.1.3")


HOST = {
    "iommu": "iommu",
    "kvm": "kvm",
    "vfio-type1": "vfio_type1",
    "dev-iommu": "iommufd",
    "vfio-cdev": "vfio_cdev",
    "iommufd-change-process": "iommufd_change_process",
}
"""What a back-end needs, and the host agent's name for it."""


@pytest.mark.parametrize(
    ("iommu", "lacks"), [(iommu, name) for iommu, names in BACKENDS.items() for name in names]
)
def test_each_thing_a_host_lacks_has_its_remedy(iommu: str, lacks: str) -> None:
    has = {HOST[name]: True for name in BACKENDS[iommu]}
    require(has, iommu, "a")
    with pytest.raises(BenchError) as error:
        require(has | {HOST[lacks]: False}, iommu, "a")
    assert str(error.value) == f"bench a cannot assign a device by {iommu}: {NEEDS[lacks].remedy}"


def test_all_that_a_host_lacks_is_one_line() -> None:
    """An agent that does not know a capability does not have it."""
    with pytest.raises(BenchError) as error:
        require({"kvm": True}, "iommufd", "a")
    text = str(error.value)
    assert all(NEEDS[name].remedy in text for name in BACKENDS["iommufd"] if name != "kvm")
    assert NEEDS["kvm"].remedy not in text and "\n" not in text


class FakeAgent(HostAgent):
    """Knows how a process ended; runs nothing."""

    def __init__(self, ended: Mapping[str, Any] | None) -> None:
        self.ended = ended

    def reap(self, pid: int, wait_s: float = 10.0) -> dict[str, Any]:
        if self.ended is None:
            raise AgentRefusal("qemu (pid 7) still runs after 0 s")
        return dict(self.ended)


EXITED = {"status": 1, "signal": None}
KILLED = {"status": None, "signal": "SIGSEGV"}
BOOTS = {
    "QEMU refused its arguments": (
        EXITED,
        "",
        "no such device",
        r"QEMU ended with 1; QEMU said: no such device; its",
    ),
    "QEMU crashed": (
        KILLED,
        "Linux version\n",
        "",
        r"QEMU ended with SIGSEGV; its console ends: Linux version; see /",
    ),
    "kernel panicked": (
        None,
        "a\n[1.0] Kernel panic - not syncing: VFS\n trace\n\n",
        "a warning",
        r"\[1.0\] Kernel panic - not syncing: VFS; see /",
    ),
    "nothing is heard": (None, "", "", r"no answer within .* s; its console is empty; see /"),
}


@pytest.mark.parametrize(("ended", "console", "stderr", "why"), BOOTS.values(), ids=BOOTS)
def test_why_a_guest_does_not_boot(
    ended: Mapping[str, Any] | None, console: str, stderr: str, why: str, tmp_path: Path
) -> None:
    """Told at once if it shows, else when the time is over."""
    evidence = Evidence(tmp_path / "case")
    (evidence.folder / CONSOLE).write_text(console)
    if stderr:
        evidence.record("log", where="qemu", level="stderr", text=stderr, t_src_ns=1)

    def ask(patience_s: float) -> None:
        raise OutcomeUnknown(f"no answer within {patience_s:g} s")

    signs = BootSigns(FakeAgent(ended), 7, evidence)
    with pytest.raises(BenchError, match=f"^the guest did not boot: {why}") as error:
        signs.awaited(ask, 0.1 if not ended and not console else 60)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_traceback(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever in `cprlab` it shows."""

    def full(words: list[str]) -> None:
        raise OSError(number, "No space left on device", "/runs/x/report.html")

    monkeypatch.setattr(cli, "application", full)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("cprlab: the disk is full: ") and "/runs/x/report.html" in line
    assert line.count("\n") == 1
