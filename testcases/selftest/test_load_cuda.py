"""The CUDA load sends blocks through a GPU, and tells each fault for what it is.

Claim: of a device that works all blocks come back right, several under way; a wrong byte, a stale buffer, a
lost copy, a driver's error and a block that never ends are each on record, and the load goes on.
(`lab/agents/guest/cuda.py`, on a model of the driver's library; not verified on hardware.)
"""

import inspect
from typing import Any

import pytest

from lab.agents.guest import cuda_library
from lab.agents.guest.cuda import Cuda
from lab.agents.guest.cuda_copies import Copies, CudaError
from lab.agents.loop import Loop
from lab.agents.rpc import AgentError, Wire
from lab.loads.cuda import CudaLoad

from .cuda_model import ModelGpu
from .test_load_dma_engine import Told

BLOCK_BYTES, SLOTS, DEADLINE_TURNS = 256, 3, 6


class Rig:
    """Copies on a model, turn by turn."""

    def __init__(self, **faults: int) -> None:
        self.told = Told()
        self.gpu = ModelGpu({seq: name.replace("_", "-") for name, seq in faults.items()})
        out: Wire = self.told  # type: ignore[assignment]
        slots = [self.gpu.slot(BLOCK_BYTES) for _ in range(SLOTS)]
        self.copies = Copies(
            out, "cuda", self.gpu, slots, block_bytes=BLOCK_BYTES, seed=3, deadline_turns=DEADLINE_TURNS
        )

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.copies.look()
            self.copies.begin(1)

    def finished(self) -> None:
        self.copies.sending = False
        for _ in range(2 * DEADLINE_TURNS):
            self.copies.look()
        self.copies.flush()

    def seqs(self, end: str) -> list[int]:
        return sorted(row[0] for row in self.told.tables[f"cuda.copy.{end}"])

    def wrong(self) -> list[int]:
        return [row[0] for row in self.told.tables["cuda.copy.received"] if not row[3]]


def test_all_blocks_come_back_and_several_are_under_way() -> None:
    rig = Rig()
    rig.turns(3)
    assert rig.copies.under_way == SLOTS
    rig.turns(10)
    rig.copies.epoch = 2
    rig.turns(10)
    rig.finished()
    assert rig.seqs("sent") == rig.seqs("received") == list(range(rig.copies.seq))
    assert rig.copies.seq > 15 and rig.copies.under_way == 0
    assert {row[1] for row in rig.told.tables["cuda.copy.received"]} == {1, 2}
    assert rig.told.events == [] and not rig.wrong()


WRONG = {
    "flip": ("damaged", {"wrong_bytes": 1, "first_wrong_byte": BLOCK_BYTES // 2}),
    "cut": ("damaged", {"unwritten_at_end": BLOCK_BYTES // 2}),
    "no_in": ("stale", {"content_of_seq": 4, "epoch": 1}),
    "no_kernel": ("stale", {"result_of_seq": 4}),
    "no_out": ("not-written", {}),
}


@pytest.mark.parametrize(("fault", "seen"), WRONG.items(), ids=WRONG)
def test_wrong_content_is_seen_as_what_it_is(fault: str, seen: tuple[str, dict[str, Any]]) -> None:
    rig = Rig(**{fault: 7})
    rig.turns(20)
    rig.finished()
    ((what, seq, detail),) = rig.told.anomalies()
    assert (what, seq) == (seen[0], 7)
    assert detail.items() >= seen[1].items()
    assert rig.wrong() == [7] and rig.seqs("received") == rig.seqs("sent")


ERRORS = {
    "begin": ("cuLaunchKernel", 719, "CUDA_ERROR_LAUNCH_FAILED"),
    "query": ("cuEventQuery", 700, "CUDA_ERROR_ILLEGAL_ADDRESS"),
}


@pytest.mark.parametrize(("fault", "said"), ERRORS.items(), ids=ERRORS)
def test_what_the_driver_says_is_told_once_by_name(fault: str, said: tuple[str, int, str]) -> None:
    rig = Rig(**{fault: 5})
    rig.turns(20)
    rig.finished()
    detail = dict(zip(("call", "code", "error"), said, strict=True))
    assert rig.told.anomalies() == [("error", 5, detail)]
    assert set(rig.seqs("sent")) - set(rig.seqs("received")) == {5}
    assert rig.copies.under_way == 1 and rig.copies.seq > 10


def test_block_that_never_ends_is_told_once_and_the_load_goes_on() -> None:
    rig = Rig(hang=5)
    rig.turns(30)
    rig.finished()
    assert rig.told.anomalies() == [("not-ended", 5, {"turns": DEADLINE_TURNS})]
    assert set(rig.seqs("sent")) - set(rig.seqs("received")) == {5}
    assert rig.copies.under_way == 1 and rig.copies.seq > 15


@pytest.mark.parametrize(("kind", "what"), [("flip", "damaged"), ("stale", "stale"), ("torn", "damaged")])
def test_planted_fault_is_seen_once(kind: str, what: str) -> None:
    rig = Rig()
    rig.turns(5)
    rig.copies.plant(kind)
    rig.turns(10)
    rig.finished()
    assert [told[0] for told in rig.told.anomalies()] == [what] and len(rig.wrong()) == 1
    with pytest.raises(AgentError, match="no fault 'melt' of a CUDA load: there are flip, stale"):
        rig.copies.plant("melt")


def test_a_block_can_be_made_to_go_missing() -> None:
    rig = Rig()
    rig.copies.plant("missing")
    rig.turns(10)
    rig.finished()
    assert rig.told.anomalies() == [] and rig.seqs("received") == rig.seqs("sent")[1:]


def driven(gpu: ModelGpu) -> Cuda:
    out: Wire = Told()  # type: ignore[assignment]
    return Cuda(Loop(), out, "cuda", 1, lambda bdf: gpu)


def test_gpu_is_let_go_only_when_it_has_no_block_left() -> None:
    for fault, closed in (({}, True), ({0: "hang"}, False)):
        gpu = ModelGpu(fault)
        load = driven(gpu)
        facts = load.start(**CudaLoad(block_bytes=BLOCK_BYTES, hold_ms=2.5).settings())
        assert (facts["gpu"], facts["depth"]) == ("a model", 8)
        for _ in range(5):
            load._turn()
        load.stop_sending()
        for _ in range(5):
            load._turn()
        totals = load.stop()["copy"]
        assert gpu.closed == closed and totals["under_way"] == (not closed)
        assert totals["sent"] == gpu.begun >= 1
        assert set(gpu.holds) == {2_500_000}


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"block_bytes": 66}, "a multiple of 4, not 66"), ({"depth": 0}, "1 to 64 blocks .* not 0")],
)
def test_load_that_cannot_be_is_refused(setting: dict[str, int], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        driven(ModelGpu()).start(**(CudaLoad().settings() | setting))


def test_gpu_that_cannot_be_used_is_told_by_the_drivers_name_for_it() -> None:
    gpu = ModelGpu()

    def none(block_bytes: int) -> Any:
        raise CudaError("cuMemHostAlloc", 2, "CUDA_ERROR_OUT_OF_MEMORY")

    gpu.slot = none  # type: ignore[method-assign]
    with pytest.raises(AgentError, match=r"cuMemHostAlloc: CUDA_ERROR_OUT_OF_MEMORY \(2\)"):
        driven(gpu).start(**CudaLoad().settings())
    assert gpu.closed


def test_guest_without_the_driver_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_library, "NAME", "libcuda-not-here.so")
    out: Wire = Told()  # type: ignore[assignment]
    with pytest.raises(AgentError, match=r"libcuda-not-here\.so cannot be loaded .* needs NVIDIA's driver"):
        Cuda(Loop(), out, "cuda", 1).start(**CudaLoad().settings())


def test_settings_are_what_the_guest_takes_and_some_block_is_always_under_way() -> None:
    load = CudaLoad(bdf="0000:00:05.0")
    inspect.signature(Cuda.start).bind(None, **load.settings())
    assert load.hold_ms > 1000 / load.rate_hz
    assert load.depth > load.rate_hz * load.hold_ms / 1000
