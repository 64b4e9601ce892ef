"""What an answer means: from status, headers and Status to one signal and one sentence. No I/O here.

The order of trust is code, then reason, then message [G2]. Error bodies may be anything: text of a
proxy, HTML, nothing; that never breaks this path [G17].
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from bridge.kubernetes.backoff import retry_after
from bridge.kubernetes.scan import Failure
from bridge.kubernetes.transitions import Signal

__all__ = ["Diagnosis", "check_body", "diagnose", "diagnose_failure", "diagnose_sentence", "read_failure"]

_LONGEST_MESSAGE: Final = 300
_BY_CODE: Final = {
    400: Signal.UNSUPPORTED,
    401: Signal.FORBIDDEN,
    403: Signal.FORBIDDEN,
    404: Signal.ABSENT,
    405: Signal.UNSUPPORTED,
    406: Signal.UNSUPPORTED,
    410: Signal.EXPIRED,
    415: Signal.UNSUPPORTED,
    422: Signal.UNSUPPORTED,
    429: Signal.BUSY,
}
_BY_REASON: Final = {
    "Expired": Signal.EXPIRED,
    "Gone": Signal.EXPIRED,
    "Unauthorized": Signal.FORBIDDEN,
    "Forbidden": Signal.FORBIDDEN,
    "NotFound": Signal.ABSENT,
    "TooManyRequests": Signal.BUSY,
    "Invalid": Signal.UNSUPPORTED,
    "BadRequest": Signal.UNSUPPORTED,
    "MethodNotAllowed": Signal.UNSUPPORTED,
}
_TOO_LARGE: Final = (
    "ResourceVersionTooLarge",
    "Too large resource version",
    "required revision is a future revision",
)
_UNREADABLE_REVISION: Final = ("resourceVersion: Invalid value", "invalid resource version")
_NO_PROGRESS_REQUESTS: Final = "RequestWatchProgress is disabled"


class Diagnosis(msgspec.Struct, frozen=True):
    """What went wrong.

    Attributes:
        signal: what it means for the watch.
        reason: one sentence for a person, with the server's own words, without any credential.
        retry_after: seconds the server asks to wait, None when it does not.
        code: HTTP status code of the answer or of the ERROR event, 0 when there is none.
    """

    signal: Signal
    reason: str
    retry_after: float | None = None
    code: int = 0


def diagnose(status: int, headers: Mapping[str, str], body: bytes, request: str) -> Diagnosis:
    """What an answer other than 200 means.

    Args:
        status: HTTP status code.
        headers: names in lower case.
        body: as far as it was read.
        request: what was asked, for the sentence.
    """
    failure = read_failure(body)
    words = failure.message if failure else _plain(body, headers)
    signal = _classify(status, "", words, failure.causes if failure else ())
    if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
        # Following would carry the token to another host and lose the query [B16].
        signal, words = Signal.NONSENSE, "a redirect, which is not followed; is the server's address right?"
    wait = retry_after(headers, failure.retry_after if failure else None)
    return Diagnosis(signal, f"{request} was answered {_named(status)}{_colon(words)}", wait, status)


def diagnose_failure(failure: Failure, request: str) -> Diagnosis:
    """What an ERROR event, or a Status where events should be, means."""
    signal = _classify(failure.code, failure.reason, failure.message, failure.causes)
    what = f"{failure.code} {failure.reason}".strip() or "an error without a code"
    reason = f"{request} ended with {what}{_colon(failure.message)}"
    return Diagnosis(signal, reason, failure.retry_after, failure.code)


def diagnose_sentence(status: int, reason: str, wait: float | None) -> Diagnosis:
    """What an answer means that is a sentence already; a 200 among them is not what was asked for."""
    signal = Signal.NONSENSE if status < 400 else _classify(status, "", "", ())  # noqa: PLR2004 - 4xx, 5xx
    return Diagnosis(signal, reason, wait, status)


def check_body(headers: Mapping[str, str], request: str, *, watch: bool) -> Diagnosis | None:
    """Whether a 200 holds what was asked for; None when it does.

    A compressed watch is refused: a server compresses each flush as a gzip member of its own, and what
    decodes only the first shows a watch that is silent for ever [C9]. Other encodings come of proxies [C10].
    """
    content = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content != "application/json":
        found = content[:60] or "no content type"
        return Diagnosis(Signal.NONSENSE, f"{request} was answered 200 with {found} where JSON was expected")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity" and (watch or encoding != "gzip"):
        return Diagnosis(
            Signal.NONSENSE,
            f"{request} was answered in the encoding {encoding[:30]!r}, which was not asked for",
        )
    return None


class _Status(msgspec.Struct):
    kind: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: "_Details | None" = None


class _Details(msgspec.Struct):
    causes: "list[_Cause] | None" = None
    retryAfterSeconds: float | None = None  # noqa: N815 - the wire's name


class _Cause(msgspec.Struct):
    reason: str = ""
    message: str = ""


def read_failure(body: bytes) -> Failure | None:
    """The Status that an error body holds, or None when it holds anything else."""
    try:
        status = msgspec.json.decode(body, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if status.kind != "Status":
        return None
    details = status.details or _Details()
    causes = [text for cause in details.causes or () for text in (cause.reason, cause.message) if text]
    return Failure(status.code, status.reason, status.message, details.retryAfterSeconds, tuple(causes))


def _classify(code: int, reason: str, message: str, causes: tuple[str, ...]) -> Signal:
    texts = (message, *causes)
    if any(mark in text for text in texts for mark in _TOO_LARGE):
        return Signal.TOO_LARGE
    if any(mark in message for mark in _UNREADABLE_REVISION):
        # A watch answers 500 and a list 400 to a revision that is no number (real-apiserver 1.7, 1.8).
        return Signal.EXPIRED
    if _NO_PROGRESS_REQUESTS in message:
        return Signal.UNSUPPORTED
    if code in _BY_CODE:
        return _BY_CODE[code]
    return _BY_REASON.get(reason, Signal.FAILED)


def _named(status: int) -> str:
    from http import HTTPStatus  # noqa: PLC0415 - a start must not pay for what is rare

    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _colon(words: str) -> str:
    words = " ".join(words.split())
    if "system:anonymous" in words:
        words = f"no credential was accepted ({words})"
    if len(words) > _LONGEST_MESSAGE:
        words = f"{words[:_LONGEST_MESSAGE]}..."
    return f": {words}" if words else ""


def _plain(body: bytes, headers: Mapping[str, str]) -> str:
    if "html" in headers.get("content-type", "") or body.lstrip()[:1] == b"<":
        return "an HTML page; a proxy or a login page answered in place of the API server"
    text = body[:1000].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text)
