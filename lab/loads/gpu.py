"""The GPU load: numbered pictures that the guest draws, and the device reads by DMA to show them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from lab.agents.picture import PIXEL_BYTES
from lab.drivers.screen import Screen
from lab.link import Receiver
from lab.loads import Agent, Epoch, Stream
from lab.loads.camera import Camera
from lab.loads.pictures import PictureReader
from lab.loads.running import Running, metered
from lab.loads.sizing import share_of

SHARE = 0.25
"""Of what the guest can draw."""


@dataclass(frozen=True)
class GpuLoad:
    """Shows picture after picture, and looks at the screen several times a second.

    Picture `seq` has pixels that only picture `seq` of this seed has, so an old, torn or damaged one
    is known from a screenshot alone, whatever the device reports.

    screen:        the display of the function, as the controller sees it
    width, height: a mode of that display
    rate_hz:       pictures per second; each is drawn while the one before it is shown
    shots_hz:      looks per second: samples, so not every picture is seen
    bdf:           the function as the guest sees it; by default its first card

    Guarantees of `running`:
      - the device reads guest memory, one whole picture at a time, `rate_hz` times a second;
      - every picture the kernel took is a row in <name>.frame.sent, stamped by the guest when the ioctl
        returned; what was seen of them is in <name>.frame.received and in events, see Camera;
      - nothing that is shown is ever drawn upon: what is torn was not torn by the guest;
      - the screen is looked at through the whole update, and once more when the last picture is shown.
    """

    screen: Screen
    name: str = "gpu"
    width: int = 320
    height: int = 200
    rate_hz: float = 5.0
    shots_hz: float = 5.0
    seed: int = 1
    sizing: str = ""
    bdf: str | None = None
    probe_hz: float = 50.0
    kind: ClassVar[str] = "gpu"
    streams: ClassVar[tuple[Stream, ...]] = (Stream("frame", "guest", "controller", sampled=True),)

    @property
    def block_bytes(self) -> int:
        """What the device reads for one picture."""
        return self.width * self.height * PIXEL_BYTES

    def settings(self) -> dict[str, Any]:
        return {
            "rate_hz": self.rate_hz,
            "width": self.width,
            "height": self.height,
            "seed": self.seed,
            "bdf": self.bdf,
        }

    def sized(self, capacity_hz: float) -> "GpuLoad":
        """At most as many pictures as looks are taken: what nobody looks at only costs the guest's time."""
        return share_of(self, capacity_hz, min(SHARE, self.shots_hz / capacity_hz) if capacity_hz else SHARE)

    @contextmanager
    def running(self, guest: Agent, evidence: Receiver, epoch: Epoch) -> Iterator[Running]:
        """Run the load while the context is open.

        Raises:
            BenchError: it could not be started, or its screen shows nothing of it. Once it runs,
                nothing the guest does raises.
        """
        with metered(self, evidence, epoch, guest) as running:
            running.tell_start({"card": running.guest.start(), "shots_hz": self.shots_hz})
            reader = PictureReader(self.seed, self.width, self.height)
            running.far = camera = Camera(self.name, self.screen, reader, running.receiver, self.shots_hz)
            camera.start()
            yield running
