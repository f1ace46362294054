"""One connection to a labgrid coordinator, under a name of its own.

labgrid's own client takes its name from the environment, lives in asyncio, logs a coordinator's end instead
of raising it, and waits for a heartbeat in the same loop as for everything else; here each call is made on
the thread of its caller. The messages are labgrid's generated ones: 26.0.1.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from labgrid.remote import common
from labgrid.remote.generated import labgrid_coordinator_pb2 as pb
from labgrid.remote.generated import labgrid_coordinator_pb2_grpc as pb_grpc
from labgrid.util import labgrid_version

from lab.errors import BenchError
from lab.places.view import Exported, Match, Place, Reservation, View

DEFAULT_PORT = 20408
ANSWER_S = 30.0
"""A coordinator asks the exporter of a place first, and waits 10 s for each of its resources."""

_OPTIONS = (
    # as labgrid's client has them: who is gone without a word is noticed after 18 s
    ("grpc.keepalive_time_ms", 7500),
    ("grpc.keepalive_timeout_ms", 10000),
    ("grpc.http2.ping_timeout_ms", 10000),
    ("grpc.http2.max_pings_without_data", 0),
    # a subchannel of its own: the coordinator knows a session by its connection
    ("grpc.use_local_subchannel_pool", 1),
)
_GONE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNKNOWN,
)


class Gone(BenchError):
    """The coordinator does not answer; whether it did what was asked is not known."""


class Denied(BenchError):
    """The coordinator refused, and did nothing."""


class Coordinator:
    """A session with a coordinator; a context manager.

    address: HOST or HOST:PORT
    name:    HOST/USER of labgrid; places are acquired under it

    Raises:
        Gone:   from every call, if the coordinator does not answer; this session is over then.
        Denied: from every call that changes something, if the coordinator refuses.
    """

    def __init__(self, address: str, name: str, *, connect_s: float = ANSWER_S) -> None:
        self.address, self.name = with_port(address), name
        self._connect_s = connect_s
        self._changed = threading.Condition()
        self._places: dict[str, Place]
        self._exported: dict[tuple[str, str, str], Exported]
        self._synced, self._over = False, ""

    def __enter__(self) -> "Coordinator":
        self._open(self._connect_s)
        return self

    def __exit__(self, *_: object) -> None:
        self._out.put(None)
        self._stream.cancel()
        self._channel.close()

    def reopen(self, connect_s: float) -> None:
        """Connect anew, under the same name, which keeps what it has."""
        self.__exit__()
        self._open(connect_s)

    def _open(self, connect_s: float) -> None:
        self._places, self._exported, self._synced, self._over = {}, {}, False, ""
        self._channel = grpc.insecure_channel(self.address, options=_OPTIONS)
        self._stub = pb_grpc.CoordinatorStub(self._channel)
        self._out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._say(startup=pb.StartupDone(version=labgrid_version(), name=self.name))
        self._say(subscribe=pb.Subscribe(all_places=True))
        self._say(subscribe=pb.Subscribe(all_resources=True))
        self._say(sync=pb.Sync(id=1))
        self._stream = self._stub.ClientStream(iter(self._out.get, None))
        name = f"coordinator {self.address}"
        threading.Thread(target=self._listen, args=(self._stream,), name=name, daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: self._synced or bool(self._over), connect_s)
            over = self._over or ("" if self._synced else f"nothing came within {connect_s:g} s")
        if over:
            self.__exit__()
            raise Gone(
                f"the coordinator {self.address} does not answer: {over}; is labgrid-coordinator running, "
                "and is its address right (--coordinator, or LG_COORDINATOR)?"
            )

    @property
    def alive(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return not self._over

    @property
    def view(self) -> View:
        """All places and resources, as far as is known now."""
        with self._changed:
            self._require_alive()
            return View(dict(self._places), tuple(self._exported.values()))

    def wait(self, awaited: Callable[[Mapping[str, Place]], bool], timeout_s: float) -> bool:
        """Wait until the places are as awaited; False if they were not in time."""
        with self._changed:
            came = self._changed.wait_for(lambda: bool(self._over) or awaited(self._places), timeout_s)
            self._require_alive()
            return bool(came)

    def read(self, place: str) -> Place:
        """A place as it is now; the view may lie behind, above all after this process was stopped.

        Raises:
            Denied: it is gone.
        """
        for message in self._call("GetPlaces", pb.GetPlacesRequest()).places:
            if message.name == place:
                return _place(message)
        raise Denied(f"the coordinator {self.address} has no place {place}")

    def acquire(self, place: str) -> None:
        """Take a free place."""
        self._call("AcquirePlace", pb.AcquirePlaceRequest(placename=place))

    def renew(self, place: str, timeout_s: float) -> None:
        """Stamp a place that this session's name has; Denied if it does not have it."""
        self._call("AllowPlace", pb.AllowPlaceRequest(placename=place, user=self.name), timeout_s)

    def release(self, place: str, holder: str) -> None:
        """Free a place if `holder` has it; else nothing."""
        self._call("ReleasePlace", pb.ReleasePlaceRequest(placename=place, fromuser=holder))

    def tag(self, place: str, tags: Mapping[str, str]) -> None:
        """Set tags of a place; an empty value deletes."""
        self._call("SetPlaceTags", pb.SetPlaceTagsRequest(placename=place, tags=dict(tags)))

    def reserve(self, wanted: Mapping[str, str], priority: float = 0.0) -> Reservation:
        """Queue for any place with these tags; lasts 60 s after each `poll`."""
        filters = {"main": pb.Reservation.Filter(filter=dict(wanted))}
        asked = pb.CreateReservationRequest(filters=filters, prio=priority)
        return _reservation(self._call("CreateReservation", asked).reservation)

    def poll(self, token: str) -> Reservation:
        """How a reservation stands; keeps it."""
        return _reservation(self._call("PollReservation", pb.PollReservationRequest(token=token)).reservation)

    def cancel(self, token: str) -> None:
        """Leave the queue."""
        self._call("CancelReservation", pb.CancelReservationRequest(token=token))

    def reservations(self) -> tuple[Reservation, ...]:
        """The whole queue, first who comes first."""
        answer = self._call("GetReservations", pb.GetReservationsRequest())
        return tuple(
            sorted(map(_reservation, answer.reservations), key=lambda one: (-one.priority, one.created))
        )

    def add_place(self, name: str, patterns: tuple[str, ...], tags: Mapping[str, str]) -> None:
        """Make a place of what the patterns EXPORTER/GROUP/CLASS[/NAME] fit."""
        self._call("AddPlace", pb.AddPlaceRequest(name=name))
        for pattern in patterns:
            self._call("AddPlaceMatch", pb.AddPlaceMatchRequest(placename=name, pattern=pattern))
        self.tag(name, tags)

    def delete_place(self, name: str) -> None:
        """Forget a place."""
        self._call("DeletePlace", pb.DeletePlaceRequest(name=name))

    def _call(self, method: str, request: Any, timeout_s: float = ANSWER_S) -> Any:
        self._require_alive()
        try:
            return getattr(self._stub, method)(request, timeout=timeout_s)
        except grpc.RpcError as error:
            code, words = error.code(), error.details()
            if code in _GONE or "does not have a valid session" in words:
                raise Gone(f"the coordinator {self.address} did not answer {method}: {words}") from None
            raise Denied(f"the coordinator {self.address} refused: {words}") from None

    def _require_alive(self) -> None:
        if self._over:
            raise Gone(f"the coordinator {self.address} is gone: {self._over}")

    def _say(self, **kind: Any) -> None:
        self._out.put(pb.ClientInMessage(**kind))

    def _listen(self, stream: Any) -> None:
        over = "it closed the connection"
        try:
            for message in stream:
                with self._changed:
                    for update in message.updates:
                        self._take(update)
                    self._synced = self._synced or message.HasField("sync")
                    self._changed.notify_all()
        except grpc.RpcError as error:
            over = error.details() or str(error.code())
        with self._changed:
            if stream is self._stream:
                self._over = over
                self._changed.notify_all()

    def _take(self, update: Any) -> None:
        kind = update.WhichOneof("kind")
        if kind == "place":
            self._places[update.place.name] = _place(update.place)
        elif kind == "del_place":
            self._places.pop(update.del_place, None)
        elif kind == "resource":
            path = update.resource.path
            self._exported[(path.exporter_name, path.group_name, path.resource_name)] = _exported(
                update.resource
            )
        elif kind == "del_resource":
            path = update.del_resource
            self._exported.pop((path.exporter_name, path.group_name, path.resource_name), None)


def with_port(address: str) -> str:
    """An address with labgrid's own port, if it names none."""
    return address if address.rpartition(":")[2].isdigit() else f"{address}:{DEFAULT_PORT}"


def _place(message: Any) -> Place:
    return Place(
        name=message.name,
        tags=dict(message.tags),
        matches=tuple(
            Match(m.exporter, m.group, m.cls, m.name if m.HasField("name") else None, m.rename or None)
            for m in message.matches
        ),
        holder=message.acquired or None,
        changed=message.changed,
        reservation=message.reservation or None,
    )


def _exported(message: Any) -> Exported:
    params = common.build_dict_from_map(message.params)
    path = message.path
    return Exported(
        path.exporter_name, path.group_name, message.cls, path.resource_name, params, message.avail
    )


def _reservation(message: Any) -> Reservation:
    return Reservation(
        token=message.token,
        owner=message.owner,
        state=common.ReservationState(message.state).name,
        priority=message.prio,
        created=message.created,
        wanted=dict(message.filters["main"].filter),
        place=message.allocations.get("main"),
    )
