"""WATCH: where it starts, what it sends, when it ends."""

from __future__ import annotations

import math
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from bridge.simulator.encode import at_revision, dumps, event, object_bytes
from bridge.simulator.errors import ApiError, expired
from bridge.simulator.messages import Body, Response
from bridge.simulator.selectors import Selector
from bridge.simulator.spoil import end_body, error_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.simulator.backend import Backend
    from bridge.simulator.encode import Obj
    from bridge.simulator.history import Change, History
    from bridge.simulator.kinds import Kind
    from bridge.simulator.options import ListOptions
    from bridge.simulator.spoil import Ending

__all__ = ["watch_response"]

_SHORTEST_SECONDS, _LONGEST_SECONDS = 1800, 3600
_LAST_BOOKMARK_SECONDS = 2.0  # before the end
_INITIAL_CHUNK = 32 * 1024
_BACKLOG_LINES = 4  # of a backlog in one chunk; a live event has a chunk of its own
_MARKER = {"k8s.io/initial-events-end": "true"}


async def watch_response(backend: Backend, kind: Kind, namespace: str, options: ListOptions) -> Response:
    """Answers a watch: always 200, what is wrong with the revision comes as an ERROR event.

    Raises:
        ApiError: a selector that is wrong, or a cache that is not ready.
    """
    selector = Selector.parse(kind, options.labels, options.fields)
    backend.check_initialized(kind)
    await trio.lowlevel.checkpoint()
    stream = WatchStream(backend, kind, namespace, selector, options)
    try:
        await _start(stream, backend, kind, options)
    except ApiError as error:
        stream.fail(error)
    return Response(200, stream)


async def _start(stream: WatchStream, backend: Backend, kind: Kind, options: ListOptions) -> None:
    if options.timeout is not None and options.timeout < 0:
        code = HTTPStatus.INTERNAL_SERVER_ERROR
        raise ApiError(code, "InternalError", "Internal error occurred: context deadline exceeded")
    if not options.wants_state():
        if options.revision:
            _check_kept(backend, kind, options.revision)
            stream.position = options.revision
        else:
            stream.position = backend.catch_up(kind).revision
        return
    streamed = options.send_initial_events or backend.watch_list
    if options.send_initial_events:
        history = await backend.reach(kind, options.revision or 0)
    else:
        history = backend.history(kind)
    stream.send_state(history, marker=bool(streamed and options.bookmarks))


def _check_kept(backend: Backend, kind: Kind, revision: int) -> None:
    history = backend.history(kind)
    if kind.cached and revision < history.floor:
        raise expired(f"too old resource version: {revision} ({history.floor})")
    if not kind.cached and revision < backend.cluster.compacted:
        raise expired("The resourceVersion for the provided watch is too old.")


class WatchStream(Body):
    """The body of one watch.

    Attributes:
        resource: What it watches.
        position: The revision up to which everything was sent.
    """

    def __init__(
        self, backend: Backend, kind: Kind, namespace: str, selector: Selector, options: ListOptions
    ) -> None:
        now = trio.current_time()
        self.resource = kind.resource
        self.position = 0
        self._backend = backend
        self._kind = kind
        self._prefix = f"{namespace}/" if namespace else ""
        self._selector = selector
        seconds = options.timeout or backend.random.randint(_SHORTEST_SECONDS, _LONGEST_SECONDS)
        self._end = now + seconds
        self._bookmarks = options.bookmarks and kind.cached
        self._next_bookmark = now
        self._schedule_bookmark(now)
        self._started_at = options.revision or 0
        self._initial: Iterator[bytes] = iter(())
        self._changes: deque[Change] = deque()
        self._last: list[bytes] = []
        self._ending: Ending | None = None
        self._over = False
        backend.faults.streams.add(self)

    def send_state(self, history: History, *, marker: bool) -> None:
        """Begins with what exists, and what a bookmark of the end of it says."""
        self.position = self._started_at = history.revision
        objects = [obj for obj in history.scan(self._prefix) if self._selector.matches(obj)]
        self._initial = self._state_lines(objects, history.revision, marker=marker)

    def fail(self, error: ApiError) -> None:
        """Sends an ERROR event, and then nothing more."""
        self._last = [error_line(error)]
        self._over = True

    def interrupt(self, ending: Ending, last: bytes = b"") -> None:
        """Ends at once, in some way."""
        self._last = [last] if last else []
        self._ending = ending
        self._over = True
        self._backend.changed.unpark_all()

    def end_at(self, time: float) -> None:
        """Ends cleanly at a trio time, if not before."""
        self._end = min(self._end, time)
        self._backend.changed.unpark_all()

    async def receive(self) -> bytes:
        """The next lines; one for a live event, several of an initial state or a backlog."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._over:
                return self._last.pop() if self._last else await self._finish()
            lines = self._next_lines()
            if lines:
                return lines
            if trio.current_time() >= self._end:
                return await self._finish()
            bookmark = self._due_bookmark()
            if bookmark:
                return bookmark
            with trio.move_on_at(min(self._end, self._next_bookmark)):
                await self._backend.changed.park()

    def close(self) -> None:
        """Forgets the stream."""
        self._over = True
        self._backend.faults.streams.discard(self)

    async def _finish(self) -> bytes:
        self.close()
        return b"" if self._ending is None else await end_body(self._ending)

    def _next_lines(self) -> bytes:
        lines: list[bytes] = []
        size = 0
        for line in self._initial:
            lines.append(line)
            size += len(line)
            if size >= _INITIAL_CHUNK:
                break
        while not lines or (not size and len(lines) < _BACKLOG_LINES):
            if not self._changes and (lines or not self._fetch()):
                break
            line = self._event(self._changes.popleft())
            if line:
                lines.append(line)
        return b"".join(lines)

    def _fetch(self) -> bool:
        """Takes what is new; False when there is nothing."""
        try:
            changes = self._backend.history(self._kind).after(self.position)
        except LookupError:
            self._end = trio.current_time()  # so far behind that a server closes the watch
            return False
        if changes:
            self._changes.extend(changes)
            self.position = changes[-1].revision
        return bool(changes)

    def _event(self, change: Change) -> bytes:
        if not change.key.startswith(self._prefix):
            return b""
        before = self._selector.matches(change.previous)
        if self._selector.matches(change.current) and change.current is not None:
            return self._line("MODIFIED" if before else "ADDED", change.current)
        if before and change.previous is not None:
            return self._line("DELETED", at_revision(change.previous, change.revision))
        return b""

    def _line(self, kind: str, obj: Obj) -> bytes:
        return event(kind, object_bytes(obj, self._kind))

    def _state_lines(self, objects: list[Obj], revision: int, *, marker: bool) -> Iterator[bytes]:
        for obj in objects:
            yield self._line("ADDED", obj)
        if marker:
            yield self._bookmark(revision, marker=True)

    def _bookmark(self, revision: int, *, marker: bool = False) -> bytes:
        kind = self._kind
        metadata: Obj = {"resourceVersion": str(revision)}
        if marker:
            # An oddity of the real server: its conversion adds an annotation to every DaemonSet.
            odd = {"deprecated.daemonset.template.generation": "0"} if kind.kind == "DaemonSet" else {}
            metadata["annotations"] = odd | _MARKER
        if kind.custom:
            obj = {"apiVersion": kind.api_version, "kind": kind.kind}
            return event("BOOKMARK", dumps(obj | {"metadata": dict(sorted(metadata.items()))}))
        head = dumps({"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata})
        return event("BOOKMARK", head[:-1] + (b"," + kind.zero if kind.zero else b"") + b"}")

    def _due_bookmark(self) -> bytes:
        now = trio.current_time()
        if now < self._next_bookmark:
            return b""
        self._schedule_bookmark(now)
        revision = self._backend.history(self._kind).revision
        # As long as the cache stands where the watch began the real server sends none.
        return self._bookmark(revision) if revision > self._started_at else b""

    def _schedule_bookmark(self, now: float) -> None:
        if not self._bookmarks:
            self._next_bookmark = math.inf
            return
        last = self._end - _LAST_BOOKMARK_SECONDS
        self._next_bookmark = now + self._backend.bookmark_seconds
        if now < last:
            self._next_bookmark = min(self._next_bookmark, last)
