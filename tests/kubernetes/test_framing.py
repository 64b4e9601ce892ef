"""From bytes to documents: any cut at any byte gives the same, and nothing but a newline ends a line."""

import json

import pytest

from bridge.changes.change import Event
from bridge.kubernetes.documents import DocumentReader
from bridge.kubernetes.lines import Lines
from bridge.kubernetes.scan import Bookmark, Failure
from tests.kubernetes.wire_bodies import (
    POD,
    W1,
    W6,
    W7,
    W8,
    W13,
    added,
    bookmark,
    deleted,
    marker,
    modified,
    page,
    pod,
)

Documents = list[Event | Bookmark | Failure]

STRANGE = {
    "nel": "before\u0085after",
    "separators": "a\u2028b\u2029c\x7fd\ufeffe",
    "emoji": "\N{PILE OF POO}",
    "decoy": '"},"resourceVersion":"1"}\n{"type":"DELETED"',
    "tab": "\t\x00\x1f",
}
TRANSCRIPTS = {
    "ordinary": added("a", 11) + modified("a", 12) + bookmark(13) + deleted("a", 14),
    "strange bytes": added("b", 11, annotations=STRANGE) + modified("b", 12),
    "blank lines": b"\n\r\n" + added("a", 11) + b"\n\n" + modified("a", 12).replace(b"\n", b"\r\n") + b"\n",
    "initial": added("a", 11) + added("b", 12) + W6 + b"\n" + W7 + b"\n",
    "error": added("a", 11) + W1 + b"\n",
    "corrupt object": W13 + b"\n",
    "no line end": added("a", 11) + modified("a", 12)[:-1],
    "pretty": json.dumps({"type": "ADDED", "object": pod("a", 11)}, indent=2).encode() + b"\n" + marker(12),
}


def read(reader: DocumentReader, *pieces: bytes) -> Documents:
    documents: Documents = []
    for piece in pieces:
        documents += reader.receive(piece)
    return documents + reader.end()


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_every_cut_of_a_transcript_gives_the_same(name: str) -> None:
    """[C1] [C3] Chunk borders mean nothing, not even inside a code point: two pieces, or all bytes."""
    body = TRANSCRIPTS[name]
    whole = read(DocumentReader(POD), body)
    assert whole
    for cut in range(len(body) + 1):
        assert read(DocumentReader(POD), body[:cut], body[cut:]) == whole, cut
    assert read(DocumentReader(POD), *(body[index : index + 1] for index in range(len(body)))) == whole


def test_only_a_newline_ends_a_line() -> None:
    """[C2] U+0085, U+2028, U+007F and U+FEFF stand raw in strings: `str.splitlines` would tear the event."""
    lines = Lines().feed(TRANSCRIPTS["strange bytes"])
    assert len(lines) == 2
    assert len(TRANSCRIPTS["strange bytes"].decode().splitlines()) > 2
    (event, _) = read(DocumentReader(POD), TRANSCRIPTS["strange bytes"])
    assert isinstance(event, Event)
    assert json.loads(event.object)["metadata"]["annotations"] == STRANGE


def test_blank_lines_and_carriage_returns_are_no_events() -> None:
    r"""[C5] [C20] Whitespace that keeps a connection alive is ignored; `\r\n` ends a line."""
    reader = DocumentReader(POD)
    documents = read(reader, TRANSCRIPTS["blank lines"], b"  \n \r\n")
    assert reader.fault is None
    assert [getattr(document, "rv", None) for document in documents] == ["11", "12"]


@pytest.mark.parametrize("cut", range(1, len(modified("a", 12)) - 2))
def test_a_torn_last_line_never_was(cut: int) -> None:
    """[C6] A body that ends inside a line, cleanly or not, delivers what was whole, and no error."""
    reader = DocumentReader(POD)
    documents = read(reader, added("a", 11) + modified("a", 12)[:cut])
    assert [getattr(document, "rv", None) for document in documents] == ["11"]
    assert reader.fault is None


def test_a_whole_last_line_without_its_end_counts() -> None:
    """[C7] Complete JSON at a clean end is an event: nothing can follow it."""
    documents = read(DocumentReader(POD), added("a", 11)[:-1])
    assert [type(document) for document in documents] == [Event]


def test_pretty_documents_over_many_lines_are_read() -> None:
    """[C4] A newline is not the delimiter by contract; the object's bytes become one line again."""
    pretty = [
        json.dumps({"type": kind, "object": pod("a", rv, annotations=STRANGE)}, indent=4).encode()
        for kind, rv in (("ADDED", 11), ("DELETED", 12))
    ]
    reader = DocumentReader(POD)
    documents = read(reader, b"\n".join(pretty) + b"\n", added("b", 13))
    assert [getattr(document, "rv", None) for document in documents] == ["11", "12", "13"]
    assert all(isinstance(document, Event) and b"\n" not in document.object for document in documents)
    assert reader.fault is None


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"type":"ADDED","object":{"kind":"Pod"\n',
        b'{"type":"ADDED","object":{"kind":"Po\n',
        b"garbage\n",
        b"}{\n",
        b"\x00\x00\n",
        b'{"type":"FOO","object":{}}\n',
        b'{"type":"ADDED"}\n',
        b'{"type":"ADDED","object":null}\n',
        b"\xef\xbb\xbf" + added("c", 12),
        added("c", 12).replace(b"Pod", b"Job"),
        added("c", 12).replace(b'"u-c"', b'""'),
        added("c", 12).replace(b'"resourceVersion":"12"', b'"resourceVersion":""'),
        added("c", 12, annotations={"x": "?"}).replace(b"?", b"\xff"),
        b'{"type":"ADDED","object":{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{}}}\n',
        W8 + b"\n",
    ],
)
def test_a_bad_line_stops_the_reading_and_keeps_what_came_before(garbage: bytes) -> None:
    """[C12] [C13] [C14] [C15] [C19] [O2] Never skipped, and nothing behind it is read."""
    reader = DocumentReader(POD)
    documents = read(reader, added("a", 11) + garbage + added("b", 13) + added("d", 14))
    assert [getattr(document, "rv", None) for document in documents] == ["11"]
    assert reader.fault is not None
    assert not reader.fault.foreign
    assert garbage.startswith(reader.fault.line[:9])
    assert reader.fault.error
    assert read(reader, added("e", 15)) == []


@pytest.mark.parametrize("body", [page(7, pod("a", 5)), page(7) + b"\n", b'{"kind":"PodList"}\n'])
def test_a_list_in_place_of_a_stream_is_told_apart_from_poison(body: bytes) -> None:
    """[B15] A proxy that strips the query makes a list of a watch: another conversation, not a bad event."""
    reader = DocumentReader(POD)
    assert read(reader, body) == []
    assert reader.fault is not None
    assert reader.fault.foreign


def test_lines_of_16_mib_are_read_and_longer_ones_are_not() -> None:
    """[C8] A legal ConfigMap makes a line of 6.2 MB; a longer one than the limit stops, its start kept."""
    body = added("a", 11, annotations={"x": "y" * (16 << 20)})
    body = body.replace(b"y" * 300, b"", 1)
    assert len(body) <= (16 << 20) + 1
    reader = DocumentReader(POD)
    pieces = [body[index : index + 65536] for index in range(0, len(body), 65536)]
    (event,) = read(reader, *pieces)
    assert isinstance(event, Event)
    assert reader.fault is None
    small = DocumentReader(POD, limit=1000)
    documents = read(small, added("a", 11) + added("b", 12, annotations={"x": "y" * 1000}) + added("c", 13))
    assert [getattr(document, "rv", None) for document in documents] == ["11"]
    assert small.fault is not None
    assert "longer than 1000 bytes" in small.fault.error
    assert len(small.fault.line) == 1000


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_a_line_that_never_ends_is_given_up_at_the_limit(piece: int) -> None:
    """[C8] Memory is bounded by the limit, however small the pieces are."""
    reader = DocumentReader(POD, limit=20_000)
    body = b'{"type":"ADDED","object":{"x":"' + b"y" * 40_000
    for index in range(0, len(body), piece):
        reader.receive(body[index : index + piece])
    assert reader.fault is not None
    assert reader.fault.line == body[:20_000]


def test_a_bare_status_is_the_error_that_it_carries() -> None:
    """[C21] Some servers answer 200 and a Status with a Content-Length in place of a stream."""
    status = W1[len(b'{"type":"ERROR","object":') : -1]
    (failure,) = read(DocumentReader(POD), status)
    assert isinstance(failure, Failure)
    assert failure.code == 410


def test_extra_members_of_an_event_are_ignored() -> None:
    """[C22] {"type":str,"object":dict}; anything beside them means nothing."""
    body = added("a", 11)[:-2] + b',"later":{"type":"DELETED"}}\n'
    (event,) = read(DocumentReader(POD), body)
    assert isinstance(event, Event)
    assert event.type == "ADDED"


def test_numbers_pass_as_they_were_written() -> None:
    """[C23] Integers beyond 2^53 and beyond 2^64, exponents: the object's bytes are handed on untouched."""
    numbers = b"[9223372036854775807,18446744073709551617,1.0,1e3,-0,12345678901234567890123]"
    body = added("a", 11).replace(b'"spec":{}', b'"spec":{"n":' + numbers + b"}")
    (event,) = read(DocumentReader(POD), body)
    assert isinstance(event, Event)
    assert event.object == body[len(b'{"type":"ADDED","object":') : -2]
    assert numbers in event.object
