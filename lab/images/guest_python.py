"""Byte-compiles with the Python of the bench host's root, which is also the guest's."""

import json
from collections.abc import Sequence
from pathlib import Path

from lab.images.controller_qemu import loader_argv, python_argv, python_env
from lab.images.run import run

_SCRIPT = Path(__file__).with_name("bytecode.py")


def closure(root: Path, names: Sequence[str], log: Path) -> list[tuple[str, Path]]:
    """Every module that importing `names` brings, with its file below `root`."""
    argv = [*python_argv(root), str(_SCRIPT), "modules", *names]
    found = json.loads(run(argv, what="finding the guest's Python modules", log=log, env=python_env(root)))
    return [(name, Path(file)) for name, file in found]


def compile_to(root: Path, jobs: Sequence[tuple[Path, Path, str]], log: Path) -> None:
    """Compile [source, target, name in tracebacks]; the result runs without its source.

    Raises:
        BenchError: a source does not compile; names file and line.
    """
    argv = [*python_argv(root), str(_SCRIPT), "compile"]
    stdin = json.dumps([[str(source), str(target), shown] for source, target, shown in jobs])
    run(argv, what="compiling Python for the guest", log=log, env=python_env(root), stdin=stdin)


def libraries(root: Path, program: Path, log: Path) -> list[Path]:
    """The shared libraries below `root` that the loader maps for a program or extension module."""
    argv = loader_argv(root, str(program.relative_to(root)))
    output = run([argv[0], "--list", *argv[1:]], what=f"finding libraries of {program.name}", log=log)
    # lines: "libm.so.6 => ROOT/lib/.../libm.so.6 (0x00007f...)"
    found = [line.split("=>")[1].split("(")[0].strip() for line in output.splitlines() if "=>" in line]
    return [Path(path) for path in found if path.startswith(str(root))]
