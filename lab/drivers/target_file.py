"""A target file, checked before anything acts on it: one line with file, line and key for each mistake."""

import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import attrs
from pydantic import BaseModel, ValidationError

from lab.drivers.target_schema import CLASSES, Document, Options, Tools
from lab.drivers.target_yaml import Place, Source, read

M = TypeVar("M", bound=BaseModel)

_PASSWORD_IN_URL = re.compile(r"//[^/@\s]*@")

HOST = "host"
"""The labgrid target that is the bench host."""


@dataclass(frozen=True)
class TargetFile:
    """What cprlab itself reads from a target file; labgrid reads the rest."""

    path: Path
    options: Options
    tools: Tools
    features: tuple[str, ...]

    @property
    def name(self) -> str:
        """The bench's name: the file's, without suffix."""
        return self.path.stem


def load(path: Path) -> TargetFile:
    """Read and check a target file.

    Raises:
        LabUsageError: it cannot be read, has an unknown key or class, or a value of a wrong type or form.
    """
    source = read(path)
    document = _checked(source, Document, source.data, ())
    if HOST not in document.targets:
        raise source.error(("targets",), f"a target named {HOST!r} was expected")
    for module in document.imports:
        _imported(source, module)
    for target in document.targets:
        for section in ("resources", "drivers"):
            _check_classes(source, ("targets", target, section))
    features = (*document.features, *document.targets[HOST].features)
    return TargetFile(path, document.options, document.tools, features)


def is_virtual(path: Path | str) -> bool:
    """Whether a target file is that of a virtual bench, which nothing can harm."""
    return "VirtualBench" in Path(path).read_text(encoding="utf-8")


def _checked(source: Source, model: type[M], data: Any, place: Place) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first, *others = error.errors()
        where = (*place, *first["loc"])
        more = f" (and {len(others)} more)" if others else ""
        raise source.error(_known(source, where), _expected(first) + more) from None


def _known(source: Source, place: Place) -> Place:
    """The place without the parts pydantic adds, such as the branch of a union."""
    return (
        tuple(part for number, part in enumerate(place) if place[: number + 1] in source.lines) or place[:1]
    )


def _expected(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return f"key {error['loc'][-1]!r} is missing"
    text = (
        str(error["msg"]).removeprefix("Input ").removeprefix("Value error, ").replace("should be", "must be")
    )
    came = error["input"]
    if isinstance(came, dict):  # the whole of an entry
        return f"{text[0].lower()}{text[1:]}"
    return f"{text[0].lower()}{text[1:]}, not {_PASSWORD_IN_URL.sub('//(hidden)@', repr(came))}"


def _imported(source: Source, module: str) -> None:
    if module.endswith(".py"):
        return  # a file: labgrid loads it, and loading it twice would register its classes twice
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise source.error(("imports",), f"module {module!r} cannot be imported: {error}") from error


def _check_classes(source: Source, section: Place) -> None:
    for name, arguments, place in _entries(source, section):
        if model := CLASSES.get(name):
            _checked(source, model, arguments, place)
            continue
        from labgrid import target_factory  # here, as it is slow to import and seldom needed

        word = str(section[-1])
        kind = target_factory.resources if word == "resources" else target_factory.drivers
        if name not in kind:
            raise source.error(place, f"unknown {word[:-1]} class; is its module in imports?")
        known = {field.name for field in attrs.fields(kind[name]) if field.init} | {"name", "bindings"}
        if unknown := [key for key in arguments if key not in known]:
            raise source.error((*place, unknown[0]), "unknown key")


def _entries(source: Source, section: Place) -> Iterator[tuple[str, dict[str, Any], Place]]:
    """(class, arguments, place) of each resource or driver, in either of labgrid's two notations."""
    data = source.data
    for part in section:
        data = data.get(part) or {}
    is_list = isinstance(data, list)
    items = [((*section, number), item) for number, item in enumerate(data)] if is_list else [(section, data)]
    for where, item in items:
        if is_list and len(item) != 1:
            raise source.error(where, "one class with its arguments was expected, as in `- BenchHost: {}`")
        for name, arguments in item.items():
            if not isinstance(arguments, dict):
                raise source.error(
                    (*where, name), f"arguments were expected, {{}} for none, not {arguments!r}"
                )
            yield str(name), arguments, (*where, name)
