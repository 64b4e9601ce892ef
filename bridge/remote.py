"""Talks to a running bridge over its control socket; plain sockets, so that a command starts at once."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bridge.errors import BridgeError
from bridge.operations.address import SOCKET, address

__all__ = ["NotRunning", "Refused", "ask"]

_SECONDS: Final = 120.0
"""For the next line of an answer: a redrive or a purge of many letters takes its time."""


class NotRunning(BridgeError):
    """No bridge answers for this state."""


class Refused(BridgeError):
    """The bridge was reached and did not do it; it said why, and with which exit code to end."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # of the class where the error decides it, here the bridge


def ask(
    state: Path, command: str, arguments: dict[str, Any], item: Callable[[Any], None] = lambda _: None
) -> Any:
    """Send one command and return its result.

    Args:
        state: the state directory of the bridge.
        command: what it shall do.
        arguments: of the command, as JSON can write them.
        item: called with each item as it arrives.

    Raises:
        NotRunning: nobody listens.
        Refused: the bridge says why not.
    """
    # What `item` raises is its own affair: not even a closed pipe means that the bridge is gone.
    for answer in _answers(state, {"command": command, "arguments": arguments}):
        if "item" in answer:
            item(answer["item"])
        elif "error" in answer:
            raise Refused(answer["error"], answer["code"])
        else:
            return answer["result"]
    raise NotRunning(f"the bridge behind {state / SOCKET} ended before it had answered")


def _answers(state: Path, asked: dict[str, Any]) -> Iterator[Any]:
    path = (state / SOCKET).absolute()  # the messages are read in another directory, or from a log
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SECONDS)
        try:
            with address(path) as name:
                connection.connect(name)
            connection.sendall(json.dumps(asked).encode() + b"\n")
            with connection.makefile("rb") as answers:
                yield from map(json.loads, answers)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
            raise NotRunning(
                f"no bridge runs on the state in {str(path.parent)!r}: start it with `kube-bridge run`, "
                "or name its state with -c FILE or --state DIR"
            ) from error
        except PermissionError as error:
            raise NotRunning(f"{path} belongs to another user; run this as the user of the bridge") from error
        except TimeoutError as error:
            raise NotRunning(f"the bridge behind {path} did not answer within {_SECONDS:.0f} s") from error
        except ConnectionError as error:
            raise NotRunning(f"the bridge behind {path} ended before it had answered") from error
