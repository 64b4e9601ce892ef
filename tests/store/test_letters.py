"""Dead letters, in the log on disk and in the one in memory."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from bridge.changes.change import Change, Cursor
from bridge.changes.deadletter import DeadLetter
from bridge.store.contract import LettersFull, Log, Refused
from bridge.store.letterbox import Redriven
from bridge.store.log import SqliteLog
from tests.store.reading import flat, heard, read_all, store
from tests.store.samples import PODS, SECRETS, change, deleted, emit, letter


async def test_letters_are_kept_listed_and_counted_by_sink(log: Log) -> None:
    record = Change("DELETED", "resync", 5, "shop", "a", "u", "7", 2, b'{"x":1}', {"gone": "unknown"})
    letters = [
        letter(1, change("a", 1)),
        letter(2, record, stream=SECRETS),
        letter(2, change("b", 3), sink="hook"),
    ]
    await log.bury(letters[:2])
    await log.bury(letters[2:])
    kept = await log.dead_letters(None, 0, 10)
    assert [one.number for one in kept] == sorted({one.number for one in kept})
    assert [unnumbered(one) for one in kept] == letters
    assert await log.dead_letters("hook", 0, 10) == [kept[2]]
    assert await log.dead_letters("out", kept[0].number, 10) == [kept[1]]
    assert await log.dead_letters(None, 0, 2) == kept[:2]
    assert dict(log.letter_counts()) == {"out": 2, "hook": 1}


def unnumbered(one: DeadLetter) -> DeadLetter:
    return DeadLetter(**{name: getattr(one, name) for name in one.__struct_fields__ if name != "number"})


async def test_a_record_refused_again_after_a_crash_is_one_letter(log: Log) -> None:
    await log.bury([letter(5, change("a", 1))])
    (before,) = await log.dead_letters(None, 0, 10)
    again = DeadLetter("out", 5, PODS, change("a", 1), "id-1", "key", "1", "still too large", 2, 30, 40)
    await log.bury([again])
    (after,) = await log.dead_letters(None, 0, 10)
    assert after.number == before.number
    assert (after.reason, after.attempts, after.first_at, after.last_at) == ("still too large", 5, 10, 40)
    assert dict(log.letter_counts()) == {"out": 1}


async def test_purging_forgets_what_is_named_and_numbers_are_not_used_again(log: Log) -> None:
    await log.bury([letter(n, change("a", n)) for n in range(1, 6)])
    await log.bury([letter(9, change("a", 9), sink="hook")])
    numbers = [one.number for one in await log.dead_letters(None, 0, 10)]
    assert await log.purge("out", [numbers[0], numbers[2], numbers[5], 999]) == 2
    assert await log.purge(None, [numbers[1], numbers[5]]) == 2
    assert dict(log.letter_counts()) == {"out": 2}
    assert await log.purge("out", None) == 2
    assert dict(log.letter_counts()) == {}
    await log.bury([letter(20, change("a", 1))])
    assert (await log.dead_letters(None, 0, 10))[0].number > max(numbers)
    assert await log.purge(None, None) == 1


async def test_letters_beyond_their_share_are_refused_whole(log: Log) -> None:
    chance = random.Random(1)
    kept = 0

    async def fill() -> None:
        nonlocal kept
        while kept < 1000:
            await log.bury(pair(kept))
            kept += 2

    def pair(after: int) -> list[DeadLetter]:
        body = chance.randbytes(30_000)
        return [letter(n, change(f"p{n}", n, body=body[n % 7 :])) for n in (after + 1, after + 2)]

    with pytest.raises(LettersFull, match=r"maxBytes.*purge"):
        await fill()
    assert 0 < kept < 1000
    assert dict(log.letter_counts()) == {"out": kept}
    assert await log.purge("out", [one.number for one in await log.dead_letters("out", 0, 4)]) == 4
    await log.bury(pair(kept))


async def test_a_redrive_puts_letters_behind_the_end_addressed_oldest_first_and_forgets_them(
    log: Log,
) -> None:
    await log.open_sink("out", "f")
    records = [change("a", 1), change("b", 2), change("c", 3)]
    await store(log, *records)
    await log.append(SECRETS, "", emit(change("s", 4)), size=10)
    await log.flush()
    await log.bury([letter(1, records[1]), letter(2, records[0]), letter(4, change("s", 4), stream=SECRETS)])
    await log.bury([letter(7, change("x", 1), sink="hook")])
    end = log.end()
    assert await log.redrive("out", None, force=False) == Redriven(3, 0)
    batches = await read_all(log, end)
    assert [item for _, item in flat(batches)] == [records[1], records[0], change("s", 4)]
    assert {batch.audience for batch in batches} == {"out"}
    assert [batch.stream for batch in batches][-1] == SECRETS
    assert dict(log.letter_counts()) == {"hook": 1}
    await store(log, change("a", 9))
    assert (await heard(log, "out", end))[-1] == ("MODIFIED", "9")


async def test_a_letter_that_is_refused_again_after_a_redrive_is_the_same_one(log: Log) -> None:
    """A person sees how often it was tried in all, under the number that they know."""
    await log.open_sink("out", "f")
    records = [change("a", 1), change("b", 2), change("c", 3)]
    await store(log, *records)
    await log.bury([letter(n, record) for n, record in enumerate(records, 1)])
    first, _, last = before = await log.dead_letters(None, 0, 10)
    end = log.end()
    assert await log.redrive("out", None, force=False) == Redriven(3, 0)
    places = [position for position, _ in flat(await read_all(log, end))]
    assert await log.dead_letters(None, 0, 10) == []
    again = [
        msgspec.structs.replace(
            one, position=place, reason="still", attempts=2, first_at=30, last_at=40, number=0
        )
        for one, place in zip(before, places, strict=True)
    ]
    await log.bury([again[0], again[2]])
    await log.bury([again[2]])
    known = msgspec.structs.replace(again[0], number=first.number, attempts=5, first_at=first.first_at)
    twice = msgspec.structs.replace(again[2], number=last.number, attempts=7, first_at=last.first_at)
    assert await log.dead_letters(None, 0, 10) == [known, twice]
    assert dict(log.letter_counts()) == {"out": 2}
    log.acknowledge("out", places[-1])
    await log.flush()
    end = log.end()
    assert await log.redrive("out", None, force=False) == Redriven(2, 0), "the record is kept with it"
    assert [item for _, item in flat(await read_all(log, end))] == [records[0], records[2]]
    assert dict(log.letter_counts()) == {}
    await log.bury([letter(99, change("d", 4))])
    assert [one.number for one in await log.dead_letters(None, 0, 10)] == [last.number + 1]


async def test_what_stays_of_a_redriven_letter_goes_with_the_next_redrive_or_purge(tmp_path: Path) -> None:
    def rows() -> int:
        with closing(sqlite3.connect(f"file:{tmp_path}/log.db?mode=ro", uri=True)) as file:
            return int(file.execute("SELECT count(*) FROM dead_letter").fetchone()[0])

    async with SqliteLog.open(tmp_path) as log:
        await log.open_sink("out", "f")
        await store(log, change("a", 1), change("b", 2))
        await log.bury([letter(1, change("a", 1)), letter(2, change("b", 2))])
        first, second = [one.number for one in await log.dead_letters(None, 0, 10)]
        await log.redrive("out", [first], force=False)
        log.acknowledge("out", log.end())
    assert rows() == 2
    async with SqliteLog.open(tmp_path) as log:
        await log.open_sink("out", "f")
        assert dict(log.letter_counts()) == {"out": 1}
        await log.redrive("out", [second], force=False)
        log.acknowledge("out", log.end())
    assert rows() == 1
    async with SqliteLog.open(tmp_path) as log:
        await log.bury([letter(9, change("a", 1))])
        await log.purge(None, None)
    assert rows() == 0


def control(kind: str) -> Change:
    return Change(kind, "resync", 1, "", "", "", "", 0, b"", {"id": "stem", "phase": "begin"})


def other(name: str, rv: int) -> Change:
    return msgspec.structs.replace(change(name, rv), uid="another")


Verdict = tuple[str, Change, Sequence[Change], bool]

VERDICTS: Sequence[Verdict] = [
    ("unchanged since", change("a", 5), [change("a", 5)], True),
    ("newer than what is known, as a snapshot can be", change("a", 6), [change("a", 5)], True),
    ("a newer revision is known", change("a", 5), [change("a", 6)], False),
    ("revisions are numbers, not texts", change("a", 9), [change("a", 10)], False),
    ("the object is gone", change("a", 5), [change("a", 5), deleted("a", 6)], False),
    ("its deletion, and it is gone", deleted("a", 6), [change("a", 5), deleted("a", 6)], True),
    ("its deletion, and it is back", deleted("a", 6), [change("a", 6)], False),
    ("another object has the name", change("a", 5), [other("a", 4)], False),
    ("the deletion of one whose name another has", deleted("a", 5), [other("a", 4)], False),
    ("a RESYNC", control("RESYNC"), [change("a", 5)], True),
    ("a POISON", control("POISON"), [], True),
]


@pytest.mark.parametrize(("record", "since", "right"), [case[1:] for case in VERDICTS])
async def test_a_redrive_never_puts_an_older_state_over_a_newer_one_unless_forced(
    log: Log, record: Change, since: Sequence[Change], right: object
) -> None:
    await log.open_sink("out", "f")
    await store(log, *since)
    await log.bury([letter(1, record)])
    end = log.end()
    assert await log.redrive("out", None, force=False) == (Redriven(1, 0) if right else Redriven(0, 1))
    if not right:
        assert log.end() == end
        assert dict(log.letter_counts()) == {"out": 1}
        assert await log.redrive("out", None, force=True) == Redriven(1, 0)
    assert [item for _, item in flat(await read_all(log, end))] == [record]


async def test_what_was_refused_before_a_backup_was_restored_is_older_than_what_is_known_now(
    log: Log,
) -> None:
    """Its revision is greater, of an epoch that is over."""
    await log.open_sink("out", "f")
    await log.append(PODS, "", emit(change("a", 3)), size=10, epoch=1, cursor=Cursor("3", "3"))
    await log.flush()
    await log.bury([letter(1, change("a", 5)), letter(2, change("a", 3))])
    assert await log.redrive("out", None, force=False) == Redriven(1, 1)


async def test_only_the_letters_that_are_named_are_redriven_and_many_of_them_too(log: Log) -> None:
    await log.open_sink("out", "f")
    items = [change(f"p{n:03}", n) for n in range(1, 301)]
    await store(log, *items)
    await log.bury([letter(n, item) for n, item in enumerate(items, 1)])
    numbers = [one.number for one in await log.dead_letters("out", 0, 1000)]
    end = log.end()
    assert await log.redrive("out", [*numbers[5:250], 9999], force=False) == Redriven(245, 0)
    assert [item for _, item in flat(await read_all(log, end))] == items[5:250]
    assert [one.number for one in await log.dead_letters("out", 0, 1000)] == numbers[:5] + numbers[250:]


async def test_a_redrive_to_a_sink_that_is_not_open_is_refused_and_the_log_goes_on(log: Log) -> None:
    await log.bury([letter(1, change("a", 1))])
    with pytest.raises(Refused, match="sink out is not open"):
        await log.redrive("out", None, force=True)
    assert dict(log.letter_counts()) == {"out": 1}
    await store(log, change("a", 2))


async def test_a_number_that_no_letter_can_have_is_no_letters_and_the_log_goes_on(log: Log) -> None:
    position = (await log.open_sink("out", "f")).position
    await log.bury([letter(1, change("a", 1))])
    impossible = [-1, 0, 2**63, 10**40]
    assert await log.purge("out", impossible) == 0
    assert await log.redrive("out", impossible, force=True) == Redriven(0, 0)
    assert await log.redrive("out", [*impossible, 1], force=True) == Redriven(1, 0)
    assert len(flat(await read_all(log, position))) == 1


async def test_a_redrive_leaves_alone_what_belongs_to_other_streams_than_those_that_are_named(
    log: Log,
) -> None:
    position = (await log.open_sink("out", "f")).position
    await log.bury([letter(1, deleted("a", 1)), letter(2, deleted("a", 1), stream=SECRETS)])
    assert await log.redrive("out", None, force=False, streams=["pods"]) == Redriven(1, 0, 1)
    assert await log.redrive("out", None, force=True, streams=[]) == Redriven(0, 0, 1)
    assert [batch.stream.name for batch in await read_all(log, position)] == ["pods"]
    assert [one.stream for one in await log.dead_letters(None, 0, 9)] == [SECRETS]
