"""Where Debian packages come from."""

import os

SUITE = "trixie"


def mirror() -> str:
    """The mirror's URI; CPRLAB_DEBIAN_MIRROR names another one."""
    return os.environ.get("CPRLAB_DEBIAN_MIRROR", "http://deb.debian.org/debian")


def sources() -> str:
    """apt sources: the suite and its backports."""
    return f"deb {mirror()} {SUITE} main\ndeb {mirror()} {SUITE}-backports main\n"
