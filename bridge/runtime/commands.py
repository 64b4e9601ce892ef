"""What a running bridge does for the commands that reach it over the control socket."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import trio

from bridge.changes.change import Cause
from bridge.changes.deadletter import MAX_NUMBER, DeadLetter
from bridge.changes.envelope import Format, Renderer
from bridge.config import Config, SinkConfig
from bridge.delivery.breaker import BreakerState
from bridge.delivery.stats import SinkState, SinkStats
from bridge.errors import UsageError
from bridge.operations.control import Send
from bridge.runtime.health import Health
from bridge.runtime.outlets import Outlets
from bridge.runtime.plans import watches_of
from bridge.runtime.snapshots import SnapshotDesk, snapshot_requests
from bridge.store.contract import Log

__all__ = ["Commands"]

_PAGE: Final = 100
_MICROS: Final = 1_000_000
_RESTING: Final = frozenset((SinkState.PAUSED, SinkState.PARKED, SinkState.HALTED))


class Commands:
    """Implements `bridge.operations.control.Handler`.

    Args:
        config: which streams and sinks there are.
        records: the log.
        health: what the streams do.
        outlets: what the sinks do.
        desk: where snapshots are asked for.
    """

    def __init__(
        self, config: Config, records: Log, health: Health, outlets: Outlets, desk: SnapshotDesk
    ) -> None:
        self._config = config
        self._log = records
        self._health = health
        self._outlets = outlets
        self._desk = desk
        self._commands: Mapping[str, Callable[[Mapping[str, Any], Send], Awaitable[Any]]] = {
            "status": self._status,
            "snapshot": self._snapshot,
            "pause": self._pause,
            "resume": self._resume,
            "deadletters": self._dead_letters,
            "purge": self._purge,
            "redrive": self._redrive,
        }

    async def __call__(self, command: str, arguments: Mapping[str, Any], send: Send) -> Any:
        """See `Handler`."""
        known = self._commands.get(command)
        if known is None:
            raise UsageError(f"the bridge does not know the command {command!r}: it may be another version")
        return await known(arguments, send)

    async def _status(self, arguments: Mapping[str, Any], send: Send) -> Any:
        del arguments, send
        return {
            "cluster": self._config.cluster.name,
            "full": self._log.stats().full,
            "streams": list(self._streams()),
            "sinks": list(self._sinks()),
        }

    def _streams(self) -> Iterator[dict[str, Any]]:
        now = time.monotonic()
        for name, stats in self._health.streams.items():
            if not stats.watches:
                yield {"stream": name, "namespace": "", "state": "starting", "seconds": None, "reason": ""}
            for scope, watch in stats.watches.items():
                yield {
                    "stream": name,
                    "namespace": scope,
                    "state": watch.phase,
                    "seconds": now - watch.since,
                    "reason": watch.reason,
                }

    def _sinks(self) -> Iterator[dict[str, Any]]:
        letters = self._log.letter_counts()
        running = {stats.name: stats for stats in self._outlets.stats}
        for sink in self._config.sinks:
            stats = running.get(sink.name)
            lag: dict[str, float | None] = {"records": 0, "bytes": 0, "seconds": None}
            if stats is not None:
                behind = self._log.lag(stats.position)
                lag["records"], lag["bytes"] = behind.records, behind.bytes
                if behind.oldest:
                    lag["seconds"] = max(time.time() - behind.oldest / _MICROS, 0.0)
            yield {
                "sink": sink.name,
                "type": sink.type,
                "state": stats.state.value if stats else "starting",
                "reason": _why(stats) if stats else "the cluster was not reached yet",
                "nextTrySeconds": _next_try(stats) if stats else None,
                "position": stats.position if stats else None,
                "records": stats.records if stats else 0,
                "lag": lag,
                "deadLetters": letters.get(sink.name, 0),
                "snapshotsOwed": len(self._desk.waiting(sink.name)),
            }

    async def _snapshot(self, arguments: Mapping[str, Any], send: Send) -> Any:
        del send
        name, sink = arguments.get("stream"), arguments.get("sink")
        stream = next((stream for stream in self._config.streams if stream.name == name), None)
        if stream is None:
            known = ", ".join(stream.name for stream in self._config.streams)
            raise UsageError(f"there is no stream {name!r}; there are: {known}")
        sinks = [self._sink(sink)] if sink is not None else list(self._config.sinks)
        wanting = [each.name for each in sinks if stream.name in watches_of(self._config, each)]
        if not wanting:
            which = f"the sink {sink} does not take" if sink else "no sink takes"
            raise UsageError(f"{which} records of the stream {stream.name}")
        scopes = stream.namespaces or ("",)
        await self._desk.request(
            [
                request
                for each in wanting
                for request in snapshot_requests(each, stream.name, scopes, Cause.REQUESTED)
            ]
        )
        return {"sinks": wanting}

    async def _pause(self, arguments: Mapping[str, Any], send: Send) -> Any:
        del send
        return _state(await self._outlets.pause(self._sink(arguments.get("sink")).name))

    async def _resume(self, arguments: Mapping[str, Any], send: Send) -> Any:
        del send
        before = await self._outlets.resume(self._sink(arguments.get("sink")).name)
        # What it does now is seen a moment later.
        return {"state": "resumed" if before in _RESTING else f"was not paused; it is {before}"}

    async def _dead_letters(self, arguments: Mapping[str, Any], send: Send) -> Any:
        sink = self._sink_or_none(arguments)
        ids = _ids(arguments)
        after = min(ids, default=1) - 1
        wanted = set(ids)
        while letters := await self._log.dead_letters(sink, after, _PAGE):
            for letter in letters:
                if not ids or letter.number in wanted:
                    await send(self._letter(letter, whole=bool(arguments.get("records"))))
            after = letters[-1].number
            if ids and after >= max(ids):
                break
        return {}

    def _letter(self, letter: DeadLetter, *, whole: bool) -> dict[str, Any]:
        change = letter.change
        shown = {
            "id": letter.number,
            "sink": letter.sink,
            "stream": letter.stream.name,
            "type": change.type,
            "namespace": change.namespace,
            "name": change.name,
            "attempts": letter.attempts,
            "first": _moment(letter.first_at),
            "last": _moment(letter.last_at),
            "reason": letter.reason,
        }
        if whole:
            shown |= {"position": letter.position, "recordId": letter.id, "key": letter.key}
            shown |= {"sequence": letter.sequence, "record": self._rendered(letter)}
        return shown

    def _rendered(self, letter: DeadLetter) -> str | None:
        """The record as the sink was given it; None once that sink has left the configuration."""
        bridge = self._outlets.bridge
        sink = next((sink for sink in self._config.sinks if sink.name == letter.sink), None)
        if bridge is None or sink is None:
            return None
        record = Renderer(bridge, letter.stream, Format(sink.format)).render(letter.change, letter.position)
        return None if record is None else record.value.decode(errors="replace")

    async def _purge(self, arguments: Mapping[str, Any], send: Send) -> Any:
        del send
        ids = _ids(arguments)
        if not ids and arguments.get("all") is not True:
            raise UsageError("say which dead letters to purge: ids, or all")
        sink = self._sink_or_none(arguments)
        await self._must_exist(sink, ids)
        return {"purged": await self._log.purge(sink, ids or None)}

    async def _redrive(self, arguments: Mapping[str, Any], send: Send) -> Any:
        del send
        sink, ids, force = self._sink(arguments.get("sink")), _ids(arguments), bool(arguments.get("force"))
        await self._must_exist(sink.name, ids)
        # By force also letters of streams that nobody watches any more, but for those the sink is not handed.
        streams = sink.streams if force else watches_of(self._config, sink)
        done = await self._log.redrive(sink.name, ids or None, force=force, streams=streams)
        return {"redriven": done.redriven, "superseded": done.superseded, "foreign": done.foreign}

    async def _must_exist(self, sink: str | None, ids: Sequence[int]) -> None:
        """A mistyped number must not pass for work that was done."""
        missing = []
        for number in sorted(set(ids)):
            found = await self._log.dead_letters(sink, number - 1, 1)
            if [letter.number for letter in found] != [number]:
                missing.append(str(number))
        if missing:
            of_sink = f" of the sink {sink}" if sink is not None else ""
            raise UsageError(
                f"there is no dead letter {', '.join(missing)}{of_sink}, so nothing was done; "
                "`deadletters list` shows them"
            )

    def _sink(self, name: Any) -> SinkConfig:
        for sink in self._config.sinks:
            if sink.name == name:
                return sink
        known = ", ".join(sink.name for sink in self._config.sinks)
        raise UsageError(f"there is no sink {name!r}; there are: {known}")

    def _sink_or_none(self, arguments: Mapping[str, Any]) -> str | None:
        """A sink that left the configuration may still have dead letters."""
        name = arguments.get("sink")
        if name is None or name in self._log.letter_counts():
            return name
        return self._sink(name).name


def _state(stats: SinkStats) -> dict[str, str]:
    return {"state": stats.state.value, "reason": stats.reason}


def _why(stats: SinkStats) -> str:
    return "; ".join(filter(None, (stats.reason, stats.kept)))


def _next_try(stats: SinkStats) -> float | None:
    """Seconds, while the sink waits for another try; a destination may ask for minutes."""
    circuit = stats.circuit
    if stats.state is not SinkState.RETRYING or circuit is None or circuit.state is not BreakerState.OPEN:
        return None
    return max(circuit.ready_at - trio.current_time(), 0.0)


def _ids(arguments: Mapping[str, Any]) -> Sequence[int]:
    ids = arguments.get("ids") or ()
    if not isinstance(ids, list | tuple) or not all(map(_is_number, ids)):
        raise UsageError("ids of dead letters are numbers; `deadletters list` shows them")
    return ids


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_NUMBER  # a bool is an int, but no number


def _moment(micros: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(micros // _MICROS))
