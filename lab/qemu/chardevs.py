"""Chardev connections of a guest as data: a back-end (QEMU qapi/char.json) and what is connected to it.

In templates {id} is the chardev's, {run} the folder of this QEMU's sockets, {home} that of all QEMUs of a
guest, {port} and {next} are two ports of the bench host.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

BOTH = ("to_guest", "from_guest")
ANSWERS = ("answers",)
FIRST_PORT = 42000
CONSOLES = 1
"""Serial ports before the first one of a chardev: the guest's console."""


@dataclass(frozen=True)
class Backend:
    """One kind of back-end, and its far end on the bench host.

    words:    after -chardev, without the id
    far:      what the host agent reaches it by (lab/agents/host/farends.py), or "ringbuf" by the monitor
    where:    its path or ports there; "" where the monitor must be asked
    prepared: whether the far end must be there before QEMU starts
    ways:     the directions that it has
    told:     whether the far end is told when QEMU is gone; if not, a loss is one without an end
    """

    name: str
    words: str
    far: str
    where: str = ""
    prepared: bool = False
    ways: tuple[str, ...] = BOTH
    told: bool = True


BACKENDS: Mapping[str, Backend] = {
    one.name: one
    for one in (
        Backend("socket-server", "socket,path={run}/{id},server=on,wait=off", "path", "{run}/{id}"),
        Backend("tcp-server", "socket,host=127.0.0.1,port={port},server=on,wait=off", "tcp", "{port}"),
        Backend("socket-client", "socket,path={home}/{id}", "listen", "{home}/{id}", prepared=True),
        Backend("client-once", "socket,path={home}/{id}", "listen-once", "{home}/{id}", prepared=True),
        Backend("reconnecting", "socket,path={home}/{id},reconnect-ms=100", "listen", "{home}/{id}", True),
        Backend("inherited", "socket,fd={{fd:{id}}}", "fd"),
        Backend("pty", "pty", "pty"),
        Backend("pty-path", "pty,path={home}/{id}", "pty", "{home}/{id}"),
        Backend("file", "file,path={home}/{id}", "file", "{home}/{id}", ways=BOTH[1:], told=False),
        Backend(
            "file-append", "file,path={home}/{id},append=on", "file", "{home}/{id}", False, BOTH[1:], False
        ),
        Backend("pipe", "pipe,path={home}/{id}", "pipe", "{home}/{id}", prepared=True, told=False),
        Backend("stdio", "stdio,signal=off", "fd"),
        Backend(
            "udp",
            "udp,host=127.0.0.1,port={port},localaddr=127.0.0.1,localport={next}",
            "udp",
            "{port}:{next}",
            prepared=True,
            told=False,
        ),
        Backend("mux", "socket,fd={{fd:{id}}},mux=on", "fd"),
        Backend("ringbuf", "ringbuf,size=65536", "ringbuf", ways=BOTH[1:], told=False),
        Backend("vnc", "", "path", "{run}/{id}"),
    )
}

PROTOCOLS = {"qmp": "qmp", "hmp": "hmp", "gdbstub": "gdb", "vnc": "vnc"}
"""Front-ends that answer -> what the far end speaks with them."""


@dataclass(frozen=True)
class Rates:
    """Lines, or requests, per second.

    calm:   of the far end
    dense:  of the far end around an update, so that something is on its way when old QEMU ends; 0: nothing
    guest:  of the guest's end
    """

    calm: float = 2.0
    dense: float = 20.0
    guest: float = 2.0


ASKED = Rates(5.0, 100.0)
IN_FLIGHT_HZ = {"virtio-serial": 80.0, "isa-serial": 40.0}
"""Of back-ends that lose what was sent between the guest's stop and the exec: a moment, on a fast host."""
CONNECTED = ("socket-server", "tcp-server", "socket-client", "reconnecting")
RATES_HZ: Mapping[str, Rates] = {
    **dict.fromkeys(("qmp", "hmp", "vnc"), ASKED),
    # each byte costs exits of the guest, and an emulated bench host cannot take many of them
    "isa-serial": Rates(1.0, 25.0, 1.0),
    # nothing can be asked of a guest that runs, and one that was stopped for a question must not be updated
    "gdbstub": Rates(1.0, 0.0),
}


@dataclass(frozen=True)
class Chardev:
    """One connection.

    frontend: virtio-serial, isa-serial, qmp, hmp, gdbstub or vnc
    number:   its position among those of its guest; makes ports unique
    serial:   number of its serial port in the guest, behind the console's
    share:    of the dense rate, where an update takes so long that the guest would get no processor
    """

    backend: Backend
    frontend: str
    number: int = 0
    serial: int = CONSOLES
    share: float = 1.0

    @property
    def id(self) -> str:
        return f"{self.backend.name}.{self.frontend}"

    @property
    def protocol(self) -> str:
        """What its far end speaks with QEMU itself; "" where the guest is at the other end."""
        return PROTOCOLS.get(self.frontend, "")

    @property
    def ways(self) -> tuple[str, ...]:
        return ANSWERS if self.protocol else self.backend.ways

    @property
    def told(self) -> bool:
        """A kept connection of a monitor loses answers without an end: its session begins anew."""
        return self.backend.told and not self.protocol

    @property
    def guest_port(self) -> str:
        """How the guest agent finds it."""
        return f"/dev/ttyS{self.serial}" if self.frontend == "isa-serial" else f"cprlab.{self.id}"

    @property
    def torn(self) -> bool:
        """Whether a part of a line may be lost: by a front-end that takes bytes, or in a file cut short."""
        return self.frontend == "isa-serial" or self.backend.name == "file"

    @property
    def rates_hz(self) -> Rates:
        rates = RATES_HZ.get(self.frontend, Rates())
        lossy = self.backend.name in CONNECTED or (self.share < 1 and self.backend.told)
        if lossy and not self.protocol:
            rates = replace(rates, dense=IN_FLIGHT_HZ[self.frontend])
        return replace(rates, dense=rates.dense * self.share)

    def where(self, run_dir: str, home: str) -> str:
        """Where the far end finds it; "" where the monitor must be asked, or it holds a socket."""
        return self._filled(self.backend.where, run_dir, home)

    def argv(self, run_dir: str, home: str) -> list[str]:
        """Its words; `{fd:ID}` stands for an inherited descriptor."""
        if self.frontend == "vnc":
            return ["-vnc", f"unix:{self.where(run_dir, home)}"]
        kind, *options = self._filled(self.backend.words, run_dir, home).split(",")
        chardev = ["-chardev", ",".join([kind, f"id={self.id}", *options])]
        # of two front-ends the one that comes last has the input
        monitor = ["-mon", f"chardev={self.id},mode=readline"] if self.backend.name == "mux" else []
        return [*chardev, *monitor, *self._frontend()]

    def _frontend(self) -> list[str]:
        words = {
            "virtio-serial": ["-device", f"virtserialport,chardev={self.id},name={self.guest_port}"],
            "isa-serial": ["-serial", f"chardev:{self.id}"],
            "qmp": ["-mon", f"chardev={self.id},mode=control"],
            "hmp": ["-mon", f"chardev={self.id},mode=readline"],
            "gdbstub": ["-gdb", f"chardev:{self.id}"],
        }
        return words[self.frontend]

    def _filled(self, template: str, run_dir: str, home: str) -> str:
        port = FIRST_PORT + 2 * self.number
        return template.format(id=self.id, run=run_dir, home=home, port=port, next=port + 1)


def chardevs(pairs: Iterable[tuple[str, str]], share: float = 1.0) -> tuple[Chardev, ...]:
    """Those of one guest, by (back-end, front-end)."""
    return tuple(_numbered(pairs, share))


def _numbered(pairs: Iterable[tuple[str, str]], share: float) -> Iterator[Chardev]:
    serial = CONSOLES
    for number, (backend, frontend) in enumerate(pairs):
        yield Chardev(BACKENDS[backend], frontend, number, serial, share)
        serial += frontend == "isa-serial"
