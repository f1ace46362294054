"""What a QEMU of this host can do, asked of itself over QMP and not guessed from its version.

Source: QEMU qapi/introspect.json (the schema hides the names of types, so an enum is known by its
members), qapi/qom.json, qapi/char.json.
"""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..rpc import AgentError

DEADLINE_S = 60.0
"""Under emulation it takes a few seconds, most of them to load QEMU's modules."""

_ASKED: dict[str, dict[str, Any]] = {
    "capabilities": {"execute": "qmp_capabilities"},
    "version": {"execute": "query-version"},
    "schema": {"execute": "query-qmp-schema"},
    "machines": {"execute": "query-machines"},
    "devices": {"execute": "qom-list-types", "arguments": {"implements": "device", "abstract": False}},
    "objects": {"execute": "qom-list-types", "arguments": {"implements": "user-creatable"}},
    "chardevs": {"execute": "query-chardev-backends"},
}
_BLOCKDEVS = ("virtio-blk-vhost-vdpa",)
"""Drivers of interest that may lie in a module which is not installed: the schema names them all the same."""

_TRIED: dict[str, dict[str, Any]] = {
    driver: {
        "execute": "blockdev-add",
        "arguments": {"driver": driver, "node-name": "probe", "path": "/", "cache": {"direct": True}},
    }
    for driver in _BLOCKDEVS
}
_NO_DRIVER = ("Unknown driver", "Parameter 'driver' does not accept")
_QUESTIONS = {**_ASKED, **_TRIED}
_MIG_MODE = {"normal", "cpr-reboot"}
_NET_CLIENT_DRIVER = {"nic", "hubport"}


def probe(path: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
    """Its version, and sorted names: modes, machines, devices, netdevs, blockdevs, objects, chardevs.

    modes:     members of MigMode, those of CPR among them; none before QEMU 8.2
    blockdevs: those of _BLOCKDEVS that it can load

    Raises:
        AgentError: if it is no QEMU that answers in time; the text says what came instead.
    """
    replies = _replies(path, deadline_s)
    version = replies["version"]["qemu"]
    return {
        "version": f"{version['major']}.{version['minor']}.{version['micro']}",
        "modes": _enum(replies["schema"], _MIG_MODE),
        "machines": _names(replies["machines"]),
        "devices": _names(replies["devices"]),
        "netdevs": _enum(replies["schema"], _NET_CLIENT_DRIVER),
        "blockdevs": [driver for driver in _BLOCKDEVS if not replies[driver].startswith(_NO_DRIVER)],
        "objects": _names(replies["objects"]),
        "chardevs": _names(replies["chardevs"]),
    }


def _replies(path: str, deadline_s: float) -> dict[str, Any]:
    argv = [path, "-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    with _started(path, argv) as process:
        late = threading.Timer(deadline_s, _kill, [process])
        late.start()
        try:
            replies, said = _conversation(process)
        finally:
            when = "before its end" if late.is_alive() else f"within {deadline_s:g} s"
            late.cancel()
            # it has nothing to lose; `quit` would lose replies that a slow reader has not read yet
            _kill(process)
    if missing := [name for name in _QUESTIONS if name not in replies]:
        raise AgentError(
            f"{path} is no QEMU that can be asked: no answer for {missing[0]} {when}; "
            f"it said last: {said or 'nothing'}"
        )
    return replies


def _started(path: str, argv: Sequence[str]) -> "subprocess.Popen[bytes]":
    # it would outlive an agent that is killed: the end of its stdin means nothing to QEMU
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    if shutil.which(path) is None:
        raise AgentError(f"{path} is not a QEMU that runs here: no such program")
    try:
        return subprocess.Popen(
            [*prefix, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise AgentError(f"{path} is not a QEMU that runs here: {error}") from None


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """With all that it started, if it is a wrapper."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _conversation(process: "subprocess.Popen[bytes]") -> tuple[dict[str, Any], str]:
    """The replies by name, and the last line that was none."""
    assert process.stdin is not None and process.stdout is not None
    asked = b"".join(json.dumps({**ask, "id": name}).encode() + b"\n" for name, ask in _QUESTIONS.items())
    with suppress(BrokenPipeError):  # it ended: what it printed says why
        os.write(process.stdin.fileno(), asked)  # few enough for a pipe that nobody reads
    return _heard(process.stdout)


def _heard(lines: Iterable[bytes]) -> tuple[dict[str, Any], str]:
    replies: dict[str, Any] = {}
    said = ""
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if isinstance(message, dict) and "error" in message and message.get("id") in _TRIED:
            replies[message["id"]] = str(message["error"].get("desc", ""))
        elif not isinstance(message, dict) or "error" in message:
            said = line.decode(errors="replace").strip()[:200] or said
        elif "return" in message:
            replies[str(message.get("id"))] = message["return"]
        if _QUESTIONS.keys() <= replies.keys():
            break
    return replies, said


def _enum(schema: Sequence[Mapping[str, Any]], members: set[str]) -> list[str]:
    """The one enum that has these members."""
    enums = ({m["name"] for m in entry["members"]} for entry in schema if entry["meta-type"] == "enum")
    return sorted(next((names for names in enums if members <= names), set()))


def _names(infos: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({str(info["name"]) for info in infos})
