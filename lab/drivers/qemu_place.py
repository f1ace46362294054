"""Brings a portable QEMU to a bench host, once."""

from lab.drivers.ssh import HostConnection
from lab.errors import BenchError
from lab.images.portable_qemu import PLACE, PortableQemu

_UNPACK_S = 120.0
# what has the final name is whole, also if two controllers bring the same build at once
_UNPACK = """
set -e
[ -d "$2/$3" ] && exit
mkdir -p "$2"
partial=$(mktemp -d "$2/.partial-XXXXXX")
tar -xf "$1" -C "$partial" --no-same-owner
mv -T "$partial/$3" "$2/$3" 2>/dev/null || [ -d "$2/$3" ]
rm -rf "$partial"
"""


def place(host: HostConnection, qemu: PortableQemu) -> str:
    """Have this QEMU on the bench host, and return its path there.

    Raises:
        BenchError: it cannot be brought or unpacked, or does not run there.
    """
    if host.run(["test", "-x", qemu.path]).returncode != 0:
        blob = host.put_blob(qemu.tar)
        host.check(["sh", "-c", _UNPACK, "sh", blob, PLACE, qemu.name], _UNPACK_S)
        done = host.run([qemu.path, "--version"])
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise BenchError(f"{qemu.path} does not run on the bench host: {''.join(said)}")
    return qemu.path
