"""Who we are to the API server: credentials that can go stale and be renewed, and never be printed.

A credential is asked for its headers before every request, so that rotation needs no restart
([K1]); after a 401 it is asked once whether it can do better. Nothing here talks to the cluster.
"""

import base64
import binascii
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio

from bridge.kubernetes.failures import CredentialError

__all__ = [
    "Anonymous",
    "Basic",
    "ClientCertificate",
    "Credentials",
    "Secret",
    "StaticToken",
    "TokenFile",
    "bearer",
    "token_expiry",
]

TOKEN_FILE_SECONDS: Final = 60.0
"""How long a token file is believed without being read again; what client-go does too."""
_JWT_PARTS: Final = 3


class Secret(msgspec.Struct, frozen=True):
    """A text that no log, error or repr shows; `reveal` is the only way to it."""

    _value: str

    def reveal(self) -> str:
        """Return the text itself, to be sent and never to be shown."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class ClientCertificate(msgspec.Struct, frozen=True):
    """A client certificate and its private key, each as a PEM file or as PEM text."""

    certificate: Path | str
    key: Path | Secret


class Credentials(Protocol):
    """One identity. Safe for many tasks at once; a renewal in progress is waited for, not repeated."""

    @property
    def description(self) -> str:
        """What it is and where it comes from, for a sentence; "" when nothing is sent."""
        ...

    @property
    def certificate(self) -> ClientCertificate | None:
        """The client certificate this credential brought along, as of the last `headers`."""
        ...

    @property
    def generation(self) -> int:
        """Grows when `certificate` changed: new connections need a new TLS context."""
        ...

    async def headers(self) -> dict[str, str]:
        """Return the headers to send.

        Raises:
            CredentialError: none can be had now; the caller backs off and asks again.
        """
        ...

    async def refresh(self) -> bool:
        """Renew after a 401; True when the next `headers` or `certificate` will differ.

        Raises:
            CredentialError: the renewal failed; as for `headers`.
        """
        ...

    def secrets(self) -> tuple[str, ...]:
        """Every text that must not be seen, so that what a server echoes can be cleaned of it."""
        ...


class Anonymous:
    """No credential of the header kind: anonymous, or only the kubeconfig's client certificate."""

    description = ""
    certificate: ClientCertificate | None = None
    generation = 0

    async def headers(self) -> dict[str, str]:
        """Return nothing to send."""
        return {}

    async def refresh(self) -> bool:
        """There is nothing to renew."""
        return False

    def secrets(self) -> tuple[str, ...]:
        """There is nothing to hide."""
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.description}>"


class StaticToken(Anonymous):
    """A bearer token as the kubeconfig holds it."""

    def __init__(self, token: Secret, where: str) -> None:
        self.description = f"the token of {where}"
        self._token = token
        self._headers = bearer(token.reveal(), self.description)

    async def headers(self) -> dict[str, str]:
        """Return the bearer token."""
        return self._headers

    def secrets(self) -> tuple[str, ...]:
        """Return the token."""
        return (self._token.reveal(),)


class Basic(Anonymous):
    """A user name and a password."""

    def __init__(self, username: str, password: Secret, where: str) -> None:
        self.description = f"the user name and password of {where}"
        pair = f"{username}:{password.reveal()}".encode()
        self._encoded = base64.b64encode(pair).decode()
        self._password = password

    async def headers(self) -> dict[str, str]:
        """Return the pair as RFC 7617 wants it."""
        return {"authorization": f"Basic {self._encoded}"}

    def secrets(self) -> tuple[str, ...]:
        """Return the password, and the pair as it is sent."""
        return (self._password.reveal(), self._encoded)


class TokenFile(Anonymous):
    """A token that somebody else rotates in a file, as the kubelet does ([K1], [K3]).

    A file that cannot be read or is empty keeps the last good token; `fallback` stands in until the
    file was read once. Reading is a few bytes of a local file and so is done in place.
    """

    def __init__(self, path: Path, *, fallback: Secret | None = None) -> None:
        self.description = f"the token in {path}"
        self._path = path
        self._token = fallback.reveal() if fallback else ""
        self._read_at = -float("inf")

    async def headers(self) -> dict[str, str]:
        """Return the token, read again when the last reading is a minute old."""
        now = trio.current_time()
        if now - self._read_at >= TOKEN_FILE_SECONDS:
            self._read()
            self._read_at = now
        return bearer(self._token, self.description)

    async def refresh(self) -> bool:
        """Read at once; True when another token was there."""
        before = self._token
        self._read()
        self._read_at = trio.current_time()
        return self._token != before

    def secrets(self) -> tuple[str, ...]:
        """Return the token last read."""
        return (self._token,) if self._token else ()

    def _read(self) -> None:
        try:
            token = self._path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
        else:
            reason = "it is empty"
            self._token = token or self._token
        if not self._token:
            raise CredentialError(f"the token file {self._path} cannot be used: {reason}")


def bearer(token: str, where: str) -> dict[str, str]:
    """Make the header of a token.

    Raises:
        CredentialError: characters that no header can carry; without this check the HTTP library
            would name them, token included, in its own error.
    """
    if not (token.isascii() and token.isprintable()):
        raise CredentialError(
            f"{where} cannot be sent: it contains line breaks or other characters no token has"
        )
    return {"authorization": f"Bearer {token}"}


def token_expiry(authorization: str) -> datetime | None:
    """When the JWT in an `authorization` header expires, unverified; None for anything else."""
    scheme, _, token = authorization.partition(" ")
    parts = token.split(".")
    if scheme.lower() != "bearer" or len(parts) != _JWT_PARTS:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (binascii.Error, ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError):
        return None
