"""A broker that is away while the cluster changes, and a bridge that is killed or stopped meanwhile.

The collector that everybody knows lost two thirds of the changes of such a minute with its defaults; this is
the same minute, with ours. etcd and `kubectl get` are the judges, the broker's own consumer is the reader.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.components.cluster import Cluster
from tests.components.kafka import Broker
from tests.components.process import eventually
from tests.truth.harness import NAMESPACES, Bridge, history_of, loading, prepare
from tests.truth.load import RESOURCES, Loader
from tests.truth.oracle import Fact, Judgement
from tests.truth.topic import Message, TableJudgement, compare_tables, judge_topic, table_of

__all__ = ["MEANWHILE", "Outage", "OutageReport", "Outages"]

Meanwhile = Literal["nothing", "SIGKILL", "SIGTERM"]
MEANWHILE: Final[tuple[Meanwhile, ...]] = ("nothing", "SIGKILL", "SIGTERM")
_DRAIN_SECONDS: Final = 30
_ALL: Final = 10_000_000
_RESOURCES: Final = ("configmaps", "secrets", "widgets.truth.example.com")
_SINKS: Final = {"events": "events.{resource}", "table": "table.{resource}"}
"""Every write is read from the first topics, which keep all; the others are compacted as fast as can be."""
_COMPACTING: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": "1048576",
    "segment.ms": "1000",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "600000",
}


@dataclass(frozen=True)
class Outage:
    """What happens in one run: the broker is away for `seconds`, and half-way `meanwhile` hits the bridge."""

    seconds: float
    meanwhile: Meanwhile


@dataclass
class OutageReport:
    """What one outage came to."""

    outage: Outage
    writes: int
    drained_in: float | None
    judgement: Judgement
    table: TableJudgement

    def __str__(self) -> str:
        """For a person."""
        drained = "" if self.drained_in is None else f", SIGTERM took {self.drained_in:.1f} s"
        return (
            f"broker away {self.outage.seconds:g} s, meanwhile {self.outage.meanwhile}: {self.writes} writes"
            f"{drained}; {self.judgement}; table: {self.table}"
        )


class Outages:
    """One cluster, one broker, one bridge; outages one after the other.

    Args:
        cluster: of the test's own.
        broker: of the test's own; it is stopped and started.
        folder: for state and logs.
        sink: further keys of the Kafka sink, which has its defaults else.
    """

    def __init__(
        self, cluster: Cluster, broker: Broker, folder: Path, sink: Mapping[str, Any] | None = None
    ) -> None:
        self._cluster = cluster
        self._broker = broker
        prepare(cluster)
        config = [word for item in _COMPACTING.items() for word in ("--config", "=".join(item))]
        for resource in _RESOURCES:
            where = ("--bootstrap-server", broker.bootstrap, "--topic", f"table.{resource}")
            broker.tool(
                "org.apache.kafka.tools.TopicCommand", "--create", "--partitions", "3", *where, *config
            )
        common = {
            "type": "kafka", "bootstrapServers": broker.bootstrap,
            "createTopics": {"partitions": 3, "replicationFactor": 1, "cleanupPolicy": "delete"},
        }  # fmt: skip
        sinks = [{"name": name, "topic": topic, **common, **(sink or {})} for name, topic in _SINKS.items()]
        self._bridge = Bridge(folder, cluster, sinks)

    def run(self, outage: Outage, *, seed: int, rate: float, say: Callable[[str], None]) -> OutageReport:
        """Load at `rate` writes a second through one outage; then let the topics be read and judged."""
        bridge, since = self._bridge, self._cluster.etcd.revision() + 1
        bridge.start()
        eventually(bridge.synced, "the first listing of every stream", seconds=60)
        loader = Loader(self._cluster, NAMESPACES, seed=seed, rate=rate, prefix=f"s{seed}-")
        drained_in = None
        with loading(loader):
            time.sleep(3)
            self._broker.kill()
            say(f"broker away; {loader.writes} writes")
            time.sleep(outage.seconds / 2)
            if outage.meanwhile != "nothing":
                drained_in = self._hit(outage.meanwhile)
                bridge.start()
            time.sleep(outage.seconds / 2)
            self._broker.start()
            say(f"broker back; {loader.writes} writes")
            time.sleep(3)
        if loader.errors:
            raise AssertionError(f"loader errors {loader.errors[:3]}")
        history = history_of(self._cluster, since)
        return self._judge(outage, loader.writes, drained_in, history)

    def _hit(self, meanwhile: Meanwhile) -> float | None:
        if meanwhile == "SIGKILL":
            self._bridge.kill()
            return None
        begun = time.monotonic()
        code = self._bridge.stop()
        took = time.monotonic() - begun
        if code != 0 or took > _DRAIN_SECONDS:
            raise AssertionError(f"SIGTERM: exit code {code} after {took:.1f} s\n{self._bridge.tail()}")
        return took

    def _judge(
        self, outage: Outage, writes: int, drained_in: float | None, history: list[Fact]
    ) -> OutageReport:
        """Read until all is there; a reader that finds nothing more for a while has all there is."""
        deadline, expected = time.monotonic() + 90, len(history)
        found: list[Message] = []
        while True:
            found = self._read("events")
            events = len({m.headers["id"] for m in _since(found, history) if m.value is not None})
            if events >= expected or time.monotonic() > deadline:
                break
        self._bridge.stop()
        judgement = judge_topic(history, _since(found, history))
        table = compare_tables(table_of(self._read("table")), self._objects())
        return OutageReport(outage, writes, drained_in, judgement, table)

    def _read(self, which: str) -> list[Message]:
        """All that the topics of a sink hold; the reader finds the end by some quiet."""
        topics = "|".join(f"{which}.{resource}" for resource in _RESOURCES)
        return [
            Message(read.key, None if read.value is None else read.value.encode(), read.headers)
            for read in self._broker.read(topics, _ALL, quiet=4)
        ]

    def _objects(self) -> dict[str, Mapping[str, Any]]:
        """What exists, by the key that a record of it has; as `kubectl get -A -o json` shows it."""
        objects = {}
        for target in RESOURCES:
            group = target.api_version.rpartition("/")[0]
            resource = target.path.rpartition("/")[2]
            shown = self._cluster.kubectl(
                "get",
                f"{resource}.{group}" if group else resource,
                "-A",
                "-o",
                "json",
                "--show-managed-fields",
            )
            for item in json.loads(shown)["items"]:
                metadata = item["metadata"]
                key = f"truth/{group}/{resource}/{metadata['namespace']}/{metadata['name']}"
                objects[key] = item
        return objects


def _since(messages: list[Message], history: list[Fact]) -> list[Message]:
    """Writes of this outage only: earlier ones were judged by their own."""
    first = min(fact.revision for fact in history)
    return [message for message in messages if int(message.headers["resourceVersion"] or 0) >= first]
