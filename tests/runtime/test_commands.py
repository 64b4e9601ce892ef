"""What a running bridge does for commands, over a log in memory: dead letters above all."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge.changes.change import Change, StreamInfo
from bridge.changes.deadletter import DeadLetter
from bridge.changes.envelope import Bridge
from bridge.changes.reconcile import Inventory, Known
from bridge.config import load
from bridge.delivery.stats import SinkStats
from bridge.errors import UsageError
from bridge.runtime.commands import Commands
from bridge.runtime.health import Health
from bridge.runtime.outlets import Outlets
from bridge.runtime.snapshots import SnapshotDesk
from bridge.store.memory import MemoryLog

INFO = StreamInfo("cm", "", "v1", "configmaps", "ConfigMap")
CONFIG = {
    "configVersion": 1,
    "cluster": {"name": "test"},
    "state": {"path": "state"},
    "streams": [
        {"name": "cm", "apiVersion": "v1", "kind": "ConfigMap", "namespaces": ["a", "b"]},
        {"name": "pods", "apiVersion": "v1", "kind": "Pod"},
    ],
    "sinks": [
        {"name": "all", "type": "jsonlines", "path": "all.jsonl"},
        {
            "name": "some",
            "type": "jsonlines",
            "path": "some.jsonl",
            "streams": ["pods"],
            "format": "kubernetes",
        },
    ],
}


def letter(number: int, sink: str = "all", body: bytes = b'{"a":1}') -> DeadLetter:
    change = Change("ADDED", "watch", 0, "n", f"n{number}", f"u{number}", "7", 0, body)
    names = (f"id-{number}", f"key-{number}", "00000017")
    return DeadLetter(sink, number, INFO, change, *names, "too large", 3, 1_000_000, 62_000_000)


def state(kind: str) -> Change:
    return Change(kind, "watch", 0, "n", "n1", "u1", "7", 0, b"{}")


def put(inventory: Inventory) -> Sequence[Change]:
    inventory.put(b"n/n1", Known("u1", "7"))
    return ()


class Bench:
    def __init__(self, folder: Path) -> None:
        path = folder / "config.yaml"
        path.write_text(json.dumps(CONFIG))
        config = load(path)
        self.log = MemoryLog()
        self.desk = SnapshotDesk(self.log)
        self.outlets = Outlets(config, self.log, lambda *_: pytest.fail("nothing is owed"))
        self.outlets.bridge = Bridge("test", "cu")
        health = Health(self.log, ["cm", "pods"])
        self.commands = Commands(config, self.log, health, self.outlets, self.desk)

    async def ask(self, command: str, items: list[Any] | None = None, **arguments: Any) -> Any:
        into: list[Any] = [] if items is None else items

        async def send(item: Any) -> None:
            into.append(json.loads(json.dumps(item)))

        return json.loads(json.dumps(await self.commands(command, arguments, send)))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_dead_letters_are_listed_and_shown_as_they_were_handed_over(bench: Bench) -> None:
    await bench.log.bury([letter(1), letter(2, "some"), letter(3)])
    items: list[Any] = []
    await bench.ask("deadletters", items)
    assert [(item["id"], item["sink"], item["name"], item["reason"]) for item in items] == [
        (1, "all", "n1", "too large"), (2, "some", "n2", "too large"), (3, "all", "n3", "too large"),
    ]  # fmt: skip
    assert "record" not in items[0]
    items.clear()
    await bench.ask("deadletters", items, sink="all", records=True)
    assert [item["id"] for item in items] == [1, 3]
    shown = items[0]
    assert (shown["attempts"], shown["first"], shown["last"]) == (
        3,
        "1970-01-01T00:00:01Z",
        "1970-01-01T00:01:02Z",
    )
    assert json.loads(shown["record"])["object"] == {"a": 1}
    items.clear()
    await bench.ask("deadletters", items, ids=[2], records=True)
    assert [item["record"] for item in items] == ['{"type":"ADDED","object":{"a":1}}']


async def test_a_letter_whose_bytes_are_no_text_can_be_shown(bench: Bench) -> None:
    await bench.log.bury([letter(1, body=b'{"a":"\xff"}')])
    items: list[Any] = []
    await bench.ask("deadletters", items, records=True)
    assert "\ufffd" in items[0]["record"]


async def test_more_letters_than_a_page_are_listed_once_each(bench: Bench) -> None:
    await bench.log.bury([letter(number) for number in range(1, 256)])
    items: list[Any] = []
    await bench.ask("deadletters", items)
    assert [item["id"] for item in items] == list(range(1, 256))


async def test_a_purge_takes_what_was_named_and_nothing_by_accident(bench: Bench) -> None:
    await bench.log.bury([letter(1), letter(2), letter(3, "some")])
    with pytest.raises(UsageError, match="ids, or all"):
        await bench.ask("purge")
    with pytest.raises(UsageError, match="ids, or all"):
        await bench.ask("purge", sink="all", ids=[])
    assert bench.log.letter_counts() == {"all": 2, "some": 1}
    assert await bench.ask("purge", ids=[2]) == {"purged": 1}
    assert await bench.ask("purge", sink="some", all=True) == {"purged": 1}
    assert bench.log.letter_counts() == {"all": 1}


@pytest.mark.parametrize("command", ["purge", "redrive"])
async def test_a_letter_that_is_not_there_is_told_and_then_nothing_is_done(
    bench: Bench, command: str
) -> None:
    await bench.log.open_sink("all", "f")
    await bench.log.bury([letter(1), letter(2, "some"), letter(3)])
    with pytest.raises(UsageError, match="no dead letter 2, 77 of the sink all, so nothing was done"):
        await bench.ask(command, sink="all", ids=[77, 1, 2])
    assert bench.log.letter_counts() == {"all": 2, "some": 1}


async def test_letters_of_a_sink_that_left_the_configuration_can_still_be_seen_and_purged(
    bench: Bench,
) -> None:
    await bench.log.bury([letter(1, "gone")])
    items: list[Any] = []
    await bench.ask("deadletters", items, sink="gone", records=True)
    assert [(item["id"], item["record"]) for item in items] == [(1, None)]
    assert await bench.ask("purge", sink="gone", all=True) == {"purged": 1}


async def test_a_redrive_says_what_it_left_alone(bench: Bench) -> None:
    await bench.log.open_sink("all", "f")
    await bench.log.bury([letter(1), letter(2)])
    said = await bench.ask("redrive", sink="all", ids=[1], force=True)
    assert said == {"redriven": 1, "superseded": 0, "foreign": 0}
    said = await bench.ask("redrive", sink="all")
    assert said == {"redriven": 0, "superseded": 1, "foreign": 0}, "its object is not known any more"


async def test_a_letter_of_a_stream_that_was_renamed_is_not_put_over_what_its_sink_got_since(
    bench: Bench,
) -> None:
    """What was known of its object froze with the old name; by force a person may know better."""
    position = (await bench.log.open_sink("all", "f")).position
    frozen = msgspec.structs.replace(INFO, name="old-name")
    await bench.log.append(frozen, "", put, size=1)
    for kind in ("ADDED", "DELETED"):
        await bench.log.bury([msgspec.structs.replace(letter(1), stream=frozen, change=state(kind))])
        said = await bench.ask("redrive", sink="all")
        assert said == {"redriven": 0, "superseded": 0, "foreign": 1}
        said = await bench.ask("redrive", sink="all", force=True)
        assert said == {"redriven": 1, "superseded": 0, "foreign": 0}
        assert [batch.audience for batch in await bench.log.read(position, 1 << 20)] == ["all"]
        position = bench.log.end()


async def test_a_letter_that_its_sink_would_not_be_handed_stays_a_letter(bench: Bench) -> None:
    """The streams of a sink were narrowed: at hand-out the record would be passed over and be lost."""
    await bench.log.open_sink("some", "f")
    await bench.log.bury([letter(1, "some")])
    for force in (False, True):
        said = await bench.ask("redrive", sink="some", force=force)
        assert said == {"redriven": 0, "superseded": 0, "foreign": 1}
    assert bench.log.letter_counts() == {"some": 1}


async def test_a_snapshot_is_asked_for_each_watch_of_each_sink_that_wants_the_stream(bench: Bench) -> None:
    assert await bench.ask("snapshot", stream="pods") == {"sinks": ["all", "some"]}
    assert await bench.ask("snapshot", stream="cm", sink="all") == {"sinks": ["all"]}
    owed = await bench.log.snapshot_requests()
    assert sorted((r.sink, r.stream, r.scope, r.cause) for r in owed) == [
        ("all", "cm", "a", "requested"), ("all", "cm", "b", "requested"), ("all", "pods", "", "requested"),
        ("some", "pods", "", "requested"),
    ]  # fmt: skip
    assert len({request.id for request in owed}) == 4
    with pytest.raises(UsageError, match="the sink some does not take records of the stream cm"):
        await bench.ask("snapshot", stream="cm", sink="some")


async def test_a_sink_that_is_not_open_yet_is_said_so(bench: Bench) -> None:
    """The cluster was never reached, so nobody knows whose records these would be."""
    for command in ("pause", "resume"):
        with pytest.raises(UsageError, match="not open yet"):
            await bench.ask(command, sink="all")
    status = await bench.ask("status")
    assert [(sink["sink"], sink["state"]) for sink in status["sinks"]] == [
        ("all", "starting"),
        ("some", "starting"),
    ]
    assert [(stream["stream"], stream["state"]) for stream in status["streams"]] == [
        ("cm", "starting"), ("pods", "starting"),
    ]  # fmt: skip


async def test_why_a_sink_is_as_it_is_and_what_the_log_keeps_for_it_are_told_together(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = [SinkStats("all", reason="refused", kept="9 MiB"), SinkStats("some", kept="1 MiB")]
    monkeypatch.setattr(Outlets, "stats", stats)
    status = await bench.ask("status")
    assert [sink["reason"] for sink in status["sinks"]] == ["refused; 9 MiB", "1 MiB"]


@pytest.mark.parametrize("ids", ["7", ["7"], 7, [None], [True], [0], [-1], [2**63], [10**40], [7.0]])
@pytest.mark.parametrize("command", ["purge", "redrive", "deadletters"])
async def test_ids_that_are_no_numbers_of_letters_are_refused(bench: Bench, command: str, ids: Any) -> None:
    with pytest.raises(UsageError, match="numbers"):
        await bench.ask(command, sink="all", ids=ids)
    assert (await bench.ask("status"))["sinks"]


async def test_a_command_of_another_version_is_said_so(bench: Bench) -> None:
    with pytest.raises(UsageError, match="another version"):
        await bench.ask("audit")
