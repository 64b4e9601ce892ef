"""Signatures as Standard Webhooks 1.0 has them: who sent this, and that nobody changed it. No I/O here.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

__all__ = ["batch_id", "signing_key", "webhook_headers"]

_PREFIX: Final = b"whsec_"
_SHORTEST: Final = 24
_LONGEST: Final = 64
_WRITE: Final = (
    "write `whsec_` and the base64 of 24 to 64 random bytes, as `openssl rand -base64 32` makes them"
)


def signing_key(secret: bytes) -> bytes:
    """The key in a secret: `whsec_` and base64; like the official packages it does without the prefix.

    Raises:
        ValueError: it is something else; the message never holds any of it.
    """
    try:
        text = secret.strip().removeprefix(_PREFIX).rstrip(b"=")
        key = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a signing secret is not base64; {_WRITE}") from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"a signing secret has {len(key)} bytes; {_WRITE}")
    return key


def webhook_headers(
    message_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]
) -> list[tuple[bytes, bytes]]:
    """The headers of one attempt: id, time and, where there are keys, one signature of each.

    Args:
        message_id: the same in every attempt; without a `.`.
        timestamp: of this attempt, seconds since the Unix epoch.
        body: what is signed: the content before any compression.
        keys: the newest first; a receiver accepts any one of the signatures, so keys can be rotated.
    """
    name, time = message_id.encode(), str(timestamp).encode()
    headers = [(b"webhook-id", name), (b"webhook-timestamp", time)]
    if keys:
        start = b"%b.%b." % (name, time)
        headers.append((b"webhook-signature", b" ".join(_signature(key, start, body) for key in keys)))
    return headers


def batch_id(ids: Sequence[str]) -> str:
    """One id for records that travel together: the same whenever the same records do."""
    return "batch-" + hashlib.sha256("\n".join(ids).encode()).hexdigest()[:32]


def _signature(key: bytes, start: bytes, body: bytes) -> bytes:
    mac = hmac.new(key, start, hashlib.sha256)
    mac.update(body)  # not joined: a body may have megabytes
    return b"v1," + base64.b64encode(mac.digest())
