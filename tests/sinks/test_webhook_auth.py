"""Who we are to a receiver: tokens and passwords as they are now, fetched once for all who wait."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trio

from bridge.delivery.sink import Rejected, Unavailable
from bridge.logs import Level
from bridge.secret import Secret
from sinks.webhook.auth import AuthOptions, BasicOptions, OAuth2Options
from sinks.webhook.sink import Webhook
from sinks.webhook.unwelcome import Unwelcome
from tests.sinks.receiver import (
    CONTEXT,
    Received,
    Receiver,
    Step,
    answer,
    hangs_up,
    hooked,
    receiving,
    secret,
    send,
)


def authorizations(receiver: Receiver) -> list[str]:
    return [request.headers.get("authorization", "") for request in receiver.requests]


async def test_a_bearer_token_is_read_again_when_it_was_rotated(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    auth = AuthOptions(bearer=Secret(file=path))
    async with receiving() as receiver, hooked(receiver.url, auth=auth) as sink:
        await send(sink, 1)
        path.write_text("two\n")
        await send(sink, 2)
        autojump_clock.jump(11)
        await send(sink, 3)
        assert authorizations(receiver) == ["Bearer one", "Bearer one", "Bearer two"]
        path.unlink()
        autojump_clock.jump(11)
        with pytest.raises(
            Unavailable, match=r"`auth.bearer`: the secret's file .* cannot be read"
        ) as caught:
            await send(sink, 4)
        assert caught.value.reason == "credentials"


async def test_basic_is_a_user_and_a_password() -> None:
    auth = AuthOptions(basic=BasicOptions("me", secret("pä:ss")))
    async with receiving() as receiver, hooked(receiver.url, auth=auth) as sink:
        await send(sink, 1)
        assert authorizations(receiver) == ["Basic " + base64.b64encode("me:pä:ss".encode()).decode()]


@pytest.mark.parametrize("text", ["s3n\ntinel", "s3n\x00tinel"])
async def test_a_token_that_no_header_can_carry_is_told_without_it(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no header can carry it") as refused:
        AuthOptions(bearer=secret(text))
    assert "s3n" not in str(refused.value)
    path = tmp_path / "token"
    path.write_text(text)
    auth = AuthOptions(bearer=Secret(file=path))
    async with receiving() as receiver, hooked(receiver.url, auth=auth) as sink:
        with pytest.raises(Unavailable, match="no header can carry it") as caught:
            await send(sink, 1)
        assert "s3n" not in str(caught.value)
        assert receiver.requests == []


def test_a_receiver_that_refuses_who_we_are_is_told_once_and_what_keeps_the_records() -> None:
    """Three in a row: one record may well be forbidden alone."""
    lines: list[tuple[str, str, dict[str, object]]] = []

    def note(level: Level, event: str, /, **fields: object) -> None:
        lines.append((level, event, fields))

    unwelcome = Unwelcome(note)
    unwelcome.sink = "hook"
    for status in (401, 403, 204, 401, 403, 400, 403, 403):
        unwelcome.answered(status, "no")
    assert lines == []
    for _ in range(9):
        unwelcome.answered(401, "h answered 401 Unauthorized")
    [(level, event, fields)] = lines
    assert level == "error"
    assert "`onReject: halt`" in event
    assert fields == {"sink": "hook", "reason": "h answered 401 Unauthorized"}
    unwelcome.answered(200, "")
    assert lines[1][1] == "the receiver accepts who we are"


async def test_it_is_told_of_every_answer_with_the_name_of_the_sink(
    capsys: pytest.CaptureFixture[str],
) -> None:
    auth = AuthOptions(bearer=secret("s3ntinel"))
    async with receiving(always=answer(401)) as receiver, hooked(receiver.url, auth=auth) as sink:
        for number in range(5):
            with pytest.raises(Rejected):
                await send(sink, number)
    told = [line for line in capsys.readouterr().err.splitlines() if "refuses who we are" in line]
    assert len(told) == 1
    assert "401" in told[0]
    assert "s3ntinel" not in told[0]


@pytest.mark.parametrize("count", [0, 2, 3])
def test_exactly_one_way_is_configured(count: int) -> None:
    oauth2 = OAuth2Options("http://h", "id", secret("x"))
    ways: list[dict[str, Any]] = [
        {"bearer": secret("x")},
        {"basic": BasicOptions("a", secret("x"))},
        {"oauth2": oauth2},
    ]
    given: dict[str, Any] = {}
    for way in ways[:count]:
        given |= way
    with pytest.raises(ValueError, match="exactly one of bearer, basic and oauth2"):
        AuthOptions(**given)


# OAuth2


def token(name: str, **more: object) -> Step:
    body = json.dumps({"access_token": name, "token_type": "Bearer", **more}).encode()
    return answer(200, body, content_type="application/json")


def credentials(issuer: Receiver, **more: Any) -> AuthOptions:
    return AuthOptions(oauth2=OAuth2Options(f"{issuer.url}?tenant=t", "my id", secret("s3ntinel+%"), **more))


async def test_a_token_is_asked_for_as_the_standard_says() -> None:
    async with receiving(token("t1", expires_in=3600)) as issuer, receiving() as receiver:
        auth = credentials(issuer, scopes=("a", "b"), audience="https://aud")
        async with hooked(receiver.url, auth=auth) as sink:
            await send(sink, 1)
            await send(sink, 2)
        (request,) = issuer.requests
        assert request.method == "POST"
        assert request.target == "/hook?tenant=t"
        pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        assert pair == "my+id:s3ntinel%2B%25"
        assert parse_qs(request.body.decode()) == {
            "grant_type": ["client_credentials"],
            "scope": ["a b"],
            "audience": ["https://aud"],
        }
        assert authorizations(receiver) == ["Bearer t1"] * 2


async def test_an_issuer_may_want_id_and_secret_in_the_form() -> None:
    async with receiving(token("t1")) as issuer, receiving() as receiver:
        async with hooked(receiver.url, auth=credentials(issuer, client_authentication="form")) as sink:
            await send(sink, 1)
        (request,) = issuer.requests
        assert "authorization" not in request.headers
        form = parse_qs(request.body.decode())
        assert form["client_id"] == ["my id"]
        assert form["client_secret"] == ["s3ntinel+%"]


@pytest.mark.parametrize(
    ("expires", "good", "bad"), [(3600, 3500, 80), ("3600", 3500, 80), (20, 9, 2), (None, 200, 80)]
)
async def test_a_token_is_renewed_before_it_expires(
    expires: object, good: float, bad: float, autojump_clock: trio.testing.MockClock
) -> None:
    more = {} if expires is None else {"expires_in": expires}
    async with receiving(token("t1", **more), token("t2", **more)) as issuer, receiving() as receiver:
        async with hooked(receiver.url, auth=credentials(issuer)) as sink:
            await send(sink, 1)
            autojump_clock.jump(good)
            await send(sink, 2)
            autojump_clock.jump(bad)
            await send(sink, 3)
        assert authorizations(receiver) == ["Bearer t1", "Bearer t1", "Bearer t2"]


async def test_all_who_wait_share_one_token_and_one_failure() -> None:
    """A dead issuer is asked once for all lanes, not once for each of them in turn."""
    gate = trio.Event()

    def gated(step: Step) -> Step:
        async def then(request: Received, stream: trio.abc.Stream) -> bool:
            await gate.wait()
            return await step(request, stream)

        return then

    failures: list[float | None] = []
    async with receiving(gated(answer(503, retry_after="7")), token("t1")) as issuer, receiving() as receiver:
        async with hooked(receiver.url, auth=credentials(issuer), concurrency=8) as sink:

            async def one(number: int) -> None:
                try:
                    await send(sink, number)
                except Unavailable as error:
                    failures.append(error.retry_after)

            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(one, number)
                await trio.testing.wait_all_tasks_blocked()
                gate.set()
            assert failures == [7.0] * 8
            assert len(issuer.requests) == 1
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(one, number)
            assert len(issuer.requests) == 2
        assert authorizations(receiver) == ["Bearer t1"] * 8


async def test_when_the_one_who_fetches_is_cancelled_another_one_does() -> None:
    async with receiving(waiting(), token("t1")) as issuer, receiving() as receiver:
        async with hooked(receiver.url, auth=credentials(issuer)) as sink, trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def first() -> None:
                with scope:
                    await send(sink, 1)

            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(send, sink, 2)
            await trio.testing.wait_all_tasks_blocked()
            assert len(issuer.requests) == 1
            scope.cancel()
        assert authorizations(receiver) == ["Bearer t1"]
        assert len(receiver.ids) == 1


def waiting() -> Step:
    async def step(_: Received, stream: trio.abc.Stream) -> bool:
        await stream.receive_some()
        return False

    return step


async def test_after_a_401_a_new_token_is_tried_once() -> None:
    """A token can be revoked before it expires."""
    async with (
        receiving(token("t1"), token("t2"), token("t3")) as issuer,
        receiving(answer(401), answer(200), answer(401), answer(401)) as receiver,
        hooked(receiver.url, auth=credentials(issuer)) as sink,
    ):
        await send(sink, 1)
        assert authorizations(receiver) == ["Bearer t1", "Bearer t2"]
        with pytest.raises(Rejected, match="answered 401"):
            await send(sink, 2)
        assert authorizations(receiver)[2:] == ["Bearer t2", "Bearer t3"]
        assert len(set(receiver.ids)) == 2


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            answer(401, b'{"error":"invalid_client","error_description":"no s3ntinel+%"}'),
            r"gives no token: 401 \(invalid_client: its words .* not shown\); check `auth.oauth2`",
        ),
        (answer(500, b"[]"), "gives no token: 500; check"),
        (answer(302, location="/"), "gives no token: 302; check"),
        (answer(200, b"<html>"), "answered 200 without a token as RFC 6749 has it"),
        (answer(200, b'{"access_token": "a\\nb"}'), "without a token"),
        (answer(200, b'{"access_token": "a", "expires_in": "soon"}'), "without a token"),
        (answer(200, b'{"access_token": "a", "token_type": "mac"}'), "tokens of the type 'mac'"),
        (hangs_up, "closed the connection before it answered"),
    ],
)
async def test_an_issuer_that_gives_no_token_is_told_and_nothing_is_lost(step: Step, words: str) -> None:
    async with (
        receiving(step, token("t1")) as issuer,
        receiving() as receiver,
        hooked(receiver.url, auth=credentials(issuer)) as sink,
    ):
        with pytest.raises(Unavailable, match=words) as caught:
            await send(sink, 1)
        assert "s3ntinel" not in str(caught.value)
        assert "tenant" not in str(caught.value)
        assert receiver.requests == []
        await send(sink, 1)


@pytest.mark.parametrize("what", ["old-s3ntinel", base64.b64encode(b"my+id:old-s3ntinel").decode()])
async def test_an_issuer_that_repeats_what_it_was_sent_is_told_without_it(
    tmp_path: Path, what: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Also where the secret is another one by the time it answers."""
    path = tmp_path / "secret"
    path.write_text("old-s3ntinel")

    async def step(request: Received, stream: trio.abc.Stream) -> bool:
        path.write_text("new-s3ntinel")
        autojump_clock.jump(11)
        return await answer(401, json.dumps({"error": f"no {what}"}).encode())(request, stream)

    async with receiving(step) as issuer, receiving() as receiver:
        auth = AuthOptions(oauth2=OAuth2Options(issuer.url, "my id", Secret(file=path)))
        async with hooked(receiver.url, auth=auth) as sink:
            with pytest.raises(Unavailable, match="its words repeat a secret of ours"):
                await send(sink, 1)


async def test_check_asks_the_issuer_and_tells_what_it_says() -> None:
    refusal = answer(400, b'{"error":"invalid_scope"}')
    async with receiving(refusal) as issuer, receiving() as receiver:
        found = await Webhook(receiver.url, auth=credentials(issuer)).problems(CONTEXT)
        assert len(found) == 1
        assert "gives no token: 400 (invalid_scope)" in found[0]
        assert receiver.requests == []
