"""Trying mutants: pytest collects the self-tests once, then each mutant gets a fork that runs its own."""

import gc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from itertools import groupby
from pathlib import Path
from types import CodeType, ModuleType

import pytest
from _pytest.runner import runtestprotocol
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state

from .mutants import HUNG, KILLED, ROOT, SURVIVED, UNTESTED, Module, Mutant, digest, write

_MEMORY_BYTES = 4 << 30
_SLOW, _WALL_S = 10, 60
"""A mutant that takes ten times as long as its tests hangs, in processor time; or sleeps for a minute."""


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, module: Module) -> None:
        super().__init__(module.name, str(ROOT / module.path))
        self._module = module

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self._module.code, self.path, "exec")
        return code


@dataclass(frozen=True)
class Mutated(MetaPathFinder):
    """Imports the modules with their mutants in them."""

    modules: Mapping[str, Module]

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if (module := self.modules.get(fullname)) is None:
            return None
        return importlib.util.spec_from_file_location(
            fullname, str(ROOT / module.path), loader=_Loader(module)
        )


@dataclass(frozen=True)
class _Running:
    """A process that tries a mutant; killer: a pipe for the number of the test that kills it."""

    pid: int
    mutant: Mutant
    tests: tuple[pytest.Item, ...]
    killer: int


@dataclass
class Trial:
    """A pytest plug-in: instead of running what was collected it calls `then`, with itself.

    ground: what the tests stand on, their helpers and what is mutated, as a digest
    folder: where is kept what was learnt of the tests
    tests:  by function, those that run it, the quickest first
    """

    then: Callable[["Trial"], object]
    ground: str
    folder: Path
    tests: dict[str, list[pytest.Item]] = field(default_factory=lambda: defaultdict(list))
    cost_s: dict[str, float] = field(default_factory=dict)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise pytest.UsageError("the self-tests could not be collected")
        self._learn(session.items)
        set_mutant_under_test("")
        gc.collect()
        gc.freeze()  # the forks share what is not touched
        self.then(self)
        return True

    def _learn(self, items: Iterable[pytest.Item]) -> None:
        """Which functions does each test run, and for how long? Kept by content of its file."""
        for path, group in groupby(items, lambda item: item.location[0]):
            tests = list(group)
            content = digest((ROOT / path).read_text("utf-8"), self.ground)
            kept = self.folder / f"{Path(path).stem}-{content}.json"
            if not kept.exists():
                write(kept, {item.nodeid: _ran(item) for item in tests})
            told = json.loads(kept.read_text(encoding="utf-8"))
            for item in tests:
                self.cost_s[item.nodeid], functions = told[item.nodeid]
                for function in functions:
                    self.tests[function].append(item)
        for one in self.tests.values():
            one.sort(key=lambda item: self.cost_s[item.nodeid])

    def run(self, mutants: Iterable[Mutant], jobs: int, told: Callable[[Mutant, str, str], bool]) -> None:
        """Try mutants, so many at a time.

        told: hears what became of each and which file of tests killed it, and says whether to go on
        """
        waiting, going = iter(mutants), True
        running: dict[int, _Running] = {}
        while going or running:
            while going and len(running) < jobs:
                if (mutant := next(waiting, None)) is None:
                    going = False
                elif not self.tests.get(mutant.of):
                    going = told(mutant, UNTESTED, "")
                else:
                    one = self._fork(mutant)
                    running[one.pid] = one
            if running:
                pid, status = os.waitpid(-1, 0)
                one = running.pop(pid)
                going = told(one.mutant, *self._became(one, status)) and going

    def _fork(self, mutant: Mutant) -> "_Running":
        tests = tuple(self.tests[mutant.of])
        killer, said = os.pipe()
        if pid := os.fork():
            os.close(said)
            return _Running(pid, mutant, tests, killer)
        try:
            _limited(_SLOW * sum(self.cost_s[item.nodeid] for item in tests) + 1)
            set_mutant_under_test(mutant.name)
            for number, item in enumerate(tests):
                if _failure(item):
                    os.write(said, str(number).encode())
                    os._exit(1)
            os._exit(0)
        finally:  # whatever it raises: this process must not go on as if it were its parent
            os._exit(1)

    def _became(self, one: "_Running", status: int) -> tuple[str, str]:
        """What became of a mutant, and the file of the test that killed it."""
        with os.fdopen(one.killer) as pipe:
            number = pipe.read()
        if number:  # who killed this one may kill the next of the function, too
            item, tests = one.tests[int(number)], self.tests[one.mutant.of]
            tests.remove(item)
            tests.insert(0, item)
            return KILLED, item.location[0]
        return (HUNG if status else SURVIVED), ""


def _ran(item: pytest.Item) -> tuple[float, list[str]]:
    """Run a test, unmutated: its processor time, and the functions that it ran."""
    set_mutant_under_test("stats")
    state()._stats.clear()
    start_s = time.process_time()
    if failure := _failure(item):
        raise pytest.UsageError(f"{item.nodeid} fails without a mutant:\n{failure}")
    return time.process_time() - start_s, sorted(state()._stats)


def _limited(cpu_s: float) -> None:
    """Bound what this process may take, and let it say nothing."""
    for timer, signum, seconds in (
        (signal.ITIMER_PROF, signal.SIGPROF, cpu_s),
        (signal.ITIMER_REAL, signal.SIGALRM, _WALL_S + cpu_s),
    ):
        signal.signal(signum, signal.SIG_DFL)
        signal.setitimer(timer, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _failure(item: pytest.Item) -> str:
    """Why a test fails; empty if it passes."""
    reports = runtestprotocol(item, nextitem=None, log=False)
    return next((report.longreprtext or "no reason" for report in reports if not report.passed), "")


def main(modules: Iterable[Module], arguments: list[str], trial: Trial) -> int:
    """Collect self-tests of mutated modules and go on with the trial; gives pytest's exit status."""
    by_name = {module.name: module for module in modules}
    if loaded := sorted(by_name.keys() & sys.modules.keys()):
        raise RuntimeError(f"{', '.join(loaded)} is imported already, without its mutants")
    sys.meta_path.insert(0, Mutated(by_name))
    # a folder of its own: pytest's usual one is tidied by whoever else runs pytest, and a test that fails for
    # want of its folder would be a mutant killed
    with tempfile.TemporaryDirectory(prefix="cprlab-mutants-") as folder:
        return int(pytest.main([*arguments, f"--basetemp={folder}/t"], [trial]))
