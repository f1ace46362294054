"""A session with a real host agent process: what it starts ends with it, whatever ends it.

Claim: contract of the host agent: on EOF of its stdin it kills what it spawned and gives everything back.
"""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.agents.numbered import NumberedStream
from lab.drivers.agent import HostAgent, pack, put_agents
from lab.errors import BenchError
from lab.link import AgentRefusal
from lab.waiting import wait_until
from testcases.selftest.host_agent_fakes import LocalConnection

SLEEP = ["sleep", "1000"]


class Collected:
    """A receiver that keeps everything."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.tables: dict[str, list[Mapping[str, NDArray[Any]]]] = {}

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        self.events.append((kind, data))

    def rows(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
        self.tables.setdefault(table, []).append(columns)

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [data for k, data in self.events if k == kind]


@pytest.fixture
def seen() -> Collected:
    return Collected()


@pytest.fixture
def connection(tmp_path: Path) -> LocalConnection:
    return LocalConnection(tmp_path)


@pytest.fixture
def agent(connection: LocalConnection, seen: Collected, tmp_path: Path) -> Iterator[HostAgent]:
    with HostAgent(connection, seen, options=["--state", str(tmp_path / "state")]) as agent:
        yield agent


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def lines(seen: Collected) -> list[str]:
    return [data["text"] for data in seen.of("log") if data["where"] == "qemu"]


def test_output_is_there_from_the_first_byte_to_the_last(agent: HostAgent, seen: Collected) -> None:
    script = "echo first; echo second >&2; printf last; exit 3"
    pid = agent.spawn("qemu", ["sh", "-c", script]).pid
    assert agent.reap(pid) == {"status": 3, "signal": None}
    wait_until(lambda: seen.of("host.exit"), 5, "news of its end")
    assert lines(seen) == ["first", "second", "last"]
    assert seen.events[-1][0] == "host.exit" and seen.of("host.exit")[0]["status"] == 3


def test_a_descriptor_keeps_its_number_across_an_exec(agent: HostAgent, seen: Collected) -> None:
    exec_itself = "ls -l /proc/self/fd/$0 >/dev/null && exec sh -c 'readlink /proc/self/fd/'$0 x"
    spawned = agent.spawn("qemu", ["sh", "-c", exec_itself, "{fd:serial}"], sockets=["serial"])
    assert spawned.argv[-1] == str(spawned.fds["serial"])
    agent.reap(spawned.pid)
    wait_until(lambda: seen.of("host.exit"), 5, "news of its end")
    assert lines(seen)[0].startswith("socket:")


def test_a_program_that_is_not_there(agent: HostAgent) -> None:
    with pytest.raises(AgentRefusal, match="there is no program 'no-such-qemu'"):
        agent.spawn("qemu", ["no-such-qemu"])
    with pytest.raises(AgentRefusal, match="a descriptor that was not asked for"):
        agent.spawn("qemu", ["echo", "{fd:serial}"])


def test_kill_and_ask_for_strangers(agent: HostAgent) -> None:
    pid = agent.spawn("qemu", SLEEP).pid
    assert agent.kill(pid) == {"status": None, "signal": "SIGKILL"}
    with pytest.raises(AgentRefusal, match="was not started by this agent"):
        agent.kill(os.getpid())


def end_by_eof(connection: LocalConnection) -> None:
    connection.streams[0].stdin.close()


def end_by(number: int) -> Callable[[LocalConnection], None]:
    return lambda connection: connection.streams[0].process.send_signal(number)


@pytest.mark.parametrize(
    "end",
    [end_by_eof, end_by(signal.SIGTERM), end_by(signal.SIGHUP), end_by(signal.SIGKILL)],
    ids=["controller gone", "SIGTERM", "SIGHUP", "SIGKILL"],
)
def test_nothing_is_left_running(
    end: Callable[[LocalConnection], None], connection: LocalConnection, tmp_path: Path
) -> None:
    agent = HostAgent(connection, options=["--state", str(tmp_path / "state")])
    with agent:
        pids = [agent.spawn(name, SLEEP).pid for name in ("old", "new")]
        agent.watch_pins(pids[0])
        end(connection)
        wait_until(lambda: all(gone(pid) for pid in pids), 5, "the end of both processes")
        agent.link.closed.wait(5)
        with pytest.raises(BenchError, match="is gone"):
            agent.clock_ns()


def test_pins_are_sampled_steadily_and_say_when_the_process_is_gone(
    agent: HostAgent, seen: Collected
) -> None:
    pid = agent.spawn("qemu", SLEEP).pid
    agent.watch_pins(pid, period_ms=10)
    wait_until(lambda: seen.tables.get("pins"), 5, "a batch of samples")
    agent.epoch(2)
    agent.kill(pid)
    wait_until(lambda: seen.tables["pins"][-1]["vmlck_kb"][-1] == -1, 5, "samples after its end")
    agent.stop_watch("pins")
    table = {
        name: np.concatenate([batch[name] for batch in seen.tables["pins"]])
        for name in seen.tables["pins"][0]
    }
    assert {name: column.dtype.str for name, column in table.items()} == {
        "t_ns": "<i8",
        "epoch": "<u4",
        "pinned": "<i8",
        "vmlck_kb": "<i8",
        "vmpin_kb": "<i8",
    }
    gaps_ms = np.diff(table["t_ns"]) / 1e6
    assert np.median(gaps_ms) == pytest.approx(10, abs=2)
    assert set(table["epoch"].tolist()) == {1, 2} and (table["vmlck_kb"][0], table["vmlck_kb"][-1]) == (0, -1)


def test_a_watch_runs_once(agent: HostAgent) -> None:
    agent.watch_pins(os.getpid())
    with pytest.raises(AgentRefusal, match="runs already"):
        agent.watch_pins(os.getpid())
    agent.stop_watch("pins")
    with pytest.raises(AgentRefusal, match="no watch 'pins' runs"):
        agent.stop_watch("pins")
    with pytest.raises(AgentRefusal, match="cannot sample pins"):
        agent.watch_pins(4194999)


ECHO = """
import socket, sys
s = socket.socket(fileno=int(sys.argv[1]))
while data := s.recv(65536):
    s.sendall(data)
"""


def test_a_stream_on_an_inherited_descriptor(agent: HostAgent, seen: Collected) -> None:
    pid = agent.spawn("qemu", [sys.executable, "-c", ECHO, "{fd:fd}"], sockets=["fd"]).pid
    agent.stream_open("fd", "fd", rate_hz=200)
    agent.stream_report("fd", upto=5)
    agent.epoch(2)
    sent = agent.stream_report("fd", drain=True)["sent"]
    report = agent.stream_report("fd", upto=sent)
    assert report["drained"] and (report["received"]["received"], report["received"]["lost"]) == (sent, 0)
    agent.kill(pid)
    wait_until(lambda: seen.of("chardev.eof"), 5, "the end of the stream")
    closed = agent.stream_close("fd")
    assert (closed["backend"], closed["connections"], closed["eofs"]) == ("fd", 1, 1)


def test_a_stream_on_a_listening_path_is_connected_to_again(
    agent: HostAgent, seen: Collected, tmp_path: Path
) -> None:
    far, path = NumberedStream(rate_hz=200), tmp_path / "s"
    for connection in (1, 2):
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            if connection == 1:
                agent.stream_open("path", "path", str(path), rate_hz=200)
            served, _ = listener.accept()
        stop, wanted = threading.Event(), agent.stream_report("path")["sent"] + 5
        served.setblocking(False)
        thread = threading.Thread(target=far.run, args=(served.fileno(), stop))
        thread.start()
        far.report(upto=wanted, timeout_s=5)
        if connection == 2:
            sent = agent.stream_report("path", drain=True)["sent"]
            at_far = far.report(upto=sent, timeout_s=5)["received"]
        stop.set()
        thread.join(5)
        served.close()
    wait_until(lambda: len(seen.of("chardev.eof")) == 2, 5, "the end of the second connection")
    kinds = [kind for kind, _ in seen.events if kind.startswith("chardev")]
    assert kinds == ["chardev.open", "chardev.eof", "chardev.reopen", "chardev.eof"]
    assert isinstance(at_far, dict) and at_far["received"] + at_far["lost"] == sent
    assert (at_far["damaged"], at_far["repeated"]) == (0, 0)


def test_a_stream_needs_something_to_connect_to(agent: HostAgent, tmp_path: Path) -> None:
    with pytest.raises(AgentRefusal, match="backend 'fd' a socket of spawn"):
        agent.stream_open("x", "fd")


def test_it_is_started_anew_in_place(agent: HostAgent, seen: Collected) -> None:
    before, sleeper = agent.facts["pid"], agent.spawn("qemu", SLEEP).pid
    os.kill(before, signal.SIGKILL)  # as a kexec does
    agent.renew()
    assert agent.facts["pid"] != before
    with pytest.raises(AgentRefusal, match=f"pid {sleeper} was not started by this agent"):
        agent.kill(sleeper)
    assert agent.reap(agent.spawn("qemu", ["true"]).pid) == {"status": 0, "signal": None}


def test_facts(agent: HostAgent) -> None:
    assert agent.facts["boot_id"] and agent.facts["restored"] == []
    assert agent.capabilities()["kernel"] == agent.facts["kernel"]
    assert isinstance(agent.functions(), list)
    assert agent.clock_ns() >= agent.facts["t_ns"]
    with pytest.raises(AgentRefusal, match="not on the target file's list of functions: none"):
        agent.bind("0000:99:00.0")


def test_what_needs_root_says_so(seen: Collected) -> None:
    """As nobody where the tests run as root; as whoever runs them elsewhere."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(stat.S_IRWXU | stat.S_IXOTH | stat.S_IROTH)
        connection = LocalConnection(Path(folder), nobody)
        with HostAgent(connection, seen, options=["--state", f"{folder}/state"]) as agent:
            assert agent.capabilities()["root"] is False
            with pytest.raises(AgentRefusal, match="root"):
                agent.watch_trace(1)
            with pytest.raises(AgentRefusal, match="root"):
                agent.process(1)
            pid = agent.spawn("qemu", SLEEP).pid
            assert agent.process(pid)["pid"] == pid
            agent.kill(pid)


def test_an_agent_that_does_not_start_says_why(connection: LocalConnection) -> None:
    with (
        pytest.raises(BenchError, match="unrecognized arguments"),
        HostAgent(connection, options=["--nonsense"]),
    ):
        pass


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    pack(tmp_path / "a")
    pack(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_probe_prints_json_and_changes_nothing(connection: LocalConnection) -> None:
    agents = put_agents(connection)
    argv = ["env", f"PYTHONPATH={agents}", sys.executable, "-m", "agents.host", "--probe"]
    done = subprocess.run(argv, capture_output=True, check=True)
    assert set(json.loads(done.stdout)) == {"capabilities", "functions"}
