"""The reviewed list of mutants that survive, `explained.txt` beside this file."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from .mutants import SURVIVED, UNTESTED, Module, Mutant

Change = tuple[str, str, str]
"""Module:function, the lines as they are, the lines as the mutant has them."""
FILE = Path(__file__).with_suffix(".txt")


def parse(text: str) -> dict[Change, str]:
    """Read the list: why each of these changes does not matter.

    Raises:
        ValueError: naming the line, if one is not four fields, has no reason, or was there before.
    """
    found: dict[Change, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 4 or not fields[3].strip():
            raise ValueError(f"{FILE.name}:{number}: want place, old, new and reason, apart by tabs")
        change = (fields[0], fields[1], fields[2])
        if change in found:
            raise ValueError(f"{FILE.name}:{number}: this change is explained twice")
        found[change] = fields[3]
    return found


def change(mutant: Mutant) -> Change:
    return mutant.place, mutant.old, mutant.new


def stale(
    explained: Mapping[Change, str], modules: Iterable[Module], outcomes: Mapping[str, str]
) -> list[str]:
    """What the list says of these modules and is not so (any more).

    outcomes: by name of the mutant, of those that were tried
    """
    found: dict[Change, set[str]] = defaultdict(set)
    names = {module.name for module in modules}
    for module in modules:
        for mutant in module.mutants:
            found[change(mutant)].add(outcomes.get(mutant.name, SURVIVED))
    gone = [one for one in explained if one[0].split(":")[0] in names and one not in found]
    killed = [one for one in explained if one in found and not found[one] & {SURVIVED, UNTESTED}]
    return [f"no mutant is so: {_words(one)}" for one in gone] + [
        f"is killed, and need not be explained: {_words(one)}" for one in killed
    ]


def _words(one: Change) -> str:
    return "\t".join(one)
