"""Topics are looked at again and again, whatever a look comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from bridge.delivery.sink import Stopped
from bridge.secret import SecretError
from sinks.kafka import keeper as kafka_keeper
from sinks.kafka.admin import Findings, Identity
from sinks.kafka.keeper import Keeper
from sinks.kafka.plan import Plan
from sinks.kafka.sink import Kafka
from tests.sinks.kafka_support import context

if TYPE_CHECKING:
    from collections.abc import Sequence


class Topics:
    """What is there, in place of a client that asks."""

    def identities(self, names: Sequence[str]) -> dict[str, Identity | None]:
        return {name: Identity("new", 1) for name in names}


def keeping(patch: pytest.MonkeyPatch) -> Keeper:
    """A keeper that has looked at the topic `t`, behind which there is a new one now."""
    plan = Plan(Kafka("b:9092", "t"), context())
    keeper = Keeper(plan, plan.voice(), {})
    keeper._data = {"t"}
    keeper._seen["t"] = Identity("old", 1)
    patch.setattr(kafka_keeper, "_EVERY_SECONDS", 0)
    patch.setattr(keeper, "_quiet", Topics)
    return keeper


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
