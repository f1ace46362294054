"""The mutants of a module, made by mutmut: all in one file, of which one at a time is switched on."""

import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mutmut.mutation.file_mutation import MutatedFile, mutate_file_contents
from mutmut.utils.format_utils import mangled_name_from_mutant_name

ROOT = Path(__file__).resolve().parents[2]
CHECKERS = (
    "account",
    "accounting",
    "benign",
    "clocks",
    "dma",
    "findings",
    "flight",
    "losses",
    "unpromised",
    "updates",
)
"""Those of which every mutant was tried; `python -m testcases.mutation WORD` tries those of any other one."""
SOURCES = (*(f"lab/checkers/{name}.py" for name in CHECKERS), "lab/timeline.py", "lab/verdict.py")
KILLED, SURVIVED, UNTESTED, HUNG = "killed", "survived", "no test runs it", "crashed or hung"
_NUMBERED = re.compile(r"x(?:_|ǁ\w+ǁ)(\w+?)__mutmut_\w+")


@dataclass(frozen=True)
class Mutant:
    """One small change.

    name:     what mutmut calls it; the number in it changes with the function
    place:    module:function
    of:       the function by mutmut's name, which tests are known by
    old, new: the lines that differ, each as one line
    """

    name: str
    place: str
    of: str
    old: str
    new: str


@dataclass(frozen=True)
class Module:
    """A module with all its mutants in `code`."""

    name: str
    path: str
    code: str
    mutants: tuple[Mutant, ...]


def cache_folder() -> Path:
    """Where mutants and what became of them are kept: $XDG_CACHE_HOME, or ~/.cache, and cprlab/mutants."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cprlab" / "mutants"


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def write(path: Path, told: object) -> None:
    """Put JSON where another process may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(told), encoding="utf-8")
    partial.replace(path)


def modules(only: Sequence[str] = ()) -> list[Module]:
    """The modules that are put to the test, with their mutants; made once for each content.

    only: those whose path holds one of these words, of all checkers
    """
    patterns = (*SOURCES, "lab/checkers/*.py") if only else SOURCES
    paths = sorted({path for pattern in patterns for path in ROOT.glob(pattern)})
    wanted = [p for p in paths if not only or any(word in str(p.relative_to(ROOT)) for word in only)]
    return [_cached(path) for path in wanted]


def _cached(path: Path) -> Module:
    source = path.read_text(encoding="utf-8")
    relative = path.relative_to(ROOT)
    maker = Path(__file__).read_text(encoding="utf-8"), importlib.metadata.version("mutmut")
    kept = cache_folder() / "made" / f"{path.stem}-{digest(str(relative), source, *maker)}.json"
    if not kept.exists():
        write(kept, asdict(_made(relative, source)))
    told = json.loads(kept.read_text(encoding="utf-8"))
    return Module(**told | {"mutants": tuple(Mutant(**mutant) for mutant in told["mutants"])})


def _made(path: Path, source: str) -> Module:
    mutated = mutate_file_contents(str(path), source)
    dotted = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    return Module(dotted, str(path), mutated.code, tuple(_mutants(dotted, mutated)))


def _mutants(module: str, mutated: MutatedFile) -> Iterator[Mutant]:
    lines = mutated.code.splitlines()
    bodies = {
        name: [_NUMBERED.sub(r"\1", line).strip() for line in lines[span.start - 1 : span.end]]
        for name, span in mutated.line_span_by_function_name.items()
    }
    for name in mutated.mutant_names:
        mangled = mangled_name_from_mutant_name(name)
        old, new = _difference(bodies[f"{mangled}__mutmut_orig"], bodies[name])
        if old.lower() != new.lower():  # a word in other letters is a word less than XXwordXX
            function = mangled.removeprefix("xǁ").replace("ǁ", ".") if "ǁ" in mangled else mangled[2:]
            yield Mutant(f"{module}.{name}", f"{module}:{function}", f"{module}.{mangled}", old, new)


def _difference(old: list[str], new: list[str]) -> tuple[str, str]:
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return " ".join(old[start : len(old) - end]), " ".join(new[start : len(new) - end])
