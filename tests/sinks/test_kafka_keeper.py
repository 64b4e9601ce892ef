"""Topics are looked at again and again, whatever a look comes to."""

from __future__ import annotations

import gc
import socket
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
from confluent_kafka.admin import AdminClient

from bridge.changes.change import StreamInfo
from bridge.delivery.sink import Stopped, Unavailable
from bridge.secret import SecretError
from sinks.kafka import keeper as kafka_keeper
from sinks.kafka.admin import Broken, Findings, Identity
from sinks.kafka.keeper import Keeper
from sinks.kafka.plan import Plan
from sinks.kafka.sink import Kafka
from tests.sinks.kafka_support import PODS, context

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sinks.kafka.admin import Wanted

NODES = StreamInfo("nodes", "", "v1", "nodes", "Node")


class Topics:
    """What is there, in place of a client that asks."""

    def identities(self, names: Sequence[str]) -> dict[str, Identity | None]:
        return {name: Identity("new", 1) for name in names}

    def limits(self, names: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(names, 1000)

    def close(self) -> None:
        """There is nothing to end."""


def keeping(patch: pytest.MonkeyPatch) -> Keeper:
    """A keeper that has looked at the topic `t`, behind which there is a new one now."""
    plan = Plan(Kafka("b:9092", "t"), context())
    keeper = Keeper(plan, plan.voice(), {}, {})
    keeper._data = {"t"}
    keeper._seen["t"] = Identity("old", 1)
    patch.setattr(kafka_keeper, "_EVERY_SECONDS", 0)
    patch.setattr(keeper, "_quiet", Topics)
    return keeper


def test_a_look_that_fails_leaves_no_client_to_the_garbage_collector() -> None:
    """It collects in any thread, also in the client's own, for which librdkafka aborts the process."""
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(each, AdminClient) for each in gc.get_objects())
        with socket.create_server(("127.0.0.1", 0)) as silent:
            plan = Plan(Kafka(f"127.0.0.1:{silent.getsockname()[1]}", "t"), context())
            with pytest.raises(Broken):
                kafka_keeper.inspect(plan, plan.wanted_first(), None)
        assert sum(isinstance(each, AdminClient) for each in gc.get_objects()) == before
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "error", [SecretError("the program failed"), Stopped("refused"), OSError("no such file")]
)
async def test_a_look_that_fails_half_way_is_not_the_last_one(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Its nursery is the sink's: what leaves it ends the session, as a bug would."""
    keeper = keeping(monkeypatch)
    looks = 0

    def inspect(*_: object) -> tuple[Findings, list[str]]:
        nonlocal looks
        looks += 1
        if looks > 1:
            trio.from_thread.run_sync(scope.cancel)
        raise error

    monkeypatch.setattr(kafka_keeper, "inspect", inspect)
    with trio.move_on_after(20) as scope:
        await keeper.watch()
    assert looks == 2


async def test_a_right_that_is_missing_is_missing_until_a_look_finds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keeper = keeping(monkeypatch)
    monkeypatch.setattr(kafka_keeper, "log", lambda *_, **__: None)
    forbidden = ["t"]

    def inspect(_: Plan, wanted: Wanted, __: object) -> tuple[Findings, list[str]]:
        names = wanted.names
        identities = {name: Identity("new", 1) for name in names}
        return Findings(identities=identities, forbidden=[name for name in names if name in forbidden]), []

    monkeypatch.setattr(kafka_keeper, "inspect", inspect)
    now: dict[str, Identity | None] = {"t": Identity("new", 1)}
    for _ in range(3):
        await keeper._compare(now)
        with pytest.raises(Unavailable, match="does not allow"):
            await keeper.look_at([], set())
    forbidden.clear()
    await keeper._compare(now)
    await keeper.look_at([], set())


@pytest.mark.parametrize("said", ["; a snapshot follows", "kube-bridge snapshot --stream pods --sink"])
async def test_a_topic_that_is_a_new_one_has_its_streams_sent_anew_where_that_is_configured(
    said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the log says how to ask for it; and either once for each new topic."""
    lost: list[Sequence[str]] = []

    async def note(streams: Collection[str]) -> bool:
        await trio.lowlevel.checkpoint()
        lost.append(sorted(streams))
        return said == "; a snapshot follows"

    plan = Plan(
        Kafka("b:9092", "k.{stream}"), msgspec.structs.replace(context(streams=[PODS, NODES]), lost=note)
    )
    keeper = Keeper(plan, plan.voice(), {}, {})
    for pods, control in ("old", "old"), ("new", "new"), ("new", "newer"):
        found = Findings()
        for name, identity in {"k.pods": pods, "k.pods.control": control, "k.nodes": "old"}.items():
            found.identities[name] = Identity(identity, 1)
        assert await keeper._take(found, (), plan.wanted_first()) is None
    assert lost == [["pods"]]
    assert [line.count(said) for line in capsys.readouterr().err.splitlines() if 'k.pods"' in line] == [1]
