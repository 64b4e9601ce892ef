"""A replay server that outruns every client: ``python -m tests.bench.server``, a process of its own.

It is no simulator (`bridge.simulator` is): it knows Pods only, and serves them as fast as one core can. A
watch gets one event per HTTP chunk and TLS record. Everything is rendered before; per event it stamps the
resourceVersion and encrypts. Python does that in some 8 us an event because the records of many events go
out in one system call (see `peer`); `curl | cat` needs 15, so no compiler is needed where the benchmark runs.

It tells on stdout, a JSON document a line, when it is ready, when the first watch goes live, and when it has
sent the last event, with its own CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.bench.documents import AGGREGATED, answer
from tests.bench.peer import Gone, Peer
from tests.bench.pods import LAST_LISTED, World

__all__ = ["END_OF_LIST"]

END_OF_LIST: Final = b'"annotations":{"k8s.io/initial-events-end":"true"},'
_TOGETHER: Final = 32
"""Events sent by one system call at full speed."""
_POOL: Final = 4000
"""Pods that change, in an order that has nothing to do with their names."""
_DEFAULT_LIMIT: Final = 10**9
_FRAMING: Final = len("1900\r\n\r\n")
"""What HTTP adds to a line."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]


class Replay:
    """What is served.

    Args:
        world: the Pods that exist.
        events: how many live events there are.
        rate: events a second from the first live watch on, 0 for as fast as they are read.
        seed: of the order in which Pods change.
    """

    def __init__(self, world: World, events: int, rate: float, seed: int) -> None:
        self._world = world
        self._events = events
        self._rate = rate
        self._began: float | None = None
        self._sent = 0
        self._lock = threading.Lock()
        changing = random.Random(seed).sample(range(len(world)), min(len(world), _POOL)) if events else []
        self._lines = [_framed(world, index) for index in changing]
        self._sizes = [len(head) + 9 + len(tail) - _FRAMING for head, tail in self._lines]

    def serve(self, peer: Peer) -> None:
        """Answers the requests of one connection until it is closed."""
        peer.handshake()
        while True:
            request = _read_request(peer)
            if request.path == "/api/v1/pods" and request.method == "GET":
                if request.parameters.get("watch") in {"1", "true"}:
                    self._watch(peer, request.parameters)
                else:
                    self._list(peer, request.parameters)
            elif request.path.endswith("/events"):
                head = {"resourceVersion": str(self._revision())}
                _reply(peer, 200, {"kind": "EventList", "apiVersion": "v1", "metadata": head, "items": []})
            else:
                _small(peer, request)

    def _revision(self) -> int:
        return LAST_LISTED + max(self._sent, self._due())

    def _due(self) -> int:
        """Events that have happened by now."""
        if self._began is None:
            return 0
        if not self._rate:
            return self._events
        return min(self._events, int((time.monotonic() - self._began) * self._rate))

    def _list(self, peer: Peer, parameters: dict[str, str]) -> None:
        total = len(self._world)
        begin = int(parameters.get("continue") or 0)
        end = min(total, begin + int(parameters.get("limit") or _DEFAULT_LIMIT))
        metadata = f'{{"resourceVersion":"{self._revision()}"'
        if end < total:
            metadata += f',"continue":"{end}","remainingItemCount":{total - end}'
        items = (
            self._world.pod(index).item(self._world.listed_revision(index)) for index in range(begin, end)
        )
        body = b'{"kind":"PodList","apiVersion":"v1","metadata":%b},"items":[%b]}\n' % (
            metadata.encode(),
            b",".join(items),
        )
        _send(peer, 200, "application/json", body)

    def _watch(self, peer: Peer, parameters: dict[str, str]) -> None:
        peer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
            b"Cache-Control: no-cache, private\r\n\r\n"
        )
        revision = parameters.get("resourceVersion", "")
        if revision in {"", "0"} or parameters.get("sendInitialEvents") == "true":
            self._initial(peer)
            if parameters.get("sendInitialEvents") == "true":
                peer.write(_bookmark(LAST_LISTED, END_OF_LIST))
            revision = str(LAST_LISTED)
        peer.flush()
        if self._events:
            self._live(peer, int(revision) - LAST_LISTED)
        peer.write(_bookmark(LAST_LISTED + self._events, b""))
        peer.flush()
        while True:
            peer.wait_closed(60)

    def _initial(self, peer: Peer) -> None:
        for index in range(len(self._world)):
            pod = self._world.pod(index).at(self._world.listed_revision(index))
            peer.write(_chunk(b'{"type":"ADDED","object":%b}\n' % pod))
            if index % _TOGETHER == 0:
                peer.flush()

    def _live(self, peer: Peer, begin: int) -> None:
        with self._lock:
            if self._began is None:
                self._began = time.monotonic()
                _tell("live")
        lines, write, turns = self._lines, peer.write, len(self._lines)
        number = begin
        while number < self._events:
            due = min(self._due(), number + _TOGETHER)
            for event in range(number, due):
                head, tail = lines[event % turns]
                write(b"%b%d%b" % (head, LAST_LISTED + 1 + event, tail))
            peer.flush()
            if due > number:
                self._sent = max(self._sent, due)
                number = due
            else:
                peer.wait_closed(min(0.02, 0.5 / self._rate))
        _tell("sent", bytes=sum(self._sizes[event % turns] for event in range(begin, self._events)))


def _framed(world: World, index: int) -> tuple[bytes, bytes]:
    """One MODIFIED event in its chunk, around the place of the revision, whose width never changes."""
    line = _chunk(b'{"type":"MODIFIED","object":%b}\n' % world.pod(index).at(LAST_LISTED))
    head, _, tail = line.partition(b'"resourceVersion":"%d"' % LAST_LISTED)
    return head + b'"resourceVersion":"', b'"' + tail


def _chunk(line: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(line), line)


def _bookmark(revision: int, annotations: bytes) -> bytes:
    return _chunk(
        b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"%d",'
        b'%b"creationTimestamp":null},"spec":{"containers":null},"status":{}}}\n' % (revision, annotations)
    )


def _small(peer: Peer, request: _Request) -> None:
    wants = request.headers.get("accept", "")
    aggregated = "apidiscovery.k8s.io" in wants and "v=v2;" in wants + ";"
    document = answer(request.path, aggregated=aggregated)
    if document is None or request.method != "GET":
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404}
        reason = {"message": "the server could not find the requested resource", "reason": "NotFound"}
        _reply(peer, 404, status | reason)
    else:
        is_list = document["kind"] == "APIGroupDiscoveryList" if "kind" in document else False
        _reply(peer, 200, document, AGGREGATED if is_list else "application/json")


def _reply(peer: Peer, code: int, document: dict[str, Any], kind: str = "application/json") -> None:
    _send(peer, code, kind, json.dumps(document, separators=(",", ":")).encode() + b"\n")


def _send(peer: Peer, code: int, kind: str, body: bytes) -> None:
    reason = "OK" if code == 200 else "Not Found"
    head = f"HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    peer.write(head.encode() + body)
    peer.flush()


def _read_request(peer: Peer) -> _Request:
    first, *lines = peer.read_until(b"\r\n\r\n").decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    peer.read_exactly(int(headers.get("content-length", 0)))
    url = urlsplit(target)
    parameters = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    return _Request(method, unquote(url.path), parameters, headers)


def _tell(what: str, **more: object) -> None:
    note = {"what": what, "at": time.monotonic(), "cpu": time.process_time(), **more}
    sys.stdout.write(json.dumps(note) + "\n")
    sys.stdout.flush()


def _connection(replay: Replay, connection: socket.socket, context: ssl.SSLContext) -> None:
    peer = Peer(connection, context)
    try:
        replay.serve(peer)
    except Gone:
        pass
    finally:
        peer.close()


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.server", description=__doc__)
    parser.add_argument("--pods", type=int, required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--core", type=int)
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    replay = Replay(World(arguments.pods, arguments.seed), arguments.events, arguments.rate, arguments.seed)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(arguments.certificate)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        _tell("ready", port=listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_connection, args=(replay, connection, context), daemon=True).start()


if __name__ == "__main__":
    main()
