"""The socket over which commands talk to a running bridge: `<state>/control.sock`, for its owner only.

One request a connection, both ways lines of JSON:

```
-> {"command": "status", "arguments": {...}}
<- {"item": ...}                                any number of them
<- {"result": ...}   or   {"error": "one sentence", "code": 2}
```

Whoever may open the socket may do what the bridge may do; its mode is what protects it. Nothing that a
client does, or leaves undone, can end the bridge or hold it up.
"""

import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import trio

from bridge.errors import BridgeError, InvariantError
from bridge.logs import Incidents, log
from bridge.operations.address import address

__all__ = ["Handler", "Send", "serve_control"]

_CONNECTIONS: Final = 8
_REQUEST_BYTES: Final = 1 << 20
_REQUEST_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 60.0
"""For one item to be taken; a client that reads no further is left."""

Send = Callable[[Any], Awaitable[None]]
"""Hands one item to the client."""


class Handler(Protocol):
    """Does what a command asks."""

    async def __call__(self, command: str, arguments: Mapping[str, Any], send: Send) -> Any:
        """Send items, if there are any, and return the result; both as JSON can write them.

        Raises:
            BridgeError: it cannot be done; the client is told the sentence and the exit code.
        """


async def serve_control(
    path: Path, handler: Handler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled. A socket that an earlier life left is replaced: the state's lock is ours.

    Args:
        path: of the socket.
        handler: does what commands ask.
        task_status: told once commands are accepted.

    Raises:
        OSError: there can be no socket at this path.
    """
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(_bind(path)))
    server = _Server(handler)
    try:
        task_status.started()
        await trio.serve_listeners(server.connection, [listener])
    finally:
        _unlink(path)


def _bind(path: Path) -> socket.socket:
    """A listening socket whose file nobody else may open, not even for a moment."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"{path} is there and is no socket")
        path.unlink()
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(bound.fileno(), 0o600)
        with address(path) as name:
            bound.bind(name)
        path.chmod(0o600)
        bound.listen(_CONNECTIONS)
    except BaseException:
        bound.close()
        raise
    return bound


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


class _Server:
    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._open = 0
        self._incidents = Incidents(log)

    async def connection(self, stream: trio.SocketStream) -> None:
        """One client from its first to its last byte."""
        self._open += 1
        try:
            await self._answer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client went away: its own loss
        except InvariantError:
            raise  # a promise is broken: that is not the command's failure alone
        except Exception as error:  # noqa: BLE001 - a defect here must not end the bridge
            self._incidents.report("control", "error", "a command failed unexpectedly", error=repr(error))
            with suppress(Exception):
                await _send(stream, {"error": f"the bridge failed at it: {error!r}; see its log", "code": 1})
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _answer(self, stream: trio.SocketStream) -> None:
        if self._open > _CONNECTIONS:
            await _send(stream, {"error": "too many commands at once; try again", "code": 1})
            return
        with trio.fail_after(_REQUEST_SECONDS):
            line = await _read_line(stream)
        try:
            request = json.loads(line)
            command, arguments = request["command"], request.get("arguments", {})
        except (ValueError, KeyError, TypeError, AttributeError):
            await _send(stream, {"error": "that is no command of kube-bridge", "code": 2})
            return

        async def item(value: Any) -> None:
            await _send(stream, {"item": value})

        try:
            result = await self._handler(command, arguments, item)
        except InvariantError:
            raise
        except BridgeError as error:
            await _send(stream, {"error": str(error), "code": error.exit_code or 1})
        else:
            await _send(stream, {"result": result})


async def _read_line(stream: trio.SocketStream) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < _REQUEST_BYTES:
        more = await stream.receive_some(65536)
        if not more:
            break
        line += more
    return line


async def _send(stream: trio.SocketStream, message: Mapping[str, Any]) -> None:
    with trio.fail_after(_ANSWER_SECONDS):
        await stream.send_all(json.dumps(message).encode() + b"\n")
