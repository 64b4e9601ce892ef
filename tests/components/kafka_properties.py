"""What a broker of the tests is configured with, in Kafka's own names. No I/O here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["LOG4J", "PROTOCOLS", "SCRAM", "Node", "text_of"]

PROTOCOLS = {
    "PLAINTEXT": "PLAINTEXT",
    "CONTROLLER": "PLAINTEXT",
    "MTLS": "SSL",
    "SASL": "SASL_SSL",
    "SASLPLAIN": "SASL_PLAINTEXT",
}
"""Listener -> what is spoken there."""
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_LOGIN = "org.apache.kafka.common.security"

# Without a configuration of its own log4j keeps to itself what a kept log is for.
LOG4J = """
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.target = SYSTEM_ERR
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c{1} %m%n
"""


@dataclass(frozen=True)
class Node:
    """One node of a cluster.

    Attributes:
        number: its `node.id`; the first also is the controller.
        replicas: of the topics that Kafka makes for itself; `default.replication.factor` too.
        addresses: listener -> ``host:port``.
        controller: address of the controller.
        data: its log directory.
        keystore: key and certificate of its listeners.
        truststore: whom it believes.
    """

    number: int
    replicas: int
    addresses: Mapping[str, str]
    controller: str
    data: Path
    keystore: Path
    truststore: Path

    @property
    def controls(self) -> bool:
        """Whether it is the controller."""
        return self.number == 1

    def properties(self, users: Iterable[str]) -> dict[str, str]:
        """All that `server.properties` says."""
        return self._roles() | self._listeners() | self._topics() | self._security(users)

    def _roles(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller" if self.controls else "broker",
            "node.id": str(self.number),
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": self.controller,
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.data),
        }

    def _listeners(self) -> dict[str, str]:
        public = ",".join(f"{name}://{at}" for name, at in self.addresses.items() if name != "CONTROLLER")
        return {
            "listeners": f"{public},CONTROLLER://{self.controller}" if self.controls else public,
            "advertised.listeners": public,
            "listener.security.protocol.map": ",".join(f"{name}:{what}" for name, what in PROTOCOLS.items()),
        }

    def _topics(self) -> dict[str, str]:
        replicas, in_sync = str(self.replicas), str(max(1, self.replicas - 1))
        return {
            "default.replication.factor": replicas,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
            "group.initial.rebalance.delay.ms": "0",
            # The default is ten seconds: long for a test of transactions that time out.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
        }

    def _security(self, users: Iterable[str]) -> dict[str, str]:
        found = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.truststore),
            "listener.name.mtls.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]*).*$/$1/",
        }
        passwords = " ".join(f'user_{user}="{user}-secret"' for user in users)
        for listener in ("sasl", "saslplain"):
            prefix = f"listener.name.{listener}"
            found[f"{prefix}.sasl.enabled.mechanisms"] = ",".join(("PLAIN", "OAUTHBEARER", *SCRAM))
            found[f"{prefix}.plain.sasl.jaas.config"] = (
                f"{_LOGIN}.plain.PlainLoginModule required {passwords};"
            )
            for mechanism in SCRAM:
                found[f"{prefix}.{mechanism.lower()}.sasl.jaas.config"] = (
                    f"{_LOGIN}.scram.ScramLoginModule required;"
                )
            found[f"{prefix}.oauthbearer.sasl.jaas.config"] = (
                f"{_LOGIN}.oauthbearer.OAuthBearerLoginModule required "
                'unsecuredLoginStringClaim_sub="broker";'
            )
        return found


def text_of(properties: Mapping[str, str]) -> str:
    """Properties as Java reads them."""
    return "".join(f"{key}={value}\n" for key, value in properties.items())
