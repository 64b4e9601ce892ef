"""A program: the cheapest HTTP receiver that reads every byte. ``python -m tests.bench.receiver [hang]``.

It answers each POST with 204, or never with `hang`. It prints a note with its port.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Final

_LENGTH: Final = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
_OWNED: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver(asyncio.Protocol):
    """One connection."""

    silent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._waiting = bytearray()

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._waiting += data
        while (head := self._waiting.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._waiting, 0, head)
            end = head + 4 + (int(found[1]) if found else 0)
            if len(self._waiting) < end:
                return
            del self._waiting[:end]
            if not self.silent:
                self._transport.write(_OWNED)


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"what": "ready", "port": port}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    Receiver.silent = "hang" in sys.argv[1:]
    asyncio.run(main())
