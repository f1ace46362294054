"""The guest agent: `python3 -m agents.guest`, on the virtio-serial port `cprlab.agent`.

For tests: `--port unix:PATH` connects to a unix socket instead, `--nic unix:LOCAL:REMOTE` (or
packet:INTERFACE) stands for the NIC, `--kmsg PATH` for the kernel's log.
"""

import os
import socket
import sys
import time
from collections.abc import Callable
from typing import BinaryIO, cast

from ..journal import Journal
from ..loop import Loop
from ..rpc import Wire
from .agent import GuestAgent, boot_id
from .kmsg import KernelLog
from .port import Port, find
from .session import Session

PORT = "cprlab.agent"


def options(argv: list[str]) -> dict[str, str]:
    """["--port", "x"] as {"--port": "x"}. argparse would cost the guest half a second."""
    return dict(zip(argv[::2], argv[1::2], strict=True))


def opener(port: str) -> Callable[[], int | None]:
    """What opens the way to the controller."""
    if not port.startswith("unix:"):
        return lambda: find(port)

    def connected() -> int:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(port.removeprefix("unix:"))
        except OSError:
            connection.close()
            raise
        connection.setblocking(False)
        return connection.detach()

    return connected


def main() -> None:
    given = options(sys.argv[1:])
    # a thread of a stream must not keep a frame waiting for the default 5 ms
    sys.setswitchinterval(0.001)
    loop, journal = Loop(), Journal()
    # all that Wire asks of a stream is write and flush
    out = Wire(cast(BinaryIO, journal))
    agent = GuestAgent(loop, out, given.get("--nic", ""))
    session = Session(journal, out, agent.calls, f"{boot_id()}/{os.getpid()}/{time.monotonic_ns()}")
    Port(loop, opener(given.get("--port", PORT)), session, journal.unsent)
    loop.on_error = lambda error: blind(out, "guest-agent", error)
    try:
        KernelLog(loop, out, given.get("--kmsg", "/dev/kmsg"))
    except OSError as error:
        blind(out, "kmsg-guest", error)
    loop.run()


def blind(out: Wire, witness: str, error: Exception) -> None:
    """Tell that a part of the agent sees nothing any more; the others go on."""
    reason = f"{type(error).__name__}: {error}"
    out.event("witness.blind", witness=witness, reason=reason, where="guest")


if __name__ == "__main__":
    main()
