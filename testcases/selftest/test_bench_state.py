"""What is said to be up is up: a state file whose holder died, or whose PID was given away, is removed."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lab import bench_state
from lab.bench_state import BenchState
from lab.cli.bench import ssh_argv
from lab.drivers import virtual_machine
from lab.drivers.endpoint import Endpoint
from lab.errors import BenchError, LabUsageError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BenchState:
    """A bench that this process holds."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    ticks = bench_state.start_ticks(os.getpid())
    assert ticks is not None
    endpoint = Endpoint("127.0.0.1", 2222, "root", Path("/key"), "ssh-ed25519 AAAA")
    return BenchState(
        "virtual", os.getpid(), ticks, "targets/virtual.yaml", endpoint, "2026-11-23T12:00:00+00:00"
    )


def write(state: BenchState) -> Path:
    path = bench_state.folder() / f"{state.name}.json"
    path.write_text(state.dump())
    return path


def test_a_bench_whose_holder_lives_is_found(state: BenchState) -> None:
    write(state)
    assert bench_state.get("virtual") == state
    assert bench_state.states() == [state]


@pytest.mark.parametrize(
    "changed", [{"pid": 2**22 + 1}, {"start_ticks": 1}], ids=["its holder died", "its PID is another process"]
)
def test_a_stale_state_is_removed(state: BenchState, changed: dict[str, int]) -> None:
    path = write(replace(state, **changed))  # type: ignore[arg-type]
    assert bench_state.find("virtual") is None
    assert not path.exists()


def test_a_damaged_state_is_removed(state: BenchState) -> None:
    path = write(state)
    path.write_text("{")
    assert bench_state.find("virtual") is None
    assert not path.exists()


def test_a_bench_that_is_not_up_is_named(state: BenchState) -> None:
    write(state)
    with pytest.raises(
        LabUsageError, match=r"bench 'other' is not up \(up: virtual\); start it: cprlab bench up"
    ):
        bench_state.get("other")


def test_ssh_takes_nothing_from_the_user_and_checks_the_key(state: BenchState) -> None:
    argv = ssh_argv(state, ["echo", "a b"])
    assert argv[:3] == ["ssh", "-F", "none"]
    assert "StrictHostKeyChecking=yes" in argv
    assert argv[-1] == "echo 'a b'"


def test_a_full_disk_is_said_before_power_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(virtual_machine, "_NEEDED_BYTES", 1 << 60)
    with pytest.raises(BenchError, match=f"MiB in {tmp_path} for what its host writes"):
        virtual_machine._require_space()
