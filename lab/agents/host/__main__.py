"""`python3 -m agents.host`: serve the controller on stdin and stdout until it closes stdin.

`--probe` prints what the host can do and what it could assign, as JSON, and changes nothing.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from ..rpc import serve, standard_streams
from .agent import STATE, HostAgent
from .capabilities import capabilities
from .functions import functions
from .sysfs import Sysfs

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def main() -> int:
    parser = argparse.ArgumentParser(prog="agents.host", description=__doc__)
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--state", type=Path, default=STATE, help="folder of the journal of changes")
    options = parser.parse_args()
    if options.probe:
        print(json.dumps({"capabilities": capabilities(Sysfs()), "functions": functions(Sysfs())}))
        return 0
    return session(options.state)


def session(state: Path) -> int:
    """Serve one controller; whatever ends it, everything is undone."""
    requests, wire = standard_streams()
    for number in _ENDING:
        signal.signal(number, _end)
    sys.setswitchinterval(0.001)  # the default of 5 ms would make samples taken every 10 ms late
    agent = HostAgent(wire, state)
    try:
        serve(requests, wire, agent.calls())
    except OSError as error:
        print(f"the controller is gone: {error}", file=sys.stderr)
    finally:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)  # nothing may interrupt what follows
        errors = agent.end()
        for error_text in errors:
            print(f"not undone: {' '.join(error_text.split())}", file=sys.stderr)
        # threads may hang in a write that nobody reads: leave without waiting for them
        sys.stderr.flush()
        os._exit(1 if errors else 0)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
