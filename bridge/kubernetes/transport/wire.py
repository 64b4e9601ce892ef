"""Sockets for httpcore: its network backend, plus what a watch needs and httpcore does not offer.

An idle timeout that can be changed between two reads for the price of an attribute ([H3], [H5]), keepalive on
every socket also behind a proxy ([H2]), and `tls-server-name` also through a tunnel, where
httpcore would expect the address.
"""

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import httpcore
import trio

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


@dataclass(frozen=True)
class TlsName:
    """The name to expect of whoever is asked for TLS with this context, instead of the address."""

    context: ssl.SSLContext
    name: str | None


class Wire(httpcore.AsyncNetworkStream):
    """One socket, perhaps with TLS on it.

    Attributes:
        idle: seconds that the next reads may take, instead of what the request said; None for that.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream, tls: TlsName) -> None:
        self._stream = stream
        self._tls = tls
        self.idle: float | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        """Read what is there, waiting at most `idle` seconds."""
        return await self._stream.read(max_bytes, timeout if self.idle is None else self.idle)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        """Send everything."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close; again is harmless."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
    ) -> "Wire":
        """Speak TLS from here on, with the name that the kubeconfig wants if this is the API server."""
        if ssl_context is self._tls.context and self._tls.name:
            server_hostname = self._tls.name
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except httpcore.ConnectError as error:
            if ssl_context is self._tls.context:
                raise
            raise httpcore.ProxyError("it fails to speak TLS") from error
        return Wire(stream, self._tls)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore and tests ask about the connection."""
        return self._stream.get_extra_info(info)


class Backend(httpcore.AsyncNetworkBackend):
    """Opens sockets with our options; httpcore forgets them behind a proxy."""

    def __init__(self, tls: TlsName) -> None:
        self._tls = tls
        self._trio = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Wire:
        """Connect, by the first of the name's addresses that answers."""
        options = [*_SOCKET_OPTIONS, *(socket_options or ())]
        stream = await self._trio.connect_tcp(host, port, timeout, local_address, options)
        return Wire(stream, self._tls)

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore does so between retries, which we do not use."""
        await trio.sleep(seconds)
