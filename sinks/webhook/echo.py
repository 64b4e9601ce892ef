"""Whether what a receiver says repeats one of our secrets, in whatever form. No I/O here."""

import base64
import html
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote, unquote_plus

__all__ = ["SHORT", "repeats"]

SHORT: Final = 6
"""Below this many characters a secret is looked for as a word of its own: it may be a part of any other."""
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def repeats(text: str, secrets: Iterable[bytes]) -> bool:
    """Whether `text` has one of `secrets`, as it is, in base64, or as JSON, a URL or HTML would write it."""
    readings = {text, _unescaped(text), unquote(text), unquote_plus(text), html.unescape(text)}
    return any(
        _stands_in(form, reading) for secret in secrets for form in _forms(secret) for reading in readings
    )


def _forms(secret: bytes) -> Iterator[str]:
    yield secret.decode("utf-8", "replace")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret).decode().rstrip("=")


def _stands_in(form: str, text: str) -> bool:
    if not form or form not in text:
        return False
    return len(form) >= SHORT or re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text) is not None


def _unescaped(text: str) -> str:
    """As a JSON string would be read, wherever in the text it stands."""

    def letter(found: re.Match[str]) -> str:
        code, other = found.groups()
        return chr(int(code, 16)) if code else _CONTROLS.get(other, other)

    plain = _ESCAPE.sub(letter, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
