"""`python3 -m agents.container CONTROL STREAM`: the first process of a container, and the agent in it.

It stands for what runs beside QEMU in a container and talks to the outside: one connection for requests
(agents.rpc), one that numbered lines go through both ways. Both are descriptors that it inherits. When the
requests end, because the host agent did, it ends, and with it everything in its PID namespace.

Source: pid_namespaces(7), the init process; Linux kernel/pid_namespace.c zap_pid_ns_processes.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..guest.streams import Streams
from ..rpc import Wire, serve

PORT = "cprlab.container"
"""The only stream of `streams_start`."""


def main() -> None:
    control, stream = (int(word) for word in sys.argv[1:])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans of the container are ours: the kernel reaps them
    os.set_blocking(stream, False)
    streams = Streams(lambda name: stream if name == PORT else None)
    calls: dict[str, Callable[..., Any]] = {**streams.calls, "epoch": streams.epoch, "hello": hello}
    with open(control, "rb", closefd=False) as requests, open(control, "wb", closefd=False) as out:
        serve(requests, Wire(out), calls)
    os._exit(0)


def hello() -> dict[str, object]:
    """{pid, processes}: what it sees of its own PID namespace."""
    seen = sorted(int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return {"pid": os.getpid(), "processes": seen}


if __name__ == "__main__":
    main()
