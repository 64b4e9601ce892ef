"""What a receiver's answer means for what was sent. No I/O here."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import msgspec

from bridge.delivery.sink import Stopped, Unavailable
from sinks.webhook.echo import repeats

__all__ = ["Answer", "Refusal", "plain", "refusal", "retry_after", "told"]

_LONGEST_WORDS: Final = 200
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_PROXY_WANTS_PASSWORD: Final = 407
_NOT_TLS: Final = re.compile(
    r"HTTP request (was sent )?to (an )?HTTPS|plain HTTP to an SSL-enabled", re.IGNORECASE
)
"""What nginx, Go's server and Apache say on a TLS port: each answers 400, which no record is to blame for."""
_WHATEVER_IT_HOLDS: Final = frozenset({401, 404, 405, 415})
_RETRIED: Final = {408: "timeout", 425: "too_early", 429: "throttled"}


class Answer(msgspec.Struct, frozen=True):
    """What came back.

    Attributes:
        status: HTTP status code.
        headers: names in lower case.
        body: its beginning, 16 KiB at most, as far as it came.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Refusal(msgspec.Struct, frozen=True):
    """The receiver will never take what was sent.

    Attributes:
        sentence: why, for a person.
        of_content: another content may be taken; False where the request was refused whatever it holds.
    """

    sentence: str
    of_content: bool


def refusal(answer: Answer, target: str, now: datetime, hide: Collection[bytes] = ()) -> Refusal | None:
    """None when the receiver owns what was sent (2xx); why, when it will never take it (4xx).

    Args:
        answer: what came back.
        target: the receiver's address, for sentences.
        now: what a Retry-After date is held against when the answer has no Date.
        hide: our secrets; words that repeat one of them are not told.

    Raises:
        Unavailable: not now (408, 425, 429, 5xx, a redirect); it comes again, with the same id.
        Stopped: never anything again (410).
    """
    status = answer.status
    said = f"{target} answered {_named(status)}"
    if 200 <= status < 300:  # noqa: PLR2004 - the class of success
        return None
    if status == HTTPStatus.GONE:
        raise Stopped(f"{said}: it wants nothing more; `resume` or a restart tries again, or remove the sink")
    wait = retry_after(answer.headers, now)
    if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
        raise Unavailable(f"{said}{_redirect(answer)}", retry_after=wait, reason="redirect")
    if status == _PROXY_WANTS_PASSWORD:
        raise Unavailable(
            f"{said}: it is the proxy that wants to know who we are; write user and password into `proxy`",
            retry_after=wait,
            reason="proxy",
        )
    words = answer.body.decode("utf-8", "replace")
    if status == HTTPStatus.BAD_REQUEST and _NOT_TLS.search(words):
        raise Unavailable(f"{said}: it speaks TLS there; write https:// into `url`", reason="tls")
    if status in _RETRIED or not 400 <= status < 500:  # noqa: PLR2004 - the class of our mistakes
        reason = _RETRIED.get(status, "server_error")
        raise Unavailable(f"{said}{_words(answer, hide)}", retry_after=wait, reason=reason)
    return Refusal(f"{said}{_words(answer, hide)}", status not in _WHATEVER_IT_HOLDS)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the receiver asks to wait, never negative; None when it does not, or in no known form.

    A date is held against the `Date` of the same answer: its clock may differ from ours.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    until = _date(text)
    if until is None:
        return None
    return max(0.0, (until - (_date(headers.get("date", "")) or now)).total_seconds())


def told(text: str, hide: Collection[bytes]) -> str:
    """Foreign text as `plain` makes it; that it is not shown, where it repeats one of our secrets."""
    return "its words repeat a secret of ours and are not shown" if repeats(text, hide) else plain(text)


def plain(text: str, longest: int = _LONGEST_WORDS) -> str:
    """Foreign text as one short line that no terminal obeys."""
    line = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    return line if len(line) <= longest else f"{line[:longest]}..."


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _redirect(answer: Answer) -> str:
    # Only the host: the rest of such an address often holds tokens.
    try:
        host = urlsplit(answer.headers.get("location", "")).hostname
    except ValueError:
        host = None
    where = f" and points to {plain(host, longest=80)}" if host else ""
    return f"{where}; redirects are not followed: write the address that answers itself as `url`"


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _words(answer: Answer, hide: Collection[bytes]) -> str:
    start = answer.body.lstrip()[:1]
    if "html" in answer.headers.get("content-type", "") or start == b"<":
        return ": a web page"
    words = told(answer.body.decode("utf-8", "replace"), hide)
    return f": {words}" if words else ""
