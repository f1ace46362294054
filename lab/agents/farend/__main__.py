"""The far-end agent: `python3 -m agents.farend --wire unix:LOCAL:REMOTE | packet:INTERFACE`.

Requests on stdin, answers, events and rows on stdout; ends when stdin does.
"""

import argparse
import os
import sys
from typing import BinaryIO, cast

from ..frames import ETHERTYPE
from ..lines import Lines
from ..loop import Loop
from ..rawsock import opened
from ..rpc import Wire, answer
from .agent import FarEnd
from .output import QueuedOutput


def main() -> None:
    parser = argparse.ArgumentParser(prog="agents.farend")
    parser.add_argument("--wire", required=True, help="unix:LOCAL:REMOTE or packet:INTERFACE")
    socket = opened(parser.parse_args().wire, ETHERTYPE)
    loop, queued = Loop(), QueuedOutput(sys.stdout.buffer)
    sys.stdout = sys.stderr  # prints must not break a line
    # all that Wire asks of a stream is write and flush
    out = Wire(cast(BinaryIO, queued))
    agent, lines = FarEnd(loop, socket, out), Lines()

    def requests(_: int) -> None:
        data = os.read(0, 65536)
        for line in lines.feed(data):
            answer(line, out, agent.calls)
        if not data:
            loop.stop()

    loop.watch(0, requests)
    loop.run()
    agent.stop()
    queued.close()


if __name__ == "__main__":
    main()
