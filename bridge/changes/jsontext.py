"""JSON read one level at a time, as bytes: members and elements come out exactly as they were written.

msgspec does the work and checks the grammar of what it skips. It descends in C and gives up near
1,000 levels, while an API server serves 9,900 (real-apiserver.md 12.7), so what it refuses for depth
is read again by a scanner that keeps its own stack. Numbers are never converted: integers of any
size pass. A key written twice counts as in any JSON reader: the last one wins.
"""

from codecs import getincrementaldecoder
from collections.abc import Iterator

import msgspec

__all__ = ["Malformed", "check_utf8", "describe", "elements", "members", "text"]


class Malformed(ValueError):
    """Bytes that cannot be understood; `str()` is one sentence that quotes no content."""


def members(document: bytes) -> dict[str, bytes]:
    """The members of a JSON object, each value as its exact bytes.

    Args:
        document: one whole JSON document; whitespace around it is fine.

    Raises:
        Malformed: it is no JSON, or no object. UTF-8 inside strings is not checked (`check_utf8`).
    """
    try:
        return {key: bytes(value) for key, value in _MEMBERS.decode(document).items()}
    except RecursionError:
        return dict(_deep(document, b"{"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(describe(document, error)) from error


def elements(document: bytes) -> list[bytes]:
    """The elements of a JSON array, each as its exact bytes.

    Raises:
        Malformed: it is no JSON, or no array.
    """
    try:
        return [bytes(value) for value in _ELEMENTS.decode(document)]
    except RecursionError:
        return [value for _, value in _deep(document, b"[")]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(describe(document, error)) from error


def text(value: bytes) -> str:
    """The text of a JSON string.

    Raises:
        Malformed: it is something else.
    """
    try:
        return _TEXT.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("a string was expected") from error


def check_utf8(data: bytes) -> None:
    """Pass, without a copy of more than a mebibyte, if `data` is UTF-8 throughout.

    Raises:
        Malformed: it is not.
    """
    if data.isascii():
        return
    decoder = getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _CHUNK):
            decoder.decode(data[start : start + _CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise Malformed("not valid UTF-8") from error


_CHUNK = 1 << 20
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


def _deep(document: bytes, opening: bytes) -> Iterator[tuple[str, bytes]]:
    from bridge.changes.deepjson import scan  # noqa: PLC0415  # 10 ms of compiling patterns, rarely needed

    return scan(document, opening)


def describe(document: bytes, error: Exception) -> str:
    """One sentence on why a decoder refused a document; it quotes none of it."""
    head = document[:256].lstrip()
    if not head:
        return "nothing where JSON was expected"
    if head.startswith(b"<"):
        return "an HTML page where JSON was expected, perhaps the login page of a proxy"
    return f"not the JSON that was expected: {error}"
