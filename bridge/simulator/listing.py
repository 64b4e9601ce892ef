"""LIST: which revision is shown, pages, and the body in the key order of the real encoder."""

from __future__ import annotations

import zlib
from itertools import chain, islice
from typing import TYPE_CHECKING

from bridge.simulator.encode import dumps, list_item
from bridge.simulator.errors import CONTINUE_EXPIRED, expired
from bridge.simulator.messages import Bytes, Pieces, Response
from bridge.simulator.options import ContinueToken, ListOptions
from bridge.simulator.selectors import Selector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.simulator.backend import Backend
    from bridge.simulator.encode import Obj
    from bridge.simulator.history import History
    from bridge.simulator.kinds import Kind

__all__ = ["bytes_response", "list_response"]

COMPRESSED_FROM = 128 * 1024
_PIECE = 64 * 1024


async def list_response(
    backend: Backend, kind: Kind, namespace: str, options: ListOptions, *, gzip: bool
) -> Response:
    """Answers a list.

    Raises:
        ApiError: a revision that is too old or does not come, a selector that is wrong.
    """
    selector = Selector.parse(kind, options.labels, options.fields)
    backend.check_initialized(kind)
    prefix = f"{namespace}/" if namespace else ""
    start = ""
    if options.token is not None:
        history, revision = _resume(backend, kind, options.token)
        start = prefix + options.token.start.removeprefix("/")
    elif options.exact:
        revision = options.revision or 0
        history = await backend.reach(kind, revision)
        _check_kept(backend, kind, history, revision)
    elif options.revision == 0:
        history = backend.history(kind)
        revision = history.revision
    else:
        history = await backend.reach(kind, options.revision or 0)
        revision = history.revision
    # A list at "any" revision comes from the cache, which does not page, not even behind a token.
    limit = 0 if options.revision == 0 and kind.cached else options.limit
    found = (obj for obj in history.scan(prefix, start, revision) if selector.matches(obj))
    objects = list(islice(found, limit + 1)) if limit else list(found)
    metadata: Obj = {"resourceVersion": str(revision)}
    if limit and len(objects) > limit:
        objects.pop()
        key = _key(kind, objects[-1])
        token = ContinueToken(revision, ("/" if kind.cached else "") + key.removeprefix(prefix))
        metadata["continue"] = token.encode()
        if not selector:
            metadata["remainingItemCount"] = sum(1 for _ in history.scan(prefix, key + "\0", revision))
    if backend.faults.listing("unordered", kind.resource):
        objects.reverse()
    return bytes_response(_document(kind, metadata, objects), gzip=gzip)


def _key(kind: Kind, obj: Obj) -> str:
    return kind.key(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _resume(backend: Backend, kind: Kind, token: ContinueToken) -> tuple[History, int]:
    history = backend.catch_up(kind)
    if token.revision < 0 or backend.faults.listing("stale page", kind.resource):
        return history, history.revision
    kept = history.floor if kind.cached else backend.cluster.compacted
    if token.revision < kept or backend.faults.listing("expired token", kind.resource):
        remainder = ContinueToken(-1, token.start.removesuffix("\0")).encode()
        raise expired(CONTINUE_EXPIRED, remainder=remainder)
    return history, token.revision


def _check_kept(backend: Backend, kind: Kind, history: History, revision: int) -> None:
    kept = history.floor if kind.cached else backend.cluster.compacted
    if revision < kept:
        raise expired("The resourceVersion for the provided list is too old.")


def _document(kind: Kind, metadata: Obj, objects: Iterable[Obj]) -> Iterator[bytes]:
    if kind.custom:
        members = {"continue": metadata.get("continue", "")} | metadata
        ends = b'],"kind":"%sList","metadata":%s}\n' % (
            kind.kind.encode(),
            dumps(dict(sorted(members.items()))),
        )
        yield b'{"apiVersion":"%s","items":[' % kind.api_version.encode()
    else:
        ends = b"]}\n"
        names = kind.kind.encode(), kind.api_version.encode(), dumps(metadata)
        yield b'{"kind":"%sList","apiVersion":"%s","metadata":%s,"items":[' % names
    separator = b""
    for obj in objects:
        yield separator + list_item(obj, kind)
        separator = b","
    yield ends


def bytes_response(parts: Iterator[bytes], *, gzip: bool) -> Response:
    """A JSON body: small ones at once, bigger ones in pieces and, if the client takes it, compressed."""
    held = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= COMPRESSED_FROM:
            break
    else:
        return Response(200, Bytes(b"".join(held)))
    whole = chain(held, parts)
    if not gzip:
        return Response(200, Pieces(_gathered(whole)))
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(200, Pieces(_compressed(_gathered(whole))), headers=headers)


def _gathered(parts: Iterator[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= _PIECE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    # The fastest level and one member, as the server does; 16 more window bits are the gzip container.
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
