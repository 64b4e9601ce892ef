"""The webhook passes the kit that third-party sinks are asked to pass."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from bridge.changes.envelope import Format
from bridge.testing import UNWELCOME, check_sink
from sinks.webhook.body import CloudEvents
from sinks.webhook.sink import Webhook
from tests.sinks.receiver import SECRET, Received, answer, ok, receiving, secret


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        (Format.NATIVE, None),
        (Format.KUBERNETES, None),
        (Format.CLOUDEVENTS, None),
        (Format.CLOUDEVENTS, "structured"),
        (Format.CLOUDEVENTS, "batch"),
    ],
)
async def test_webhooks_pass(form: Format, mode: CloudEvents | None) -> None:
    away = False
    held: list[bytes] = []

    async def step(request: Received, stream: trio.abc.Stream) -> bool:
        if away:
            return False
        if UNWELCOME.encode() in request.body:
            return await answer(422)(request, stream)
        held.extend(parts(request.body) if mode == "batch" else [request.body])
        return await ok(request, stream)

    @asynccontextmanager
    async def outage() -> AsyncIterator[None]:
        """It hangs up on everybody."""
        nonlocal away
        away = True
        yield
        away = False

    async with receiving(always=step) as receiver:
        await check_sink(
            lambda: Webhook(receiver.url, cloud_events=mode, signing_secret=(secret(SECRET),)),
            lambda: held,
            outage=outage,
            refuses=True,
            form=form,
        )


def parts(body: bytes) -> list[bytes]:
    """The items of an array, each as it was written."""
    text, decoder, found, index = body.decode(), json.JSONDecoder(), [], 1
    while text[index - 1] != "]":
        _, end = decoder.raw_decode(text, index)
        found.append(text[index:end].encode())
        index = end + 1
    return found
