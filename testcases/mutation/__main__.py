"""Try the mutants; exit status 1 if one survives unexplained, or an explanation does not hold."""

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from . import explained, trial
from .mutants import KILLED, ROOT, SURVIVED, UNTESTED, Module, Mutant, cache_folder, digest, modules, write
from .trial import Trial

TESTS = tuple(
    f"testcases/selftest/test_{name}.py" for name in ("checker*", "core*", "pause_phases", "report_measure")
)
QUICK: tuple[str, ...] = ("--noconftest", "-qq", "-p", "no:cacheprovider", "--hypothesis-seed=0")
QUICK += ("-o", "tmp_path_retention_policy=none", "-k", "not ten_million")
"""Self-tests of the checkers need no plug-in of the lab; those of speed are no test of what is right."""


def main() -> int:
    options = _options()
    started_s = time.monotonic()
    chosen = modules(options.only)
    patterns = options.tests or TESTS
    tests = sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern))
    results = Results(chosen, tests, fresh=options.fresh)
    untried = [mutant for module in chosen for mutant in module.mutants if results[mutant] is None]
    if options.seconds:  # one that survives takes all its tests: they are for those who have the time
        reasons = explained.parse(explained.FILE.read_text(encoding="utf-8"))
        untried = [mutant for mutant in untried if explained.change(mutant) not in reasons]
    seed = options.seed or digest(*(module.code for module in chosen))
    random.Random(seed).shuffle(untried)
    deadline_s = started_s + options.seconds if options.seconds else float("inf")

    def told(mutant: Mutant, outcome: str, by: str) -> bool:
        results.add(mutant, outcome, by)
        if outcome not in (KILLED, SURVIVED) or options.verbose:
            print(f"{outcome}: {mutant.name} {by}", flush=True)
        return time.monotonic() < deadline_s

    def then(trial: Trial) -> None:
        trial.run(untried, options.jobs, told)

    status = 0
    if untried:
        # pytest's own report of a collection that fails is wanted; the loop prints nothing
        try:
            ground = digest(*results.helpers, *(module.code for module in chosen))
            learning = Trial(then, ground, cache_folder() / "tests")
            status = trial.main(chosen, [*QUICK, *tests], learning)
        finally:
            results.save()
    took_s = time.monotonic() - started_s
    outcomes = {mutant.name: results[mutant] for module in chosen for mutant in module.mutants}
    counted = Counter(outcome or "not tried" for outcome in outcomes.values())
    words = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counted.items()))
    print(f"{len(outcomes)} mutants: {words}; seed {seed}, {took_s:.0f} s")
    return status or _judge(chosen, {name: outcome for name, outcome in outcomes.items() if outcome})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m testcases.mutation", description=__doc__)
    parser.add_argument("only", nargs="*", help="modules whose path holds one of these words")
    parser.add_argument("--tests", action="append", help="only these files of tests (a pattern)")
    parser.add_argument("--seconds", type=float, help="stop then, and leave out what is explained")
    parser.add_argument("--seed", help="of the order (default: from the sources)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="at a time")
    parser.add_argument("--fresh", action="store_true", help="try also what was tried before")
    parser.add_argument("--verbose", action="store_true", help="a line a mutant")
    return parser.parse_args()


class Results:
    """What became of each mutant, kept by content of its module.

    A kill is believed as long as the file of the test that did it stays as it is, and the helpers of all
    tests; whatever else that test runs is left out of account. Anything else as long as all tests do.
    """

    def __init__(self, modules: Iterable[Module], tests: Iterable[str], *, fresh: bool) -> None:
        self._modules = list(modules)
        helpers = {path for path in (ROOT / "testcases/selftest").glob("*.py") if not path.match("test_*")}
        self.helpers = [path.read_text("utf-8") for path in sorted(helpers)]
        self._tests = sorted(tests)
        self._kept: dict[str, tuple[str, str]] = {}
        for module in () if fresh else self._modules:
            if (kept := self._path(module)).exists():
                told = json.loads(kept.read_text(encoding="utf-8"))
                self._kept |= {n: (o, by) for n, (o, by, proof) in told.items() if proof == self._proof(by)}

    def __getitem__(self, mutant: Mutant) -> str | None:
        """What became of it; None if that is not known."""
        return self._kept.get(mutant.name, (None, ""))[0]

    def add(self, mutant: Mutant, outcome: str, by: str) -> None:
        """by: the file of the test that killed it, or nothing."""
        self._kept[mutant.name] = outcome, by

    def save(self) -> None:
        for module in self._modules:
            known = {m.name: self._kept[m.name] for m in module.mutants if m.name in self._kept}
            rows = {name: (outcome, by, self._proof(by)) for name, (outcome, by) in known.items()}
            write(self._path(module), rows)

    def _path(self, module: Module) -> Path:
        return cache_folder() / "tried" / f"{module.name}-{digest(module.code)}.json"

    @cache  # noqa: B019 - one object a process
    def _proof(self, by: str) -> str:
        files = [ROOT / path for path in ([by] if by else self._tests)]
        return digest(*self.helpers, *(file.read_text("utf-8") for file in files if file.exists()))


def _judge(chosen: list[Module], outcomes: dict[str, str]) -> int:
    reasons = explained.parse(explained.FILE.read_text(encoding="utf-8"))
    mutants = [mutant for module in chosen for mutant in module.mutants]
    survived = {explained.change(m) for m in mutants if outcomes.get(m.name) in (SURVIVED, UNTESTED)}
    unexplained, wrong = sorted(survived - reasons.keys()), explained.stale(reasons, chosen, outcomes)
    for change in unexplained:
        print("survives:\t" + "\t".join(change))
    for text in wrong:
        print(f"{explained.FILE.name}: {text}")
    print(f"{len(unexplained)} survive unexplained, {len(wrong)} explanations are wrong")
    return 1 if unexplained or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
