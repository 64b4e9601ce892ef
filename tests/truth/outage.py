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
from tests.truth.oracle import Judgement
from tests.truth.topic import Message, TableJudgement, compare_tables, judge_topic, table_of

__all__ = ["MEANWHILE", "Outage", "OutageReport", "Outages"]

Meanwhile = Literal["nothing", "SIGKILL", "SIGTERM"]
MEANWHILE: Final[tuple[Meanwhile, ...]] = ("nothing", "SIGKILL", "SIGTERM")
_DRAIN_SECONDS: Final = 30
_ALL: Final = 10_000_000
_TOPICS: Final = {
    "configmaps": "k8s.truth.configmaps",
    "secrets": "k8s.truth.secrets",
    "widgets": "k8s.truth.widgets.truth.example.com",
}
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
        for topic in _TOPICS.values():
            config = [word for item in _COMPACTING.items() for word in ("--config", "=".join(item))]
            where = ("--bootstrap-server", broker.bootstrap, "--topic", topic, "--partitions", "3")
            broker.tool("org.apache.kafka.tools.TopicCommand", "--create", *where, *config)
        options = {
            "name": "events", "type": "kafka", "bootstrapServers": broker.bootstrap,
            "topic": "k8s.{cluster}.{resource}", "createTopics": {"partitions": 1, "replicationFactor": 1},
        }  # fmt: skip
        self._bridge = Bridge(folder, cluster, [options | dict(sink or {})])

    def run(self, outage: Outage, *, seed: int, rate: float, say: Callable[[str], None]) -> OutageReport:
        """Load at `rate` writes a second through one outage; then let the topics be read and judged."""
        bridge, since = self._bridge, self._cluster.etcd.revision() + 1
        bridge.start()
        eventually(bridge.synced, "the first listing of every stream", seconds=60)
        loader = Loader(self._cluster, NAMESPACES, seed=seed, rate=rate)
        drained_in = None
        with loading(loader):
            time.sleep(3)
            self._broker.terminate()
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
        self, outage: Outage, writes: int, drained_in: float | None, history: list[Any]
    ) -> OutageReport:
        """Read until all is there; a reader that finds nothing more for a while has all there is."""
        deadline, expected = time.monotonic() + 90, len(history)
        found: list[Message] = []
        while True:
            found = [message for topic in _TOPICS.values() for message in self._read(topic)]
            events = len({m.headers["id"] for m in found if m.value is not None})
            if events >= expected or time.monotonic() > deadline:
                break
        self._bridge.stop()
        since = min(fact.revision for fact in history)
        judgement = judge_topic(history, _since(found, since))
        return OutageReport(
            outage, writes, drained_in, judgement, compare_tables(table_of(found), self._objects())
        )

    def _read(self, topic: str) -> list[Message]:
        """All that a topic holds; three readers find the end by themselves, after some quiet."""
        return [
            Message(read.key, None if read.value is None else read.value.encode(), read.headers)
            for read in self._broker.read(topic, _ALL, quiet=8)
        ]

    def _objects(self) -> dict[str, Mapping[str, Any]]:
        """What exists, by the key that a record of it has; as `kubectl get -A -o json` shows it."""
        objects = {}
        for target in RESOURCES:
            group = target.api_version.rpartition("/")[0]
            resource = target.path.rpartition("/")[2]
            shown = self._cluster.kubectl(
                "get", f"{resource}.{group}" if group else resource, "-A", "-o", "json"
            )
            for item in json.loads(shown)["items"]:
                metadata = item["metadata"]
                key = f"truth/{group}/{resource}/{metadata['namespace']}/{metadata['name']}"
                objects[key] = item
        return objects


def _since(messages: list[Message], revision: int) -> list[Message]:
    """Writes of this outage only: earlier ones were judged by their own."""
    return [m for m in messages if m.value is None or int(m.headers["resourceVersion"] or 0) >= revision]
