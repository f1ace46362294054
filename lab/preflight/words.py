"""The values of QEMU's options: `key=value` lists and JSON objects, as one flat mapping of texts.

Source: QEMU util/keyval.c and util/qemu-option.c ("," between pairs, ",," for a comma in a value);
docs/about/deprecated.rst (a bare word is a boolean that is on, `noWORD` one that is off).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lab.errors import LabUsageError

Properties = Mapping[str, str]

_TRUE = {"on", "yes", "true", "y"}


def properties(text: str, first: str = "") -> dict[str, str]:
    """The properties of one option, JSON's nested ones by dotted names.

    first: the name of a first value that has none, as `driver` of -device

    Raises:
        LabUsageError: it begins like JSON and is none.
    """
    return _of_json(text) if text.startswith("{") else _of_pairs(text, first)


def is_on(value: str | None, *, absent: bool = False) -> bool:
    """Whether a boolean property is on; `absent` is what it is when nobody says."""
    return absent if value is None else value.lower() in _TRUE


def size_bytes(text: str, unit: str = "M") -> int | None:
    """A size like 4G, 512 or 1.5G; None if it is none.

    unit: of a number without suffix: -m counts MiB, an object bytes ("B")
    """
    number, suffix = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, unit)
    power = "BKMGTPE".find(suffix)
    try:
        return round(float(number) * 1024**power) if power >= 0 else None
    except (ValueError, OverflowError):
        return None


def _of_pairs(text: str, first: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for position, word in enumerate(_split(text)):
        name, mark, value = word.partition("=")
        if mark:
            found[name] = value
        elif position == 0 and first:
            found[first] = word
        elif name.startswith("no") and name[2:] in ("wait", "delay"):
            found[name[2:]] = "off"
        elif name:
            found[name] = "on"
    return found


def _split(text: str) -> Iterator[str]:
    """At single commas; a doubled one is part of its word."""
    word, position = "", 0
    while position < len(text):
        if text[position] == "," and text[position + 1 : position + 2] == ",":
            word, position = word + ",", position + 1
        elif text[position] == ",":
            yield word
            word = ""
        else:
            word += text[position]
        position += 1
    yield word


def _of_json(text: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise LabUsageError(f"an argument begins like JSON and is none ({error}): {text[:80]}") from None
    return dict(_flat(value, ""))


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{position}")
    else:
        yield name, {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
