"""A NIC load while it runs: settling, draining, counters, totals."""

from typing import Any

from lab.errors import SutError
from lab.link import AgentRefusal, Receiver
from lab.loads import Agent, Epoch
from lab.loads.meter import BlockCounts

LOAD = "nic"
STREAMS = ("to-guest", "from-guest")
QUIET_S = 1.5
"""Rows come four times a second: when none came for so long, nothing is in flight."""
DRAIN_TIMEOUT_S = 30.0
REACH_TIMEOUT_S = 10.0
LOST_TIMEOUT_S = 1.0
"""For an agent that did not answer last time."""


class RunningNicLoad:
    """See `lab.loads.RunningLoad`; made by `NicLoad.running`."""

    def __init__(
        self,
        guest: Agent,
        far: Agent,
        evidence: Receiver,
        epoch: Epoch,
        counts: BlockCounts,
        block_bytes: int,
    ) -> None:
        self.guest, self.far, self.evidence = guest, far, evidence
        self._epoch, self._counts, self._block_bytes = epoch, counts, block_bytes
        self._patience_s = REACH_TIMEOUT_S

    def settle(self, *, blocks: int = 64, timeout_s: float = 30.0) -> None:
        """See `lab.loads.RunningLoad.settle`."""
        epoch = self._epoch.number

        def received(stream: str) -> int:
            return self._counts.good(f"{LOAD}.{stream}.received", epoch)

        self._counts.wait_for(lambda: all(received(s) >= blocks for s in STREAMS), timeout_s)
        short = [stream for stream in STREAMS if received(stream) < blocks]
        reason = self._out_of_reach() if short else ""
        for stream in STREAMS:
            data = {"load": LOAD, "stream": stream, "epoch": epoch, "blocks": received(stream)}
            # asking took a while and brought all rows: what came by then has come
            if received(stream) >= blocks:
                self.evidence.event("load.settled", data)
            elif reason:
                self.evidence.event("load.unreachable", data | {"reason": reason})
            else:
                wanted = {"wanted": blocks, "timeout_s": timeout_s}
                self.evidence.event("load.stalled", data | wanted)

    def wait_for_link(self, timeout_s: float) -> bool:
        """Whether the guest began to send in time."""
        return self._counts.wait_for(lambda: self._counts.blocks(f"{LOAD}.from-guest.sent") > 0, timeout_s)

    def record_counters(self, when: str) -> None:
        """Record the drop counters of all layers: "start" or "end"."""
        counters = self._ask_guest("nic_counters") or {}
        counters |= self.far.call("counters")
        for where, values in counters.items():
            data = {"load": LOAD, "where": where, "when": when, "counters": values}
            self.evidence.event("load.counters", data)

    def finish(self) -> None:
        """Stop the senders, wait for what is in flight, record counters and totals."""
        guest_stopped = self._ask_guest("nic_stop_sending")
        self.far.call("stop_sending")
        quiet = self._drain()
        self.record_counters("end")
        near, far = self._ask_guest("nic_stop"), self.far.call("stop")
        drained = quiet and None not in (guest_stopped, near)
        totals = {
            "to-guest": self._totals(far, near or {}),
            "from-guest": self._totals(near or {}, far),
        }
        self.evidence.event("load.stop", {"load": LOAD, "totals": totals, "drained": drained})

    def _drain(self) -> bool:
        """Wait until all that was sent has arrived, or nothing arrives any more."""

        def all_in() -> bool:
            counts = [
                (self._counts.blocks(f"{LOAD}.{s}.sent"), self._counts.blocks(f"{LOAD}.{s}.received"))
                for s in STREAMS
            ]
            return all(received >= sent for sent, received in counts)

        tables = tuple(f"{LOAD}.{stream}.received" for stream in STREAMS)
        return self._counts.wait_for_or_quiet(all_in, QUIET_S, tables, DRAIN_TIMEOUT_S)

    def _out_of_reach(self) -> str:
        """Why the guest cannot be asked; empty if it answers. Its answer comes behind all its rows."""
        try:
            self.guest.call("clock", timeout_s=self._patience_s)
        except SutError as error:
            self._patience_s = LOST_TIMEOUT_S
            return str(error)
        self._patience_s = REACH_TIMEOUT_S
        return ""

    def _ask_guest(self, call: str) -> Any:
        """The guest's answer; None, and load.unreachable on record, if it does not give one."""
        try:
            return self.guest.call(call, timeout_s=self._patience_s)
        except (SutError, AgentRefusal) as error:
            # a refusal: the guest or its agent is a new one and knows of no load
            self._patience_s = LOST_TIMEOUT_S
            data = {"load": LOAD, "reason": str(error), "call": call}
            self.evidence.event("load.unreachable", data)
            return None

    def _totals(self, sender: dict[str, Any], receiver: dict[str, Any]) -> dict[str, Any]:
        """One stream's totals: `blocks` and `bytes` as the sender counted them."""
        if "sent" not in sender:
            return {}
        told: dict[str, Any] = {"blocks": sender["sent"], "bytes": sender["sent"] * self._block_bytes}
        told |= {name: sender[name] for name in ("rate_hz", "missed_slots", "refused")}
        return told | {
            name: receiver[name] for name in ("received", "anomalies", "foreign") if name in receiver
        }
