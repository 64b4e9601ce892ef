"""Performs what the watch protocol asks: requests, reads, waiting, and telling the observer.

Thin on purpose: no decision about Kubernetes is taken here. Between the socket and the observer there is
one call a read, whatever number of events it held.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Final, Never, Protocol

import trio

from bridge.changes.change import Cause, Cursor
from bridge.kubernetes.failures import ApiError, Idle, Interrupted, Unreachable
from bridge.kubernetes.lines import LINE_LIMIT
from bridge.kubernetes.observer import Observer
from bridge.kubernetes.reports import Began, Changed, Doing, Items, Listed, Moved, Poisoned, Report, Tally
from bridge.kubernetes.requests import Request, Resource, Scope
from bridge.kubernetes.revision import LaggingCursor
from bridge.kubernetes.scan import Shape
from bridge.kubernetes.server_memory import ServerMemory
from bridge.kubernetes.watch_protocol import WatchProtocol

__all__ = ["Answer", "Api", "Body", "Watcher"]

_PAGE_BYTES: Final = 256 << 20
"""Bytes that one page may have: 50 objects of the greatest size etcd takes, several times."""
_MARGIN: Final = 5.0
_OK: Final = 200
_TOO_LARGE: Final = 413


class Answer(Protocol):
    """A whole answer."""

    @property
    def status(self) -> int:
        """HTTP status code."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        ...

    @property
    def body(self) -> bytes:
        """Complete and decoded."""
        ...


class Body(Protocol):
    """An answer that is read piece by piece."""

    @property
    def status(self) -> int:
        """HTTP status code."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        ...

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - the transport's own, cheaper than a scope
        """The next piece, b"" at a clean end; raises Interrupted, or Idle after `timeout` seconds."""
        ...

    async def excerpt(self) -> bytes:
        """The rest of an error body, as far as it is worth reading; never fails."""
        ...


class Api(Protocol):
    """The part of `bridge.kubernetes.apiserver.ApiServer` that is used."""

    async def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        timeout: float = ...,  # noqa: ASYNC109 - as above
        limit: int = ...,
    ) -> Answer:
        """GET a whole document."""
        ...

    def stream(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        accept_encoding: str = ...,
        headers_timeout: float = ...,
    ) -> AbstractAsyncContextManager[Body]:
        """GET something long."""
        ...


class Watcher:
    """Follows one resource in one scope until it is cancelled.

    Args:
        api: the API server.
        resource: what to watch, as discovery knows it.
        shape: what its objects look like.
        scope: which of them.
        cursor: where to resume; None lists first.
        observer: told everything, in order, one call at a time; while it waits nothing is read.
        lists: how many complete listings may run at once, shared by all watches of the cluster [A24].
        memory: shared by all watches of the cluster.
        first_cause: why the first listing is made, if one is.
        random: source of jitter.
        line_limit: longest event in bytes; a longer one is poison.
    """

    def __init__(  # noqa: PLR0913 - the seams of one watch, wired in one place
        self,
        api: Api,
        resource: Resource,
        shape: Shape,
        scope: Scope,
        cursor: Cursor | None,
        observer: Observer,
        *,
        lists: trio.CapacityLimiter,
        memory: ServerMemory | None = None,
        first_cause: Cause = Cause.FIRST_START,
        random: Random | None = None,
        line_limit: int = LINE_LIMIT,
    ) -> None:
        self._api = api
        self._observer = observer
        self._lists = lists
        self._holds_list = False
        self._interruptible: trio.CancelScope | None = None
        self._protocol = WatchProtocol(
            resource,
            shape,
            scope,
            cursor,
            memory=memory or ServerMemory(),
            random=random or Random(),
            first_cause=first_cause,
            line_limit=line_limit,
        )

    @property
    def tally(self) -> Tally:
        """What happened so far, for metrics."""
        return self._protocol.tally

    @property
    def cursor(self) -> LaggingCursor:
        """Where the watch is, with its own counts; not to be changed."""
        return self._protocol.cursor

    def request_listing(self, cause: Cause) -> None:
        """Want a complete listing as soon as the watch can be left.

        A listing that is under way is finished first; a demand that was not begun yet is replaced. Where
        nothing is amiss (REQUESTED, AUDIT, BACKLOG_FULL) the list is made at the revision that the watch has
        reached, if the server still has it, so that no intermediate change is passed over.
        """
        self._protocol.demand(cause, trio.current_time())
        if self._interruptible is not None and self._protocol.leavable:
            self._interruptible.cancel()

    async def run(self) -> Never:
        """Watch for ever.

        Cancelled, it leaves no connection open and no listing slot taken; what was read and not yet
        accepted by the observer is read again after a restart, from the last cursor that is durable.

        Raises:
            InvariantError: the engine contradicts itself.
            BridgeError: what the observer raised.
        """
        try:
            while True:
                await self._pause()
                request = self._protocol.request(trio.current_time())
                await self._report()
                if request.listing:
                    await self._take_slot()
                else:
                    self._leave_slot()
                if request.streaming:
                    await self._stream(request)
                else:
                    await self._get(request)
                await self._report()
        finally:
            self._leave_slot()

    async def _pause(self) -> None:
        if self._protocol.due <= trio.current_time():
            return
        # Others may list while we wait.
        self._leave_slot()
        with trio.CancelScope() as self._interruptible:
            await trio.sleep_until(self._protocol.due)
        self._interruptible = None

    async def _get(self, request: Request) -> None:
        protocol = self._protocol
        answer: Answer | None = None
        with trio.move_on_after(request.patience):
            try:
                answer = await self._api.get(
                    request.path, request.params, timeout=request.patience + _MARGIN, limit=_PAGE_BYTES
                )
            except (Unreachable, Interrupted) as error:
                protocol.cut(str(error), trio.current_time())
                return
            except ApiError as error:
                self._deny(error)
                return
        if answer is None:
            protocol.late(request.patience, trio.current_time())
        else:
            protocol.answered(answer.status, answer.headers, answer.body, trio.current_time())

    async def _stream(self, request: Request) -> None:
        protocol = self._protocol
        with trio.CancelScope() as scope:
            try:
                async with self._api.stream(
                    request.path,
                    request.params,
                    accept_encoding="identity",
                    headers_timeout=request.patience,
                ) as body:
                    if body.status == _OK:
                        protocol.opened(body.headers, trio.current_time())
                        await self._read(body, scope)
                    else:
                        excerpt = await body.excerpt()
                        protocol.refused(body.status, body.headers, excerpt, trio.current_time())
            except Unreachable as error:
                protocol.cut(str(error), trio.current_time())
            except ApiError as error:
                self._deny(error)

    async def _read(self, body: Body, scope: trio.CancelScope) -> None:
        protocol = self._protocol
        await self._report()
        while protocol.reading:
            timeout = protocol.read_timeout(trio.current_time())
            # Only here may a demand break in: everything read before is told, nothing read is dropped.
            self._interruptible = scope
            try:
                data = await body.read(timeout)
            except Idle:
                protocol.idle(trio.current_time())
            except Interrupted as error:
                protocol.cut(str(error), trio.current_time())
            else:
                if scope.cancel_called:
                    # Not taken in, so it will be read again from the cursor.
                    return
                if data:
                    protocol.receive(data, trio.current_time())
                else:
                    protocol.ended(trio.current_time())
            finally:
                self._interruptible = None
            if scope.cancel_called:
                return
            await self._report()
            if self._holds_list and not protocol.listing:
                self._leave_slot()
            protocol.poll(trio.current_time())

    def _deny(self, error: ApiError) -> None:
        status = _TOO_LARGE if error.reason == "TooLarge" else error.status
        self._protocol.denied(status, str(error), error.retry_after, trio.current_time())

    async def _take_slot(self) -> None:
        if not self._holds_list:
            await self._lists.acquire_on_behalf_of(self)
            self._holds_list = True

    def _leave_slot(self) -> None:
        if self._holds_list:
            self._holds_list = False
            self._lists.release_on_behalf_of(self)

    async def _report(self) -> None:
        for report in self._protocol.reports():
            await self._tell(report)

    async def _tell(self, report: Report) -> None:
        observer = self._observer
        match report:
            case Changed(events, cursor):
                await observer.changes(events, cursor)
            case Items(events):
                await observer.page(events)
            case Moved(cursor):
                await observer.bookmark(cursor)
            case Began(cause, from_rv):
                await observer.listing(cause, from_rv)
            case Listed(rv):
                await observer.listed(rv)
            case Poisoned(line, error):
                await observer.poison(line, error)
            case Doing(phase, reason):
                observer.phase(phase, reason)
