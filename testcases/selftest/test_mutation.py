"""Mutants are told by what they change, and the list of those that may survive is strict both ways."""

from pathlib import Path

import pytest

from testcases.mutation import explained, mutants
from testcases.mutation.mutants import KILLED, SURVIVED, Module

SOURCE = '''
def over(values: list[int], bound: int = 5) -> bool:
    """Whether any is over it."""
    return any(value > bound for value in values)


class Box:
    def put(self, what: str) -> str:
        return "put " + what
'''


@pytest.fixture
def module() -> Module:
    return mutants._made(Path("lab/box.py"), SOURCE)


def test_each_mutant_is_told_by_what_it_changes(module: Module) -> None:
    told = {explained.change(mutant) for mutant in module.mutants}
    line = "return any(value > bound for value in values)"
    assert ("lab.box:over", line, line.replace(">", ">=")) in told
    assert ("lab.box:Box.put", 'return "put " + what', 'return "put " - what') in told
    assert len({mutant.name for mutant in module.mutants}) == len(module.mutants)
    assert not any(old.lower() == new.lower() for _, old, new in told)


def test_a_mutant_is_run_by_its_name(module: Module) -> None:
    """The trampoline finds a mutant by the names of its module and function."""
    from mutmut.mutation.trampoline import set_mutant_under_test

    space = {"__name__": module.name}
    exec(compile(module.code, "box.py", "exec"), space)
    over = space["over"]
    mutant = next(m for m in module.mutants if ">=" in m.new)
    try:
        set_mutant_under_test("")
        assert not over([5])  # type: ignore[operator]
        set_mutant_under_test(mutant.name)
        assert over([5])  # type: ignore[operator]
    finally:
        set_mutant_under_test("")


def test_an_explanation_that_does_not_hold_is_an_error(module: Module) -> None:
    one = module.mutants[0]
    change = explained.change(one)
    assert explained.stale({change: "so"}, [module], {one.name: SURVIVED}) == []
    assert explained.stale({change: "so"}, [module], {}) == []
    assert "is killed" in explained.stale({change: "so"}, [module], {one.name: KILLED})[0]
    assert "no mutant" in explained.stale({("lab.box:over", "x", "y"): "so"}, [module], {})[0]
    assert explained.stale({("lab.other:over", "x", "y"): "so"}, [module], {}) == []


@pytest.mark.parametrize(
    "text, says",
    [
        ("a\tb\tc", "explained.txt:1: want place"),
        ("# one\na\tb\tc\t ", "explained.txt:2: want place"),
        ("a\tb\tc\twhy\na\tb\tc\tonce more", "explained.txt:2: this change is explained twice"),
    ],
)
def test_the_list_says_where_it_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        explained.parse(text)


def test_the_list_is_in_order() -> None:
    reasons = explained.parse(explained.FILE.read_text(encoding="utf-8"))
    assert all(reasons.values())
    paths = {path for pattern in mutants.SOURCES for path in mutants.ROOT.glob(pattern)}
    assert len(paths) == len(mutants.SOURCES)
