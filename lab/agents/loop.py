"""One thread that waits for everything: descriptors and times.

One loop instead of threads: the guest has one processor, and every thread more would make a
frame wait for Python's global lock.
"""

import select
import time
from collections.abc import Callable

NEVER = 1 << 62


class Timer:
    """Calls `run(now_ns)` at `due_ns`; `run` returns when it is due next."""

    def __init__(self, run: Callable[[int], int], due_ns: int) -> None:
        self.run, self.due_ns = run, due_ns


class Loop:
    """Hands ready descriptors and due times to their handlers.

    before_wait: called each time before the loop goes to sleep
    on_error:    told of the exception of a handler, which is then never called again
    """

    def __init__(self) -> None:
        self.before_wait: Callable[[], None] = lambda: None
        self.on_error: Callable[[Exception], None] = _raise
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[Timer] = []
        self._running = True

    def watch(self, fd: int, ready: Callable[[int], None], events: int = select.EPOLLIN) -> None:
        """Call `ready(events)` whenever something happens on `fd`."""
        self._poll.register(fd, events)
        self._handlers[fd] = ready

    def forget(self, fd: int) -> None:
        """Stop watching; before `fd` is closed. Does nothing if it is not watched."""
        if self._handlers.pop(fd, None):
            self._poll.unregister(fd)

    def at(self, due_ns: int, run: Callable[[int], int]) -> Timer:
        """Call `run(now_ns)` at a time of CLOCK_MONOTONIC, then at the time it returns."""
        timer = Timer(run, due_ns)
        self._timers.append(timer)
        return timer

    def every(self, period_ms: float, run: Callable[[], None]) -> Timer:
        """Call `run` once a period; periods missed while the machine was paused are left out."""
        period_ns = int(period_ms * 1e6)

        def run_and_repeat(now_ns: int) -> int:
            run()
            return now_ns + period_ns

        return self.at(time.monotonic_ns() + period_ns, run_and_repeat)

    def cancel(self, timer: Timer) -> None:
        """Never call it again."""
        if timer in self._timers:
            self._timers.remove(timer)

    def stop(self) -> None:
        """Leave `run` after the handlers that are under way."""
        self._running = False

    def run(self) -> None:
        """Wait and call handlers until `stop`."""
        while self._running:
            self._run_timers()
            self.before_wait()
            wait_ns = min((timer.due_ns for timer in self._timers), default=NEVER) - time.monotonic_ns()
            for fd, events in self._poll.poll(max(0.0, min(wait_ns / 1e9, 1.0))):
                if handler := self._handlers.get(fd):  # an earlier handler may have closed it
                    try:
                        handler(events)
                    except Exception as error:
                        self.forget(fd)
                        self.on_error(error)

    def _run_timers(self) -> None:
        now_ns = time.monotonic_ns()
        for timer in [timer for timer in self._timers if timer.due_ns <= now_ns]:
            try:
                timer.due_ns = timer.run(now_ns)
            except Exception as error:
                self.cancel(timer)
                self.on_error(error)


def _raise(error: Exception) -> None:
    raise error
