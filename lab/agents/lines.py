"""Lines out of pieces of a byte stream."""


class Lines:
    """Puts lines together; what is not ended by a newline waits for more."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their newlines; empty ones left out."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line for line in lines if line]

    def drop(self) -> None:
        """Forget a line that has only begun: its connection is broken."""
        self._rest = b""
