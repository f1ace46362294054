"""What is done about a host that is silent: its power is switched, once, and only if it is silence.

Source: issue 7: "a dead or wedged host is *broken*, never a skip, and is power-cycled and tried once more".
"""

# labgrid is untyped
# mypy: disallow-subclassing-any=False

import socket
from pathlib import Path

import attrs
import pytest
from labgrid import target_factory
from labgrid.driver import Driver
from labgrid.protocol import PowerProtocol

from lab.bench import Bench, prepared
from lab.drivers import labgrid_host
from lab.errors import BenchError, HostSilent

EXAMPLE = (Path(__file__).resolve().parents[2] / "targets/example-host.yaml").read_text()


@target_factory.reg_driver
@attrs.define(eq=False, slots=False)
class RememberingPower(Driver, PowerProtocol):
    """Power that remembers what was done to it."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.is_on = True
        self.done: list[str] = []

    def on(self) -> None:
        self.is_on = True

    def off(self) -> None:
        self.done.append("off")
        self.is_on = False

    def cycle(self) -> None:
        self.done.append("cycle")
        self.is_on = True

    def get(self) -> bool:
        return self.is_on


class Connection:
    """Of a host that answers."""

    alive = True

    def __init__(self) -> None:
        self.ran: list[list[str]] = []

    def run(self, argv: list[str], timeout_s: float = 0.0) -> "Connection":
        self.ran.append(argv)
        return self

    returncode = 0

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The health of these hosts is nobody else's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench with power, whose host refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    text = EXAMPLE.replace("bench-a.example.org, username: root", f"127.0.0.1, username: root, port: {port}")
    text = text.replace(
        "- BenchHost: {}", "- RememberingPower: {}\n      - BenchHost: {connect_timeout_s: 0.1}"
    )
    path = tmp_path / "real.yaml"
    path.write_text(text.replace("boot_timeout_s: 600", "boot_timeout_s: 0.2"))
    monkeypatch.setattr("lab.drivers.ssh_connect.paramiko.PKey.from_path", lambda path: None)
    return prepared(path)


def power(bench: Bench) -> RememberingPower:
    found: RememberingPower = bench.strategy.power
    return found


def answering(monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> Connection:
    """Make the host answer from attempt number `after` on."""
    connection, attempts = Connection(), iter(range(99))

    def connect(*_: object, **__: object) -> Connection:
        if next(attempts) < after:
            raise HostSilent("nothing")
        return connection

    monkeypatch.setattr(labgrid_host, "HostConnection", connect)
    return connection


def test_a_silent_host_is_power_cycled_and_tried_once_more_then_broken(bench: Bench) -> None:
    with pytest.raises(BenchError, match=r"did not answer within 0.2 s"):
        bench.ready()
    assert power(bench).done == ["cycle"]
    with pytest.raises(BenchError, match="failed 2 times"):
        bench.ready()
    with pytest.raises(BenchError, match="in quarantine"):
        bench.ready()
    assert power(bench).done == ["cycle"]
    assert bench.strategy.broken is None  # what labgrid's plugin looks at to skip


def test_a_silent_host_that_comes_back_is_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, after=1)
    bench.ready()
    assert power(bench).done == ["cycle"]
    bench.off()
    assert power(bench).done == ["cycle"]  # it was found on


def test_a_host_that_answers_keeps_its_power(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch)
    bench.ready()
    bench.ready()
    bench.off()
    assert power(bench).done == []


def test_a_dead_bmc_is_no_reason_not_to_use_a_host_that_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead() -> bool:
        raise BenchError("the BMC does not answer")

    monkeypatch.setattr(power(bench), "get", dead)
    answering(monkeypatch)
    bench.ready()
    assert power(bench).done == []


def test_a_host_that_refuses_our_key_keeps_its_power(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise BenchError("it refused the key")

    monkeypatch.setattr(labgrid_host, "HostConnection", refused)
    with pytest.raises(BenchError, match="refused the key"):
        bench.ready()
    assert power(bench).done == []


def test_a_host_that_was_off_is_off_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = answering(monkeypatch)
    monkeypatch.setattr("lab.drivers.labgrid_strategy._SHUTDOWN_S", 0.0)
    power(bench).is_on = False
    bench.ready()
    assert power(bench).is_on
    bench.off()
    assert not power(bench).is_on
    assert "poweroff -f" in connection.ran[-1][-1]  # its own system is asked first


def test_a_host_that_died_in_use_is_cycled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = answering(monkeypatch)
    bench.ready()
    connection.alive = False
    answering(monkeypatch, after=1)
    bench.ready()
    assert power(bench).done == ["cycle"]


class Booting(Connection):
    """Of a host that answers a while before it goes down, is silent, and comes back as another boot."""

    def __init__(self, boots: list[str]) -> None:
        super().__init__()
        self.boots = boots

    def renew(self, timeout_s: float) -> None:
        if self.boots[0] == "silent":
            self.boots.pop(0)
            raise HostSilent("nothing")

    def check(self, argv: list[str]) -> str:
        return self.boots.pop(0) if len(self.boots) > 1 else self.boots[0]


@pytest.mark.parametrize(
    "boots, reason",
    [
        (["old", "old", "silent", "new"], ""),
        (["old", "silent", "silent", "new"], ""),
        (["old", "old"], "did not boot anew within 0.2 s: it did not go down"),
        (["old", *["silent"] * 9, "old"], "did not boot anew within 0.2 s: nothing"),
    ],
    ids=["answers for a while", "is silent", "never goes down", "never comes back"],
)
def test_a_host_has_booted_anew_when_it_is_another_boot(
    boots: list[str], reason: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Booting(boots)
    monkeypatch.setattr(labgrid_host, "HostConnection", lambda *_, **__: connection)
    monkeypatch.setattr(labgrid_host, "_BOOT_PERIOD_S", 0.01 if not reason else 1.0)
    bench.ready()
    if not reason:
        bench.strategy.boot_timeout_s = 60.0
        with bench.booting_anew():
            pass
        return
    with pytest.raises(HostSilent, match=reason), bench.booting_anew():
        pass
