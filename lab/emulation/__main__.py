"""`python -m lab.emulation FOLDER`: emulate a host until SIGTERM or Ctrl-C.

Its first line is "ready: TARGET_FILE".
"""

import argparse
import logging
import signal
import sys
from pathlib import Path

from lab.emulation.host import Wanted, run
from lab.errors import LabError


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab.emulation")
    parser.add_argument("folder", type=Path, help="for its target file, keys and disks; a new one")
    parser.add_argument("--name", default="bench-a", help="of its target file (default: bench-a)")
    parser.add_argument("--bmc", choices=("redfish", "ipmi"), default="redfish")
    parser.add_argument("--far", choices=("machine", "loop"), default="machine", help="where its cable leads")
    parser.add_argument("--memory-mib", type=int, default=3072)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    arguments = vars(parser.parse_args())
    arguments["folder"] = arguments["folder"].absolute()
    try:
        run(Wanted(**arguments), lambda path: print(f"ready: {path}", flush=True))
    except LabError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
