"""What one sink gets of the log: filtered, rendered, cut to the size that it wants. No I/O here."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.changes.change import Batch, StreamInfo
from bridge.changes.envelope import Bridge, Format, Renderer
from bridge.changes.identity import CONTROL_TYPES
from bridge.changes.record import Record
from bridge.delivery.sink import Delivery

__all__ = ["HandOut", "Selection"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records a sink is handed. RESYNC and POISON of a selected stream always are: gaps stay honest.

    Attributes:
        streams: names of the streams it wants; None for all.
        types: of ADDED, MODIFIED, DELETED; None for all.
        stream_types: the same, chosen by a stream for every sink; both must agree.
    """

    streams: Collection[str] | None = None
    types: Collection[str] | None = None
    stream_types: Mapping[str, Collection[str]] = field(default_factory=dict)


class _Route(NamedTuple):
    renderer: Renderer
    types: frozenset[str] | None  # None lets every type pass


class HandOut:
    """Turns committed batches into deliveries for one sink.

    Attributes:
        filtered: records passed over so far.
    """

    def __init__(
        self,
        name: str,
        bridge: Bridge,
        selection: Selection,
        form: Format,
        *,
        max_records: int,
        max_bytes: int,
    ) -> None:
        self.filtered = 0
        self._name = name
        self._bridge = bridge
        self._selection = selection
        self._form = form
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._routes: dict[StreamInfo, _Route | None] = {}

    def deliveries(self, batches: Sequence[Batch], after: int, replay_through: int) -> Iterator[Delivery]:
        """Cut batches into deliveries, lazily: what is not asked for is not rendered yet.

        A delivery has at most `max_records` and `max_bytes`, but for a single larger record. The last
        one reaches the end of the batches, filtered records included; it may have no records at all.

        Args:
            batches: as read, in order.
            after: records up to this position were handed out; a cursor may stand within a batch.
            replay_through: records up to this position may have been delivered before.
        """
        growing = _Growing()
        for batch in batches:
            done = max(after + 1 - batch.position, 0)
            changes = batch.changes[done:] if done else batch.changes
            route = self._route(batch.stream) if batch.audience in ("", self._name) else None
            if route is None:
                self.filtered += len(changes)
                continue
            render, types = route.renderer.render, route.types
            for position, change in enumerate(changes, batch.position + done):
                record = render(change, position) if types is None or change.type in types else None
                if record is None:
                    self.filtered += 1
                    continue
                size = len(record.value)
                if growing.is_full(size, self._max_records, self._max_bytes):
                    yield growing.close(position - 1, replay_through)
                    growing = _Growing()
                growing.records.append(record)
                growing.size += size
        if batches:
            yield growing.close(batches[-1].last_position, replay_through)

    def _route(self, stream: StreamInfo) -> _Route | None:
        try:
            return self._routes[stream]
        except KeyError:
            route = self._routes[stream] = self._make_route(stream)
            return route

    def _make_route(self, stream: StreamInfo) -> _Route | None:
        chosen = self._selection
        if chosen.streams is not None and stream.name not in chosen.streams:
            return None
        wanted = [
            types for types in (chosen.types, chosen.stream_types.get(stream.name)) if types is not None
        ]
        types = frozenset.intersection(*map(frozenset, wanted)) | CONTROL_TYPES if wanted else None
        return _Route(Renderer(self._bridge, stream, self._form), types)


class _Growing:
    """A delivery that is being filled."""

    __slots__ = ("records", "size")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.size = 0

    def is_full(self, more: int, max_records: int, max_bytes: int) -> bool:
        return bool(self.records) and (self.size + more > max_bytes or len(self.records) >= max_records)

    def close(self, last_position: int, replay_through: int) -> Delivery:
        replay = bool(self.records) and self.records[0].position <= replay_through
        return Delivery(last_position, self.records, self.size, replay)
