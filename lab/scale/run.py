"""One controller that runs several times: `python -m lab.scale.run ADDRESS FOLDER TAGS SECONDS NAME...`.

A run for each name: queue for a place with these tags, connect to its host by the lab's drivers, stay for
some seconds, give it back. Prints a JSON line a run: {"run", "place", "asked_s", "had_s", "ready_s",
"released_s"}, by this machine's CLOCK_BOOTTIME, and at last {"cpu_s", "pss_bytes"} of the process.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from lab.bench import prepared
from lab.places.lease import now_s
from lab.places.rent import Asked, rented
from lab.places.turn import parsed
from lab.scale.processes import cost_of

TEMPLATE = Path(__file__).resolve().parents[2] / "targets" / "place.yaml"
_QUEUE_S = 600.0


def main() -> None:
    """Run; what the lab raises ends the process."""
    address, folder, tags, seconds, *names = sys.argv[1:]
    for name in names:
        _tell(_run(Asked(address, parsed(tags), _QUEUE_S), name, Path(folder), float(seconds)))
    _tell(asdict(cost_of(os.getpid())))


def _run(asked: Asked, name: str, folder: Path, seconds: float) -> dict[str, object]:
    times = {"asked_s": now_s()}
    own = folder / name
    own.mkdir()
    with rented(asked, name, TEMPLATE, own, tell=lambda _: None, say=lambda _: None) as got:
        times["had_s"] = now_s()
        bench = prepared(got.target)
        try:
            bench.ready()
            times["ready_s"] = now_s()
            until_s = now_s() + seconds
            while (left_s := until_s - now_s()) > 0:
                bench.ready()  # as before each case
                got.holding.pause(min(1.0, left_s))
            bench.off()
        finally:
            bench.environment.cleanup()
        got.ended("")
    return {"run": name, "place": got.holding.place.name, **times, "released_s": now_s()}


def _tell(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
