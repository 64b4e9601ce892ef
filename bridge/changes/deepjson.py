"""JSON of any depth, scanned without recursion: what jsontext turns to when msgspec gives up.

The stack is a byte a level. Regular expressions take whole flat branches at once and never go back, so the
time is linear: 16 MiB in 2 s at worst, and an API server stores at most 1.5 MiB of such text.
"""

import re
from collections.abc import Iterator

from bridge.changes.jsontext import Malformed, text

__all__ = ["scan"]

_S = rb"[ \t\n\r]*+"
_STR = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_NUM = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_KEY = rb"(" + _STR + rb")" + _S + rb":" + _S
_SPACE = re.compile(_S)
_STRING = re.compile(_STR)
_SCALAR = rb"(?>" + _STR + rb"|" + _NUM + rb"|true|false|null)"


def _flat(depth: int) -> bytes:
    """A pattern for a value of at most `depth` levels; it never goes back."""
    if not depth:
        return _SCALAR
    inner = _flat(depth - 1)
    more = _S + rb"(?:," + _S + rb"(?![\]}])|(?=[\]}]))"
    member = _STR + _S + rb":" + _S + inner + more
    item = inner + more
    return rb"(?>%s|\{%s(?:%s)*+\}|\[%s(?:%s)*+\])" % (_SCALAR, _S, member, _S, item)


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


def scan(document: bytes, opening: bytes) -> Iterator[tuple[str, bytes]]:
    """Key ("" in arrays) and exact bytes of each value of the outermost container, in order.

    Args:
        document: one whole JSON document.
        opening: what it must be: `b"{"` or `b"["`.

    Raises:
        Malformed: it is no JSON, or the other container. As with msgspec, UTF-8 is not checked.
    """
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
