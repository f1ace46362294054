"""Runs under the guest's own Python, standard library only: finds modules, and compiles them.

bytecode.py modules NAME...        prints [[module, file], ...]
bytecode.py compile < JSON         [[source, target, name in tracebacks], ...]
"""

import importlib
import json
import py_compile
import sys
from collections.abc import Iterable
from pathlib import Path

# Their libraries (OpenSSL, bzip2, xz: 7 MB) would travel with every guest start; hashlib has its
# own code for the common hashes, and nothing in a guest is compressed
UNWANTED = ("_hashlib", "_ssl", "_bz2", "_lzma", "_uuid")


def modules(names: Iterable[str]) -> list[tuple[str, str]]:
    """Import what is named and list every file that came with it, as [module, file]."""
    for name in UNWANTED:
        sys.modules[name] = None  # type: ignore[assignment]  # documented: makes its import fail
    for name in names:
        importlib.import_module(name)
    found = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    return sorted((name, path) for name, path in found.items() if path and name != "__main__")


def compile_all(jobs: Iterable[tuple[str, str, str]]) -> None:
    """Compile each source; a pyc that is never checked against a source needs none and no clock."""
    for source, target, shown in jobs:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(source, target, dfile=shown, doraise=True, invalidation_mode=mode)


if __name__ == "__main__":
    if sys.argv[1] == "modules":
        json.dump(modules(sys.argv[2:]), sys.stdout)
    else:
        compile_all(json.load(sys.stdin))
