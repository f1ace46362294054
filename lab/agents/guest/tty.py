"""The guest's end of a serial port of its machine (isa-serial): bytes as they are."""

import os

PREFIX = "/dev/"


def open_raw(path: str) -> int:
    """A serial port without echo, line editing or flow control, non-blocking.

    Raises:
        OSError: there is none.
    """
    import termios  # costs the guest time: not before it is wanted

    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    characters = termios.tcgetattr(fd)[6]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    control = termios.CS8 | termios.CREAD | termios.CLOCAL
    termios.tcsetattr(fd, termios.TCSANOW, [0, 0, control, 0, *[termios.B115200] * 2, characters])
    return fd
