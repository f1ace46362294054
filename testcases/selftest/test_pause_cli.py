"""`cprlab pause` with what it cannot measure: one line, status 2, and no bench is powered on."""

import json
import re
from pathlib import Path

import pytest

from lab import cli
from lab.cli import pause


@pytest.fixture(autouse=True)
def unreached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets as far as the images would power a bench on next."""
    monkeypatch.setattr(pause, "prepare_images", lambda bench: pytest.fail("it went on to the bench"))


@pytest.fixture
def record(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere" / "run"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"cases": []}))
    return folder


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr("sys.argv", ["cprlab", "pause", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--modes", "cpr-exec,cpr-foo"), "--modes: one of cpr-exec, cpr-transfer, cpr-reboot .* 'cpr-foo'"),
        (("--ram", "256,little"), "--ram: 'little' is no memory size"),
        (("--ram", "32"), "--ram: '32' is no memory size in MiB, which is 64 or more"),
        (("--pages", "8k"), "--pages: one of any, 4k, thp, 2m, 1g was expected, not '8k'"),
        (("--devices", "3"), "--devices: one of 0, 1, 2 was expected, not '3'"),
        (("--points", "512m-any"), "'512m-any' is no point: one looks like 512m-any-prealloc-off-1dev"),
        (("--resume", "nowhere"), "nowhere is no run record"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    assert re.search(says, said(capsys, monkeypatch, *words))


def test_a_record_elsewhere_is_not_gone_on_with(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, record: Path, tmp_path: Path
) -> None:
    words = ("--resume", str(record), "--runs-dir", str(tmp_path))
    assert "where the new record will" in said(capsys, monkeypatch, *words)
