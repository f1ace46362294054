"""One guest for several cases: what a case leaves for the next one."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from fixtures.shelf import Shelf


@contextmanager
def thing(log: list[str], name: str) -> Iterator[str]:
    log.append(f"+{name}")
    yield name
    log.append(f"-{name}")


def test_what_is_on_a_shelf_serves_the_next_case_only_if_it_is_sound() -> None:
    log: list[str] = []
    shelf = Shelf()

    def case(of: str, sound: bool) -> None:
        shelf.begin(of)
        for name in ("agent", "guest"):
            assert shelf.take(name, partial(thing, log, name)) == name == shelf.there(name)
        shelf.sound = sound
        shelf.end()

    made, ended = ["+agent", "+guest"], ["-guest", "-agent"]
    case("nic", sound=True)
    assert log == made
    case("nic", sound=False)
    assert log == [*made, *ended] and shelf.there("agent") is None
    case("nic", sound=True)
    case("edu", sound=True)
    assert log == [*made, *ended, *made, *ended, *made]
    shelf.clear()
    assert log == [*made, *ended] * 3
