"""Sockets for httpcore: its network backend, plus what a watch needs and httpcore does not offer.

An idle timeout that can be changed between two reads for the price of an attribute ([H3], [H5]), keepalive on
every socket also behind a proxy ([H2]), and `tls-server-name` also through a tunnel, where
httpcore would expect the address.
"""

import math
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore
import msgspec
import trio

from bridge.kubernetes.transport.secure import MOST_BYTES, Layer, SecureStream, socket_below

__all__ = ["Backend", "TlsName", "Wire"]

_TCP_OPTIONS: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
_SOCKET_OPTIONS: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    # Not every system has every one of them.
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _TCP_OPTIONS.items()
        if hasattr(socket, name)
    ),
]

_HEAD_ENDS: Final = b"\r\n\r\n"
_HTTP: Final = b"HTTP/"
_INFORMATIONAL: Final = b"HTTP/1.1 1"
_LONGEST_HEAD: Final = 128 << 10
"""More than httpcore takes, so that it is the one to refuse it."""


class TlsName(msgspec.Struct, frozen=True):
    """The name to expect of whoever is asked for TLS with this context, instead of the address."""

    context: ssl.SSLContext
    name: str | None


class Wire(httpcore.AsyncNetworkStream):
    """One socket, perhaps with TLS on it.

    httpcore is given the head of each answer and, where it reads the body too, that; of an answer that is
    read raw it sees nothing behind the head, so that `receive` has it all.

    Attributes:
        idle: seconds that the next reads may take, instead of what the request said; None for that.
    """

    def __init__(self, layer: Layer, tls: TlsName) -> None:
        self._layer = layer
        self._tls = tls
        self._kept = b""
        self._heading = False
        self.idle: float | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        """Read what is there, waiting at most `idle` seconds; of an answer's head, no byte beyond it."""
        patience = timeout if self.idle is None else self.idle
        data, self._kept = self._kept, b""
        if not data:
            data = await self._receive(max_bytes, patience)
        if self._heading and data.startswith(_HTTP[: len(data)]):  # not the words of a SOCKS proxy
            while data and _HEAD_ENDS not in data and len(data) < _LONGEST_HEAD:
                more = await self._receive(max_bytes, patience)
                if not more:
                    break
                data += more
            self._heading = data.startswith(_INFORMATIONAL)
            if _HEAD_ENDS in data:
                max_bytes = data.index(_HEAD_ENDS) + len(_HEAD_ENDS)
        if len(data) <= max_bytes:
            return data
        self._kept = data[max_bytes:]
        return data[:max_bytes]

    async def receive(self, timeout: float) -> bytes:  # noqa: ASYNC109 - as `read`
        """Everything that has arrived, past httpcore; b"" at the end. Raises as `read`."""
        data = self._kept
        if data:
            self._kept = b""
            return data
        return await self._receive(MOST_BYTES, timeout)

    def give_back(self, data: bytes) -> None:
        """Let the next `read` return this."""
        self._kept = data

    async def _receive(self, max_bytes: int, timeout: float | None) -> bytes:  # noqa: ASYNC109 - as `read`
        failure: Exception
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                return bytes(await self._layer.receive_some(max_bytes))
        except trio.TooSlowError:
            failure = httpcore.ReadTimeout()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as error:
            failure = httpcore.ReadError(error)
        raise failure

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        """Send everything; an answer follows."""
        if not buffer:
            return
        self._heading = True
        failure: Exception
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                await self._layer.send_all(buffer)
        except trio.TooSlowError:
            failure = httpcore.WriteTimeout()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as error:
            failure = httpcore.WriteError(error)
        else:
            return
        raise failure

    async def aclose(self) -> None:
        """Close; again is harmless."""
        await self._layer.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
    ) -> "Wire":
        """Speak TLS from here on, with the name that the kubeconfig wants if this is the API server."""
        ours = ssl_context is self._tls.context
        if ours and self._tls.name:
            server_hostname = self._tls.name
        secure = SecureStream(self._layer, ssl_context, server_hostname)
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                await secure.handshake()
        except BaseException as error:
            with trio.CancelScope(shield=True):
                await self.aclose()
            if isinstance(error, trio.TooSlowError):
                raise httpcore.ConnectTimeout from error
            if not isinstance(error, ssl.SSLError | trio.BrokenResourceError | trio.ClosedResourceError):
                raise
            if ours:
                raise httpcore.ConnectError(error) from error
            raise httpcore.ProxyError("it fails to speak TLS") from error
        return Wire(secure, self._tls)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore and tests ask about the connection."""
        match info:
            case "ssl_object":
                return self._layer.tls if isinstance(self._layer, SecureStream) else None
            case "socket":
                return socket_below(self._layer).socket
            case "is_readable":
                return socket_below(self._layer).socket.is_readable()
            case _:
                return None


class Backend(httpcore.AsyncNetworkBackend):
    """Opens sockets with our options; httpcore forgets them behind a proxy."""

    def __init__(self, tls: TlsName) -> None:
        self._tls = tls

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Wire:
        """Connect, by the first of the name's addresses that answers."""
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                stream = await trio.open_tcp_stream(host, port, local_address=local_address)
                for option in (*_SOCKET_OPTIONS, *(socket_options or ())):
                    stream.setsockopt(*option)
        except trio.TooSlowError as error:
            raise httpcore.ConnectTimeout from error
        except (trio.BrokenResourceError, OSError) as error:
            raise httpcore.ConnectError(error) from error
        return Wire(stream, self._tls)

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore does so between retries, which we do not use."""
        await trio.sleep(seconds)
