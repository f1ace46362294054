"""What new QEMU is started through does to what it inherits: on programs that stand for QEMU."""

import os
import socket
import subprocess
import sys

import pytest

from lab.faults.fault import WRAPPER

LINES = b"00000001 000000000001 abcdef01\n00000001 000000000002 abcdef01\n"
READS = "import os; print(os.read({fd}, 99))"
COUNTS = "import os; print(len(os.listdir('/proc/self/fd')))"


def started(fault: str, program: str, stream: socket.socket) -> "subprocess.CompletedProcess[str]":
    """Have the wrapper plant a fault and start a program, which inherits the stream, in place of QEMU."""
    fd = stream.fileno()
    chardev = f"socket,id=stream-fd,fd={fd}"
    # to Python what follows the program is its own arguments, as to QEMU
    qemu = [sys.executable, "-c", program.replace("{fd}", str(fd)), "-chardev", chardev]
    return subprocess.run(
        [sys.executable, str(WRAPPER), fault, "5", *qemu],
        pass_fds=[fd],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("fault", "reads"),
    [
        ("eat-byte", LINES[1:]),
        ("close-stream", b""),
    ],
)
def test_a_stream_is_spoiled(fault: str, reads: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(LINES)
    done = started(fault, READS, theirs)
    assert done.stdout.strip() == repr(reads), done.stderr


def test_another_connection_is_given_in_place_of_a_stream() -> None:
    ours, theirs = socket.socketpair()
    inode = "import os; print(os.fstat({fd}).st_ino)"
    said = started("swap-stream", inode, theirs).stdout
    assert int(said) not in (os.fstat(theirs.fileno()).st_ino, os.fstat(ours.fileno()).st_ino)


def test_a_descriptor_is_leaked() -> None:
    _, theirs = socket.socketpair()
    counts = [int(started(fault, COUNTS, theirs).stdout) for fault in ("close-stream", "leak")]
    assert counts[1] == counts[0] + 1


@pytest.mark.parametrize("fault", ["close-device", "close-container", "close-iommufd", "repin"])
def test_what_cannot_be_planted_is_told_and_spoils_nothing(fault: str) -> None:
    """Otherwise a QEMU that never started would be taken for a fault that was caught."""
    ours, theirs = socket.socketpair()
    ours.sendall(LINES)
    done = started(fault, READS, theirs)
    assert done.stdout.strip() == repr(LINES) and done.returncode == 0
    assert "Error: " in done.stderr
