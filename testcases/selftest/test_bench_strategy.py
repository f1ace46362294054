"""A dead bench is a BenchError in every case that wants it, never a skip.

Source: issue 2; research/anchors.md, finding 10: a `never_retry` strategy turns later tests into skips.
"""

import socket
import time
from pathlib import Path

import pytest

from lab.bench import Bench, open_bench, prepared
from lab.errors import BenchError, LabUsageError

EXAMPLE = (Path(__file__).resolve().parents[2] / "targets/example-host.yaml").read_text()


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The health of these hosts is nobody else's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def dead_bench(tmp_path: Path) -> Path:
    """A target file whose host refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    path = tmp_path / "dead.yaml"
    text = EXAMPLE.replace("bench-a.example.org, username: root", f"127.0.0.1, username: root, port: {port}")
    path.write_text(text.replace("BenchHost: {}", "BenchHost: {connect_timeout_s: 0.3}"))
    return path


def failure(bench: Bench) -> str:
    with pytest.raises(BenchError) as error:
        bench.ready()
    return str(error.value)


def test_each_case_that_wants_a_dead_bench_hears_why(
    dead_bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = dead_bench.parent / "key"
    key.touch()
    monkeypatch.setattr("lab.drivers.ssh_connect.paramiko.PKey.from_path", lambda path: None)
    bench = prepared(dead_bench)
    first, second = failure(bench), failure(bench)
    assert "did not answer within 0.3 s: connection refused" in first == second
    start_s = time.monotonic()
    third = failure(bench)
    assert "host dead is in quarantine since " in third and first in third
    assert time.monotonic() - start_s < 0.1
    assert bench.strategy.broken is None  # what labgrid's plugin looks at to skip


def test_our_key_that_is_not_there_is_named(dead_bench: Path, tmp_path: Path) -> None:
    dead_bench.write_text(dead_bench.read_text().replace("~/.ssh/id_ed25519", str(tmp_path / "no-key")))
    with pytest.raises(LabUsageError, match=r"key file .*/no-key cannot be read"), open_bench(dead_bench):
        pass


def test_unknown_states_are_refused(dead_bench: Path) -> None:
    with pytest.raises(LabUsageError, match="off or ready, not 'on'"):
        prepared(dead_bench).strategy.transition("on")


def test_a_function_that_is_not_listed_is_refused(dead_bench: Path) -> None:
    with pytest.raises(LabUsageError, match="has no function 'gpu', only: nic"):
        prepared(dead_bench).function("gpu")


def test_a_real_wire_leads_to_the_far_port(dead_bench: Path) -> None:
    assert prepared(dead_bench).wire("nic").far_end_argv()[-1] == "packet:enp1s0f0"
