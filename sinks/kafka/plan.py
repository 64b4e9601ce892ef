"""What one sink means for Kafka, once its context is known. No I/O but the reading of secrets."""

from collections.abc import Sequence
from typing import Any

from bridge.delivery.sink import Context
from bridge.logs import Incidents, Level
from sinks.kafka.admin import Wanted
from sinks.kafka.client import producing, read_properties, security_properties, token_of
from sinks.kafka.options import KafkaOptions
from sinks.kafka.topics import Topics, acl_lines
from sinks.kafka.voice import Voice

__all__ = ["Plan"]


class Plan:
    """Names, rights and the client's properties."""

    def __init__(self, options: KafkaOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self.topics = Topics(options.topic, options.control_topic, context.cluster)
        self.id = f"kube-bridge.{context.cluster}.{context.name}"
        self.cursor_topic = f"{self.id}.cursor" if options.transactional else ""
        self.tombstones = options.on_delete != "event"
        self.token = token_of(options.sasl)

    def wanted(self, names: Sequence[str], control: Sequence[str]) -> Wanted:
        """These topics, and that of the cursor."""
        return Wanted(names, control, self.cursor_topic, self.tombstones)

    def wanted_first(self) -> Wanted:
        """What can be named before the first record."""
        data, control = self.topics.of(self.context.streams)
        return self.wanted(data, control if self.context.control else ())

    def acls(self, names: Sequence[str]) -> list[str]:
        """Commands that give the rights to these topics; to all that can be named where none is."""
        sasl = self.options.sasl
        names = names or self.wanted_first().names
        return acl_lines(
            self.options.bootstrap_servers,
            f"User:{sasl.username if sasl is not None and sasl.username else 'NAME'}",
            [name for name in names if name != self.cursor_topic],
            create=self.options.create_topics is not None,
            transactional_id=self.id if self.options.transactional else "",
            cursor_topic=self.cursor_topic,
            secured=sasl is not None or self.options.tls is not None,
        )

    def voice(self, *, quiet: bool = False) -> Voice:
        """A listener that hides our secrets; a quiet one writes nothing into the log."""
        sasl = self.options.sasl
        hidden = [secret for secret in self.options.properties.values() if secret.value is None]
        hidden += [sasl.password] if sasl is not None and sasl.password is not None else []
        texts = [secret.read().decode(errors="replace") for secret in hidden]
        return Voice(
            self.context.name,
            self.options.bootstrap_servers,
            texts,
            token=self.token,
            incidents=Incidents(_say_nothing) if quiet else self.options.incidents,
        )

    def credentials(self) -> list[bytes]:
        """What proves who we are, as it is now."""
        tls, sasl = self.options.tls, self.options.sasl
        files = [tls.ca, tls.certificate, tls.key] if tls is not None else []
        found = [path.read_bytes() for path in files if path is not None]
        secrets = [*self.options.properties.values(), *([sasl.password] if sasl is not None else [])]
        return found + [secret.read() for secret in secrets if secret is not None]

    def connection(self) -> dict[str, Any]:
        """Properties of every client."""
        return {
            "bootstrap.servers": self.options.bootstrap_servers,
            "client.id": self.id,
            # The first retries of a lost connection come quickly, those of a wrong password not 20 a second.
            "reconnect.backoff.ms": "250",
            "reconnect.backoff.max.ms": "5000",
            "socket.keepalive.enable": "true",
            **security_properties(self.options.tls, self.options.sasl, self.token),
        }

    def shared(self) -> dict[str, Any]:
        """Properties of a client that produces nothing: what the user set that is not about producing."""
        own = {
            name: value
            for name, value in read_properties(self.options.properties).items()
            if name.split(".")[0]
            in {"ssl", "sasl", "socket", "broker", "client", "security", "debug", "log_level"}
        }
        return self.connection() | own

    def producer(self, limits: Sequence[int]) -> dict[str, Any]:
        """Properties of the producer; a batch must fit into the smallest topic."""
        return self.connection() | producing(self.options.properties, limits)


def _say_nothing(_level: Level, _event: str, /, **_fields: object) -> None:
    """In place of the log."""
