"""cpr-transfer whose old QEMU dies, or goes on with a guest that is new QEMU's.

Source: QEMU docs/devel/migration/CPR.rst, cpr-transfer: the guest is in old QEMU until new QEMU has loaded
it, and in new QEMU alone from then on.
"""

from collections.abc import Callable
from contextlib import suppress

from lab.cpr import Mode
from lab.cpr.cpr_transfer import CprTransfer
from lab.errors import Refused, SutError
from lab.failures import IN_PLACE, LOST, Failure, Scene, killed
from lab.failures.transfer import Channel, Destination
from lab.incarnation import Incarnation
from lab.qemu.monitor import Monitor


class DiesEarly(Destination):
    """Old QEMU is killed when the destination has the descriptors, and nothing else."""

    def then(self, monitor: Monitor, new: Incarnation, theirs: Monitor, main: Channel) -> None:
        """Kill it; the destination is ended, too, for it has no guest."""
        raise Refused(f"old QEMU {killed(self.scene.guest, self.scene.guest.pid)}")


def _handed_over(then: Callable[[Scene, Monitor, int], None]) -> Callable[[Scene], Mode]:
    """A transfer that goes well; then something is done with old QEMU, whose end is no loss of the guest."""

    def does(scene: Scene) -> Mode:
        pid = scene.guest.pid

        def after(old: Monitor) -> None:
            scene.guest.qemus.evidence.record("qemu.left", pid=pid, update=old.update)
            then(scene, old, pid)

        return CprTransfer(scene.guest, scene.qemu, timeout_s=scene.timeout_s, handed_over=after)

    return does


def _killed(scene: Scene, _: Monitor, pid: int) -> None:
    scene.guest.qemus.evidence.record("failure.said", said=f"old QEMU {killed(scene.guest, pid)}")


def _told_to_go_on(scene: Scene, old: Monitor, _: int) -> None:
    """New QEMU is stopped meanwhile, so that no two processors run the same memory."""
    evidence = scene.guest.qemus.evidence
    with suppress(SutError):
        scene.guest.monitor.execute("stop")
    try:
        old.execute("cont")
    except Refused as refusal:
        evidence.record("failure.said", said=f"cont was refused: {refusal}")
    except SutError as trouble:
        evidence.record("failure.said", said=f"cont was not answered: {trouble}")
    else:
        evidence.record("failure.said", said="cont was accepted by old QEMU", split=True)
    with suppress(SutError):
        old.execute("stop")
    with suppress(SutError):
        scene.guest.monitor.execute("cont")


EARLY = Failure(
    "transfer-source-dies-early",
    "SIGKILL of old QEMU when the destination has the descriptors",
    DiesEarly,
    r"old QEMU was killed by signal SIGKILL",
    "docs/devel/migration/CPR.rst, cpr-transfer: the guest's state is in old QEMU until it has sent it",
    promised=LOST,
)
LATE = Failure(
    "transfer-source-dies-late",
    "SIGKILL of old QEMU when the destination runs the guest",
    _handed_over(_killed),
    r"old QEMU was killed by signal SIGKILL",
    "docs/devel/migration/CPR.rst, cpr-transfer: old QEMU has no more part in the guest",
    promised=IN_PLACE,
)
CONT = Failure(
    "transfer-cont-in-old",
    "`cont` in old QEMU after a transfer",
    _handed_over(_told_to_go_on),
    # 11.1.3 ends by SIGSEGV, as above, which costs nobody anything here; without a VFIO device it goes on
    r"^cont was not answered",
    "docs/devel/migration/CPR.rst, cpr-transfer: the guest is new QEMU's from then on; one guest runs once",
    promised=IN_PLACE,
)
