"""A broker that is away while the cluster changes, and bridges that are killed or stopped meanwhile.

The collector that everybody knows lost two thirds of the changes of such a minute with its defaults; this is
the same minute, with ours. etcd and `kubectl get` are the judges, the broker's own consumer is the reader.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.components.cluster import Cluster
from tests.components.kafka import Broker
from tests.components.process import eventually
from tests.sinks.kafka_support import create_topic, read_now
from tests.truth.harness import NAMESPACES, Bridge, history_of, loading, prepare
from tests.truth.load import RESOURCES, Loader
from tests.truth.oracle import Fact, Judgement
from tests.truth.topic import Message, TableJudgement, compare_tables, judge_topic, table_of

__all__ = ["MEANWHILE", "Meanwhile", "OutageReport", "Outages"]

Meanwhile = Literal["nothing", "SIGKILL", "SIGTERM"]
MEANWHILE: Final[tuple[Meanwhile, ...]] = ("nothing", "SIGKILL", "SIGTERM")
_DRAIN_SECONDS: Final = 30
_RESOURCES: Final = ("configmaps", "secrets", "widgets.truth.example.com")
_SINKS: Final = {"events": "events.{cluster}.{resource}", "table": "table.{cluster}.{resource}"}
"""Every write is read from the first topics, which keep all; the others are compacted as fast as can be."""
_COMPACTING: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": "1048576",
    "segment.ms": "1000",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "600000",
}


@dataclass
class OutageReport:
    """What one outage of `seconds` came to for a bridge that `meanwhile` hit half-way."""

    seconds: float
    meanwhile: Meanwhile
    writes: int
    drained_in: float | None
    judgement: Judgement
    table: TableJudgement

    @property
    def kept(self) -> bool:
        """Whether nothing is lost, nothing out of order, and the table right."""
        return self.judgement.kept and self.table.kept

    def __str__(self) -> str:
        """For a person."""
        drained = "" if self.drained_in is None else f", SIGTERM took {self.drained_in:.1f} s"
        return (
            f"broker away {self.seconds:g} s, meanwhile {self.meanwhile}: {self.writes} writes"
            f"{drained}; {self.judgement}; table: {self.table}"
        )


class Outages:
    """One cluster, one broker; outages one after the other, each with bridges of its own.

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
        self._folder = folder
        self._sink = sink or {}
        prepare(cluster)

    def run(
        self,
        seconds: float,
        meanwhiles: Sequence[Meanwhile],
        *,
        seed: int,
        rate: float,
        say: Callable[[str], None],
    ) -> list[OutageReport]:
        """Load at `rate` writes a second through one outage, with a bridge for each of `meanwhiles`.

        Then the topics are read, and those of each bridge judged by themselves.
        """
        since = self._cluster.etcd.revision() + 1
        with ExitStack() as held:
            bridges = {
                meanwhile: held.enter_context(self._bridge(meanwhile).start()) for meanwhile in meanwhiles
            }
            for bridge in bridges.values():
                eventually(bridge.synced, "the first listing of every stream", seconds=60)
            loader = Loader(self._cluster, NAMESPACES, seed=seed, rate=rate, prefix=f"s{seed}-")
            with loading(loader):
                time.sleep(3)
                self._broker.kill()
                say(f"broker away; {loader.writes} writes")
                time.sleep(seconds / 2)
                drained_in = {meanwhile: _hit(bridge, meanwhile) for meanwhile, bridge in bridges.items()}
                time.sleep(seconds / 2)
                self._broker.start()
                say(f"broker back; {loader.writes} writes")
                time.sleep(3)
            if loader.errors:
                raise AssertionError(f"loader errors {loader.errors[:3]}")
            history = history_of(self._cluster, since)
            names = [bridge.name for bridge in bridges.values()]
            self._settle(names, history, seconds=180)
            for bridge in bridges.values():
                bridge.stop()
        events, tables, objects = self._read("events", names), self._read("table", names), self._objects()
        return [
            OutageReport(
                seconds,
                meanwhile,
                loader.writes,
                drained_in[meanwhile],
                judge_topic(history, _since(events[bridge.name], history)),
                compare_tables(table_of(tables[bridge.name]), objects),
            )
            for meanwhile, bridge in bridges.items()
        ]

    def _bridge(self, meanwhile: Meanwhile) -> Bridge:
        """A bridge that is named after what hits it; so are its topics, and each key begins so."""
        name = meanwhile.lower()
        for topic in _topics("table", [name]):
            create_topic(self._broker.bootstrap, topic, partitions="3", **_COMPACTING)
        common = {
            "type": "kafka", "bootstrapServers": self._broker.bootstrap,
            "createTopics": {"partitions": 3, "replicationFactor": 1, "cleanupPolicy": "delete"},
        }  # fmt: skip
        sinks = [{"name": name, "topic": topic, **common, **self._sink} for name, topic in _SINKS.items()]
        folder = self._folder / name
        folder.mkdir()
        return Bridge(folder, self._cluster, sinks, name=name)

    def _settle(self, names: Sequence[str], history: Sequence[Fact], *, seconds: float) -> None:
        """Give the bridges time to deliver the rest."""
        deadline = time.monotonic() + seconds
        while not self._all_there(names, history) and time.monotonic() < deadline:
            time.sleep(1)

    def _all_there(self, names: Sequence[str], history: Sequence[Fact]) -> bool:
        """Whether each bridge's topics have as many records as etcd has writes; a look, no judge."""
        for name in names:
            found = read_now(self._broker.bootstrap, *_topics("events", [name]))
            messages = [Message(got.key, got.value, got.headers) for got in found]
            ids = {m.headers["id"] for m in _since(messages, history) if m.value is not None}
            if len(ids) < len(history):
                return False
        return True

    def _read(self, which: str, names: Sequence[str]) -> dict[str, list[Message]]:
        """All that the topics of a sink hold, by bridge; Java's reader is told how many to wait for."""
        found: dict[str, list[Message]] = {name: [] for name in names}
        topics = _topics(which, names)
        messages = len(read_now(self._broker.bootstrap, *topics))
        for read in self._broker.read("|".join(topics), messages):
            name, _, key = read.key.partition("/")
            value = None if read.value is None else read.value.encode()
            found[name].append(Message(key, value, read.headers))
        return found

    def _objects(self) -> dict[str, Mapping[str, Any]]:
        """What exists as `kubectl get -A -o json` shows it, by the key of its record without the bridge."""
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
                key = f"{group}/{resource}/{metadata['namespace']}/{metadata['name']}"
                objects[key] = item
        return objects


def _hit(bridge: Bridge, meanwhile: Meanwhile) -> float | None:
    """What befalls a bridge half-way, and its next start; seconds that SIGTERM took."""
    if meanwhile == "nothing":
        return None
    begun, took = time.monotonic(), None
    if meanwhile == "SIGKILL":
        bridge.kill()
    else:
        code, took = bridge.stop(), time.monotonic() - begun
        if code != 0 or took > _DRAIN_SECONDS:
            raise AssertionError(f"SIGTERM: exit code {code} after {took:.1f} s\n{bridge.tail()}")
    bridge.start()
    return took


def _topics(which: str, names: Sequence[str]) -> list[str]:
    return [
        _SINKS[which].format(cluster=name, resource=resource) for name in names for resource in _RESOURCES
    ]


def _since(messages: Sequence[Message], history: Sequence[Fact]) -> list[Message]:
    """Writes of this outage only: earlier ones were judged by their own."""
    first = min(fact.revision for fact in history)
    return [message for message in messages if int(message.headers["resourceVersion"] or 0) >= first]
