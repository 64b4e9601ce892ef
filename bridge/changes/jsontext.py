"""JSON read one level at a time, as bytes: members and elements come out exactly as they were written.

msgspec does the work and checks the grammar of what it skips. It descends in C and gives up near
1,000 levels, while an API server serves 9,900 (real-apiserver.md 12.7), so what it refuses for depth
is read again by a scanner that keeps its own stack. Numbers are never converted: integers of any
size pass. A key written twice counts as in any JSON reader: the last one wins.
"""

import re
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

_S = rb"[ \t\n\r]*+"
_STR = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_NUM = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_KEY = rb"(" + _STR + rb")" + _S + rb":" + _S
_SPACE = re.compile(_S)
_STRING = re.compile(_STR)
_SCALAR = rb"(?>" + _STR + rb"|" + _NUM + rb"|true|false|null)"


def _flat(depth: int) -> bytes:
    """A pattern for a value of at most `depth` levels; it never tries a byte a second time."""
    if not depth:
        return _SCALAR
    inner = _flat(depth - 1)
    more = _S + rb"(?:," + _S + rb"(?![\]}])|(?=[\]}]))"
    member = _STR + _S + rb":" + _S + inner + more
    return (
        rb"(?>"
        + _SCALAR
        + rb"|\{"
        + _S
        + rb"(?:"
        + member
        + rb")*+\}|\["
        + _S
        + rb"(?:"
        + inner
        + more
        + rb")*+\])"
    )


# What is deep is mostly flat: whole branches are taken at once.
_FLAT = re.compile(_flat(3))
# Group 1 is the key, group 2 tells that the container ends here.
_OPEN = {
    b"{": re.compile(rb"\{" + _S + rb"(?:" + _KEY + rb"|(\}))"),
    b"[": re.compile(rb"\[" + _S + rb"()(\])?"),
}
_NEXT = {
    b"{": re.compile(_S + rb"(?:," + _S + _KEY + rb"|(\}))"),
    b"[": re.compile(_S + rb"()(?:," + _S + rb"|(\]))"),
}
_NEXT_BY_BYTE = {opening[0]: pattern for opening, pattern in _NEXT.items()}


def _deep(document: bytes, opening: bytes) -> Iterator[tuple[str, bytes]]:
    """Key ("" in arrays) and bytes of each value of the outermost container, without recursion."""
    _check_surrogates(document)
    at = _end(_SPACE, document, 0)
    found = _OPEN[opening].match(document, at)
    while True:
        if found is None:
            raise Malformed(f"not JSON at byte {at}")
        at = found.end()
        if found[2]:
            break
        end = _skip(document, at)
        yield (text(found[1]) if found[1] else ""), document[at:end]
        at = end
        found = _NEXT[opening].match(document, at)
    if _end(_SPACE, document, at) != len(document):
        raise Malformed(f"more than one JSON document (byte {at})")


def _skip(document: bytes, at: int) -> int:
    """Where the value that begins at `at` ends; its grammar is checked, a level costs one byte."""
    opened = bytearray()
    while True:
        found = _FLAT.match(document, at)
        if found is None:
            opening = document[at : at + 1]
            found = _OPEN[opening].match(document, at) if opening in _OPEN else None
            if found is None:
                raise Malformed(f"not JSON at byte {at}")
            opened += opening
            at = found.end()
            continue
        at = found.end()
        while opened:
            found = _NEXT_BY_BYTE[opened[-1]].match(document, at)
            if found is None:
                raise Malformed(f"not JSON at byte {at}")
            at = found.end()
            if not found[2]:
                break
            opened.pop()
        else:
            return at


def _end(pattern: re.Pattern[bytes], document: bytes, at: int) -> int:
    found = pattern.match(document, at)
    if found is None:
        raise Malformed(f"not JSON at byte {at}")
    return found.end()


def _check_surrogates(document: bytes) -> None:
    """Refuse half a surrogate pair, as msgspec does: it has no UTF-8, so no sink could write it."""
    if b"\\ud" not in document and b"\\uD" not in document:
        return
    for found in _STRING.finditer(document):
        if b"\\u" in found[0]:
            text(found[0])


def describe(document: bytes, error: Exception) -> str:
    """One sentence on why a decoder refused a document; it quotes none of it."""
    head = document[:256].lstrip()
    if not head:
        return "nothing where JSON was expected"
    if head.startswith(b"<"):
        return "an HTML page where JSON was expected, perhaps the login page of a proxy"
    return f"not the JSON that was expected: {error}"
