"""A display is looked at through the monitor of the bench host's QEMU, and what comes is checked."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.bench import prepared
from lab.drivers.labgrid_virtual import VirtualBenchDriver
from lab.drivers.screen import MonitorScreen, picture
from lab.errors import BenchError, LabUsageError

TARGETS = Path(__file__).resolve().parents[2] / "targets"
PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
PPM = b"P6\n3 2\n255\n" + PIXELS.tobytes()


def test_a_ppm_is_rows_of_red_green_and_blue() -> None:
    assert (picture(PPM) == PIXELS).all()


@pytest.mark.parametrize(
    "ppm, says",
    [(b"", "no binary PPM"), (b"\x89PNG\r\n", "no binary PPM"), (PPM[:-1], "3x2 pixels holds 17 bytes")],
)
def test_what_is_no_picture_is_refused(ppm: bytes, says: str) -> None:
    with pytest.raises(BenchError, match=says):
        picture(ppm)


@dataclass
class Monitor:
    """A QEMU monitor: one client after the other."""

    path: Path
    ppm: bytes = PPM
    refuses: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client, client.makefile("rwb") as wire:
                self._say(wire, {"QMP": {}})
                for line in wire:
                    self._say(wire, {"event": "RESUME"})
                    self._say(wire, self._answer(json.loads(line)))

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["execute"] == "screendump":
            self.asked.append(request["arguments"])
            if self.refuses:
                return {"error": {"desc": self.refuses}}
            Path(request["arguments"]["filename"]).write_bytes(self.ppm)
        return {"return": {}}

    def _say(self, wire: Any, message: dict[str, Any]) -> None:
        wire.write(json.dumps(message).encode() + b"\n")
        wire.flush()


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    made = Monitor(tmp_path / "qmp")
    yield made
    made.close()


def test_a_shot_is_what_the_device_shows(monitor: Monitor) -> None:
    assert (MonitorScreen(monitor.path, "gpu").shot() == PIXELS).all()
    assert [asked["device"] for asked in monitor.asked] == ["gpu"]


def test_nothing_is_left_lying_about(monitor: Monitor) -> None:
    MonitorScreen(monitor.path, "gpu").shot()
    assert list(monitor.path.parent.iterdir()) == [monitor.path]


def test_several_threads_may_look_at_once(monitor: Monitor) -> None:
    shots: list[Any] = []
    screen = MonitorScreen(monitor.path, "gpu")
    threads = [threading.Thread(target=lambda: shots.append(screen.shot())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shots) == 8 and all((shot == PIXELS).all() for shot in shots)
    assert len({asked["filename"] for asked in monitor.asked}) == 8


def test_a_refused_shot_says_why(monitor: Monitor) -> None:
    monitor.refuses = "Device 'gpu' not found"
    with pytest.raises(BenchError, match="refused 'screendump': Device 'gpu' not found"):
        MonitorScreen(monitor.path, "gpu").shot()


def test_a_bench_host_that_is_gone_is_a_bench_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="does not answer 'screendump'"):
        MonitorScreen(tmp_path / "qmp", "gpu").shot()
    with pytest.raises(BenchError, match="no screenshot of gpu can be taken"):
        MonitorScreen(tmp_path / "gone" / "qmp", "gpu").shot()


def test_a_display_is_found_by_its_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = prepared(TARGETS / "virtual.yaml")
    machine: Any = type("Vm", (), {"machine": type("M", (), {"monitor": tmp_path / "qmp"})})
    monkeypatch.setattr(VirtualBenchDriver, "vm", machine)
    assert bench.screen("gpu") == MonitorScreen(tmp_path / "qmp", "gpu")
    with pytest.raises(BenchError, match=r"no display at 0000:03:00\.0"):
        bench.screen("nvme")
    with pytest.raises(LabUsageError, match="has no function 'tv'"):
        bench.screen("tv")


def test_on_hardware_a_capture_card_is_missing() -> None:
    with pytest.raises(LabUsageError, match=r"takes a capture card .* cprlab has no driver for one yet"):
        prepared(TARGETS / "example-host.yaml").screen("nic")
