"""Several records a request: who is to blame for a refusal, and what the halves of a batch cost."""

import json
from collections.abc import Sequence

import pytest
import trio

from bridge.delivery.sink import Rejected, Unavailable
from sinks.webhook.sink import Webhook
from tests.sinks.receiver import (
    Received,
    Step,
    answer,
    hooked,
    receiving,
    record,
    send,
    verify,
)


def refusing(bad: set[int]) -> Step:
    """400 for a batch that holds one of these."""

    async def step(request: Received, stream: trio.abc.Stream) -> bool:
        found = {item["n"] for item in json.loads(request.body)}
        return await answer(400 if found & bad else 200)(request, stream)

    return step


@pytest.mark.parametrize("bad", [(), (0,), (15,), (3, 9), tuple(range(16))], ids=str)
async def test_of_a_batch_only_those_are_rejected_that_are_to_blame(bad: Sequence[int]) -> None:
    async with (
        receiving(always=refusing(set(bad))) as receiver,
        hooked(receiver.url, together=16) as sink,
    ):
        refused: list[int] = []
        try:
            await send(sink, *range(16))
        except Rejected as error:
            refused = sorted(error.reasons)
        assert tuple(refused) == tuple(bad)
        assert len(receiver.requests) <= max(1, 2 * 16 - 1)
        owned = [
            item["n"]
            for request in receiver.requests
            for item in verify(request)
            if not {each["n"] for each in verify(request)} & set(bad)
        ]
        assert owned == [number for number in range(16) if number not in bad], "each once, and in order"


async def test_each_request_of_a_batch_but_the_first_waits_for_the_rate_limit() -> None:
    requests: list[Received] = []
    admitted: list[tuple[int, int, int]] = []

    async def admit(records: int, size: int) -> None:
        await trio.lowlevel.checkpoint()
        admitted.append((len(requests), records, size))

    async with (
        receiving(always=refusing({3})) as receiver,
        hooked(receiver.url, together=8, admit=admit) as sink,
    ):
        requests = receiver.requests
        with pytest.raises(Rejected):
            await send(sink, *range(8))
    size = len(record(0).value)
    sent = [len(verify(request)) for request in requests]
    assert sent == [8, 4, 2, 2, 1, 1, 4], "the first one was admitted before it came to the sink"
    assert admitted == [(number, count, count * size) for number, count in enumerate(sent)][1:]


async def test_a_batch_that_is_refused_whatever_it_holds_is_not_taken_apart() -> None:
    async with receiving(always=answer(404)) as receiver, hooked(receiver.url, together=16) as sink:
        with pytest.raises(Rejected) as caught:
            await send(sink, *range(16))
        assert sorted(caught.value.reasons) == list(range(16))
        assert len(receiver.requests) == 1


async def test_a_batch_that_comes_again_has_the_same_id() -> None:
    async with receiving(answer(503)) as receiver, hooked(receiver.url, together=3) as sink:
        with pytest.raises(Unavailable):
            await send(sink, 1, 2, 3)
        await send(sink, 1, 2, 3)
        assert len(set(receiver.ids)) == 1
        await send(sink, 1, 2)
        assert len(set(receiver.ids)) == 2


def test_one_record_a_request_unless_batching_is_asked_for() -> None:
    assert Webhook("http://h").default_records == 1
    assert Webhook("http://h").max_records > 100
    assert Webhook("http://h", cloud_events="binary").max_records == 1
    assert Webhook("http://h", cloud_events="structured").max_records == 1
    assert Webhook("http://h", cloud_events="batch").default_records > 1
