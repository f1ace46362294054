"""Faults of a wire, at its far end or in what gives frames back: see lab/agents/faults.py."""

from lab.faults.fault import FROM_GUEST, TO_GUEST, Fault, Plant, Scene, checkers


def _delay(scene: Scene) -> None:
    scene.far["far"].call("fault", kind="delay", direction="from-guest", seconds=scene.too_long_s)


def _over(scene: Scene) -> None:
    """Once the frames come again: a load that has not gone on by then would be said to have stalled."""
    scene.evidence.wait_for_flow(2 * scene.too_long_s)


def _wire(kind: str, direction: str = "to-guest") -> Plant:
    def plant(scene: Scene) -> None:
        scene.far["far"].call("fault", kind=kind, direction=direction)

    return plant


FAULTS = {
    "wire-drops-a-frame": Fault(checkers(TO_GUEST), after=_wire("drop"), everyday=True),
    "wire-drops-a-frame-of-the-guest": Fault(checkers(FROM_GUEST), after=_wire("drop", "from-guest")),
    "wire-doubles-a-frame": Fault(checkers(TO_GUEST), after=_wire("duplicate"), everyday=True),
    "wire-swaps-two-frames": Fault(checkers(TO_GUEST), after=_wire("reorder")),
    "wire-flips-a-bit": Fault(checkers(FROM_GUEST), after=_wire("flip", "from-guest"), everyday=True),
    "wire-flips-a-bit-to-the-guest": Fault(checkers(TO_GUEST), after=_wire("flip")),
    # all frames come, and in order: only whoever waits for them can tell
    "wire-delays-beyond-the-pause": Fault(checkers("guest_pause_below"), last=_delay, after=_over),
    "tap-flips-a-bit": Fault(
        checkers("dma_intact(tap.from-guest)"), after=_wire("flip", "from-guest"), row="tap", iommu="vhost"
    ),
}
