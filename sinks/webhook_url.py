"""Which addresses and headers may be configured. No I/O here."""

import re
from collections.abc import Iterable
from typing import Final

import httpx

__all__ = ["header_problem", "url_problem"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
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
    if url.scheme not in {"http", "https"} or not url.host:
        return "write https://HOST/PATH, or http:// where nobody can listen"
    if any(not 0 < len(label) < 64 for label in url.host.rstrip(".").split(".")):  # noqa: PLR2004 - RFC 1035
        return "its host is no name of one: between dots stand 1 to 63 characters"
    if url.userinfo:
        return "it holds a user; write user and password into `auth.basic`, where they can be secret"
    if url.fragment:
        return "a receiver never sees what follows `#`; remove it"
    return None


def header_problem(names: Iterable[str], *, authorized: bool) -> str | None:
    """What is wrong with the names of headers, or None.

    Args:
        names: as configured.
        authorized: `auth` gives the authorization.
    """
    seen: set[str] = set()
    for name in names:
        lower = name.lower()
        if not _TOKEN.fullmatch(name):
            return f"has a header {name[:40]!r}, which is no name of one; write letters, digits and `-`"
        if lower in _OURS or lower.startswith("ce-"):
            return f"has the header {name!r}, which the bridge sets itself; remove it"
        if lower == "authorization" and authorized:
            return "has the header authorization beside `auth`; keep one of the two"
        if lower in seen:
            return f"has the header {name!r} twice, in different letters; remove one of the two"
        seen.add(lower)
    return None
