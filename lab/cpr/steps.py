"""Steps that several modes take."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from lab.errors import OutcomeUnknown, Refused
from lab.guest import Guest
from lab.qemu.monitor import Monitor
from lab.waiting import wait_until


def set_capabilities(monitor: Monitor, *names: str) -> None:
    """Switch migration capabilities on; QEMU forgets them with every process."""
    wanted = [{"capability": name, "state": True} for name in names]
    monitor.execute("migrate-set-capabilities", {"capabilities": wanted})


def wait_for_status(monitor: Monitor, wanted: Sequence[str], timeout_s: float, what: str) -> str:
    """Wait for a runstate, and return it.

    Raises:
        OutcomeUnknown: it does not come in time.
    """

    def status() -> str | None:
        now = str(monitor.execute("query-status")["status"])
        return now if now in wanted else None

    return str(wait_until(status, timeout_s, what, error=OutcomeUnknown))


def wait_for_migration(monitor: Monitor, timeout_s: float, what: str) -> None:
    """Wait until the migration of this QEMU has completed, by its own events.

    Raises:
        Refused: it failed, was cancelled, or QEMU ended.
        OutcomeUnknown: nothing of that in time.
    """
    wait_until(
        lambda: monitor.migration_ended() or not monitor.connected(), timeout_s, what, error=OutcomeUnknown
    )
    if not monitor.connected():
        raise Refused(f"{what}: QEMU ended")
    if monitor.migration_ended() != "completed":
        raise Refused(f"update {monitor.migration_ended()}: {why(monitor)}")


def why(monitor: Monitor) -> str:
    """What QEMU says of a migration that failed."""
    reply: Any = monitor.execute("query-migrate")
    return str(reply.get("error-desc", reply))


def succeeded(
    guest: Guest,
    qemu: str,
    incoming: Sequence[str],
    wrapper: Sequence[str],
    update: int,
    timeout_s: float,
    between: Callable[[], None] = lambda: None,
) -> Monitor:
    """End old QEMU, which frees the devices, and start new QEMU as the guest's; its monitor, connected.

    between: what is done when there is neither

    Raises:
        Refused: new QEMU ended.
        OutcomeUnknown: it does not answer in time.
    """
    guest.qemus.give_up(guest.now, guest.monitor, update)
    between()
    new = guest.qemus.start(qemu, incoming, wrapper)
    monitor = guest.qemus.monitor(new)
    monitor.begin(update)
    monitor.open("new", timeout_s)
    guest.become(new, monitor)
    return monitor


def wait_for_agent(guest: Guest, timeout_s: float, what: str) -> None:
    """Wait until the guest agent answers again.

    Raises:
        OutcomeUnknown: it does not in time.
    """

    def answers() -> bool:
        # one that was started anew has no answer to the first call, one that slept is slow to hear it
        with suppress(OutcomeUnknown):
            guest.link.call("hello", 2.0)
            return True
        return False

    wait_until(answers, timeout_s, what, error=OutcomeUnknown)
