"""The controller's link to the guest agent, which breaks at every update and comes back.

Nothing is lost or doubled by a break: the guest numbers its lines and keeps them until they are
acknowledged, the link takes them strictly in order; a request is sent again until it is answered,
and the guest does it once (`lab/agents/guest/session.py`).
"""

import itertools
import json
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lab.agents.lines import Lines
from lab.errors import OutcomeUnknown
from lab.link import AgentRefusal, Receiver, deliver

TURN_S = 1.0
"""How long a read waits before the link looks after itself; also the limit of a write."""
LINES_PER_ACK = 256
GONE_PERIOD_S = 0.25
"""How often a call that waits looks whether the guest is still there."""
SILENT_TIMEOUT_S = 1.0
"""Patience with a guest that has not said a word since it failed to answer."""


class Connection(Protocol):
    """What the link needs of a socket; a paramiko channel has it too."""

    def settimeout(self, value: float, /) -> None: ...

    def recv(self, most_bytes: int, /) -> bytes: ...

    def sendall(self, data: bytes, /) -> None: ...

    def close(self) -> None: ...


class GuestLink:
    """Calls the guest agent and passes on its events and rows, over as many connections as it takes.

    connect:  opens a connection, or raises; asked again every `retry_s` until it does
    gone:     why nobody will ever answer again, as that QEMU has ended; empty while somebody may
    receiver: gets events and rows in the order the guest sent them, from the link's own thread; may
              be changed while running. It also gets `guest.link` {connected, reason}
    silent:   told of the call that an agent which had answered before left without an answer, once until
              it says something again; while somebody may still answer. Must not raise

    Guarantees: every event and row that the agent sent reaches a receiver exactly once, in order,
    as soon as a connection lasts long enough; `witness.blind` is received in place of what is lost
    because the guest itself was started anew.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        receiver: Receiver | None = None,
        name: str = "guest agent",
        retry_s: float = 0.1,
        gone: Callable[[], str] = lambda: "",
        silent: Callable[[str], None] = lambda call: None,
    ) -> None:
        self.name, self.receiver, self.gone, self._tell_silent = name, receiver, gone, silent
        self._connect, self._retry_s = connect, retry_s
        self._session, self._agent = uuid.uuid4().hex, ""
        self._ids = itertools.count(1)
        self._last = self._acked = 0
        self._connection: Connection | None = None
        self._resumed = self._silent = False
        self._lock = threading.RLock()  # of all above and the order on the wire
        self._requests: dict[int, bytes] = {}
        self._replies: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether the guest agent has answered on the present connection."""
        return self._resumed

    def call(self, call: str, timeout_s: float = 20.0, **args: Any) -> Any:
        """Ask the guest agent and return its result; a break in between does not matter.

        Raises:
            AgentRefusal: if it answers with an error.
            OutcomeUnknown: if no answer comes in time, or the guest was started anew meanwhile.
        """
        reply: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with self._lock:
            number = next(self._ids)
            request = json.dumps({"id": number, "call": call, "args": args}).encode() + b"\n"
            self._requests[number], self._replies[number] = request, reply
            if self._resumed:
                self._send(request)
        try:
            answer = self._answer(reply, min(timeout_s, SILENT_TIMEOUT_S) if self._silent else timeout_s)
        except queue.Empty:
            was_silent, self._silent = self._silent, True
            state = self.gone() or ("connected" if self._resumed else "not connected")
            if self._agent and not was_silent and not self.gone():
                self._tell_silent(call)
            raise OutcomeUnknown(
                f"{self.name} did not answer {call!r} within {timeout_s:g} s ({state})"
            ) from None
        finally:
            with self._lock:
                self._requests.pop(number, None)
                self._replies.pop(number, None)
        if "lost" in answer:
            raise OutcomeUnknown(f"{self.name}: {call!r} has no answer: {answer['lost']}")
        if "error" in answer:
            raise AgentRefusal(f"{self.name}: {call}: {answer['error']}")
        return answer["result"]

    def _answer(self, reply: "queue.SimpleQueue[dict[str, Any]]", timeout_s: float) -> dict[str, Any]:
        """Raises queue.Empty when the time is up, or nobody is left to answer."""
        end_s = time.monotonic() + timeout_s
        while True:
            left_s = end_s - time.monotonic()
            try:
                return reply.get(timeout=max(0.0, min(GONE_PERIOD_S, left_s)))
            except queue.Empty:
                if left_s <= GONE_PERIOD_S or self.gone():
                    raise

    def through(self, made: Callable[[Connection], Connection]) -> None:
        """Have every connection from now on go through what is made of it; the present one is given up."""
        connect = self._connect
        self._connect = lambda: made(connect())
        with self._lock:
            if self._connection:
                self._connection.close()  # the reader notices

    def close(self) -> None:
        """Give up the connection and all calls under way."""
        self._closing.set()
        with self._lock:
            if self._connection:
                self._connection.close()
        self._thread.join(timeout=10)
        self._lose_calls("the link was closed")

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                connection = self._connect()
            except Exception:  # whatever it is (OSError, paramiko's): the caller's deadline judges
                self._closing.wait(self._retry_s)
                continue
            reason = self._serve(connection)
            with self._lock:
                was_up, self._resumed, self._connection = self._resumed, False, None
                connection.close()
            if was_up:
                self._tell("guest.link", {"connected": False, "reason": reason})
            self._closing.wait(self._retry_s)

    def _serve(self, connection: Connection) -> str:
        """Take what comes until the connection breaks; why it did."""
        lines = Lines()
        try:
            connection.settimeout(TURN_S)
            with self._lock:
                self._connection = connection
                self._ask_to_resume()
            while not self._closing.is_set():
                try:
                    data = connection.recv(65536)
                except TimeoutError:
                    self._look_after()
                    continue
                if not data:
                    return "closed by the other side"
                for line in lines.feed(data):
                    self._line(line)
        except (OSError, EOFError) as error:
            return f"{type(error).__name__}: {error}"
        return "link closed"

    def _look_after(self) -> None:
        with self._lock:
            if self._resumed and not self._requests:
                self._acknowledge()
            else:
                # the guest may not have been there yet, or not have noticed the connection; or it slept, and
                # saw an end of it where there was none here (Linux virtio_console, suspend to RAM)
                self._resumed = False
                self._ask_to_resume()

    def _line(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return  # the rest of a line whose beginning went with the broken connection
        if not isinstance(message, dict):
            return
        if "resumed" in message:
            self._resume(message)
        elif self._resumed and message.get("n", 0) > self._last:
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        number = message.pop("n")
        self._silent = False
        with self._lock:
            if number != self._last + 1:  # a line went missing on the way: have it sent again
                self._resumed = False
                self._ask_to_resume()
                return
        if "id" in message:
            if reply := self._replies.get(message["id"]):
                reply.put(message)
        elif self.receiver is not None:
            deliver(message, self.receiver)
        self._last = number
        if number - self._acked >= LINES_PER_ACK:
            with self._lock:
                self._acknowledge()

    def _resume(self, message: Mapping[str, Any]) -> None:
        first, agent = message["resumed"], message["agent"]
        blind = ""
        if self._agent not in ("", agent):
            blind = "the guest agent was started anew; what it had not sent before is lost"
            self._last = self._acked = 0
            self._lose_calls("the guest agent was started anew")
        elif self._agent and first > self._last + 1:
            blind = f"the guest no longer has its lines {self._last + 1} to {first - 1}"
        self._agent = agent
        self._last = max(self._last, first - 1)
        self._tell("guest.link", {"connected": True, "reason": ""})
        if blind:
            self._tell("witness.blind", {"witness": "guest-agent", "reason": blind})
        with self._lock:
            self._resumed = True
            for number in sorted(self._requests):
                self._send(self._requests[number])

    def _ask_to_resume(self) -> None:
        args = {"after": self._last, "session": self._session, "agent": self._agent}
        # the empty line ends what may be left of a request of the broken connection
        self._send(b"\n" + json.dumps({"call": "resume", "args": args}).encode() + b"\n")

    def _acknowledge(self) -> None:
        if self._last > self._acked:
            self._acked = self._last
            self._send(json.dumps({"call": "ack", "args": {"upto": self._acked}}).encode() + b"\n")

    def _send(self, line: bytes) -> None:
        """Send on the present connection, if it works; what was not sent is sent after the next resume."""
        assert self._connection is not None
        try:
            self._connection.sendall(line)
        except (OSError, EOFError):
            self._connection.close()  # perhaps in the middle of a line; the reader notices

    def _lose_calls(self, reason: str) -> None:
        with self._lock:
            self._requests.clear()
            for reply in list(self._replies.values()):
                reply.put({"lost": reason})

    def _tell(self, kind: str, data: Mapping[str, Any]) -> None:
        if self.receiver is not None:
            self.receiver.event(kind, data)
