"""The lease protocol of `lab/places/__init__.py`, explored: every order of steps, pauses and deaths.

A model, not the code: two runs, one coordinator that may forget who has the place but not the tags, time in
ticks of a third of a lease. Between any two of its steps a run may take as long as it likes, or for ever: it
is stopped, or dead. So may the beats of the first and their answers. Never may two runs be at the host at
once, and none may start while the host is as another left it. Each rule is taken away once, and something
must go wrong then.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import pytest

LEASE, KILL = 3, 2
"""In ticks; that a holder kills its run before its lease ends is what matters (rule 5)."""

WAITS, HAS, MARKED, READY, RUNS, GAVE_BACK, OVER = range(7)


@dataclass(frozen=True)
class Rules:
    """What the protocol asks for."""

    unique_names: bool = True
    counts_from_sending: bool = True
    kills_itself: bool = True
    reads_before_it_frees: bool = True
    writes_its_tag_before_it_reads: bool = True
    waits_for_who_left_a_tag: bool = True
    gives_back_for_others: bool = True


@dataclass(frozen=True)
class Run:
    """A run: its controller, and what of it is at the host.

    good:    ticks since the last beat that was answered well was sent
    sent:    ticks since the beat under way was sent; None if none is
    arrived: whether it arrived in time; None if it did not arrive yet
    seen:    for how many ticks the other was seen with the place and the same stamp; None if it was not seen
    newer:   whether the stamp changed since
    wait:    ticks until the other has certainly stopped
    """

    phase: int = WAITS
    good: int = 0
    sent: int | None = None
    arrived: bool | None = None
    seen: int | None = None
    newer: bool = False
    wait: int = 0
    at_host: bool = False


@dataclass(frozen=True)
class State:
    """holder: who has the place; tags: who may have changed the host; dirty: who did, and did not undo it."""

    runs: tuple[Run, Run] = (Run(), Run())
    holder: int | None = None
    tags: frozenset[int] = frozenset()
    dirty: frozenset[int] = frozenset()
    may_forget: bool = True

    def with_run(self, who: int, run: Run, **changes: object) -> "State":
        runs = (run, self.runs[1]) if who == 0 else (self.runs[0], run)
        return replace(self, runs=runs, **changes)  # type: ignore[arg-type]

    def stamped(self) -> "State":
        one, two = self.runs
        return replace(self, runs=(replace(one, newer=True), replace(two, newer=True)))


class Violated(Exception):
    """What must never be."""


def following(state: State, rules: Rules) -> Iterator[State]:
    """Everything that may happen next."""
    one, two = (ticked(run, rules) for run in state.runs)
    yield replace(state, runs=(one, two))
    if state.may_forget:
        yield replace(state, holder=None, may_forget=False)
    for who, run in enumerate(state.runs):
        if run.sent is not None and run.arrived is None:  # the network is nobody's process
            yield arrived(state, who, run, rules)
        yield from steps(state, who, run, rules)


def ticked(run: Run, rules: Rules) -> Run:
    """A tick later. What is at the host kills itself when its time is over, whatever its controller does."""

    def later(ticks: int | None) -> int | None:
        return None if ticks is None else min(ticks + 1, LEASE)

    older = replace(run, good=later(run.good) or 0, sent=later(run.sent), seen=later(run.seen))
    older = replace(older, wait=max(0, run.wait - 1))
    if rules.kills_itself and older.at_host and older.good >= KILL:
        return replace(older, at_host=False, phase=OVER)
    return older


def arrived(state: State, who: int, run: Run, rules: Rules) -> State:
    holds = state.holder == who or (not rules.unique_names and state.holder is not None)
    told = state.with_run(who, replace(run, arrived=holds))
    return told.stamped() if holds else told


def steps(state: State, who: int, run: Run, rules: Rules) -> Iterator[State]:
    """What a run may do."""
    if run.phase == WAITS:
        yield from queueing(state, who, run, rules)
    elif run.phase == HAS and rules.writes_its_tag_before_it_reads:
        yield state.with_run(who, replace(run, phase=MARKED), tags=state.tags | {who})
    elif run.phase in (HAS, MARKED):
        yield looked(state, who, run, rules)
    elif run.phase == READY and run.good >= KILL and rules.kills_itself:
        yield state.with_run(who, replace(run, phase=OVER))  # whatever is started looks first how long it may
    elif run.phase == READY and run.wait == 0:
        yield begun(state, who, run, rules)
    elif run.phase == RUNS:
        yield state.with_run(who, replace(run, phase=GAVE_BACK, at_host=False), dirty=state.dirty - {who})
    elif run.phase == GAVE_BACK:
        holder = None if state.holder == who else state.holder
        yield state.with_run(who, replace(run, phase=OVER), tags=state.tags - {who}, holder=holder)
    if run.phase in (HAS, MARKED, READY, RUNS):
        yield from beating(state, who, run, rules)


def queueing(state: State, who: int, run: Run, rules: Rules) -> Iterator[State]:
    if state.holder is None:
        yield state.with_run(who, replace(run, phase=HAS, good=0), holder=who).stamped()
        return
    if run.seen is None or run.newer:
        yield state.with_run(who, replace(run, seen=0, newer=False))
    if run.seen == LEASE and not (rules.reads_before_it_frees and run.newer):
        yield replace(state, holder=None)


def looked(state: State, who: int, run: Run, rules: Rules) -> State:
    """It read who else has a tag there."""
    proved = run.seen == LEASE and not (rules.reads_before_it_frees and run.newer)
    wait = LEASE if state.tags - {who} and rules.waits_for_who_left_a_tag and not proved else 0
    return state.with_run(who, replace(run, phase=READY, wait=wait))


def begun(state: State, who: int, run: Run, rules: Rules) -> State:
    """It gave back what others left, and its own run is at the host."""
    tags, dirty = state.tags, state.dirty
    if tags - {who} and rules.gives_back_for_others:
        tags, dirty = frozenset({who}), frozenset()
    if dirty:
        raise Violated("a run began on a host as another left it")
    at_host = replace(run, phase=RUNS, at_host=True)
    return state.with_run(who, at_host, tags=tags | {who}, dirty=frozenset({who}))


def beating(state: State, who: int, run: Run, rules: Rules) -> Iterator[State]:
    if who == 1:  # beats that take their time by one of the two: there are a tenth of the states
        if state.holder == who:
            yield state.with_run(who, replace(run, good=0)).stamped()
    elif run.sent is None:
        yield state.with_run(who, replace(run, sent=0))
    elif run.arrived is not None:
        good = run.sent if rules.counts_from_sending else 0
        answered = replace(run, sent=None, arrived=None)
        # after a beat that is refused the run is ended in order, or killed when its time is over
        yield state.with_run(who, replace(answered, good=good) if run.arrived else answered)


def normal(run: Run) -> Run:
    """Without what does not matter any more: there are fewer states to look at."""
    if run.phase == OVER:
        return Run(phase=OVER, sent=0 if run.sent is not None and run.arrived is None else None)
    if run.phase == WAITS:
        run = replace(run, good=0)
    if run.phase == GAVE_BACK:
        run = replace(run, good=0)
    if run.phase in (READY, RUNS, GAVE_BACK):  # what it saw of the other is used
        run = replace(run, seen=None)
    return replace(run, newer=run.newer and run.seen is not None)


def explored(rules: Rules) -> int:
    """How many states there are; Violated if one of them must not be."""
    seen, todo = {State()}, deque([State()])
    while todo:
        state = todo.popleft()
        if all(run.at_host for run in state.runs):
            raise Violated("two runs were at the host at once")
        for after in following(state, rules):
            one, two = map(normal, after.runs)
            after = replace(after, runs=(one, two))
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return len(seen)


def test_two_runs_are_never_at_a_host_at_once_and_none_finds_what_another_left() -> None:
    assert explored(Rules()) > 10_000


@pytest.mark.parametrize("rule", [rule.name for rule in fields(Rules)])
def test_no_rule_can_be_left_out(rule: str) -> None:
    with pytest.raises(Violated):
        explored(replace(Rules(), **{rule: False}))
