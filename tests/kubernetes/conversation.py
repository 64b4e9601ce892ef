"""Drives a watch protocol by hand: says what the server says, and keeps what the observer would hear."""

import random
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from bridge.changes.change import Cause, Cursor, Event
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.reports import Began, Changed, Doing, Items, Listed, Moved, Poisoned, Report
from bridge.kubernetes.requests import Request, Scope
from bridge.kubernetes.scan import Shape
from bridge.kubernetes.server_memory import ServerMemory
from bridge.kubernetes.transitions import State
from bridge.kubernetes.watch_protocol import WatchProtocol
from tests.kubernetes.wire_bodies import JSON_HEADERS, POD, W18_HEADERS, events_page, marker, page

_T = TypeVar("_T")


class Pods(NamedTuple):
    group: str = ""
    version: str = "v1"
    resource: str = "pods"
    namespaced: bool = True


class Middle(random.Random):
    """Jitter without chance: always in the middle."""

    def random(self) -> float:
        return 0.5


class Conversation:
    """One watch, one server that says what the test says, and a clock that the test moves."""

    def __init__(
        self,
        cursor: Cursor | None = None,
        *,
        scope: Scope | None = None,
        shape: Shape = POD,
        memory: ServerMemory | None = None,
        **more: Any,
    ) -> None:
        self.now = 1000.0
        self.memory = memory or ServerMemory()
        self.protocol = WatchProtocol(
            Pods(), shape, scope or Scope(), cursor, memory=self.memory, random=Middle(), **more
        )
        self.told: list[Report] = []
        self.waited = 0.0

    # What the server does.

    def ask(self) -> Request:
        """Wait until the protocol may ask, and let it."""
        self.waited = max(self.protocol.due - self.now, 0.0)
        self.now += self.waited
        request = self.protocol.request(self.now)
        self.hear()
        return request

    def open(self, headers: Mapping[str, str] = W18_HEADERS) -> None:
        self.protocol.opened(headers, self.now)
        self.hear()

    def send(self, *data: bytes) -> None:
        """These pieces arrive; like the watcher, stop reading when the protocol wants no more."""
        for piece in data:
            if self.protocol.reading:
                self.protocol.receive(piece, self.now)
        self.hear()

    def end(self, after: float = 0.0) -> None:
        self.now += after
        self.protocol.ended(self.now)
        self.hear()

    def cut(self, after: float = 0.0) -> None:
        self.now += after
        self.protocol.cut("the connection broke", self.now)
        self.hear()

    def silence(self) -> float:
        """Nothing comes for as long as the protocol is willing to wait; says how long that was."""
        timeout = self.protocol.read_timeout(self.now)
        self.now += timeout
        self.protocol.idle(self.now)
        self.hear()
        return timeout

    def refuse(self, status: int, body: bytes = b"", headers: Mapping[str, str] = JSON_HEADERS) -> None:
        self.protocol.refused(status, headers, body, self.now)
        self.hear()

    def answer(self, body: bytes, status: int = 200, headers: Mapping[str, str] = JSON_HEADERS) -> None:
        self.protocol.answered(status, headers, body, self.now)
        self.hear()

    # Short cuts to a place in the conversation.

    def prove(self, rv: int | str) -> "Conversation":
        """Answer a whole probe: Events share their etcd, and the server is at `rv`."""
        while self.protocol.state in {State.START, State.PROBING, State.CHECKING}:
            request = self.ask()
            if self.protocol.state not in {State.PROBING, State.CHECKING}:
                break
            self.answer(events_page(rv) if request.path.endswith("/events") else page(rv))
        return self

    def watching(self, rv: int | str = 10) -> "Conversation":
        """Resume from a cursor at `rv` until events flow."""
        self.prove(rv)
        assert self.ask().params["resourceVersion"] == str(rv)
        self.open()
        return self

    def listed(self, rv: int = 10, *lines: bytes) -> "Conversation":
        """List by streaming until events flow."""
        self.ask()
        self.open()
        self.send(*lines, marker(rv))
        return self

    # What the observer heard.

    def hear(self) -> None:
        self.told += self.protocol.reports()

    def of(self, kind: type[_T]) -> list[_T]:
        return [report for report in self.told if isinstance(report, kind)]

    @property
    def changes(self) -> list[Event]:
        return [event for report in self.of(Changed) for event in report.events]

    @property
    def items(self) -> list[Event]:
        return [event for report in self.of(Items) for event in report.events]

    @property
    def cursor(self) -> Cursor:
        """The last cursor that was told."""
        return [report.cursor for report in self.told if isinstance(report, Changed | Moved)][-1]

    @property
    def causes(self) -> list[Cause]:
        return [report.cause for report in self.of(Began)]

    @property
    def listings(self) -> list[str]:
        return [report.rv for report in self.of(Listed)]

    @property
    def doing(self) -> Doing:
        return self.of(Doing)[-1]

    @property
    def phase(self) -> Phase:
        return self.doing.phase

    @property
    def poison(self) -> list[Poisoned]:
        return self.of(Poisoned)


def at(rv: int | str) -> Cursor:
    """A cursor after a complete listing at `rv`."""
    return Cursor(str(rv), str(rv))
