"""What a receiver repeats of our secrets is not told, stored or shown."""

import base64
import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import trio

from bridge.delivery.sink import Rejected
from bridge.secret import Secret
from sinks.webhook.auth import AuthOptions, BasicOptions
from tests.sinks.receiver import (
    Received,
    answer,
    hooked,
    receiving,
    secret,
    send,
)

NOT_SHOWN = "its words repeat a secret of ours and are not shown"


async def test_what_a_receiver_echoes_is_told_without_our_secrets() -> None:
    echo = answer(400, b"bad key s3ntinel-1")
    headers = {"x-key": secret("s3ntinel-1")}
    async with receiving(echo) as receiver, hooked(receiver.url, headers=headers) as sink:
        with pytest.raises(Rejected) as caught:
            await send(sink, 1)
    assert caught.value.reasons[0].endswith(f"answered 400 Bad Request: {NOT_SHOWN}")


async def test_what_a_receiver_echoes_is_told_without_the_keys_in_our_address() -> None:
    echo = answer(400, b"no rule for /hook?key=s3ntinel%2F1, that is s3ntinel/1")
    async with receiving(echo) as receiver, hooked(f"{receiver.url}?key=s3ntinel%2F1") as sink:
        with pytest.raises(Rejected) as caught:
            await send(sink, 1)
    assert caught.value.reasons[0].endswith(f"answered 400 Bad Request: {NOT_SHOWN}")


@pytest.mark.parametrize("kind", ["header", "bearer", "basic"])
async def test_a_secret_that_is_rotated_while_it_is_sent_is_not_told_either(
    tmp_path: Path, kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "secret"
    path.write_text("old-s3ntinel")
    rotated = Secret(file=path)
    options: dict[str, dict[str, Any]] = {
        "header": {"headers": {"x-key": rotated}},
        "bearer": {"auth": AuthOptions(bearer=rotated)},
        "basic": {"auth": AuthOptions(basic=BasicOptions("me", rotated))},
    }

    async def step(request: Received, stream: trio.abc.Stream) -> bool:
        path.write_text("new-s3ntinel")
        autojump_clock.jump(11)
        return await answer(400, b"who is old-s3ntinel there?")(request, stream)

    async with receiving(step) as receiver, hooked(receiver.url, **options[kind]) as sink:
        with pytest.raises(Rejected) as caught:
            await send(sink, 1)
    assert caught.value.reasons[0].endswith(f"answered 400 Bad Request: {NOT_SHOWN}")


@pytest.mark.parametrize("password", ["p4ssword-1", "pw", 'q"/\u00e9 &1'])
@pytest.mark.parametrize(
    "form",
    [
        str,
        lambda password: json.dumps({"password": password}),
        lambda password: json.dumps({"password": password}, ensure_ascii=False).replace("/", "\\/"),
        lambda password: f"p={quote(password, safe='')}&",
        lambda password: f"p={quote_plus(password)}&",
        lambda password: f"<{html.escape(password)}>, that is".lstrip("<"),
        lambda password: base64.b64encode(password.encode()).decode(),
        lambda password: base64.b64encode(f"me:{password}".encode()).decode(),
    ],
    ids=["plain", "json", "json with slashes", "url", "form", "html", "base64", "basic"],
)
async def test_a_password_is_not_told_in_whatever_form_it_is_echoed(
    password: str, form: Callable[[str], str]
) -> None:
    auth = AuthOptions(basic=BasicOptions("me", secret(password)))
    echo = answer(400, f"who is {form(password)} there?".encode())
    async with receiving(echo) as receiver, hooked(receiver.url, auth=auth) as sink:
        with pytest.raises(Rejected) as caught:
            await send(sink, 1)
    assert caught.value.reasons[0].endswith(f"answered 400 Bad Request: {NOT_SHOWN}")


async def test_words_that_only_look_like_a_short_value_are_told() -> None:
    """A password within another word is none, and a short text that stands in the clear is no secret."""
    auth = AuthOptions(basic=BasicOptions("me", secret("pw")))
    echo = answer(400, b"no spwan in prod")
    headers = {"x-env": secret("prod")}
    async with (
        receiving(echo) as receiver,
        hooked(f"{receiver.url}?v=no", auth=auth, headers=headers) as sink,
    ):
        with pytest.raises(Rejected, match="no spwan in prod"):
            await send(sink, 1)
