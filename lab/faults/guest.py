"""Faults of the guest: it is started anew, or its agent or its heart stands still."""

import threading
from contextlib import suppress

from lab.errors import SutError
from lab.faults.fault import ALL_DMA, Fault, Scene, checkers
from lab.waiting import wait_until

FOR_EVER_S = 1e6
AGENT = checkers("same_guest", *ALL_DMA, "chardev_grade(stream-fd)", "chardev_grade(stream-path)")
_RESET_S = 30.0


def _reboot(scene: Scene) -> None:
    scene.guest.monitor.execute("system_reset")


def _reboot_in_the_middle(scene: Scene) -> None:
    """Ask for a reset from now on until one is told of, whichever QEMU runs the guest by then."""

    def reset() -> bool:
        with suppress(SutError):  # while QEMU execs nobody answers
            scene.guest.monitor.execute("system_reset", aside=True)
        return _recorded(scene, '"RESET"')

    def run() -> None:
        wait_until(lambda: _recorded(scene, '"cpr.invoke"'), _RESET_S, "an update", period_s=0.01)
        wait_until(reset, _RESET_S, "a reset of the guest", period_s=0.1)

    threading.Thread(target=run, name="planted reset", daemon=True).start()


def _recorded(scene: Scene, text: str) -> bool:
    return text in scene.evidence.recorder.path.read_text(encoding="utf-8")


def _stop_heart(scene: Scene) -> None:
    scene.guest.link.call("mishap_heart")


def _hang_agent(scene: Scene) -> None:
    scene.guest.link.call("mishap_freeze", seconds=FOR_EVER_S)


FAULTS = {
    # DMA goes on, so something lives; whether it is the guest that was, nobody can tell
    "guest-heart-stops": Fault(unknown=checkers("same_guest", "logs_clean"), last=_stop_heart),
    "guest-agent-hangs": Fault(
        unknown=AGENT | {"logs_clean"},
        unsure=checkers("guest_pause_below"),
        serves=False,
        after=_hang_agent,
    ),
    "guest-reboots": Fault(checkers("same_guest"), spares=False, after=_reboot, everyday=True),
    "guest-reboots-in-the-middle": Fault(checkers("same_guest"), spares=False, last=_reboot_in_the_middle),
}
