"""What listens at an address, asked with one request of Kafka; blocks, so it is called in a thread.

librdkafka is silent about a port that takes the connection and then closes it or speaks something else.
"""

import socket
from typing import Final

from sinks.kafka.errors import Trouble

__all__ = ["probe"]

_SECONDS: Final = 3.0
# ApiVersions v0: length, api key 18, version 0, correlation id 1, client id of length 0.
_API_VERSIONS: Final = bytes.fromhex("0000000a0012000000000001" + "0000")
# Metadata v4 of no topic, correlation id 2.
_METADATA: Final = bytes.fromhex("0000000f0003000400000002" + "0000" + "00000000" + "00")
_ANSWER: Final = 4096
_TLS_ALERT: Final = b"\x15\x03"


def probe(servers: str, *, tls: bool, sasl: bool) -> Trouble | None:
    """Ask the bootstrap servers one after the other; the first thing that is wrong, or None.

    Args:
        servers: `bootstrapServers`.
        tls: we would speak TLS, so only the connection itself is tried: librdkafka tells the rest.
        sasl: we would authenticate, so requests before that are not tried.
    """
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if not port.isdigit():
            continue
        trouble = _ask(host.strip("[]"), int(port), tls=tls, sasl=sasl)
        if trouble is not None:
            return trouble
    return None


def _ask(host: str, port: int, *, tls: bool, sasl: bool) -> Trouble | None:
    where = f"{host}:{port}"
    try:
        connection = socket.create_connection((host, port), _SECONDS)
    except socket.gaierror as error:
        return Trouble(
            "resolve",
            f"Failed to resolve {host!r} ({error.strerror}): check `bootstrapServers`, and DNS.",
            certain=True,
        )
    except OSError as error:
        return Trouble(
            "connect",
            f"Kafka at {where} cannot be reached ({error.strerror or error}): check `bootstrapServers`, "
            "or start the broker.",
            certain=False,
        )
    with connection:
        if tls:
            return None
        trouble = _judge(where, _answer(connection, _API_VERSIONS))
        if trouble is None and not sasl and _answer(connection, _METADATA) == b"":
            sentence = f"Kafka at {where} wants authentication on this port: configure `sasl`."
            return Trouble("authentication", sentence, certain=True)
        return trouble


def _answer(connection: socket.socket, request: bytes) -> bytes | None:
    """The beginning of the answer; b"" when it hung up, None when it said nothing."""
    try:
        connection.settimeout(_SECONDS)
        connection.sendall(request)
        return connection.recv(_ANSWER)
    except TimeoutError:
        return None
    except OSError:
        return b""


def _judge(where: str, answer: bytes | None) -> Trouble | None:
    if answer is None:
        return Trouble(
            "connect", f"What listens at {where} takes connections and answers nothing.", certain=False
        )
    if answer.startswith(_TLS_ALERT):
        return Trouble("tls", f"Kafka at {where} speaks TLS on this port: configure `tls`.", certain=True)
    if answer[4:8] == b"\0\0\0\x01":
        return None
    if answer.startswith(b"HTTP/") or answer.lstrip().startswith(b"<"):
        return Trouble(
            "protocol", f"What listens at {where} is an HTTP server, not Kafka: check the port.", certain=True
        )
    if not answer:
        return Trouble(
            "protocol",
            f"What listens at {where} closes the connection on a request of Kafka: check the port, "
            "and whether it wants `tls` or `sasl`.",
            certain=True,
        )
    return Trouble("protocol", f"What listens at {where} is not Kafka: check the port.", certain=True)
