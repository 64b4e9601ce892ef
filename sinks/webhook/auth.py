"""Who we are to a receiver: a bearer token, a user and password, or OAuth2 client credentials."""

import base64
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Final, Literal, Protocol
from urllib.parse import quote_plus, urlencode

import msgspec
import trio

from bridge.delivery.sink import Unavailable
from bridge.secret import Secret
from bridge.settings import Looks, Rule, Text, about, enforce
from sinks.webhook.answers import Answer, plain, retry_after, told
from sinks.webhook.secrets import Kept, header_value, problems_of
from sinks.webhook.tls import TlsOptions
from sinks.webhook.url import url_problem

__all__ = [
    "AuthOptions",
    "Authorization",
    "BasicOptions",
    "ClientCredentials",
    "OAuth2Options",
    "Static",
    "secrets_in",
]

_LIFETIME: Final = 300.0
"""Seconds for which a token without `expires_in` is believed; a 401 ends it before."""
_EARLY: Final = 30.0
_URL: Final = Text("an http or https URL", "one", check=url_problem, private=True)


def _bearer(token: bytes) -> bytes:
    return header_value(b"Bearer " + token.strip())


def _basic(pair: bytes) -> bytes:
    return b"Basic " + base64.b64encode(pair)


def secrets_in(value: bytes) -> list[bytes]:
    """What nobody may be shown of an `authorization`: itself, the token, the password."""
    scheme, _, rest = value.partition(b" ")
    password = base64.b64decode(rest).partition(b":")[2] if scheme == b"Basic" else b""
    return [value, rest, password]


def _user_problem(username: str) -> Iterator[str]:
    if ":" in username:
        yield "has a user name with a colon, which would end it; choose another user"


@dataclass(frozen=True, slots=True)
class BasicOptions:
    """A user name and a password.

    Attributes:
        username: without a colon, which would end it.
        password: its password.
    """

    username: str = field(metadata=about("User name.", example="kube-bridge"))
    password: Secret = field(
        metadata=about("Its password.", example="{file: /etc/kube-bridge/hook-password}")
    )

    RULES: ClassVar = (Rule(("username",), _user_problem),)

    def __post_init__(self) -> None:
        enforce(self)


@dataclass(frozen=True, slots=True)
class OAuth2Options:
    """The client credentials grant of RFC 6749, section 4.4.

    Attributes:
        token_url: where tokens are issued.
        client_id: our id there.
        client_secret: its secret.
        scopes: what the token is for.
        audience: whom the token is for, where the issuer asks for that parameter; "" sends none.
        client_authentication: whether id and secret go into a header (RFC 6749's first choice) or the form.
        tls: for the issuer; None: as for the receiver.
    """

    token_url: Annotated[str, _URL] = field(
        metadata=about("Where tokens are issued.", example="https://login.example/oauth2/token")
    )
    client_id: str = field(metadata=about("Our id there.", example="kube-bridge"))
    client_secret: Secret = field(
        metadata=about("Its secret.", example="{file: /etc/kube-bridge/client-secret}")
    )
    scopes: tuple[str, ...] = field(
        default=(), metadata=about("Scopes to ask for.", example="[events.write]")
    )
    audience: str = field(
        default="",
        metadata=about(
            "The `audience` to ask for, where the issuer wants one.", example="https://alerts.example"
        ),
    )
    client_authentication: Literal["basic", "form"] = field(
        default="basic",
        metadata=about("Whether id and secret are sent in a header or in the form.", example="form"),
    )
    tls: TlsOptions | None = field(
        default=None,
        metadata=about("TLS towards the issuer; without it as towards the receiver.", example="{ca: ca.crt}"),
    )


def _one_way(*ways: object) -> Iterator[str]:
    if sum(way is not None for way in ways) != 1:
        yield "needs exactly one of bearer, basic and oauth2"


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """One of the three.

    Attributes:
        bearer: a token.
        basic: a user name and a password.
        oauth2: tokens that are fetched.
    """

    bearer: Secret | None = field(
        default=None, metadata=about("A bearer token.", example="{file: /etc/kube-bridge/token}")
    )
    basic: BasicOptions | None = field(
        default=None,
        metadata=about("A user and password.", example="{username: me, password: {env: PASSWORD}}"),
    )
    oauth2: OAuth2Options | None = field(
        default=None,
        metadata=about(
            "OAuth2 client credentials; tokens are fetched and renewed.",
            example="{tokenUrl: https://login.example/token, clientId: me, clientSecret: {env: SECRET}}",
        ),
    )

    RULES: ClassVar = (
        Rule(("bearer", "basic", "oauth2"), _one_way),
        *(Rule(("bearer",), problems_of(_bearer, looks), looks) for looks in (Looks.NOWHERE, Looks.FILES)),
    )

    def __post_init__(self) -> None:
        enforce(self)


class Authorization(Protocol):
    """Gives each request its `authorization`."""

    async def value(self) -> bytes:
        """What to send now; raises `Unavailable` when it cannot be had."""
        ...

    def refused(self, value: bytes) -> bool:
        """Told of a 401 to `value`; whether another one can be had at once."""
        ...


class Static:
    """A secret that is sent as it stands; somebody else rotates it."""

    def __init__(self, options: AuthOptions) -> None:
        """Either a bearer token or a user and password."""
        if options.basic is not None:
            user = options.basic.username.encode()
            self._kept = Kept(
                options.basic.password,
                "auth.basic.password",
                lambda password: _basic(user + b":" + password),
            )
        elif options.bearer is not None:
            self._kept = Kept(options.bearer, "auth.bearer", _bearer)

    async def value(self) -> bytes:
        """The secret as it is now."""
        return self._kept.value()

    def refused(self, value: bytes) -> bool:  # noqa: ARG002 - it is what it is
        """There is no other."""
        return False


class _Token(msgspec.Struct):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the name of a type
    expires_in: float | str | None = None


class _Refusal(msgspec.Struct):
    error: str = ""
    error_description: str = ""


class _Flight:
    """A fetch that others wait for."""

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.error: Unavailable | None = None


class ClientCredentials:
    """Tokens of an issuer: fetched when needed, once for all who wait, and renewed before they expire."""

    def __init__(
        self,
        options: OAuth2Options,
        post: Callable[[list[tuple[bytes, bytes]], bytes], Awaitable[Answer]],
        hide: Callable[[], Sequence[bytes]],
    ) -> None:
        """Nothing is fetched before `value`.

        Args:
            options: what is configured.
            post: sends a form to the issuer; raises `Unavailable` when no answer comes.
            hide: what was sent beside it that nobody may be shown, asked once the answer has come.
        """
        self._options = options
        self._post = post
        self._hide = hide
        self._secret = Kept(options.client_secret, "auth.oauth2.clientSecret", bytes)
        self._value = b""
        self._until = -float("inf")
        self._flight: _Flight | None = None

    async def value(self) -> bytes:
        """A token that is still good for a while.

        Raises:
            Unavailable: the issuer does not answer or refuses.
        """
        while trio.current_time() >= self._until:
            flight = self._flight
            if flight is None:
                await self._renew()
                break
            await flight.landed.wait()
            if flight.error is not None:
                raise Unavailable(
                    str(flight.error), retry_after=flight.error.retry_after, reason=flight.error.reason
                )
        return self._value

    def refused(self, value: bytes) -> bool:
        """The token is not believed any more; another one will be fetched."""
        if value == self._value:
            self._until = -float("inf")
        return True

    async def _renew(self) -> None:
        self._flight = flight = _Flight()
        try:
            secret = self._secret.value()
            headers, form = self._request(secret)
            answer = await self._post(headers, form)
            sent = secrets_in(dict(headers).get(b"authorization", b""))
            self._accept(answer, [secret, *sent, *self._hide()])
        except Unavailable as error:
            flight.error = error
            raise
        finally:
            self._flight = None
            flight.landed.set()

    def _request(self, client_secret: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
        options, secret = self._options, client_secret.decode("utf-8", "surrogateescape")
        form = {"grant_type": "client_credentials"}
        if options.scopes:
            form["scope"] = " ".join(options.scopes)
        if options.audience:
            form["audience"] = options.audience
        headers = [
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"accept", b"application/json"),
        ]
        if options.client_authentication == "form":
            form |= {"client_id": options.client_id, "client_secret": secret}
        else:
            # RFC 6749, 2.3.1: each of the two is form-encoded first.
            pair = ":".join(
                quote_plus(part, errors="surrogateescape") for part in (options.client_id, secret)
            )
            headers.append((b"authorization", _basic(pair.encode())))
        return headers, urlencode(form, errors="surrogateescape").encode()

    def _accept(self, answer: Answer, hidden: Sequence[bytes]) -> None:
        where = f"the issuer {self._options.token_url.partition('?')[0]}"
        if answer.status != 200:  # noqa: PLR2004 - RFC 6749, 5.1
            raise Unavailable(
                f"{where} gives no token: {answer.status}{_words(answer, hidden)}; check `auth.oauth2`",
                retry_after=retry_after(answer.headers, datetime.now(UTC)),
                reason="credentials",
            )
        try:
            token = msgspec.json.decode(answer.body, type=_Token)
            value = header_value(b"Bearer " + token.access_token.encode("ascii"))
            lifetime = _LIFETIME if token.expires_in is None else float(token.expires_in)
        except (msgspec.DecodeError, ValueError):
            raise Unavailable(
                f"{where} answered 200 without a token as RFC 6749 has it; is `auth.oauth2.tokenUrl` right?",
                reason="credentials",
            ) from None
        if token.token_type.lower() != "bearer":
            raise Unavailable(
                f"{where} gives tokens of the type {plain(token.token_type, longest=20)!r}; "
                "only Bearer can be sent",
                reason="credentials",
            )
        self._value = value
        # A token that is short-lived is still used once.
        self._until = trio.current_time() + max(lifetime - _EARLY, lifetime / 2)


def _words(answer: Answer, hidden: Sequence[bytes]) -> str:
    try:
        refusal = msgspec.json.decode(answer.body, type=_Refusal)
    except (msgspec.DecodeError, ValueError):
        return ""
    parts = [told(part, hidden) for part in (refusal.error, refusal.error_description)]
    words = ": ".join(part for part in parts if part)
    return f" ({words})" if words else ""
