"""Turns failures into one sentence for a person: what is wrong, where, and what to do about it. No I/O here.

Whatever a server or a program said is cleaned before it is repeated: one line, no control
characters (a terminal would obey them), and none of our own secrets, should it have echoed them.
"""

import errno
import socket
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from bridge.kubernetes.auth import token_expiry
from bridge.kubernetes.connection import Connection
from bridge.kubernetes.failures import ApiError, Unreachable

__all__ = ["api_error", "clean", "nearest", "retry_after", "root_cause", "unreachable", "wrong_body"]

_SHORTEST_SECRET: Final = 6
_DEEPEST_CHAIN: Final = 16
_LATE: Final = ("ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "TooSlowError")
_ANONYMOUS: Final = "system:anonymous"
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_REDIRECTS: Final = range(300, 400)


def clean(text: str, *, hide: Iterable[str] = (), limit: int = 400) -> str:
    """Make foreign text fit for a sentence: one printable line, shortened, without our secrets."""
    for secret in hide:
        # Hiding "1" or "true" would tear the text and protect nothing.
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    line = " ".join(text.split())
    line = "".join(character for character in line if character.isprintable())
    return line if len(line) <= limit else f"{line[:limit]}..."


def nearest(name: str, known: Iterable[str], *, limit: int = 12) -> str:
    """Return the end of a sentence: the nearest known names, or all when they are few, or ""."""
    import difflib  # noqa: PLC0415 - only for mistakes

    names = sorted(set(known))
    folded = {candidate.lower(): candidate for candidate in names}
    close = [folded[match] for match in difflib.get_close_matches(name.lower(), list(folded), 3)]
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; there are: {', '.join(names)}" if 0 < len(names) <= limit else ""


def retry_after(headers: Mapping[str, str], document: Mapping[str, Any]) -> float | None:
    """Return the seconds that the server asks to wait: a number, an HTTP date, or in the Status ([I3])."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    if text:
        import email.utils  # noqa: PLC0415 - rare, and slow to import

        try:
            moment = email.utils.parsedate_to_datetime(text)
        except ValueError:
            pass
        else:
            return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment.tzinfo else None
    details = document.get("details")
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    return float(seconds) if isinstance(seconds, int | float) and seconds >= 0 else None


def api_error(
    connection: Connection,
    path: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    sent: Mapping[str, str],
) -> ApiError:
    """Make the error of an answer that is not what was asked for; no body can make this fail ([G17]).

    Args:
        connection: whom we asked.
        path: what we asked for.
        status: the HTTP status.
        headers: of the answer, names in lower case.
        body: of the answer, as far as it was read.
        sent: the credential's headers of the request.
    """
    document = _status_document(body)
    hide = (*connection.credentials.secrets(), *sent.values())
    words = document.get("message") if document else body.decode("utf-8", "replace")
    message = clean(words if isinstance(words, str) else "", hide=hide)
    reason = document.get("reason")
    if _is_page(headers, body) or status in _REDIRECTS:
        message = ""
        sentence = _page_sentence(connection, status, headers)
    elif status == _UNAUTHORIZED:
        sentence = _unauthorized_sentence(connection, sent)
    elif status == _FORBIDDEN and _ANONYMOUS in message:
        sentence = f"{_anonymous_sentence(connection, sent)} ({message})"
    else:
        sentence = f"{connection.server}{path} answered {status}: {message or 'without a reason'}"
    return ApiError(
        sentence,
        status=status,
        reason=reason if isinstance(reason, str) else "",
        message=message,
        retry_after=retry_after(headers, document),
        document=document,
    )


def wrong_body(connection: Connection, path: str, status: int, headers: Mapping[str, str]) -> ApiError | None:
    """Return what is wrong with the form of a good answer: a foreign encoding, a web page; or None."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        name = clean(encoding, limit=20)
        sentence = (
            f"{connection.server}{path} answered with Content-Encoding {name}, which was not asked for: "
            "something between us and the API server meddles"
        )
        return ApiError(sentence, status=status, reason="ContentEncoding")
    if _is_page(headers, b""):
        return ApiError(_page_sentence(connection, status, headers), status=status, reason="WebPage")
    return None


def unreachable(connection: Connection, error: BaseException, certificate: str = "") -> Unreachable:
    """Make the error of a request that got no answer.

    Args:
        connection: whom we asked.
        error: what the HTTP library raised; never quoted as a whole, it may hold the request.
        certificate: whose certificate the server showed, if it was looked at.
    """
    proxy = f" through the proxy {connection.proxy.url}" if connection.proxy else ""
    target = f"the API server {connection.server}{proxy}"
    cause = root_cause(error)
    if type(error).__name__ in {"ProxyError", "ProtocolError"} and connection.proxy:
        sentence = (
            f"{target} cannot be reached: the proxy refused ({_proxy_reason(connection, error, cause)})"
        )
    elif isinstance(cause, ssl.SSLCertVerificationError):
        sentence = _certificate_sentence(connection, cause, certificate)
    elif isinstance(cause, ssl.SSLError):
        sentence = _tls_sentence(connection, target, cause)
    elif isinstance(cause, OSError) and cause.errno is not None:
        sentence = _network_sentence(connection, target, cause)
    elif type(error).__name__ in _LATE:
        sentence = f"{target} did not answer in time: check the address, the network and any firewall"
    else:
        sentence = f"{target} closed the connection without an answer"
    return Unreachable(sentence)


def root_cause(error: BaseException) -> BaseException:
    """Return the operating system's or OpenSSL's error below the libraries' own."""
    found = error
    current: BaseException | None = error
    for _ in range(_DEEPEST_CHAIN):
        if current is None:
            break
        if isinstance(current, ssl.SSLWantReadError):
            pass  # how TLS waits, no failure: what ended the wait came above it
        elif isinstance(current, OSError) and (
            current.errno is not None or isinstance(current, ssl.SSLError)
        ):
            found = current
        if isinstance(current, BaseExceptionGroup):
            current = current.exceptions[0]
        else:
            current = current.__cause__ or current.__context__
    return found


def _status_document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) and document.get("kind") == "Status" else {}


def _is_page(headers: Mapping[str, str], body: bytes) -> bool:
    start = body[:200].lstrip().lower()
    return headers.get("content-type", "").startswith("text/html") or start.startswith(
        (b"<!doctype html", b"<html")
    )


def _page_sentence(connection: Connection, status: int, headers: Mapping[str, str]) -> str:
    where = ""
    if status in _REDIRECTS:
        # Only its host: the rest of such an address often holds tokens.
        host = urlsplit(headers.get("location", "")).hostname
        where = f" and points to {clean(host, limit=80)}" if host else ""
    return (
        f"{connection.server} answered {status} with a web page{where}, not as a Kubernetes API server: "
        f"is it a login page? Log in, or correct the server address in {connection.source}"
    )


def _credential(connection: Connection, sent: Mapping[str, str]) -> str:
    if sent:
        return connection.credentials.description
    if connection.tls.certificate or connection.credentials.certificate:
        return f"the client certificate of {connection.source}"
    return ""


def _unauthorized_sentence(connection: Connection, sent: Mapping[str, str]) -> str:
    credential = _credential(connection, sent)
    if not credential:
        return (
            f"{connection.server} wants to know who we are, but {connection.source} holds no credential (401)"
        )
    expiry = token_expiry(sent.get("authorization", ""))
    if expiry and expiry <= datetime.now(UTC):
        why = f"it expired at {expiry:%Y-%m-%d %H:%M:%SZ}; get a new one"
    else:
        why = "it is wrong, expired or revoked; log in again or get a new one"
    return f"{connection.server} does not accept {credential} (401 Unauthorized): {why}"


def _anonymous_sentence(connection: Connection, sent: Mapping[str, str]) -> str:
    credential = _credential(connection, sent)
    if not credential:
        return (
            f"no credential was sent to {connection.server}, and anonymous users may not do this: "
            f"{connection.source} holds none"
        )
    return f"{connection.server} did not recognise {credential} and treats us as an anonymous user"


def _certificate_sentence(connection: Connection, error: ssl.SSLCertVerificationError, seen: str) -> str:
    shown = f" It shows {seen}." if seen else ""
    mismatch = "mismatch" in (error.verify_message or "").lower()
    if mismatch:
        return (
            f"the certificate of {connection.server} is for another name ({clean(error.verify_message)})."
            f"{shown} Use an address it is valid for, or set tls-server-name in {connection.source}"
        )
    trust = (
        f"the certificate-authority of {connection.source}"
        if connection.tls.authority
        else "the system's CAs"
    )
    why = clean(error.verify_message or "unknown reason")
    return f"the certificate of {connection.server} is not trusted: {why}.{shown} We trust {trust}"


def _tls_sentence(connection: Connection, target: str, error: ssl.SSLError) -> str:
    reason = (error.reason or "").replace("_", " ").lower()
    if "wrong version number" in reason or "record layer failure" in reason:
        return f"{target} does not speak TLS: is it a plain http:// address?"
    if "alert" in reason and ("certificate" in reason or "unknown ca" in reason):
        return f"{target} does not accept the client certificate of {connection.source} ({reason})"
    return (
        f"{target} and we cannot agree on TLS: {reason or 'the connection was closed during the handshake'}"
    )


def _proxy_reason(connection: Connection, error: BaseException, cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {clean(cause.verify_message or '')}"
    proxy = connection.proxy
    password = proxy.password.reveal() if proxy and proxy.password else ""
    return clean(str(error), hide=(password, *connection.credentials.secrets()), limit=80)


def _network_sentence(connection: Connection, target: str, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        host = urlsplit(connection.proxy.url if connection.proxy else connection.server).hostname
        what = "the proxy" if connection.proxy else "the server"
        return f'the name "{host}" cannot be resolved: check the address of {what} in {connection.source}'
    if isinstance(error, ConnectionRefusedError):
        return f"nothing answers at {target} (connection refused): is it running, and is the address right?"
    if error.errno in {errno.ECONNRESET, errno.EPIPE}:
        return f"{target} closed the connection without an answer"
    return f"{target} cannot be reached: {clean(error.strerror or 'unknown network error', limit=80)}"
