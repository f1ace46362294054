"""The process that holds a bench: `python -m lab.bench_holder TARGET_FILE`; SIGTERM takes the bench down."""

import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from lab import bench_state
from lab.bench import Bench, open_bench
from lab.errors import LabError
from lab.waiting import wait_until

_FOREVER_S = float("inf")


def main() -> None:
    """Hold the bench until a signal comes or it dies."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    path = Path(sys.argv[1])
    try:
        with open_bench(path) as bench:
            state = bench_state.folder() / f"{bench.name}.json"
            try:
                _write(state, state_of(bench, path))
                wait_until(lambda: not _lives(bench), _FOREVER_S, "its end", period_s=1.0)
                print(f"bench {bench.name} died; see {bench.console_log}")
            finally:
                state.unlink(missing_ok=True)
    except LabError as error:
        sys.exit(str(error))


def state_of(bench: Bench, path: Path) -> bench_state.BenchState:
    """What other processes need to use the bench."""
    machine = bench.virtual.vm.machine if bench.virtual else None
    ticks = bench_state.start_ticks(os.getpid())
    assert ticks is not None
    return bench_state.BenchState(
        name=bench.name,
        pid=os.getpid(),
        start_ticks=ticks,
        target_file=str(path),
        endpoint=bench.connection.endpoint,
        since=datetime.now().astimezone().isoformat(timespec="seconds"),
        console_log=str(bench.console_log) if bench.console_log else None,
        console=str(machine.console) if machine else None,
        monitor=str(machine.monitor) if machine else None,
    )


def _lives(bench: Bench) -> bool:
    return bench.virtual.vm.running if bench.virtual else bench.connection.alive


def _write(path: Path, state: bench_state.BenchState) -> None:
    partial = path.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(state.dump())
    partial.replace(path)


if __name__ == "__main__":
    main()
