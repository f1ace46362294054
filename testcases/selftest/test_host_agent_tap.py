"""A tap lives as long as its last descriptor, and a persistent one as long as the agent wants.

Claim: contract of the host agent: what is made is unmade, whatever ends the agent.
"""

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.agents.host.journal import Journal
from lab.agents.host.spawned import FIRST_FD, Spawner
from lab.agents.host.tap import Taps
from lab.agents.rpc import AgentError, Wire
from testcases.selftest.host_agent_made import MakingHost, crash_after, journal_of, next_agent, tree

TAP = "cprtap0"


@pytest.fixture
def host(tmp_path: Path) -> MakingHost:
    return MakingHost(tmp_path / "host")


@pytest.fixture
def journal(host: MakingHost) -> Journal:
    return journal_of(host)


class Tun:
    """Stands for /dev/net/tun: a tap is the read end of a pipe, whose writer sees when it is gone."""

    def __init__(self, host: MakingHost) -> None:
        self.host = host
        self.persistent: list[str] = []
        self.others: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def opened(self, name: str) -> int:
        ours, self.others[name] = os.pipe()
        self._names[ours] = name
        self.host.tap(name)
        return ours

    def persist(self, fd: int) -> None:
        self.persistent.append(self._names[fd])

    def held(self, name: str) -> bool:
        """Whether anybody has its descriptor."""
        try:
            return os.write(self.others[name], b"x") == 1
        except BrokenPipeError:
            return False

    def close(self) -> None:
        for other in self.others.values():
            os.close(other)


@pytest.fixture
def tun(host: MakingHost) -> Iterator[Tun]:
    made = Tun(host)
    yield made
    made.close()


@pytest.fixture
def taps(host: MakingHost, journal: Journal, tun: Tun) -> Taps:
    return Taps(host.sysfs, journal, tun.opened, tun.persist)


def test_a_tap_is_held_until_it_is_removed(host: MakingHost, tun: Tun, taps: Taps, journal: Journal) -> None:
    assert taps.create(TAP) == {"name": TAP, "mac": "5e:bb:30:b2:64:a7"}
    assert host.is_up(TAP) and tun.held(TAP) and tun.persistent == []
    assert not journal.path.exists(), "it goes with its last descriptor, so nothing needs undoing"
    for _ in range(2):
        taps.remove(TAP)
        assert not tun.held(TAP)


def test_all_go_at_the_end(tun: Tun, taps: Taps) -> None:
    for name in ("a", "b"):
        taps.create(name)
    taps.close()
    assert not tun.held("a") and not tun.held("b")


def test_the_hosts_ipv6_says_nothing_on_it(host: MakingHost, taps: Taps) -> None:
    ipv6 = f"proc/sys/net/ipv6/conf/{TAP}/disable_ipv6"
    host.file(ipv6, "0\n")
    taps.create(TAP)
    assert host.written == [("disable_ipv6", "1")]
    taps.create("other")
    assert len(host.written) == 1, "this kernel has no IPv6 on it"


def test_a_persistent_tap_is_held_by_nobody(host: MakingHost, tun: Tun, taps: Taps, journal: Journal) -> None:
    before = tree(host)
    taps.persistent(TAP)
    assert tun.persistent == [TAP] and not tun.held(TAP) and host.is_up(TAP)
    for _ in range(2):
        taps.remove(TAP)
        assert tree(host) == before and journal.undo_all() == []


def test_interfaces_of_others_are_left_alone(host: MakingHost, taps: Taps, journal: Journal) -> None:
    host.interface("eth9", "52:54:00:12:34:56")
    for make in (taps.create, taps.persistent):
        with pytest.raises(AgentError, match="there is a network interface eth9 already"):
            make("eth9")
    taps.remove("eth9")
    assert (host.root / "sys/class/net/eth9").exists() and host.ran == []
    entry = journal.begin("tap.persistent", "eth9", {}, {})
    journal.undo(entry)
    assert (host.root / "sys/class/net/eth9").exists(), "it is no tap"


@pytest.mark.parametrize("name", ["", "a" * 16, "../x", ".", ".."])
def test_names_that_no_interface_has(taps: Taps, name: str) -> None:
    with pytest.raises(AgentError, match="is no name for a network interface"):
        taps.create(name)


def test_what_half_succeeded_is_undone(host: MakingHost, tun: Tun, taps: Taps) -> None:
    before = tree(host)
    host.fails.add("up")
    with pytest.raises(AgentError, match="Operation not supported"):
        taps.persistent(TAP)
    assert tree(host) == before
    with pytest.raises(AgentError, match="Operation not supported"):
        taps.create(TAP)
    assert not tun.held(TAP)
    with pytest.raises(AgentError, match="is not held by this agent; it holds: none"):
        taps.descriptors([TAP])


@pytest.mark.parametrize("steps", range(2))
def test_a_crash_is_undone_by_the_next_agent(host: MakingHost, tun: Tun, steps: int) -> None:
    before, crashed = tree(host), journal_of(host)
    with crash_after(host, steps):
        Taps(host.sysfs, crashed, tun.opened, tun.persist).persistent(TAP)
    assert next_agent(host, crashed) == [] and tree(host) == before


LOOK = """
import json, os, sys
found = {number: os.readlink(f"/proc/self/fd/{number}").split(":")[0] for number in sys.argv[1:]}
print(json.dumps(found), flush=True)
if "again" not in os.environ:
    os.environ["again"] = "yes"
    os.execv(sys.executable, [sys.executable, "-c", sys.orig_argv[2], *sys.argv[1:]])
"""


def test_a_process_keeps_sockets_and_taps_under_their_numbers_over_an_exec(
    tmp_path: Path, tun: Tun, taps: Taps
) -> None:
    """As new QEMU finds them after cpr-exec."""
    for name in ("one", "two"):
        taps.create(name)
    out = io.BytesIO()
    spawner = Spawner(Wire(out), tmp_path)
    argv = [sys.executable, "-c", LOOK, "{fd:tap:two}", "{fd:serial}", "{fd:tap:one}"]
    given = taps.descriptors(["one", "two"])
    spawned = spawner.spawn("qemu", argv, sockets=["serial"], taps=given)
    # this process, unlike an agent, may have so many descriptors that the first of these are taken
    assert list(spawned["fds"]) == ["serial", "tap:one", "tap:two"]
    serial, one, two = (str(number) for number in spawned["fds"].values())
    assert FIRST_FD <= int(serial) < int(one) < int(two)
    assert spawned["argv"][3:] == [two, serial, one]
    assert spawner.child(spawned["pid"]).reap(10) == {"status": 0, "signal": None}
    seen = [json.loads(line) for line in Path(spawned["log"]).read_text().splitlines()]
    assert seen == [{serial: "socket", one: "pipe", two: "pipe"}] * 2
    assert tun.held("one") and tun.held("two"), "the agent keeps its own, for the next QEMU"
    taps.close()
    assert not tun.held("one") and not tun.held("two"), "the duplicates are gone"


def test_a_tap_that_is_not_held_cannot_be_inherited(tmp_path: Path, taps: Taps) -> None:
    taps.create("one")
    taps.persistent("two")
    with pytest.raises(AgentError, match="tap 'two' is not held by this agent; it holds: one"):
        taps.descriptors(["one", "two"])
    spawner = Spawner(Wire(io.BytesIO()), tmp_path)
    with pytest.raises(AgentError, match="a descriptor that was not asked for"):
        spawner.spawn("qemu", ["echo", "{fd:tap:two}"], taps=taps.descriptors(["one"]))
