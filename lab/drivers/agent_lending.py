"""What the host agent knows of its host's functions, and lends to guests, from the controller's side."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.drivers.agent_making import DEVICE_S
from lab.link import AgentLink

PATIENCE_S = 30.0
"""An emulated host looks at everything that speaks against a function."""
SURVEY_S = 120.0
"""Both ends of every disk are read."""


class Lending:
    """The calls of `lab.drivers.agent.HostAgent` about functions, and about giving them back.

    Raises:
        AgentRefusal: from every call, if the agent cannot do it.
    """

    link: AgentLink

    def allow(self, functions: Sequence[Mapping[str, Any]]) -> None:
        """From now on it may touch these, and no others; as `Bench.allowed` gives them."""
        self.link.call("allow", PATIENCE_S, functions=list(functions))

    def capabilities(self) -> dict[str, Any]:
        return dict(self.link.call("capabilities", PATIENCE_S))

    def functions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.link.call("functions", PATIENCE_S)
        return found

    def survey(self) -> dict[str, Any]:
        """What the host is made of; see lab/agents/host/survey.py."""
        return dict(self.link.call("survey", SURVEY_S))

    def bind(self, bdf: str, together: Sequence[str] = ()) -> dict[str, Any]:
        """Bind a function to vfio-pci: {driver_before, vfio_cdev, group}."""
        return dict(self.link.call("bind", PATIENCE_S, bdf=bdf, together=list(together)))

    def give_back(self, bdf: str) -> None:
        self.link.call("give_back", PATIENCE_S, bdf=bdf)

    def disk_of(self, bdf: str) -> str:
        """The path of the block device of a function that is the host's: waited for."""
        return str(self.link.call("disk_of", timeout_s=DEVICE_S, bdf=bdf))

    def restore(self) -> list[dict[str, Any]]:
        """Undo every change to the host: [{kind, what, before, error if it failed}]."""
        undone: list[dict[str, Any]] = self.link.call("restore", timeout_s=60)
        return undone

    def interrupts(self, bdf: str) -> dict[str, int]:
        return dict(self.link.call("interrupts", PATIENCE_S, bdf=bdf))

    def device(self, bdf: str) -> dict[str, Any]:
        return dict(self.link.call("device", PATIENCE_S, bdf=bdf))

    def objections(self, bdf: str) -> list[str]:
        """Why a function that it may touch would not be bound, a sentence each; none if it would be."""
        found: list[str] = self.link.call("objections", PATIENCE_S, bdf=bdf)
        return found
