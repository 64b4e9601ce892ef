"""A state or a destination that has lost what the other has: refused, or a new snapshot; no gap."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient

from tests.end_to_end.objects import CONFIGMAPS, actual, configmap
from tests.end_to_end.program import fold
from tests.sinks.kafka_support import Got, fresh, read_now
from tests.truth.topic import Message, table_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.components.cluster import Cluster
    from tests.components.kafka import Broker
    from tests.end_to_end.program import Service, StartService

pytest_plugins = ["tests.components.fixtures"]

BackUp = Callable[["Service", "Path"], None]
Table = dict[tuple[str, str, str], tuple[str, str]]


class Feed:
    """ConfigMaps of one namespace, a bridge that feeds them to a topic in transactions, and its reader."""

    def __init__(self, cluster: Cluster, namespace: str, broker: Broker, start: StartService) -> None:
        self._cluster, self._broker = cluster, broker
        self.path = CONFIGMAPS.format(namespace)
        self.topic = fresh("rollback")
        sink = {
            "name": self.topic, "type": "kafka", "topic": self.topic, "bootstrapServers": broker.bootstrap,
            "delivery": "transactional", "createTopics": {"partitions": 1, "replicationFactor": 1},
        }  # fmt: skip
        streams: list[dict[str, object]] = [
            {"name": "cm", "apiVersion": "v1", "kind": "ConfigMap", "namespaces": [namespace]}
        ]
        self.service: Service = start(cluster, streams, sinks=[sink])
        self._sink = sink

    def resync_on_state_loss(self) -> None:
        self._sink["onStateLoss"] = "resync"

    def create(self, *names: str) -> None:
        for name in names:
            self._cluster.request("POST", self.path, configmap(name))

    def modify(self, name: str, value: str) -> None:
        self._cluster.request("PUT", f"{self.path}/{name}", configmap(name, value))

    def delete(self, name: str) -> None:
        self._cluster.request("DELETE", f"{self.path}/{name}")

    def committed(self) -> list[Got]:
        """What a `read_committed` reader finds in the topic and in the one for control records."""
        topics = (self.topic, f"{self.topic}.control")
        return [got for topic in topics for got in read_now(self._broker.bootstrap, topic)]

    def table(self) -> Table:
        """What a compacting reader of the topic holds, in the shape of `actual`."""
        messages = [
            Message(got.key, got.value, got.headers) for got in read_now(self._broker.bootstrap, self.topic)
        ]
        return {
            (record["resource"], record["namespace"], record["name"]): (
                record["uid"],
                record["resourceVersion"],
            )
            for record in table_of(messages).values()
        }

    def wait_equal(self) -> None:
        """Until the topic's table is the cluster."""
        cluster = actual(self._cluster, [self.path])
        self.service.wait(lambda: self.table() == cluster, "the topic to equal the cluster", seconds=60)

    def start(self) -> None:
        """Returns when the first listing has ended, and the topic is the cluster."""
        self.service.start()
        self.service.wait(lambda: self.resyncs("firstStart") == 1, "the first listing", seconds=60)
        self.wait_equal()

    def lose_topics(self) -> None:
        """Somebody deletes them."""
        admin = AdminClient({"bootstrap.servers": self._broker.bootstrap})
        for future in admin.delete_topics([self.topic, f"{self.topic}.control"]).values():
            future.result(20)

    def resyncs(self, cause: str) -> int:
        """How many RESYNC pairs of a cause stand in the topic for control records."""
        control = read_now(self._broker.bootstrap, f"{self.topic}.control")
        return sum(f'"cause":"{cause}"'.encode() in (got.value or b"") for got in control) // 2


@pytest.fixture
def feed(cluster: Cluster, namespace: str, kafka: Broker, start_service: StartService) -> Feed:
    return Feed(cluster, namespace, kafka, start_service)


def snapshot_of_volume(service: Service, copy: Path) -> None:
    """A copy of the state as it is at one moment under a running bridge."""
    service.program.signal(signal.SIGSTOP)
    shutil.copytree(service.state, copy, ignore=shutil.ignore_patterns("*.sock"))
    service.program.signal(signal.SIGCONT)


def backup_while_stopped(service: Service, copy: Path) -> None:
    """A copy that was taken between two runs."""
    assert service.stop() == 0
    shutil.copytree(service.state, copy)
    service.start()


def roll_back(service: Service, copy: Path) -> None:
    """The state is the old copy again."""
    shutil.rmtree(service.state)
    shutil.copytree(copy, service.state)


def live_on_and_roll_back(feed: Feed, copy: Path, back_up: BackUp) -> None:
    """The topic gets deletions, recreations and an object that the copy has never heard of."""
    service = feed.service
    feed.create("kept", "deleted", "recreated", "modified")
    feed.start()
    back_up(service, copy)
    feed.delete("deleted")
    feed.delete("recreated")
    feed.create("recreated", "later", "fleeting")
    feed.modify("modified", "2")
    feed.wait_equal()
    assert service.stop() == 0
    feed.delete("fleeting")
    roll_back(service, copy)


@pytest.mark.parametrize("back_up", [snapshot_of_volume, backup_while_stopped])
def test_a_state_that_was_rolled_back_is_refused_or_brought_up_to_date(
    feed: Feed, tmp_path: Path, back_up: BackUp
) -> None:
    """Exit 3, one sentence, nothing written; where `onStateLoss: resync` says so, the table is right."""
    live_on_and_roll_back(feed, tmp_path / "copy", back_up)
    before = feed.committed()
    program = feed.service.start().program
    assert program.end() == 3
    sentence = program.err.splitlines()[-1]
    assert sentence.startswith(f"kube-bridge: sink {feed.topic}: "), program.err
    assert "restored from an older copy" in sentence
    assert "set onStateLoss: resync on the sink" in sentence
    assert "bring that state back" in sentence
    assert feed.committed() == before, "nothing was written"

    feed.resync_on_state_loss()
    feed.service.start()
    feed.create("after")
    feed.modify("kept", "2")
    feed.wait_equal()
    feed.service.wait(lambda: feed.resyncs("stateLost") == 1, "the snapshot to be complete")
    assert feed.service.stop() == 0

    feed.service.start()
    feed.delete("after")
    feed.wait_equal()
    assert feed.service.stop() == 0
    assert feed.resyncs("stateLost") == 1, "once per loss"


def test_topics_that_were_deleted_under_a_running_bridge_equal_the_cluster_again(feed: Feed) -> None:
    feed.resync_on_state_loss()
    feed.create("kept", "deleted")
    feed.start()
    feed.lose_topics()
    feed.delete("deleted")
    feed.wait_equal()
    feed.service.wait(lambda: feed.resyncs("stateLost") == 1, "the snapshot to be complete", seconds=60)
    assert feed.service.stop() == 0


@pytest.fixture
def filed(cluster: Cluster, namespace: str, start_service: StartService, tmp_path: Path) -> Service:
    """A bridge that wrote to a file and is stopped; it was rolled back to before the last records."""
    path = CONFIGMAPS.format(namespace)
    cluster.request("POST", path, configmap("first"))
    service = start_service(
        cluster, [{"name": "cm", "apiVersion": "v1", "kind": "ConfigMap", "namespaces": [namespace]}]
    )
    service.start().wait_listed()
    snapshot_of_volume(service, tmp_path / "copy")
    cluster.request("POST", path, configmap("second"))
    cluster.request("DELETE", f"{path}/first")
    service.wait_types("first", "ADDED", "DELETED")
    assert service.stop() == 0
    roll_back(service, tmp_path / "copy")
    return service


@pytest.mark.parametrize("loss", ["rolled back", "gone"])
def test_a_file_that_has_more_than_the_state_is_not_written_to(filed: Service, loss: str) -> None:
    if loss == "gone":
        shutil.rmtree(filed.state)
    before = filed.out.read_bytes()
    program = filed.start().program
    assert program.end() == 3
    sentence = program.err.splitlines()[-1]
    assert sentence.startswith("kube-bridge: sink out: "), program.err
    assert "set onStateLoss: resync on the sink" in sentence
    assert f"or remove {filed.out}.cursor to begin anew" in sentence
    assert filed.out.read_bytes() == before


def test_a_file_gets_a_snapshot_where_so_configured(filed: Service, cluster: Cluster, namespace: str) -> None:
    path = CONFIGMAPS.format(namespace)
    filed.document["sinks"][0]["onStateLoss"] = "resync"
    cluster.request("DELETE", f"{path}/second")
    filed.start()
    cluster.request("POST", path, configmap("third"))
    filed.wait(lambda: len(filed.resyncs("stateLost")) == 1, "the snapshot to be complete", seconds=60)
    filed.wait(lambda: fold(filed.records()) == actual(cluster, [path]), "the file to equal the cluster")
    assert filed.stop() == 0
    filed.start()
    cluster.request("DELETE", f"{path}/third")
    filed.wait(lambda: fold(filed.records()) == actual(cluster, [path]), "the file to equal the cluster")
    assert filed.stop() == 0
    assert len(filed.resyncs("stateLost")) == 1, "once per loss"


def test_without_what_stands_beside_it_a_file_begins_anew(
    filed: Service, cluster: Cluster, namespace: str
) -> None:
    filed.out.with_name("out.jsonl.cursor").unlink()
    filed.start()
    path = CONFIGMAPS.format(namespace)
    cluster.request("POST", path, configmap("third"))
    filed.wait_types("third", "ADDED")
    filed.wait(lambda: fold(filed.records()) == actual(cluster, [path]), "the file to equal the cluster")
    assert filed.stop() == 0
