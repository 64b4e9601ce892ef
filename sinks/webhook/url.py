"""Which addresses and headers may be configured. No I/O here."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import httpx

__all__ = ["header_problems", "no_host", "url_problem"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LONGEST_LABEL: Final = 63
_LAST_PORT: Final = 65535
_OURS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    }
)


def url_problem(text: str) -> str | None:
    """What keeps a text from being an address that we can send to, or None; it repeats nothing of it."""
    if any(letter.isspace() or not letter.isprintable() for letter in text):
        return "it has blanks or control characters; write them as %20 and so on"
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        return "it cannot be read; write https://HOST/PATH"
    return next((problem for wrong, problem in _URL_RULES if wrong(url)), None)


def no_host(host: str) -> bool:
    """Whether a host is none: empty, or with a label that no resolver takes."""
    # Longer labels fail in the resolver with an error of no kind (RFC 1035, 2.3.4).
    return any(not 0 < len(label) <= _LONGEST_LABEL for label in host.rstrip(".").split("."))


_URL_RULES: Final[tuple[tuple[Callable[[httpx.URL], bool], str], ...]] = (
    (
        lambda url: url.scheme not in {"http", "https"} or not url.host,
        "write https://HOST/PATH, or http:// where nobody can listen",
    ),
    (lambda url: no_host(url.host), "its host is no name of one: between dots stand 1 to 63 characters"),
    (lambda url: not 0 < (url.port or 80) <= _LAST_PORT, "its port is none; write one of 1 to 65535"),
    (
        lambda url: bool(url.userinfo),
        "it holds a user; write user and password into `auth.basic`, where they can be secret",
    ),
    (lambda url: bool(url.fragment), "a receiver never sees what follows `#`; remove it"),
)


def header_problems(names: Iterable[str]) -> Iterator[str]:
    """What is wrong with the names of headers."""
    seen: set[str] = set()
    for name in names:
        lower = name.lower()
        if not _TOKEN.fullmatch(name):
            yield f"has a header {name[:40]!r}, which is no name of one; write letters, digits and `-`"
        elif lower in _OURS or lower.startswith("ce-"):
            yield f"has the header {name!r}, which the bridge sets itself; remove it"
        elif lower in seen:
            yield f"has the header {name!r} twice, in different letters; remove one of the two"
        seen.add(lower)
