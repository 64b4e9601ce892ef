"""An API server in memory that follows a script, and an observer that remembers."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from bridge.changes.change import Cause, Cursor, Event
from bridge.kubernetes.failures import Idle, Interrupted
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.requests import Scope
from bridge.kubernetes.server_memory import ServerMemory
from bridge.kubernetes.watcher import Watcher
from tests.kubernetes.conversation import Pods
from tests.kubernetes.wire_bodies import JSON_HEADERS, POD, W18_HEADERS, events_page

Step = bytes | float | BaseException | Callable[[], None]


@dataclass
class Whole:
    """An answer to a page or a probe."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_HEADERS)
    after: float = 0.0
    error: BaseException | None = None


@dataclass
class Live:
    """An answer to a watch: pieces, pauses in seconds, errors; then a clean end, or silence for ever."""

    steps: Sequence[Step] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: W18_HEADERS)
    stays: bool = False
    error: BaseException | None = None


class ScriptedBody:
    """What the watcher reads from."""

    def __init__(self, answer: Live) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer
        self._steps = list(answer.steps)

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - the contract of the transport
        while self._steps:
            step = self._steps.pop(0)
            if isinstance(step, bytes):
                await trio.lowlevel.checkpoint()
                return step
            if isinstance(step, float | int):
                if step > timeout:
                    self._steps.insert(0, step - timeout)
                    await trio.sleep(timeout)
                    raise Idle("silence")
                await trio.sleep(step)
            elif isinstance(step, BaseException):
                raise step
            else:
                step()
        if self._answer.stays:
            await trio.sleep(timeout)
            raise Idle("silence")
        await trio.lowlevel.checkpoint()
        return b""

    async def excerpt(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"".join(step for step in self._steps if isinstance(step, bytes))


class ScriptedApi:
    """Answers requests in the order of the script; when it is over, every request waits for ever."""

    def __init__(self, *script: Whole | Live, revision: int | None = None) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.open = 0
        self._script = list(script)
        self._revision = revision

    async def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        timeout: float = 0,  # noqa: ASYNC109, ARG002 - the contract of the transport
        limit: int = 0,  # noqa: ARG002 - the contract of the transport
    ) -> Whole:
        if self._revision is not None and path.endswith("/events"):
            await trio.lowlevel.checkpoint()
            return Whole(events_page(self._revision))
        answer: Whole = await self._next(path, params, Whole)
        await trio.sleep(answer.after)
        if answer.error is not None:
            raise answer.error
        return answer

    def stream(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        accept_encoding: str = "",
        headers_timeout: float = 0,
    ) -> AbstractAsyncContextManager[ScriptedBody]:
        assert accept_encoding == "identity"
        assert headers_timeout >= 60
        return self._stream(path, params)

    @asynccontextmanager
    async def _stream(self, path: str, params: Mapping[str, str] | None) -> AsyncIterator[ScriptedBody]:
        answer = await self._next(path, params, Live)
        if answer.error is not None:
            raise answer.error
        self.open += 1
        try:
            yield ScriptedBody(answer)
        finally:
            self.open -= 1

    async def _next(self, path: str, params: Mapping[str, str] | None, kind: type[Any]) -> Any:
        self.asked.append((path, dict(params or {})))
        await trio.lowlevel.checkpoint()
        if not self._script:
            await trio.sleep_forever()
        answer = self._script.pop(0)
        assert isinstance(answer, kind), f"{path} {params} was asked for, the script has {answer}"
        return answer


class Recorder:
    """An observer that keeps what it hears; `hold` makes it as slow as a full log."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.hold: trio.Event | None = None

    async def listing(self, cause: Cause, from_rv: str) -> None:
        await self._accept("listing", cause, from_rv)

    async def page(self, events: Sequence[Event]) -> None:
        await self._accept("page", [event.name for event in events])

    async def listed(self, rv: str) -> None:
        await self._accept("listed", rv)

    async def changes(self, events: Sequence[Event], cursor: Cursor) -> None:
        await self._accept("changes", [(event.type, event.name, event.rv) for event in events], cursor)

    async def bookmark(self, cursor: Cursor) -> None:
        await self._accept("bookmark", cursor)

    async def poison(self, line: bytes, error: str) -> None:
        await self._accept("poison", line, error)

    def phase(self, phase: Phase, reason: str) -> None:
        self.told.append(("phase", phase, reason))

    async def _accept(self, *report: Any) -> None:
        await trio.lowlevel.checkpoint()
        if self.hold is not None:
            await self.hold.wait()
        self.told.append(report)

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [report[1:] for report in self.told if report[0] == kind]

    @property
    def phases(self) -> list[Phase]:
        return [phase for phase, _ in self.of("phase")]

    @property
    def names(self) -> list[str]:
        return [name for events, _ in self.of("changes") for _, name, _ in events]


def watcher(api: ScriptedApi, observer: Recorder, cursor: Cursor | None = None, **more: Any) -> Watcher:
    """A watcher of all Pods, with a seed."""
    options: dict[str, Any] = {"lists": trio.CapacityLimiter(2), "memory": ServerMemory()} | more
    return Watcher(api, Pods(), POD, Scope(), cursor, observer, random=random.Random(1), **options)


def cut() -> Interrupted:
    return Interrupted("the connection broke in the middle of the body")
