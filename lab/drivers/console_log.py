"""A console that is read from its log: nobody takes bytes from anybody, a sleeping reader stops nobody."""

from pathlib import Path

import pexpect  # type: ignore[import-untyped]

from lab.waiting import wait_until

_CHUNK_BYTES = 4096


class LogReader:
    """What was written to a log since the last reading, as labgrid's ConsoleExpectMixin asks for it."""

    def __init__(self, log: Path) -> None:
        self._log, self._read_bytes = log, 0

    def read(self, size: int, timeout_s: float, max_size: int | None) -> bytes:
        """At least one byte.

        Raises:
            pexpect.TIMEOUT: nothing came.
        """

        def more() -> bytes:
            with self._log.open("rb") as file:
                file.seek(self._read_bytes)
                return file.read(max_size or max(size, _CHUNK_BYTES))

        try:
            data = wait_until(more, timeout_s, "console output", error=TimeoutError)
        except TimeoutError:
            raise pexpect.TIMEOUT(f"nothing new on the console for {timeout_s:g} s") from None
        self._read_bytes += len(data)
        return data
