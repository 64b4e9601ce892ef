"""The chunked coding is decoded the same wherever reads cut it, and nothing else is taken for it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.kubernetes.transport.chunks import Dechunker

contents = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


def encoded(pieces: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return body + b"0\r\n" + trailer + b"\r\n"


@given(
    contents,
    st.sampled_from([b"", b";a=b", b' ; q="x"']),
    st.sampled_from([b"", b"X-Audit: 1\r\n"]),
    st.data(),
)
def test_content_is_found_whatever_the_reads(
    pieces: list[bytes], extension: bytes, trailer: bytes, data: st.DataObject
) -> None:
    """[C1] [C3] Any cut of the wire's bytes gives the same content, and the end only at the end."""
    wire = encoded(pieces, extension, trailer)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=8)) | {0, len(wire)})
    chunks = Dechunker()
    content = b""
    for start, end in pairwise(cuts):
        assert not chunks.complete
        content += chunks.feed(wire[start:end])
    assert content == b"".join(pieces)
    assert chunks.complete
    assert chunks.rest == b""


@given(contents)
def test_no_body_that_is_cut_is_complete(pieces: list[bytes]) -> None:
    """[C6]"""
    wire = encoded(pieces)
    for end in range(len(wire)):
        chunks = Dechunker()
        chunks.feed(wire[:end])
        assert not chunks.complete


def test_what_follows_the_end_is_kept_apart() -> None:
    chunks = Dechunker()
    assert chunks.feed(encoded([b"x"]) + b"HTTP/1.1 200 OK") == b"x"
    assert chunks.rest == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    "wire",
    [b"<html>\r\n", b"-1\r\n", b"+1\r\na\r\n", b"1_0\r\n", b"\r\n", b"f" * 5000, b"0x1\r\n"],
)
def test_what_is_no_chunked_body_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match="chunk"):
        Dechunker().feed(wire)


def test_what_is_good_before_a_broken_place_is_not_lost() -> None:
    """[C6]"""
    chunks = Dechunker()
    assert chunks.feed(b"1\r\nab\r\n") == b"a"
    with pytest.raises(ValueError, match="longer than its size"):
        chunks.feed(b"")
