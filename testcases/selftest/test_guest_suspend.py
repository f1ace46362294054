"""The guest agent's sleep, on files in place of the kernel's."""

from pathlib import Path
from typing import Any

import pytest

from lab.agents.guest.suspend import Suspend
from lab.agents.loop import Loop
from lab.agents.rpc import AgentError


class Out:
    """Takes the events, and ends the loop at the first."""

    def __init__(self, loop: Loop) -> None:
        self.loop, self.events = loop, list[tuple[str, dict[str, Any]]]()

    def event(self, kind: str, **data: Any) -> None:
        self.events.append((kind, data))
        self.loop.stop()


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """A driver with one device."""
    folder = tmp_path / "virtio_console"
    (folder / "virtio3").mkdir(parents=True)
    return folder


def slept(state: Path, driver: Path) -> dict[str, Any]:
    loop = Loop()
    out = Out(loop)
    Suspend(loop, out, state, driver).suspend()  # type: ignore[arg-type]  # it has what Suspend needs
    assert out.events == [], "the call is answered before the guest sleeps"
    loop.run()
    [(kind, data)] = out.events
    assert kind == "guest.resumed"
    return data


def test_the_ports_are_let_go_and_found_again(tmp_path: Path, driver: Path) -> None:
    state = tmp_path / "state"
    state.write_text("freeze mem disk\n", encoding="ascii")
    assert slept(state, driver)["error"] == ""
    assert state.read_text(encoding="ascii") == "mem"
    assert [(driver / word).read_text(encoding="ascii") for word in ("unbind", "bind")] == ["virtio3"] * 2


def test_a_sleep_that_fails_is_told_and_the_ports_come_back(tmp_path: Path, driver: Path) -> None:
    state = tmp_path / "state"
    state.write_text("mem\n", encoding="ascii")
    loop = Loop()
    out = Out(loop)
    Suspend(loop, out, state, driver).suspend()  # type: ignore[arg-type]  # it has what Suspend needs
    state.unlink()
    state.mkdir()  # a write to it fails, whoever writes
    loop.run()
    assert "Is a directory" in out.events[0][1]["error"]
    assert (driver / "bind").read_text(encoding="ascii") == "virtio3"


def test_a_guest_that_cannot_sleep_says_so(tmp_path: Path, driver: Path) -> None:
    loop = Loop()
    state = tmp_path / "state"
    with pytest.raises(AgentError, match="this guest cannot sleep"):
        Suspend(loop, Out(loop), state, driver).suspend()  # type: ignore[arg-type]
    state.write_text("freeze\n", encoding="ascii")
    with pytest.raises(AgentError, match=r"cannot suspend to RAM, .* has: freeze"):
        Suspend(loop, Out(loop), state, driver).suspend()  # type: ignore[arg-type]
