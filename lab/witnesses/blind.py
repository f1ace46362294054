"""What a witness could not see is recorded too: it is never taken for "nothing happened"."""

from collections.abc import Iterator
from contextlib import contextmanager

from lab.link import AgentRefusal
from lab.timeline import Recorder


@contextmanager
def blind_if_refused(recorder: Recorder, witness: str) -> Iterator[None]:
    """Record `witness.blind` with the agent's reason when it refuses; a bench that is lost still raises."""
    try:
        yield
    except AgentRefusal as refusal:
        recorder.record("witness.blind", witness=witness, reason=str(refusal))


@contextmanager
def working(recorder: Recorder, witness: str) -> Iterator[None]:
    """Record `witness.start` and `witness.stop` around a witness that works by itself."""
    recorder.record("witness.start", witness=witness)
    try:
        yield
    finally:
        recorder.record("witness.stop", witness=witness)
