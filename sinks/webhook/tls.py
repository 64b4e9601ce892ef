"""Whom we trust and who we say we are: TLS contexts, made anew when their files change."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import trio

from bridge.delivery.sink import Unavailable
from bridge.settings import Looks, Rule, about, enforce
from sinks.pem import authorities_problem, identity_problem, load_identity, useless

__all__ = ["TlsOptions", "Trust"]

_BELIEVED: Final = 10.0
"""Seconds for which files count as unchanged without being looked at."""

_Stamp = tuple[tuple[int, int, int] | None, ...]


def _no_certificate(key: Path | None, certificate: Path | None) -> Iterator[str]:
    if key is not None and certificate is None:
        yield "is without its certificate; write `certificate` too"


def _for_nothing(ca: Path | None, insecure: bool) -> Iterator[str]:  # noqa: FBT001 - as a rule has them
    if insecure and ca is not None:
        yield "`insecure` is there too, so nothing is held against it; keep one of the two"


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """What a `tls:` says.

    Attributes:
        ca: PEM file of the only authorities that are trusted; None: those of the system.
        certificate: PEM file of our client certificate and its chain, or None.
        key: PEM file of its private key, not encrypted; None: it stands in the certificate's file.
        insecure: no certificate is checked.
    """

    ca: Path | None = field(
        default=None,
        metadata=about(
            "PEM file of the authorities to trust; without it those of the system.",
            example="/etc/kube-bridge/ca.crt",
            readable=True,
        ),
    )
    certificate: Path | None = field(
        default=None,
        metadata=about(
            "PEM file of our client certificate, with its chain.",
            example="/etc/kube-bridge/tls.crt",
            readable=True,
        ),
    )
    key: Path | None = field(
        default=None,
        metadata=about(
            "PEM file of the certificate's private key; without it the key stands in the certificate's file.",
            example="/etc/kube-bridge/tls.key",
            readable=True,
        ),
    )
    insecure: bool = field(
        default=False,
        metadata=about(
            "Whether any certificate is accepted; anybody in between can then read and answer.",
            example="true",
        ),
    )

    RULES: ClassVar = (
        Rule(("key", "certificate"), _no_certificate),
        Rule(("ca", "insecure"), _for_nothing),
        Rule(("ca",), authorities_problem, Looks.FILES),
        Rule(("certificate", "key"), identity_problem, Looks.FILES),
    )

    def __post_init__(self) -> None:
        enforce(self)


class Trust:
    """The context of one destination's new connections."""

    def __init__(self, options: TlsOptions, key: str, url: str) -> None:
        """Nothing is read before `context`.

        Args:
            options: what is configured.
            key: where, for sentences.
            url: of the destination; TLS is spoken with https only.
        """
        self._options = options
        self._key = key
        self._needed = url.startswith("https:")
        self._context: ssl.SSLContext | None = None
        self._stamp: _Stamp = ()
        self._until = -float("inf")

    async def context(self) -> ssl.SSLContext:
        """The context of the files as they are now, or were some seconds ago; another one when they changed.

        Raises:
            Unavailable: a file cannot be used; it may be in the middle of a rotation.
        """
        if self._context is not None and trio.current_time() < self._until:
            return self._context
        return await self._renewed()

    async def _renewed(self) -> ssl.SSLContext:
        stamp = self._files()
        context = self._context
        if not self._needed:
            context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        elif context is None or stamp != self._stamp:
            # Reading the system's authorities takes some ten milliseconds.
            context = await trio.to_thread.run_sync(self._build)
        self._context, self._stamp = context, stamp
        self._until = trio.current_time() + _BELIEVED
        return context

    def _files(self) -> _Stamp:
        options = self._options
        return tuple(_stamp(path) for path in (options.ca, options.certificate, options.key))

    def _build(self) -> ssl.SSLContext:
        options = self._options
        try:
            context = ssl.create_default_context(cafile=options.ca)
        except (OSError, ValueError) as error:
            raise self._useless("ca", options.ca or Path(), error) from None
        if options.ca is not None:
            # Python 3.13 sets it, and then refuses private authorities that lack some extensions.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if options.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if options.certificate is not None:
            try:
                load_identity(context, options.certificate, options.key)
            except (OSError, ValueError) as error:
                raise self._useless("certificate", options.certificate, error, also=" and its key") from None
        return context

    def _useless(self, name: str, path: Path, error: Exception, *, also: str = "") -> Unavailable:
        return Unavailable(f"`{self._key}.{name}`: {useless(path, error, also=also)}", reason="tls")


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        # stat follows the links that a mounted Secret swaps.
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
