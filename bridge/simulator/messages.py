"""What goes between transport and server: a request, and a response whose body is read in chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

from bridge.simulator.encode import dumps
from bridge.simulator.errors import ApiError, bad_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.simulator.encode import Obj

__all__ = [
    "Body",
    "Bytes",
    "ConnectionCut",
    "Pieces",
    "Request",
    "Response",
    "json_body",
    "json_response",
    "refusal",
]

JSON = "application/json"
PLAIN_TEXT = "text/plain; charset=utf-8"
_BUFFERED = 2048  # what Go's server holds back to learn the length; longer bodies are chunked


class ConnectionCut(Exception):
    """The connection ends inside a body; with `reset` by RST instead of FIN."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("reset" if reset else "cut")
        self.reset = reset


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names are lower case, of repeated query parameters the first counts."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Body(ABC):
    """The bytes of a response, one HTTP chunk a call."""

    length: int | None = None

    @abstractmethod
    async def receive(self) -> bytes:
        """The next chunk; empty at the end.

        Raises:
            ConnectionCut: the transport must break the connection here.
        """

    def close(self) -> None:  # noqa: B027 - most bodies hold nothing
        """Nobody reads on; called also after the end."""


class Bytes(Body):
    """A body that is there at once; a short one is sent with its length."""

    def __init__(self, content: bytes) -> None:
        self.length = len(content) if len(content) <= _BUFFERED else None
        self._content = content

    async def receive(self) -> bytes:
        """All of it, then the end."""
        content, self._content = self._content, b""
        return content


class Pieces(Body):
    """A body that is made while it is sent, without a length."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def receive(self) -> bytes:
        """The next piece that is not empty."""
        return next((piece for piece in self._pieces if piece), b"")


@dataclass(slots=True)
class Response:
    """Status, headers without framing (a transport adds that), and the body."""

    status: int
    body: Body
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)

    def all_headers(self) -> list[tuple[str, str]]:
        """The headers in the order of the real server, with the length where it is known."""
        headers = dict(self.headers)
        if self.content_type:
            headers["Content-Type"] = self.content_type
        if self.body.length is not None:
            headers["Content-Length"] = str(self.body.length)
        return sorted(headers.items())


def json_body(request: Request) -> Obj:
    """The object that a request carries.

    Raises:
        ApiError: 415 for anything but JSON, 400 for what is no JSON object.
    """
    content_type = request.headers.get("content-type", JSON).partition(";")[0]
    if not content_type.endswith("json"):
        message = f"the body of the request was in an unknown format - {content_type} is not JSON"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    try:
        obj = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"error decoding the body: {error}") from error
    if not isinstance(obj, dict):
        raise bad_request("couldn't get version/kind; json parse error: the body is not an object")
    return obj


def json_response(obj: Obj, status: int = 200) -> Response:
    """A JSON document, ended by a newline as the server's encoder does."""
    return Response(status, Bytes(dumps(obj) + b"\n"))


def refusal(error: ApiError) -> Response:
    """The Status object of an error."""
    response = json_response(error.status, error.code)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response
