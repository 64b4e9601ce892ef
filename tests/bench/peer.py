"""One TLS connection of the replay server: a record per event, but one system call for many of them."""

from __future__ import annotations

import select
import socket
import ssl
from typing import Final

__all__ = ["Gone", "Peer"]

_READ: Final = 65_536


class Gone(Exception):
    """The client closed the connection."""


class Peer:
    """The server's end of a connection.

    ``SSLSocket.send`` makes a TLS record *and* a system call per event; here the records of many events are
    made in memory and sent together. That is what lets a server in Python outrun the clients.
    """

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._unread = b""
        self.write = self._tls.write
        """Makes one TLS record (of at most 16 KB) that the next `flush` sends."""

    def handshake(self) -> None:
        """Raises Gone when the client does not want to talk."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                self._receive()
            except ssl.SSLError as error:
                raise Gone from error
            else:
                self.flush()
                return

    def flush(self) -> None:
        """Sends what was written; blocks while the client does not read."""
        try:
            self._socket.sendall(self._outgoing.read())
        except OSError as error:
            raise Gone from error

    def read_until(self, end: bytes) -> bytes:
        """Reads up to and with `end`."""
        while end not in self._unread:
            self._unread += self._read()
        found, _, self._unread = self._unread.partition(end)
        return found + end

    def read_exactly(self, size: int) -> bytes:
        """Reads so many bytes."""
        while len(self._unread) < size:
            self._unread += self._read()
        found, self._unread = self._unread[:size], self._unread[size:]
        return found

    def wait_closed(self, seconds: float) -> None:
        """Returns after that time, unless the client goes: then raises Gone."""
        if select.select([self._socket], [], [], seconds)[0]:
            self._unread += self._read()

    def close(self) -> None:
        """Closes the socket without ceremony."""
        self._socket.close()

    def _read(self) -> bytes:
        while True:
            try:
                data = self._tls.read(_READ)
            except ssl.SSLWantReadError:
                self._receive()
            except ssl.SSLError as error:
                raise Gone from error
            else:
                if not data:
                    raise Gone
                return data

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_READ)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self._incoming.write(data)
