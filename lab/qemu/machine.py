"""The machine type of a guest whose old and new QEMU differ.

A migration needs the same machine on both sides, and the alias q35 is another one in each release
(pc-q35-10.0, pc-q35-11.1): it is pinned to the newest that both know.
"""

import re
from collections.abc import Iterable

from lab.errors import LabUsageError

DEFAULT = "q35"
_VERSIONED = re.compile(r"pc-q35-(\d+)\.(\d+)")


def newest_common(old: Iterable[str], new: Iterable[str]) -> str:
    """The newest versioned q35 machine that both QEMUs know, from the names of query-machines.

    Raises:
        LabUsageError: there is none.
    """
    both = [match for name in set(old) & set(new) if (match := _VERSIONED.fullmatch(name))]
    if not both:
        raise LabUsageError(
            "old and new QEMU have no pc-q35 machine in common: neither can take a guest over"
        )
    return max(both, key=lambda match: (int(match[1]), int(match[2])))[0]
