"""The QMP monitor of a guest's QEMU, before and after it replaced itself.

The only importer of qemu.qmp. Its facts, seen with 0.0.6: a command under way when the peer goes
raises ExecInterruptedError; the event listener then stays silent for ever; connect() is refused
until disconnect(), which raises the root cause; afterwards a new client connects. So the end of a
connection is known from its run state alone.
"""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import EventListener, ExecInterruptedError, ExecuteError, Message, QMPClient, QMPError, Runstate

from lab.errors import BenchError, OutcomeUnknown, Refused
from lab.timeline import Recorder

T = TypeVar("T")
TELLING = {"query-status", "query-migrate", "query-version", "migrate"}
"""Replies that go on the timeline; the transcript in qmp.jsonl holds all of them."""
FAILED = ("failed", "cancelled")
"""How a migration ends that does not complete (qapi/migration.json, MigrationStatus)."""

RETRY_S = 0.02


class Monitor:
    """Talks QMP with old QEMU, then with new QEMU on the same path.

    connect: gives a fresh byte stream to the monitor's socket; raises OSError or BenchError
             while there is none
    ended:   why QEMU's process is gone; empty while it runs
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        recorder: Recorder,
        transcript: Path,
        ended: Callable[[], str] = lambda: "",
    ) -> None:
        self._connect, self._recorder, self._ended = connect, recorder, ended
        self._transcript = transcript.open("a", encoding="utf-8", buffering=1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()
        self._client: QMPClient | None = None
        self._events: list[Message] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.side, self.update = "old", 0

    # -- connection

    def begin(self, update: int) -> None:
        """From now on this QEMU is the old one of `update`; what it told before is of another."""
        self.side, self.update = "old", update
        self._events.clear()

    def serve(self, recorder: Recorder, transcript: Path) -> None:
        """Tell another case from now on."""
        before, self._transcript = self._transcript, transcript.open("a", encoding="utf-8", buffering=1)
        self._recorder, self.side, self.update = recorder, "old", 0
        before.close()

    def open(self, side: str, timeout_s: float) -> str:
        """Connect until a greeting arrives and return the QEMU version.

        While QEMU execs, its old listening socket may still accept and then drop the connection,
        and then refuse it for a while: only a greeting proves a monitor.

        Raises:
            Refused: if QEMU's process ends meanwhile.
            OutcomeUnknown: if none arrives in time.
        """
        self._run(self._leave(), 10)  # a QMP socket serves one client: the old one must go first
        self.side = side
        deadline = time.monotonic() + timeout_s
        last = "no attempt"
        while (left := deadline - time.monotonic()) > 0:
            try:
                self._run(self._greet(min(left, 5.0)), left + 1)
                break
            except (QMPError, OSError, EOFError, BenchError, TimeoutError) as error:
                last = f"{type(error).__name__}: {error}"
                if ended := self._ended():
                    raise Refused(f"{side} QEMU {ended}") from error
                threading.Event().wait(RETRY_S)  # the socket gives no event to wait for
        else:
            raise OutcomeUnknown(f"no QMP greeting from {side} QEMU within {timeout_s:g} s: {last}")
        version = self._greeted_version()
        self._recorder.record("qmp.connected", side=side, version=version, update=self.update)
        return version

    async def _greet(self, timeout_s: float) -> None:
        client = QMPClient("cprlab")
        listener = EventListener()
        client.register_listener(listener)
        stream = await asyncio.to_thread(self._connect)
        try:
            await asyncio.wait_for(client.connect(stream), timeout_s)
        except BaseException:
            stream.close()
            raise
        self._client, self._events = client, []
        self._tasks = [
            asyncio.create_task(self._take_events(listener, self._events)),
            asyncio.create_task(self._watch_end(client)),
        ]

    async def _take_events(self, listener: EventListener, into: list[Message]) -> None:
        async for message in listener:
            into.append(message)
            self._log("event", message)
            stamp: Any = message["timestamp"]
            t_host_ns = stamp["seconds"] * 10**9 + stamp["microseconds"] * 1000
            self._recorder.record(
                "qmp.event",
                side=self.side,
                name=message["event"],
                data=message.get("data", {}),
                t_host_ns=t_host_ns,
                update=self.update,
            )

    async def _watch_end(self, client: QMPClient) -> None:
        while client.runstate == Runstate.RUNNING:
            await client.runstate_changed()
        self._log("lost", {})
        self._recorder.record("qmp.lost", side=self.side, update=self.update, reason="the connection ended")

    def _greeted_version(self) -> str:
        assert self._client is not None and self._client.greeting is not None
        qemu: Any = self._client.greeting.QMP.version["qemu"]
        return f"{qemu['major']}.{qemu['minor']}.{qemu['micro']}"

    async def _leave(self) -> None:
        client, self._client = self._client, None
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if client is not None:
            # disconnect() raises the root cause of the loss, which is known and recorded already
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.disconnect(), 5)

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._run(self._leave(), 10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
        self._transcript.close()

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- commands

    def execute(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        timeout_s: float = 10.0,
        *,
        aside: bool = False,
    ) -> Any:
        """Execute one command and return what QEMU returned.

        aside: it is no part of an update: the reply goes into the transcript alone

        Raises:
            Refused: if QEMU answers with an error.
            OutcomeUnknown: if the connection ends or nothing comes in time.
        """
        client = self._client
        if client is None:
            raise OutcomeUnknown(f"{command}: no QMP connection")
        self._log("execute", {"execute": command, "arguments": dict(arguments or {})})
        try:
            result = self._run(client.execute(command, dict(arguments or {}) or None), timeout_s)
        except ExecuteError as error:
            self._note(command, aside, error=str(error))
            raise Refused(f"{command}: {error}") from error
        except ExecInterruptedError as error:
            raise OutcomeUnknown(f"{command}: the connection ended before the reply") from error
        except TimeoutError:
            raise OutcomeUnknown(f"{command}: no reply within {timeout_s:g} s") from None
        except QMPError as error:
            raise OutcomeUnknown(f"{command}: {error}") from error
        self._note(command, aside, result=result)
        return result

    def _note(self, command: str, aside: bool, **outcome: Any) -> None:
        self._log("reply", {"command": command, **outcome})
        if command in TELLING and not aside:
            self._recorder.record("qmp.reply", side=self.side, command=command, update=self.update, **outcome)

    # -- what an update waits for

    def connected(self) -> bool:
        return self._client is not None and self._client.runstate == Runstate.RUNNING

    def migration_failure(self) -> str | None:
        """What a MIGRATION event of this connection said of a failed or cancelled update."""
        return next((status for status in self._statuses() if status in FAILED), None)

    def migration_ended(self) -> str | None:
        """The first MIGRATION status of this connection that is an end, since `begin`."""
        return next((status for status in self._statuses() if status in {*FAILED, "completed"}), None)

    def _statuses(self) -> list[str]:
        data: list[Any] = [e["data"] for e in list(self._events) if e["event"] == "MIGRATION"]
        return [d["status"] for d in data]

    # -- one loop, one thread

    def _run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise

    def _log(self, what: str, message: Any) -> None:
        body = dict(message) if isinstance(message, Message) else message
        line = {"t_ns": time.monotonic_ns(), "side": self.side, "update": self.update, what: body}
        self._transcript.write(json.dumps(line) + "\n")
