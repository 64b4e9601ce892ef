"""What can go wrong between a server and a client, one line each to script."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Protocol

import trio

from bridge.simulator.errors import expired, too_large_revision
from bridge.simulator.messages import PLAIN_TEXT, Body, Bytes, Response
from bridge.simulator.spoil import AfterBytes, AfterEvents, Drip, Edit, Ending, Spoil, error_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.errors import ApiError

__all__ = ["Faults", "Verb"]

Verb = Literal["list", "watch", "any"]
Listing = Literal["expired token", "unordered", "stale page"]

_LOGIN_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"
)
_REASONS = {
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests, please try again later.\n",
    HTTPStatus.SERVICE_UNAVAILABLE: "service unavailable\n",
}


class Stream(Protocol):
    """A watch that runs."""

    resource: str

    def end_at(self, time: float) -> None:
        """Ends it cleanly at a trio time."""

    def interrupt(self, ending: Ending, last: bytes = b"") -> None:
        """Sends some last bytes and then ends it in some way, at once."""


@dataclass(slots=True)
class _Rule:
    """Holds for the next `times` requests of the verb, for one resource or all."""

    on: Verb
    resource: str
    times: int
    effect: Any

    def matches(self, verb: str, resource: str) -> bool:
        return self.on in {"any", verb} and self.resource in {"", resource}


class Faults:
    """Scripts of faults; each holds for the next matching request, or the next `times` of them.

    `resource` narrows a fault to one, such as `pods` or `deployments.apps`. Events are counted from 1,
    those of the initial state, bookmarks and the end marker too.

    Attributes:
        streams: The watches that run; see `interrupt`.
    """

    def __init__(self) -> None:
        self.streams: set[Stream] = set()
        self._answers: list[_Rule] = []
        self._bodies: list[_Rule] = []
        self._listings: list[_Rule] = []

    # Instead of an answer

    def answer(
        self,
        status: int,
        *,
        on: Verb = "any",
        resource: str = "",
        times: int = 1,
        retry_after: int | None = None,
        body: bytes | None = None,
        content_type: str = PLAIN_TEXT,
    ) -> None:
        """Answers with a status and a text, 429 and 503 in the words of the real server."""
        text = _REASONS.get(HTTPStatus(status), f"{HTTPStatus(status).phrase}\n").encode()
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

        def respond() -> Response:
            return Response(status, Bytes(text if body is None else body), content_type, dict(headers))

        self._answers.append(_Rule(on, resource, times, respond))

    def refuse(self, error: ApiError, *, on: Verb = "any", resource: str = "", times: int = 1) -> None:
        """Answers with a Status object."""

        def respond() -> Response:
            raise error

        self._answers.append(_Rule(on, resource, times, respond))

    def login_page(self, *, on: Verb = "any", resource: str = "", times: int = 1) -> None:
        """Answers 200 with HTML, as a proxy does that wants somebody to sign in."""
        self.answer(
            HTTPStatus.OK,
            on=on,
            resource=resource,
            times=times,
            body=_LOGIN_PAGE,
            content_type="text/html; charset=utf-8",
        )

    # Lists

    def expire_tokens(self, *, resource: str = "", times: int = 1) -> None:
        """410 for the next continue token, with a token for an inconsistent remainder."""
        self._listings.append(_Rule("list", resource, times, "expired token"))

    def unordered(self, *, resource: str = "", times: int = 1) -> None:
        """A list whose items come in reverse order."""
        self._listings.append(_Rule("list", resource, times, "unordered"))

    def stale_page(self, *, resource: str = "", times: int = 1) -> None:
        """A later page that shows another revision than the first one, without saying so by an error."""
        self._listings.append(_Rule("list", resource, times, "stale page"))

    # Bodies of watches, and of lists where it makes sense

    def cut(
        self,
        *,
        after_bytes: int | None = None,
        after_events: int = 0,
        reset: bool = False,
        on: Verb = "watch",
        resource: str = "",
        times: int = 1,
    ) -> None:
        """Breaks the connection after some bytes or events: FIN without an end of the body, or RST."""
        ending = Ending.RESET if reset else Ending.CUT
        self._end(ending, after_bytes, after_events, on, resource, times)

    def eof(
        self,
        *,
        after_bytes: int | None = None,
        after_events: int = 0,
        on: Verb = "watch",
        resource: str = "",
        times: int = 1,
    ) -> None:
        """Ends the body cleanly: after events this is every day's end, after bytes a torn line."""
        self._end(Ending.CLEAN, after_bytes, after_events, on, resource, times)

    def silence(
        self,
        *,
        after_bytes: int | None = None,
        after_events: int = 0,
        on: Verb = "watch",
        resource: str = "",
        times: int = 1,
    ) -> None:
        """Half-open: nothing comes any more, and nothing ends."""
        self._end(Ending.SILENCE, after_bytes, after_events, on, resource, times)

    def torn(
        self, *, after_events: int = 0, keep: int = 20, cut: bool = False, resource: str = "", times: int = 1
    ) -> None:
        """Ends inside the line after `after_events`, of which `keep` bytes come; cleanly unless `cut`."""
        ending = Ending.CUT if cut else Ending.CLEAN
        self._spoil(lambda: AfterEvents(after_events, ending, keep=keep), "watch", resource, times)

    def gone(self, *, after_events: int = 0, resource: str = "", times: int = 1) -> None:
        """ERROR 410 in the stream."""
        self.error(expired("too old resource version: 5 (349)"), after_events, resource=resource, times=times)

    def error(self, error: ApiError, after_events: int = 0, *, resource: str = "", times: int = 1) -> None:
        """Any ERROR event in the stream, and its end."""
        last = error_line(error)
        self._spoil(lambda: AfterEvents(after_events, Ending.CLEAN, last=last), "watch", resource, times)

    def duplicate(self, event: int = 1, *, resource: str = "", times: int = 1) -> None:
        """Sends an event twice."""
        self.edit(lambda line: line + line, event, resource=resource, times=times)

    def wrong_kind(self, event: int = 1, *, resource: str = "", times: int = 1) -> None:
        """Sends an object of another kind in place of an event's own."""
        line = b'{"type":"ADDED","object":{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{}}}\n'
        self.edit(lambda _: line, event, resource=resource, times=times)

    def invalid_utf8(self, event: int = 1, *, resource: str = "", times: int = 1) -> None:
        """Puts a byte that UTF-8 never has into an event's last string."""
        self.edit(lambda line: b'\xff"'.join(line.rsplit(b'"', 1)), event, resource=resource, times=times)

    def drop_marker(self, *, resource: str = "", times: int = 1) -> None:
        """Loses the bookmark that ends the initial state."""
        self.edit(
            lambda line: b"" if b"k8s.io/initial-events-end" in line else line, resource=resource, times=times
        )

    def edit(
        self, change: Callable[[bytes], bytes], event: int = 0, *, resource: str = "", times: int = 1
    ) -> None:
        """Changes the line of one event, or with 0 of each; a line ends with its newline."""
        self._spoil(lambda: Edit(change, event), "watch", resource, times)

    def drip(
        self,
        size: int = 1,
        seconds: float = 0.01,
        *,
        on: Verb = "watch",
        resource: str = "",
        times: int = 1,
    ) -> None:
        """Sends a body in chunks of `size` bytes, slowly."""
        self._bodies.append(_Rule(on, resource, times, lambda body: Drip(body, size, seconds)))

    def too_large(self, *, resource: str = "", times: int = 1) -> None:
        """504: the server is behind the revision that was asked for."""
        self.refuse(too_large_revision(12313646, 12313645, cached=True), resource=resource, times=times)

    # What runs already

    def interrupt(self, ending: Ending, *, resource: str = "", last: bytes = b"") -> int:
        """Ends every watch that runs, at once, with `last` as its last bytes; returns how many."""
        streams = [stream for stream in self.streams if resource in {"", stream.resource}]
        for stream in streams:
            stream.interrupt(ending, last)
        return len(streams)

    def gone_now(self, *, resource: str = "") -> int:
        """ERROR 410 on every watch that runs; returns how many."""
        last = error_line(expired("too old resource version: 5 (349)"))
        return self.interrupt(Ending.CLEAN, resource=resource, last=last)

    # Asked by the server

    async def before(self, verb: str, resource: str) -> Response | None:
        """The scripted answer to a request, or None.

        Raises:
            ApiError: the scripted answer is a Status.
        """
        await trio.lowlevel.checkpoint()
        rule = _take(self._answers, verb, resource)
        response: Response | None = None if rule is None else rule.effect()
        return response

    def listing(self, fault: Listing, resource: str) -> bool:
        """Whether this list is to be wrong in this way."""
        rules = [rule for rule in self._listings if rule.effect == fault]
        return _take(rules, "list", resource) is not None and self._forget()

    def spoiled(self, body: Body, verb: str, resource: str) -> Body:
        """The body with what is scripted for it."""
        rule = _take(self._bodies, verb, resource)
        spoiled: Body = body if rule is None else rule.effect(body)
        return spoiled

    def _forget(self) -> bool:
        self._listings = [rule for rule in self._listings if rule.times > 0]
        return True

    def _end(
        self,
        ending: Ending,
        after_bytes: int | None,
        after_events: int,
        on: Verb,
        resource: str,
        times: int,
    ) -> None:
        if after_bytes is not None:
            self._spoil(lambda: AfterBytes(after_bytes, ending), on, resource, times)
        else:
            self._spoil(lambda: AfterEvents(after_events, ending), on, resource, times)

    def _spoil(self, make: Callable[[], Spoil], on: Verb, resource: str, times: int) -> None:
        self._bodies.append(_Rule(on, resource, times, lambda body: make().around(body)))


def _take(rules: list[_Rule], verb: str, resource: str) -> _Rule | None:
    for rule in rules:
        if rule.matches(verb, resource):
            rule.times -= 1
            if rule.times <= 0:
                rules.remove(rule)
            return rule
    return None
