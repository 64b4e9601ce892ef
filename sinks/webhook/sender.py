"""One message out, signed and authorized; what the receiver made of it back."""

import gzip
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import trio

from bridge import __version__
from bridge.delivery.sink import Unavailable
from bridge.secret import Secret
from sinks.webhook.answers import Answer, Refusal, refusal
from sinks.webhook.auth import Authorization, secrets_in
from sinks.webhook.body import Message
from sinks.webhook.client import Client
from sinks.webhook.echo import SHORT
from sinks.webhook.failures import Target
from sinks.webhook.secrets import Kept, header_value
from sinks.webhook.signing import signing_key, webhook_headers
from sinks.webhook.unwelcome import Unwelcome

__all__ = ["Sender"]

_LARGE: Final = 128 << 10
"""From here on compressing takes long enough to hold up the others, so a thread does it."""
_PRODUCT: Final = (b"user-agent", f"kube-bridge/{__version__}".encode())
_PLAIN: Final = (b"accept-encoding", b"identity")


class Sender:
    """Sends messages to one receiver.

    Attributes:
        unwelcome: tells when the receiver refuses us whatever we send.
    """

    def __init__(
        self,
        client: Client,
        target: Target,
        *,
        method: str,
        headers: Mapping[str, Secret],
        signing_secrets: Sequence[Secret],
        authorization: Authorization | None,
        compressed: bool,
        timeout: float,
    ) -> None:
        """Nothing is read or sent before `send`.

        Args:
            client: reaches the receiver.
            target: the receiver, for sentences.
            method: as POST.
            headers: the configured ones.
            signing_secrets: one signature each; none: nothing is signed.
            authorization: who we are, or None.
            compressed: bodies are sent as gzip.
            timeout: seconds for one request and its answer.
        """
        self._client = client
        self._target = target
        self._method = method
        self._headers = [
            (name.lower().encode(), Kept(secret, f"headers.{name}", header_value))
            for name, secret in headers.items()
        ]
        self._in_clear = {
            name.lower().encode() for name, secret in headers.items() if secret.value is not None
        }
        self._keys = [Kept(secret, "signingSecret", signing_key) for secret in signing_secrets]
        self._authorization = authorization
        self._compressed = compressed
        self._timeout = timeout
        self.unwelcome = Unwelcome()

    async def send(self, message: Message, admit: Callable[[], Awaitable[None]]) -> Refusal | None:
        """None once the receiver owns it; why, when it never will.

        Args:
            message: what to send.
            admit: awaited before a second request, with new credentials.

        Raises:
            Unavailable: it is not promised; send it again, it keeps its id.
            Stopped: the receiver wants nothing any more.
        """
        authorization = self._authorization
        value = await authorization.value() if authorization else b""
        answer, hidden = await self._attempt(message, value)
        if answer.status == HTTPStatus.UNAUTHORIZED and authorization and authorization.refused(value):
            value = await authorization.value()
            await admit()
            answer, hidden = await self._attempt(message, value)
        refused = None
        if answer.status // 100 != 2:  # noqa: PLR2004 - the class of success
            refused = refusal(answer, self._target.name, datetime.now(UTC), hidden)
        self.unwelcome.answered(answer.status, refused.sentence if refused else "")
        return refused

    def read_secrets(self) -> list[str]:
        """What is wrong with the secrets that are sent or signed with, each in a sentence."""
        found = []
        for kept in (*(kept for _, kept in self._headers), *self._keys):
            try:
                kept.value()
            except Unavailable as error:
                found.append(str(error))
        return found

    async def _attempt(self, message: Message, authorization: bytes) -> tuple[Answer, list[bytes]]:
        """The answer, and what it must not show: read once, for a secret may be rotated meanwhile."""
        own = [(name, kept.value()) for name, kept in self._headers]
        keys = [kept.value() for kept in self._keys]
        hidden = self._hidden(own, authorization)
        headers = [
            *own,
            *([] if any(name == b"user-agent" for name, _ in own) else [_PRODUCT]),
            _PLAIN,
            *message.headers,
            *webhook_headers(message.id, int(time.time()), message.body, keys),
        ]
        if authorization:
            headers.append((b"authorization", authorization))
        body = message.body
        if self._compressed:
            headers.append((b"content-encoding", b"gzip"))
            body = await _gzip(body)
        answer = await self._client.ask(self._method, headers, body, self._timeout)
        return answer, [*hidden, *self._client.passwords]

    def _hidden(self, headers: Sequence[tuple[bytes, bytes]], authorization: bytes) -> list[bytes]:
        """What the receiver is sent and must not show to others through us."""
        in_clear = [*self._client.query, *(value for name, value in headers if name in self._in_clear)]
        # A short one that stands in the clear is no secret, but a word that any answer may have.
        values = [value for value in in_clear if len(value) >= SHORT]
        values += [value for name, value in headers if name not in self._in_clear]
        return values + secrets_in(authorization)


async def _gzip(body: bytes) -> bytes:
    compress: Callable[[], bytes] = lambda: gzip.compress(body, mtime=0)  # noqa: E731
    return compress() if len(body) < _LARGE else await trio.to_thread.run_sync(compress)
