"""What the host agent's threads take of a processor, by threads that work and threads that wait."""

import threading
import time

from lab.agents.host.effort import Effort, threads_ns


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
