"""What the host agent takes of a processor, and that it takes it late where it is told to be calm."""

import io
import json
import sys
import threading
import time
from pathlib import Path

from lab.agents.host.effort import Effort, threads_ns
from lab.agents.host.pace import CALM_S, Pace
from lab.agents.host.spawned import Spawner
from lab.agents.rpc import Wire
from lab.waiting import wait_until


def work(done: threading.Event, over: threading.Event) -> None:
    while time.thread_time_ns() < 30_000_000:
        pass
    done.set()
    over.wait()


def test_a_thread_that_works_is_told_from_one_that_waits() -> None:
    over = threading.Event()
    waiting = threading.Thread(target=over.wait, name="waits", daemon=True)
    waiting.start()
    effort = Effort()
    done = threading.Event()
    busy = threading.Thread(target=work, args=(done, over), name="works", daemon=True)
    busy.start()
    done.wait()
    told = effort.report()
    threads = told["threads"]
    assert isinstance(threads, dict) and isinstance(told["window_ns"], int)
    assert 30_000_000 <= threads["works"] <= told["window_ns"]
    assert threads.get("waits", 0) < 5_000_000
    over.set()


def test_a_thread_that_has_ended_is_left_out() -> None:
    ended = threading.Thread(target=lambda: None, name="ended")
    ended.start()
    ended.join()
    assert "ended" not in threads_ns() and "MainThread" in threads_ns()


def test_readers_rest_until_they_are_to_hurry() -> None:
    pace = Pace()
    began_s = time.monotonic()
    pace.rest()
    assert time.monotonic() - began_s < CALM_S / 2, "they hurry unless told otherwise"
    pace.calm(True)
    hurried = threading.Timer(CALM_S / 10, pace.calm, [False])
    hurried.start()
    pace.rest()
    assert CALM_S / 20 < time.monotonic() - began_s < CALM_S


def test_what_a_program_says_comes_late_and_whole(tmp_path: Path) -> None:
    out, pace = io.BytesIO(), Pace()
    pace.calm(True)
    spawner = Spawner(Wire(out), tmp_path, pace)
    script = "import sys; [print(n, file=sys.stderr, flush=True) for n in range(300)]"
    pid = spawner.spawn("talker", [sys.executable, "-c", script])["pid"]
    spawner.child(pid).reap(20)
    wait_until(lambda: b"host.exit" in out.getvalue(), 20, "the news of its end")
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [e["data"]["text"] for e in said if e["event"] == "log"] == [str(n) for n in range(300)]
