"""Why no answer came, in one sentence that says what to do. No I/O here.

What the HTTP library raised is never quoted as a whole: it may hold the request.
"""

import errno
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

import msgspec

from bridge.delivery.sink import Unavailable
from sinks.webhook.answers import plain

__all__ = ["Target", "shown", "too_late", "unreachable"]

_DEEPEST_CHAIN: Final = 16


class Target(msgspec.Struct, frozen=True):
    """Whom we talk to, as far as it may be shown.

    Attributes:
        url: scheme, host, port and path; without user, password and query.
        key: the configuration's key that the address stands at.
        tls: the configuration's key of the TLS options that hold there.
        proxy: scheme, host and port of the proxy, or "".
        doubt: what else may be wrong when it hangs up, for the end of a sentence.
    """

    url: str
    key: str = "url"
    tls: str = "tls"
    proxy: str = ""
    doubt: str = ""

    @property
    def name(self) -> str:
        """For the middle of a sentence."""
        return f"{self.url} through the proxy {self.proxy}" if self.proxy else self.url


def shown(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def too_late(target: Target, seconds: float) -> Unavailable:
    """The whole exchange took too long."""
    return Unavailable(
        f"{target.name} did not answer within {seconds:g} s: is it overloaded, or is a firewall in between?",
        reason="timeout",
    )


def unreachable(target: Target, error: Exception, *, connected: bool) -> Unavailable:
    """The error of a request that got no answer; `connected`: it, or its proxy, took the connection."""
    kind = type(error).__name__
    if kind == "ConnectTimeout" and connected:
        sentence, reason = f"{target.name} {_mute(target)}", "tls"
    else:
        sentence, reason = _told(target, error, kind, _cause(error))
    return Unavailable(sentence, reason=reason)


def _told(target: Target, error: Exception, kind: str, cause: BaseException) -> tuple[str, str]:
    """The sentence, and the word for the metrics."""
    sentence = f"{target.name} closed the connection before it answered{target.doubt}"
    reason = "connection"
    if kind == "ConnectTimeout":
        sentence = f"{target.name} cannot be connected to in time: check the address and any firewall"
        reason = "timeout"
    elif isinstance(cause, ssl.SSLCertVerificationError):
        sentence, reason = _untrusted(target, cause), "tls"
    elif isinstance(cause, ssl.SSLError):
        sentence, reason = f"{target.name} {_no_tls(target, cause)}", "tls"
    elif kind in {"ProxyError", "ProtocolError"}:  # of httpx; of socksio
        sentence = (
            f"{target.url} cannot be reached: the proxy {target.proxy} refused "
            f"({plain(str(error), longest=80)}); check `proxy`, and its user and password"
        )
        reason = "proxy"
    elif isinstance(cause, OSError) and cause.errno is not None:
        sentence, reason = _network(target, cause), "proxy" if target.proxy else "connection"
    elif kind == "RemoteProtocolError" and "without sending" not in str(error):
        sentence = f"{target.name} does not speak HTTP there: {_advice(target)}"
    return sentence, reason


def _cause(error: BaseException) -> BaseException:
    """The operating system's or OpenSSL's error below the libraries' own."""
    found, current = error, error
    for _ in range(_DEEPEST_CHAIN):
        telling = isinstance(current, ssl.SSLError) or (
            isinstance(current, OSError) and current.errno is not None
        )
        if telling and not isinstance(current, ssl.SSLWantReadError):  # how TLS waits, no failure
            found = current
        below = (
            current.exceptions[0]
            if isinstance(current, BaseExceptionGroup)
            else current.__cause__ or current.__context__
        )
        if below is None:
            break
        current = below
    return found


def _untrusted(target: Target, error: ssl.SSLCertVerificationError) -> str:
    why = plain(error.verify_message or "unknown reason")
    if "mismatch" in why.lower() or "not valid for" in why.lower():
        return (
            f"the certificate of {target.name} is for another name ({why}); "
            f"write a name that it is valid for into `{target.key}`"
        )
    return (
        f"the certificate of {target.name} is not trusted ({why}); "
        f"if a private authority signed it, name the file of its certificate in `{target.tls}.ca`"
    )


def _no_tls(target: Target, error: ssl.SSLError) -> str:
    reason = (error.reason or "").replace("_", " ").lower()
    if "wrong version number" in reason or "record layer failure" in reason:
        return f"does not speak TLS there: write http:// or its TLS port into `{target.key}`"
    if "alert" in reason and any(word in reason for word in ("certificate", "unknown ca")):
        names = " and ".join(f"`{target.tls}.{key}`" for key in ("certificate", "key"))
        return f"does not accept us without a client certificate that it trusts ({reason}): check {names}"
    why = reason or "it closed the connection during the handshake"
    return f"and we cannot agree on TLS ({why}): check its port and its TLS versions"


def _mute(target: Target) -> str:
    return (
        "takes the connection and says nothing to our TLS handshake: does it speak TLS there? "
        f"Write http:// or its TLS port into `{target.key}`"
    )


def _network(target: Target, error: OSError) -> str:
    url, key = (target.proxy, "proxy") if target.proxy else (target.url, target.key)
    if isinstance(error, socket.gaierror):
        host = urlsplit(url).hostname
        return f"the name {host!r} cannot be resolved: check `{key}`, and the DNS of this machine"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {url} (connection refused): is it running, and is `{key}` right?"
    if error.errno in {errno.ECONNRESET, errno.EPIPE}:
        return f"{target.name} closed the connection before it answered{target.doubt}"
    return f"{url} cannot be reached: {plain(error.strerror or 'unknown network error', longest=80)}"


def _advice(target: Target) -> str:
    if target.url.startswith("http://"):
        return f"if it speaks TLS, write https:// into `{target.key}`"
    return f"check the port in `{target.key}`"
