"""Reads a target file as plain data that remembers its lines; labgrid's !template is understood."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from lab.errors import LabUsageError

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Source:
    """A target file's data, and on which line each place in it stands."""

    path: Path
    data: Any
    lines: Mapping[Place, int]

    def error(self, place: Place, expected: str) -> LabUsageError:
        """`file:line: key: expected`, at the nearest enclosing place that has a line."""
        near = place
        while near and near not in self.lines:
            near = near[:-1]
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        return LabUsageError(f"{self.path}:{self.lines.get(near, 1)}: {key or 'file'}: {expected}")


def read(path: Path) -> Source:
    """Parse a target file.

    Raises:
        LabUsageError: it cannot be read, is no YAML, repeats a key, or names an unknown template variable.
    """
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise LabUsageError(f"target file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise LabUsageError(f"{path}:{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
    builder = _Builder(path)
    return Source(path, builder.built(node, ()) if node else None, builder.lines)


class _Builder:
    """Turns nodes into data, noting lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[Place, int] = {}
        self._variables = {k: v for k, v in os.environ.items() if k.startswith("LG_")}
        self._variables["BASE"] = str(path.resolve().parent)
        self._scalars = yaml.SafeLoader("")

    def built(self, node: yaml.Node, place: Place) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.built(item, (*place, number)) for number, item in enumerate(node.value)]
        if node.tag == "!template":
            return self._template(node, place)
        try:
            return self._scalars.construct_object(node)
        except yaml.YAMLError:
            raise self._error(place, f"a plain value or !template was expected, not {node.tag}") from None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            self.lines[(*place, key)] = key_node.start_mark.line + 1
            if key in result:
                raise self._error((*place, key), "this key stands here twice")
            result[key] = self.built(value_node, (*place, key))
        return result

    def _template(self, node: yaml.Node, place: Place) -> str:
        try:
            return Template(node.value).substitute(self._variables)
        except KeyError as error:
            raise self._error(place, f"unknown template variable {error}; BASE and LG_* are known") from None
        except ValueError:
            raise self._error(place, f"not a valid template: {node.value!r}") from None

    def _error(self, place: Place, expected: str) -> LabUsageError:
        return Source(self.path, None, self.lines).error(place, expected)
