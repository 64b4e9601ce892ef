"""A real Apache Kafka on loopback: KRaft nodes, their secure listeners, and Java's own reader."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import trustme

from tests.components.build import say
from tests.components.kafka_properties import LOG4J, PROTOCOLS, SCRAM, Node, text_of
from tests.components.maven import java, kafka_jars
from tests.components.process import PATIENCE, ComponentFailed, Server, free_port
from tests.components.small_disk import SmallDisk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

CLUSTER_ID = "kubeBridgeTestsCluster"  # 22 characters of base64url, as the broker wants them
TOOL_SECONDS = 90 * PATIENCE
# A JVM that lives for a second is faster when it does not optimise.
_SMALL_JVM = ("-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


@dataclass(frozen=True)
class Read:
    """One message as Java's console consumer prints it; ``value`` is None for a tombstone."""

    partition: int
    offset: int
    headers: dict[str, str]
    key: str
    value: str | None


class Broker(Server):
    """One broker in its folder; it stays on its ports and data over restarts.

    `PLAINTEXT` is the administrators' door: who enters there may do everything. `MTLS` wants a client
    certificate, `SASL` (over TLS) and `SASLPLAIN` (without) a user and a password; there only what ACLs allow
    is allowed. The users are `alice` and `bob`, each with the password `<name>-secret`.
    """

    name = "kafka"
    users = ("alice", "bob")

    def __init__(
        self,
        directory: Path,
        properties: Mapping[str, str] | None = None,
        *,
        number: int = 1,
        controller: str = "",
        replicas: int = 1,
        disk: SmallDisk | None = None,
    ) -> None:
        """Makes its folder and configuration; the first of a cluster is its controller.

        Args:
            directory: of its own.
            properties: on top of ours, in Kafka's names.
            number: its `node.id`, from 1 on.
            controller: address of the first node's, for all others.
            replicas: that topics have unless they are made otherwise.
            disk: is mounted at `data` of the directory.
        """
        directory.mkdir(exist_ok=True)
        super().__init__(directory)
        self.disk = disk
        self.number = number
        self.authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        self._ports = {name: free_port() for name in PROTOCOLS}
        # Several share the machine and live for a minute: they start faster when they optimise little.
        self._jvm = ("-Xmx384m",) if replicas == 1 else ("-Xmx256m", *_SMALL_JVM[1:])
        self._jars = kafka_jars()
        self._node = Node(
            number,
            replicas,
            {name: self.address(name) for name in PROTOCOLS},
            controller or self.address("CONTROLLER"),
            directory / "data",
            self._keystore(),
            self.ca_file,
        )
        self._config = directory / "server.properties"
        self._config.write_text(text_of(self._node.properties(self.users) | dict(properties or {})))
        (directory / "log4j2.properties").write_text(LOG4J)
        self._format()

    @property
    def bootstrap(self) -> str:
        """Address of the administrators' listener."""
        return self.address("PLAINTEXT")

    def address(self, listener: str) -> str:
        """``host:port`` of a listener."""
        return f"127.0.0.1:{self._ports[listener]}"

    def command(self) -> list[str]:
        """The broker with a small heap."""
        return [*self._java(*self._jvm), "kafka.Kafka", str(self._config)]

    def ready(self) -> bool:
        """Whether a client gets in; the port opens when the broker serves."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._ports["SASL"]), 1):
            return True
        return False

    def client_certificate(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of a client, whose principal is ``User:<name>``."""
        made = self.authority.issue_cert(f"{name}.example", common_name=name)
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(key)
        return certificate, key

    def read(
        self,
        topic: str,
        messages: int,
        *,
        committed: bool = True,
        quiet: float = 20,
        seconds: float = TOOL_SECONDS,
    ) -> list[Read]:
        """What Java's console consumer prints: so many messages, fewer if no more come for `quiet` seconds.

        The topic is a regular expression; those that match are read together.
        """
        level = "read_committed" if committed else "read_uncommitted"
        shown = {f"print.{what}": "true" for what in ("partition", "offset", "headers", "key")}
        shown |= {"null.literal": "<null>", "key.separator": "\t", "headers.separator": "\x01"}
        command = [
            *self._java(*_SMALL_JVM),
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            *("--bootstrap-server", self.bootstrap, "--include", topic, "--from-beginning"),
            *(
                "--isolation-level",
                level,
                "--max-messages",
                str(messages),
                "--timeout-ms",
                f"{quiet * 1000:.0f}",
            ),
            *(word for key, value in shown.items() for word in ("--formatter-property", f"{key}={value}")),
        ]
        done = subprocess.run(command, check=False, capture_output=True, timeout=seconds)
        lines = done.stdout.decode().split("\n")[:-1]
        if not lines and b"TimeoutException" not in done.stderr:
            raise ComponentFailed(f"the console consumer printed nothing: {done.stderr.decode()[-2000:]}")
        return [_parsed(line) for line in lines]

    def tool(self, main: str, *arguments: str) -> str:
        """Runs one of Kafka's own tools and returns what it prints."""
        command = [*self._java(*_SMALL_JVM), main, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TOOL_SECONDS)
        if done.returncode != 0:
            raise ComponentFailed(f"{main}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def _java(self, *options: str) -> list[str]:
        return [
            *(self.disk.inside if self.disk else ()),
            java(),
            *options,
            f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}",
            "-cp",
            f"{self._jars}/*",
        ]

    def _keystore(self) -> Path:
        serving = self.authority.issue_cert("127.0.0.1", "localhost")
        store = self.directory / "serving.pem"
        store.write_bytes(
            _pkcs8(serving.private_key_pem.bytes()) + b"".join(c.bytes() for c in serving.cert_chain_pems)
        )
        return store

    def _format(self) -> None:
        """Users and the quorum are the controller's to keep."""
        words = [
            word
            for mechanism in SCRAM
            for user in self.users
            for word in ("--add-scram", f"{mechanism}=[name={user},password={user}-secret]")
        ]
        words = ["--standalone", *words] if self._node.controls else ["--no-initial-controllers"]
        main = "kafka.tools.StorageTool"
        self.tool(main, "format", "-t", CLUSTER_ID, "-c", str(self._config), *words)


class Kafka:
    """Brokers in a temporary folder; started by ``with``, gone without a trace after it.

    Unless the ``with`` ends by an exception or ``keep_logs()`` was called: then the logs stay. The first
    broker alone is the controller: a test may kill any other. It can have a small disk (`SmallDisk`).
    """

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        *,
        brokers: int = 1,
        disk_mebibytes: int | None = None,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kube-bridge-kafka-"))
        self._keep_logs = False
        self._held = contextlib.ExitStack()
        self.brokers: list[Broker] = []
        disk = None
        try:
            if disk_mebibytes is not None:
                disk = self._held.enter_context(SmallDisk(self.directory / "1" / "data", disk_mebibytes))
            for number in range(1, brokers + 1):
                controller = self.broker.address("CONTROLLER") if self.brokers else ""
                self.brokers.append(
                    Broker(
                        self.directory / str(number),
                        properties,
                        number=number,
                        controller=controller,
                        replicas=brokers,
                        disk=disk if number == 1 else None,
                    )
                )
        except BaseException:
            self._held.close()
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    @property
    def broker(self) -> Broker:
        """The first one."""
        return self.brokers[0]

    def keep_logs(self) -> None:
        """Makes the logs stay after the end, for a test that failed."""
        self._keep_logs = True

    def __enter__(self) -> Self:
        try:
            for broker in self.brokers:
                broker.start(wait=False)
            for broker in self.brokers:
                broker.wait_ready()
        except BaseException:
            self.keep_logs()
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, Exception):
            self.keep_logs()
        self.close()

    def close(self) -> None:
        """Kills the brokers and removes the folder; logs that must be kept are told and stay."""
        for broker in self.brokers:
            broker.kill()
        self._held.close()
        if not self._keep_logs:
            shutil.rmtree(self.directory)
            return
        for path in self.directory.glob("*/*"):
            if path.name != "logs":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        say(f"the logs of Kafka are kept in {self.directory}")


def _pkcs8(key: bytes) -> bytes:
    """The key in the form that Java reads."""
    from cryptography.hazmat.primitives import serialization as pem  # noqa: PLC0415 - trustme brings it

    loaded = pem.load_pem_private_key(key, None)
    return loaded.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())


def _parsed(line: str) -> Read:
    try:
        partition, offset, headers, key, value = line.split("\t", 4)
    except ValueError:
        raise ComponentFailed(f"the console consumer printed {line[:300]!r}") from None
    found = dict(pair.split(":", 1) for pair in headers.split("\x01")) if ":" in headers else {}
    return Read(
        int(partition.removeprefix("Partition:")),
        int(offset.removeprefix("Offset:")),
        found,
        key,
        None if value == "<null>" else value,
    )
