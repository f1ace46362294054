"""The reviewed list of harmless messages, `benign.txt` beside this file."""

import re
from collections.abc import Iterable
from importlib.resources import files

Benign = tuple[str, str, str]
"""Source (host, guest, qemu), a regular expression for the whole message, and why it is harmless."""


def parse(text: str) -> tuple[Benign, ...]:
    """Read the list.

    Raises:
        ValueError: naming the line, if one is not three fields, is no expression or has no reason.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 3 or fields[0] not in ("host", "guest", "qemu") or not fields[2].strip():
            raise ValueError(f"benign.txt:{number}: want source, expression and reason, apart by tabs")
        try:
            re.compile(fields[1])
        except re.error as error:
            raise ValueError(f"benign.txt:{number}: {error}") from error
        found.append((fields[0], fields[1], fields[2]))
    return tuple(found)


def harmless(where: str, text: str, benign: Iterable[Benign]) -> bool:
    """Whether the list holds this message."""
    return any(source == where and re.fullmatch(pattern, text) for source, pattern, _ in benign)


# read once, with the package: a checker does no I/O
STANDARD = parse((files(__package__) / "benign.txt").read_text(encoding="utf-8"))
