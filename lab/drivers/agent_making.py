"""What the host agent makes on the host, from the controller's side; see lab/agents/host/making.py.

Everything is journalled there, and undone when the agent ends.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.link import AgentLink

DEVICE_S = 90.0
"""Making and removing devices: in the worst case a VDUSE daemon that is gone is waited for twice."""


class Making:
    """The calls of `lab.drivers.agent.HostAgent` that change the host.

    Raises:
        AgentRefusal: from every call, if the agent cannot do it.
    """

    link: AgentLink

    def vf_create(self, bdf: str, mac: str) -> dict[str, Any]:
        """Make a virtual function: {bdf, pf, pf_interface, group, group_members, mac, spoof_checking}."""
        return self._dict("vf_create", DEVICE_S, bdf=bdf, mac=mac)

    def vf_remove(self, bdf: str) -> None:
        """Give a virtual function that was made here back, and remove it."""
        self.link.call("vf_remove", timeout_s=DEVICE_S, bdf=bdf)

    def vdpa_create(self, name: str, management: str, mac: str | None = None) -> dict[str, Any]:
        """Make a vDPA device for QEMU: {name, path, type, management, mac}.

        For management "vduse" a daemon of the same name must have been started before.
        """
        return self._dict("vdpa_create", DEVICE_S, name=name, management=management, mac=mac)

    def vdpa_as_disk(self, name: str) -> str:
        """Take a vDPA device from QEMU, which has ended, to the host: path of its block device."""
        return str(self.link.call("vdpa_as_disk", timeout_s=DEVICE_S, name=name))

    def vdpa_remove(self, name: str) -> None:
        self.link.call("vdpa_remove", timeout_s=DEVICE_S, name=name)

    def mdev_create(self, parent: str, type: str) -> dict[str, Any]:
        """Make a mediated device: {uuid, path, group, vfio_cdev}."""
        return self._dict("mdev_create", DEVICE_S, parent=parent, type=type)

    def mdev_remove(self, uuid: str) -> None:
        self.link.call("mdev_remove", timeout_s=DEVICE_S, uuid=uuid)

    def tap_create(self, name: str) -> dict[str, str]:
        """Make a tap that the agent holds, for `taps` of `spawn`: {name, mac}."""
        return self._dict("tap_create", name=name)

    def tap_persistent(self, name: str) -> dict[str, str]:
        """Make a tap that nobody holds, for a process that opens it by its name: {name, mac}."""
        return self._dict("tap_persistent", name=name)

    def tap_remove(self, name: str) -> None:
        self.link.call("tap_remove", name=name)

    def container_create(
        self,
        name: str,
        *,
        memory_bytes: int,
        memlock_bytes: int,
        writable: Sequence[str] = (),
        readable: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Start a container with an agent in it: {id, init, init_inside}."""
        limits = {"memory_bytes": memory_bytes, "memlock_bytes": memlock_bytes}
        folders = {"writable": list(writable), "readable": list(readable)}
        return self._dict("container_create", 60.0, name=name, **limits, **folders)

    def container_look(self, name: str, pid: int, *, begin: bool = False) -> dict[str, Any]:
        """A container and where process `pid` is; begin: count its peaks anew from here."""
        return self._dict("container_look", name=name, pid=pid, begin=begin)

    def container_call(self, name: str, request: str, patience_s: float, args: Mapping[str, Any]) -> Any:
        """Ask the agent in a container."""
        return self.link.call("container_call", patience_s, name=name, request=request, args=dict(args))

    def container_remove(self, name: str) -> None:
        self.link.call("container_remove", timeout_s=60, name=name)

    def hugepages_reserve(self, page_kb: int, count: int) -> dict[str, int]:
        """See that so many huge pages are free: {page_kb, reserved, free}."""
        return self._dict("hugepages_reserve", DEVICE_S, page_kb=page_kb, count=count)

    def shmem_thp_set(self, choice: str) -> str:
        """Say when shared memory may be made of transparent huge pages; returns the word before."""
        return str(self.link.call("shmem_thp_set", choice=choice))

    def memory_mount(self, kind: str, name: str, options: str) -> str:
        """Mount a tmpfs or a hugetlbfs; returns its folder."""
        return str(self.link.call("memory_mount", kind=kind, name=name, options=options))

    def _dict(self, call: str, patience_s: float = 30.0, /, **args: Any) -> dict[str, Any]:
        reply: dict[str, Any] = self.link.call(call, patience_s, **args)
        return reply
