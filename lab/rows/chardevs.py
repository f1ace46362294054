"""The chardev matrix as data: which connections a guest is given, and what an update makes of each.

What is expected was measured with QEMU 11.1.3; testcases/test_chardevs.py holds it strictly, both ways:
a QEMU that keeps more is as red as one that keeps less.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lab.checkers.chardevs import ChardevGrade
from lab.errors import LabUsageError
from lab.qemu.chardevs import Chardev, chardevs
from lab.rows import EXEC, TRANSFER

V, ISA = "virtio-serial", "isa-serial"
Pair = tuple[str, str]
"""Back-end and front-end, by names of lab/qemu/chardevs.py."""


@dataclass(frozen=True)
class ChardevGuest:
    """Connections that one guest carries at once.

    modes: of update; each makes a case
    lost:  what new QEMU says where the guest is lost; "" where it lives
    no:    what QEMU says when it refuses the update (a regular expression); "" where it does not
    """

    name: str
    pairs: tuple[Pair, ...]
    modes: tuple[str, ...] = (EXEC,)
    lost: str = ""
    no: str = ""

    def chardevs(self, mode: str = EXEC) -> tuple[Chardev, ...]:
        """Its connections; by cpr-transfer two QEMUs live at once, and an update takes far longer."""
        return chardevs(self.pairs, 0.25 if mode == TRANSFER else 1.0)

    def claims(self, version: str, mode: str) -> list[ChardevGrade]:
        """A checker for each connection, by what is known of a version of QEMU."""
        grades = expected(version)[mode]
        return [
            ChardevGrade(one.id, grades[pair], one.ways, one.told, one.torn)
            for pair, one in zip(self.pairs, self.chardevs(mode), strict=True)
        ]


BOTH_MODES = (EXEC, TRANSFER)

# few a guest: each stream costs its processor, and on an emulated bench host there is little of that.
# No mux with virtio-serial: the mux garbles what its front-end does not take at once (11.1.3: 21 lines came
# twice), which is no matter of updates (inferred: 32 bytes of a ring are written over, chardev/char-mux.c)
MATRIX = (
    ChardevGuest(
        "several",
        (("inherited", V), ("socket-server", V), ("pipe", V), ("file", V), ("file-append", V)),
        BOTH_MODES,
    ),
    ChardevGuest("connecting", (("socket-client", V), ("reconnecting", V), ("udp", V)), BOTH_MODES),
    ChardevGuest("asked-for", (("pty", V), ("ringbuf", V)), BOTH_MODES),
    # by cpr-exec only: old QEMU's monitors answer until whoever updates it by cpr-transfer ends it
    ChardevGuest(
        "monitors",
        (
            *(("tcp-server", V), ("socket-server", "qmp"), ("inherited", "qmp"), ("socket-server", "hmp")),
            ("vnc", "vnc"),
        ),
    ),
    # a machine has four serial ports, the console has one
    ChardevGuest("serial", (("inherited", ISA), ("mux", ISA)), BOTH_MODES),
    ChardevGuest("serial-1", (("stdio", V), ("udp", ISA), ("pipe", ISA))),
    ChardevGuest("serial-2", (("file", ISA), ("file-append", ISA), ("ringbuf", ISA)), BOTH_MODES),
    ChardevGuest("serial-3", (("pty", ISA), ("socket-client", ISA), ("reconnecting", ISA))),
    ChardevGuest("serial-4", (("stdio", ISA), ("socket-server", ISA))),
    ChardevGuest("serial-5", (("tcp-server", ISA), ("tcp-server", "qmp"))),
    # both QEMUs want the port at once
    ChardevGuest("tcp", (("tcp-server", V),), (TRANSFER,), no="Address already in use"),
    ChardevGuest("gdbstub", (("socket-server", "gdbstub"),), BOTH_MODES),
    ChardevGuest("pty-path", (("pty-path", V),), lost="Failed to create PTY symlink: File exists"),
    ChardevGuest("client-once", (("client-once", V),), lost="client-once.virtio-serial': No such file"),
    # new QEMU ends before anything is handed over
    ChardevGuest("pty-path-there", (("pty-path", V),), (TRANSFER,), no="Failed to create PTY symlink: File"),
    ChardevGuest("client-gone", (("client-once", V),), (TRANSFER,), no="Failed to connect to"),
)

ALL_LOSE = (
    *(("socket-server", V), ("socket-client", V), ("reconnecting", V), ("pty", V), ("file", V)),
    *(("ringbuf", V), ("socket-server", ISA), ("pty", ISA), ("socket-client", ISA), ("reconnecting", ISA)),
)

EXPECTED: Mapping[str, Mapping[str, Mapping[Pair, str]]] = {
    "11.1": {
        EXEC: {
            **dict.fromkeys(ALL_LOSE, "C"),
            **{("inherited", V): "A", ("stdio", V): "A", ("file-append", V): "A", ("pipe", V): "A"},
            **{("tcp-server", V): "C", ("udp", V): "C"},
            # the session begins anew on the connection that is kept: what comes before is refused
            ("inherited", "qmp"): "C",
            **{("socket-server", "qmp"): "C", ("socket-server", "hmp"): "C", ("vnc", "vnc"): "C"},
            # bytes are read that never reach the guest, on a connection that is kept
            **{("inherited", ISA): "cut", ("mux", ISA): "cut", ("stdio", ISA): "cut", ("pipe", ISA): "C"},
            **{("tcp-server", ISA): "C", ("udp", ISA): "C", ("tcp-server", "qmp"): "C"},
            **{("file", ISA): "C", ("file-append", ISA): "A", ("ringbuf", ISA): "C"},
            ("socket-server", "gdbstub"): "B",
            **{("pty-path", V): "guest lost", ("client-once", V): "guest lost"},
        },
        TRANSFER: {
            **dict.fromkeys(ALL_LOSE, "C"),
            **{("inherited", V): "C", ("inherited", ISA): "C", ("mux", ISA): "C"},
            **{("file", ISA): "C", ("ringbuf", ISA): "C"},
            **{("tcp-server", V): "refused", ("pty-path", V): "refused", ("client-once", V): "refused"},
            # what both processes have by one name is kept
            **{("file-append", V): "A", ("pipe", V): "A", ("udp", V): "A"},
            ("file-append", ISA): "A",
            ("socket-server", "gdbstub"): "B",
        },
    },
}
"""Version of new QEMU, as it begins -> mode of update -> grade (lab/checkers/chardevs.py)."""


def expected(version: str) -> Mapping[str, Mapping[Pair, str]]:
    """The grades of a version of QEMU: of the newest that is known up to it; mode -> pair -> grade.

    Raises:
        LabUsageError: it is older than all that are known.
    """
    known = [name for name in EXPECTED if _numbers(name) <= _numbers(version)]
    if not known:
        raise LabUsageError(f"QEMU {version} is older than what is known: {', '.join(EXPECTED)}")
    return EXPECTED[max(known, key=_numbers)]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
