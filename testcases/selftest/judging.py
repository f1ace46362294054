"""How fast recordings are judged: `make bench-judge`.

Recordings as a case leaves them, of 10⁷ and 10⁸ blocks in two streams, are written in batches as the lab
does, judged by all standard checkers, and passed over by plain numpy (the maximum of each column), in turns
and each in a process of its own. Printed, never asserted: blocks per second, their ratio, and peak memory.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lab.checkers import standard
from lab.columns import BLOCKS, Table, read
from lab.report.picture import draw
from lab.timeline import Timeline
from lab.verdict import judge, worst

from .story import Story
from .timelines import healthy

STREAMS = ("nic.to-guest", "nic.from-guest")
BATCH = 1 << 16
BYTES_PER_BLOCK = 2 * sum(np.dtype(dtype).itemsize for dtype in BLOCKS.values())
"""Each is in a table of those sent and in one of those received."""


def stretched(
    few: Mapping[str, NDArray[np.generic]], rows: int, first: int
) -> dict[str, NDArray[np.generic]]:
    """Rows from `first` on of a table in which each row of another one has become thousands.

    The blocks pass in the same time, and none passes where none did.
    """
    count = len(few["t_ns"])
    n = np.arange(first, min(first + BATCH, rows))
    at = n * count // rows
    gap = np.diff(few["t_ns"].astype(np.int64), append=few["t_ns"][-1])
    within = np.minimum(gap, 2_000_000)[at] * (n * count % rows) // rows
    return {
        "seq": (n + 1).astype(np.uint64),
        "epoch": few["epoch"][at],
        "t_ns": few["t_ns"].astype(np.int64)[at] + within,
        "good": np.ones(len(n), np.uint8),
    }


def record(folder: Path, blocks: int) -> float:
    """Write a case's recording of so many blocks; returns the seconds that the tables of blocks took."""
    story = healthy()
    few = {name: story.tables.pop(name) for name in list(story.tables) if name.startswith("nic.")}
    each = blocks // len(STREAMS)
    for stop in (e for e in story.events if e[1] == "load.stop"):
        stop[2]["totals"] = {stream.removeprefix("nic."): {"blocks": each} for stream in STREAMS}
    _events(story, folder)
    took_s = 0.0
    for name, table in few.items():
        out = Table(folder / "columns" / name, BLOCKS)
        for first in range(0, each, BATCH):
            batch = stretched(table, each, first)
            start_s = time.perf_counter()
            out.append(batch)
            took_s += time.perf_counter() - start_s
        out.close()
    return took_s


def _events(story: Story, folder: Path) -> None:
    events = story.timeline(folder / "columns").events
    lines = (json.dumps(asdict(event)) + "\n" for event in events)
    (folder / "timeline.jsonl").write_text("".join(lines), encoding="utf-8")


def judged(folder: Path) -> str:
    """Judge as a case is judged."""
    timeline = Timeline.load(folder / "timeline.jsonl")
    return str(worst(judge(timeline, standard(STREAMS, pause_limit_s=2))))


def passed(folder: Path) -> str:
    """One plain pass over the same columns."""
    for stream in STREAMS:
        for side in ("sent", "received"):
            for column in (read(folder / "columns", f"{stream}.{side}") or {}).values():
                column.max()
    return "passed"


def drawn(folder: Path) -> str:
    """The pictures of the report."""
    draw(Timeline.load(folder / "timeline.jsonl"), folder / "pictures", "case", "PASS")
    return "drawn"


ACTS: Mapping[str, Callable[[Path], str]] = {"judged": judged, "passed": passed, "drawn": drawn}


def _act(name: str, folder: Path) -> None:
    """In a process of its own: what it said, for how long, and the most memory it held beside its start."""
    before = _memory_bytes("VmRSS")
    start_s = time.perf_counter()
    said = ACTS[name](folder)
    took_s = time.perf_counter() - start_s
    print(json.dumps({"said": said, "seconds": took_s, "bytes": _memory_bytes("VmHWM") - before}))


def _memory_bytes(field: str) -> int:
    # not getrusage, whose peak is inherited over an exec
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def _apart(name: str, folder: Path) -> dict[str, float]:
    argv = [sys.executable, "-m", __spec__.name, "--act", name, "--folder", str(folder)]
    told = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)
    if told["said"] not in ("PASS", "passed", "drawn"):
        sys.exit(f"the recording ought to PASS, and is {told['said']}")
    return {key: float(told[key]) for key in ("seconds", "bytes")}


def measure(blocks: int, rounds: int, parent: Path | None) -> None:
    """Print a line of figures for each of the acts."""
    folder = Path(tempfile.mkdtemp(prefix="cprlab-judging-", dir=parent))
    try:
        took_s = record(folder, blocks)
        size = blocks * BYTES_PER_BLOCK
        print(f"{blocks:.0e} blocks, {size / 1e6:.0f} MB of columns; recorded {_words(blocks, took_s)}")
        pairs = [(_apart("passed", folder), _apart("judged", folder)) for _ in range(rounds)]
        ratios = sorted(ours["seconds"] / plain["seconds"] for plain, ours in pairs)
        for name, series in zip(("plain pass", "judged"), zip(*pairs, strict=True), strict=True):
            seconds = median(one["seconds"] for one in series)
            peak = max(one["bytes"] for one in series)
            print(
                f"  {name:10} {seconds:7.2f} s, {_words(blocks, seconds)}, "
                f"at most {peak / 1e6:.0f} MB, {peak / size:.2f} of the columns"
            )
        print(f"  judged / plain pass: {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), goal 3")
        pictures = _apart("drawn", folder)
        print(
            f"  pictures   {pictures['seconds']:7.2f} s, at most {pictures['bytes'] / 1e6:.0f} MB", flush=True
        )
    finally:
        shutil.rmtree(folder)


def _words(blocks: int, seconds: float) -> str:
    return f"{blocks / seconds / 1e6:.1f} million blocks/s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, action="append", help="default: 10⁷ and 10⁸")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="where the recordings are made; default: the temporary one"
    )
    parser.add_argument("--act", choices=ACTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.act:
        _act(options.act, options.folder)
        return
    for blocks in options.blocks or (10**7, 10**8):
        measure(blocks, options.rounds, options.folder)


if __name__ == "__main__":
    main()
