"""Whom we trust and who we say we are: TLS contexts, made anew when their files change."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from bridge.delivery.sink import Unavailable
from bridge.settings import about

__all__ = ["TlsOptions", "Trust"]

_BELIEVED: Final = 10.0
"""Seconds for which files count as unchanged without being looked at."""

_Stamp = tuple[tuple[int, int, int] | None, ...]


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

    def __post_init__(self) -> None:
        if self.key is not None and self.certificate is None:
            raise ValueError("has a key without its certificate; write `certificate` too")
        if self.insecure and self.ca is not None:
            raise ValueError("is insecure, so nothing is held against its ca; keep one of the two")


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
            raise self._useless("ca", options.ca, error) from None
        if options.ca is not None:
            # Python 3.13 sets it, and then refuses private authorities that lack some extensions.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if options.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if options.certificate is not None:
            try:
                # Without a password at hand OpenSSL would ask the terminal for one.
                context.load_cert_chain(options.certificate, options.key, password=lambda: "")
            except (OSError, ValueError, TypeError) as error:
                raise self._useless("certificate", options.certificate, error) from None
        return context

    def _useless(self, name: str, path: Path | None, error: Exception) -> Unavailable:
        words = "it holds no PEM, or an encrypted key"
        if isinstance(error, ssl.SSLError):
            words = (error.reason or words).replace("_", " ").lower()
        elif isinstance(error, OSError) and error.strerror:
            words = error.strerror
        also = " and its key" if name == "certificate" else ""
        return Unavailable(
            f"`{self._key}.{name}`: {str(path)!r}{also} cannot be used ({words}); write PEM files that this "
            "user may read",
            reason="tls",
        )


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        # stat follows the links that a mounted Secret swaps.
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
