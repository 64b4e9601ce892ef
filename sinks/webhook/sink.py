"""Webhooks: each record, or each batch, as one HTTP request that any receiver can verify.

A 2xx owns the records. 408, 425, 429, 5xx, redirects and everything that is no answer come again, with the
same id; 410 stops the sink; every other 4xx rejects what was sent, and of a batch only the records that
are to blame. Records of one object never overtake each other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Annotated, ClassVar, Final, Literal, Self

import httpx

from bridge.delivery.sink import Context, Delivery, Overlap, Record, Rejected, Resume, Unavailable
from bridge.errors import InvariantError
from bridge.faults import crash_point
from bridge.secret import Secret
from bridge.settings import Items, Looks, Range, Rule, Seconds, Text, about, enforce
from sinks.webhook.auth import AuthOptions, Authorization, ClientCredentials, Static
from sinks.webhook.body import CloudEvents, compose
from sinks.webhook.client import Client, parse_proxy
from sinks.webhook.failures import Target, shown
from sinks.webhook.secrets import Kept, header_value, problems_of
from sinks.webhook.sender import Sender
from sinks.webhook.signing import signing_key
from sinks.webhook.tls import TlsOptions, Trust
from sinks.webhook.url import header_problems, url_problem

__all__ = ["Webhook"]

_MOST_RECORDS: Final = 1000
_BATCH_RECORDS: Final = 100
_LONGEST_TIMEOUT: Final = 600
_URL: Final = Text("an http or https URL", "one", check=url_problem, private=True)
_SIGNING: Final = Items(1, "write a secret, or leave the key out to send without signatures", or_one=True)
_NOWHERE: Final = Context("", "", "")
"""Before `open`."""


@dataclass
class _Open:
    """What an open sink holds beside its options."""

    sender: Sender
    receiver: Client
    authorization: Authorization | None
    context: Context = _NOWHERE


class _Runtime:
    closing: AsyncExitStack | None = None
    open: _Open | None = None


def _two_authorizations(headers: Iterable[str], auth: AuthOptions | None) -> Iterator[str]:
    if auth is not None and any(name.lower() == "authorization" for name in headers):
        yield "has the header authorization beside `auth`; keep one of the two"


def _tls_for_nothing(tls: TlsOptions | None, url: str, auth: AuthOptions | None) -> Iterator[str]:
    issuer = auth is not None and auth.oauth2 is not None
    if tls is not None and url.startswith("http://") and not issuer:
        yield "is for a url that is http://; write https://, or remove `tls`"


@dataclass(frozen=True)
class Webhook:
    """Sends each record to a URL.

    Attributes:
        url: of the receiver.
        method: of each request.
        headers: further ones.
        auth: who we are, or None.
        tls: whom we trust, and our certificate; None: the system's authorities.
        signing_secret: keys of the signatures; every request carries one of each.
        cloud_events: how CloudEvents travel; None sends what the format has rendered.
        compression: of the bodies, or None.
        timeout: seconds for one request and its answer.
        concurrency: requests at once, and connections.
        proxy: its address, or None.
    """

    max_bytes: ClassVar[int] = 4 << 20
    overlap: ClassVar[Overlap] = Overlap.LANES

    url: Annotated[str, _URL] = field(
        metadata=about(
            "Where requests are sent; it is never made of a record.", example="https://hook.example/k8s"
        )
    )
    method: Literal["POST", "PUT", "PATCH"] = field(
        default="POST", metadata=about("The method of each request.", example="PUT")
    )
    headers: Mapping[str, Secret] = field(
        default_factory=dict,
        metadata=about("Further headers.", example="{x-api-key: {env: HOOK_KEY}}"),
    )
    auth: AuthOptions | None = field(
        default=None,
        metadata=about("Who we are to the receiver.", example="{bearer: {file: /etc/kube-bridge/token}}"),
    )
    tls: TlsOptions | None = field(
        default=None,
        metadata=about("TLS towards the receiver.", example="{ca: /etc/kube-bridge/ca.crt}"),
    )
    signing_secret: Annotated[tuple[Secret, ...], _SIGNING] = field(
        default=(),
        metadata=about(
            "Keys of Standard Webhooks signatures, `whsec_` and base64. A request is signed with each of "
            "them, so that a receiver can change from one to the next.",
            example="{file: /etc/kube-bridge/hook-secret}",
        ),
    )
    cloud_events: CloudEvents | None = field(
        default=None,
        metadata=about(
            "How CloudEvents travel, with `format: cloudevents`; without it as `structured`.",
            example="binary",
        ),
    )
    compression: Literal["gzip"] | None = field(
        default=None,
        metadata=about("Compression of the bodies; signatures are of what it holds.", example="gzip"),
    )
    timeout: Annotated[Seconds, Range(above=0, maximum=_LONGEST_TIMEOUT)] = field(
        default=30.0, metadata=about("For one request and its answer, all in all.", example="10s")
    )
    concurrency: Annotated[int, Range(minimum=1, maximum=256)] = field(
        default=4,
        metadata=about("Requests at once, each with a connection of its own.", example="16"),
    )
    proxy: Secret | None = field(
        default=None,
        metadata=about(
            "A proxy: http://, https:// or socks5://, with user and password where it wants them. "
            "That of the environment is not used unless it is named here.",
            example="{env: HTTPS_PROXY}",
        ),
    )
    _runtime: _Runtime = field(init=False, repr=False, compare=False, default_factory=_Runtime)

    RULES: ClassVar = (
        Rule(("headers",), header_problems),
        Rule(("headers", "auth"), _two_authorizations),
        Rule(("tls", "url", "auth"), _tls_for_nothing),
        *(
            Rule((name,), problems_of(parse, looks), looks)
            for name, parse in (
                ("headers", header_value),
                ("signing_secret", signing_key),
                ("proxy", parse_proxy),
            )
            for looks in (Looks.NOWHERE, Looks.FILES)
        ),
    )

    def __post_init__(self) -> None:
        enforce(self)

    @property
    def destination(self) -> str:
        """The receiver's address."""
        return self.url

    @property
    def max_records(self) -> int:
        """One CloudEvent a request, but for its batch mode; else as many as `batch.maxRecords` asks for."""
        return 1 if self.cloud_events in ("structured", "binary") else _MOST_RECORDS

    @property
    def default_records(self) -> int:
        """One record a request unless batching is asked for."""
        return _BATCH_RECORDS if self.cloud_events == "batch" else 1

    @property
    def ownership(self) -> str:
        """What it means that the receiver owns a record."""
        return "answered with 2xx"

    async def __aenter__(self) -> Self:
        """Nothing is connected yet: an unreachable receiver is told by the first request."""
        async with AsyncExitStack() as stack:
            self._runtime.open = self._start(stack)
            self._runtime.closing = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        closing, self._runtime.closing, self._runtime.open = self._runtime.closing, None, None
        if closing is not None:
            await closing.aclose()

    async def open(self, resume: Resume, context: Context) -> Resume:
        """Go on where the cursor is: a receiver cannot tell, and what it gets again has the same ids."""
        session = self._session()
        session.sender.unwelcome.sink = context.name
        session.context = context
        return resume

    async def deliver(self, batch: Delivery) -> None:
        """Return when the receiver has answered 2xx for every record.

        Raises:
            Unavailable: it comes again, with the same ids.
            Rejected: these records were refused; the others are owned.
            Stopped: the receiver wants nothing any more (410).
        """
        session = self._session()
        crash_point("sink.begin")
        refused = await self._refused(session, batch.records, 0)
        if refused:
            raise Rejected(refused)

    async def problems(self, context: Context) -> Sequence[str]:  # noqa: ARG002 - as others
        """What keeps it from working: secrets, TLS, proxy, connection. No request reaches the receiver."""
        found = []
        async with self:
            session = self._session()
            found += session.sender.read_secrets()
            try:
                await session.receiver.reach(self.timeout)
            except Unavailable as error:
                found.append(str(error))
            try:
                if session.authorization is not None:
                    await session.authorization.value()
            except Unavailable as error:
                found.append(str(error))
        return found

    async def _refused(self, session: _Open, records: Sequence[Record], first: int) -> dict[int, str]:
        """Send, and halve what is refused until it is known which records are to blame."""
        context = session.context
        together = context.max_records > 1
        message = compose(records, self.cloud_events, context.content_type, together=together)
        refusal = await session.sender.send(message, lambda: _admit(context, records))
        if refusal is None:
            return {}
        if len(records) == 1 or not refusal.of_content:
            return dict.fromkeys(range(first, first + len(records)), refusal.sentence)
        middle, refused = len(records) // 2, dict[int, str]()
        for begin, half in ((first, records[:middle]), (first + middle, records[middle:])):
            await _admit(context, half)
            refused |= await self._refused(session, half, begin)
        return refused

    def _start(self, stack: AsyncExitStack) -> _Open:
        proxy = Kept(self.proxy, "proxy", parse_proxy) if self.proxy else None
        tls = self.tls or TlsOptions()
        # With TLS 1.3 a server only hangs up on who has no certificate, after the handshake.
        anonymous = self.url.startswith("https:") and tls.certificate is None
        doubt = "; if it wants a client certificate, name it in `tls.certificate`" if anonymous else ""
        target = Target(shown(self.url), doubt=doubt)
        receiver = self._client(stack, target, self.url, Trust(tls, "tls", self.url), proxy, self.concurrency)
        authorization: Authorization | None = None
        if self.auth is not None and self.auth.oauth2 is not None:
            options = self.auth.oauth2
            there = Target(
                shown(options.token_url),
                key="auth.oauth2.tokenUrl",
                tls="auth.oauth2.tls" if options.tls else "tls",
            )
            trust = Trust(options.tls or tls, there.tls, options.token_url)
            issuer = self._client(stack, there, options.token_url, trust, proxy, 1)
            authorization = ClientCredentials(
                options,
                lambda headers, form: issuer.ask("POST", headers, form, self.timeout),
                lambda: issuer.passwords,
            )
        elif self.auth is not None:
            authorization = Static(self.auth)
        sender = Sender(
            receiver,
            target,
            method=self.method,
            headers=self.headers,
            signing_secrets=self.signing_secret,
            authorization=authorization,
            compressed=self.compression is not None,
            timeout=self.timeout,
        )
        return _Open(sender, receiver, authorization)

    @staticmethod
    def _client(
        stack: AsyncExitStack,
        target: Target,
        url: str,
        trust: Trust,
        proxy: Kept[httpx.Proxy] | None,
        limit: int,
    ) -> Client:
        client = Client(target, url, limit, trust, proxy)
        stack.push_async_callback(client.aclose)
        return client

    def _session(self) -> _Open:
        if self._runtime.open is None:
            raise InvariantError("A webhook sink was used while it was closed.")
        return self._runtime.open


async def _admit(context: Context, records: Sequence[Record]) -> None:
    await context.admit(len(records), sum(len(record.value) for record in records))
