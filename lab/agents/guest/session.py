"""The guest's side of a connection that breaks and comes back.

Every request is done once: the controller repeats after a break what was not answered, with the
same id; ids only grow, so a repeated one is known. Answers lie in the journal like everything else.
Two requests have no id and no answer:
resume {after, session, agent}: what follows is for a new connection; {"resumed": n, "agent": ...} goes
    out first, then all lines from n on: those after line `after` of that agent, or all there are
ack {upto}: the controller has the lines up to this one
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from ..journal import Journal
from ..rpc import Wire, answer


class Session:
    """Answers the controller's lines.

    agent: tells this run of the agent from every other
    """

    def __init__(
        self, journal: Journal, out: Wire, calls: Mapping[str, Callable[..., Any]], agent: str
    ) -> None:
        self.greeting = b""  # to be sent before anything of the journal
        self.attached = False  # nobody listens before the first resume
        self._journal, self._out, self._calls, self._agent = journal, out, calls, agent
        self._session, self._last_id = "", 0

    def line(self, line: bytes) -> None:
        """Do what one line asks for; a line cut by a break is ignored."""
        try:
            request = json.loads(line)
            call, args, number = request["call"], request.get("args", {}), request.get("id", 0)
        except (ValueError, KeyError, TypeError):
            return
        if call == "resume":
            self._resume(**args)
        elif call == "ack":
            self._journal.ack(args["upto"])
        elif number > self._last_id:
            self._last_id = number
            answer(line, self._out, self._calls)

    def _resume(self, after: int, session: str, agent: str) -> None:
        if session != self._session:
            self._session, self._last_id = session, 0
        # a number of an earlier agent, before the guest was started anew, means nothing here
        first = self._journal.resume(after if agent == self._agent else 0)
        greeting = {"resumed": first, "agent": self._agent}
        # the empty line ends what may be left of a line of the broken connection
        self.greeting = b"\n" + json.dumps(greeting).encode() + b"\n"
        self.attached = True
