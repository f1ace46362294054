"""The epoch that the agent is in."""

from dataclasses import dataclass


@dataclass
class Epoch:
    """Shared by all that produce evidence; only the controller's call `epoch` changes it."""

    number: int = 1
