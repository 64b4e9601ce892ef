"""What one sink gets of the log: filtered, rendered, cut to the size that it wants. No I/O here."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.changes.change import Batch, StreamInfo
from bridge.changes.envelope import Bridge, Format, Renderer
from bridge.changes.identity import CONTROL_TYPES
from bridge.delivery.sink import Delivery

__all__ = ["HandOut", "Portion", "Selection"]


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


class Portion(NamedTuple):
    """One delivery; without values it only says how far nothing concerned the sink.

    Attributes:
        delivery: what the sink is given.
        positions: of each value, in order.
    """

    delivery: Delivery
    positions: Sequence[int]


class _Route(NamedTuple):
    renderer: Renderer
    types: frozenset[str] | None  # None lets every type pass


class HandOut:
    """Turns committed batches into deliveries for one sink.

    Attributes:
        filtered: records passed over so far.
    """

    def __init__(
        self, bridge: Bridge, selection: Selection, form: Format, *, max_records: int, max_bytes: int
    ) -> None:
        self.filtered = 0
        self._bridge = bridge
        self._selection = selection
        self._form = form
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._routes: dict[StreamInfo, _Route | None] = {}

    def portions(self, batches: Sequence[Batch], after: int, replay_through: int) -> Iterator[Portion]:
        """Cut batches into portions, lazily: what is not asked for is not rendered yet.

        A portion has at most `max_records` and `max_bytes`, but for a single larger record. The last
        one reaches the end of the batches, filtered records included.

        Args:
            batches: as read, in order.
            after: records up to this position were handed out; a cursor may stand within a batch.
            replay_through: records up to this position may have been delivered before.
        """
        portion = _Growing()
        for batch in batches:
            done = max(after + 1 - batch.position, 0)
            changes = batch.changes[done:] if done else batch.changes
            route = self._route(batch.stream)
            if route is None:
                self.filtered += len(changes)
                continue
            render, key, types = route.renderer.render, route.renderer.key, route.types
            for position, change in enumerate(changes, batch.position + done):
                value = render(change) if types is None or change.type in types else None
                if value is None:
                    self.filtered += 1
                    continue
                if portion.is_full(len(value), self._max_records, self._max_bytes):
                    yield portion.close(position - 1, replay_through)
                    portion = _Growing()
                portion.values.append(value)
                portion.keys.append(key(change))
                portion.positions.append(position)
                portion.size += len(value)
        if batches:
            yield portion.close(batches[-1].last_position, replay_through)

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
    """A portion that is being filled."""

    __slots__ = ("keys", "positions", "size", "values")

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.keys: list[str] = []
        self.positions: list[int] = []
        self.size = 0

    def is_full(self, more: int, max_records: int, max_bytes: int) -> bool:
        return bool(self.values) and (self.size + more > max_bytes or len(self.values) >= max_records)

    def close(self, last_position: int, replay_through: int) -> Portion:
        replay = bool(self.positions) and self.positions[0] <= replay_through
        delivery = Delivery(last_position, self.values, self.keys, self.size, replay)
        return Portion(delivery, self.positions)
