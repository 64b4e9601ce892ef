"""Requests go out as they are meant, and any answer is given, or told in one sentence without secrets."""

import pytest

from bridge.kubernetes.apiserver import ApiError, ApiServer
from bridge.kubernetes.connection import Connection
from bridge.kubernetes.explain import retry_after
from tests.kubernetes.wire import reply, says, serving


async def test_a_get_returns_status_headers_and_body_and_reuses_its_connection() -> None:
    async with (
        serving(says(reply(200, b"{}", x_Two="a"))) as peer,
        ApiServer(Connection(peer.url + "/pre")) as api,
    ):
        for _ in range(2):
            await api.get("/api", {"limit": "5", "continue": "a b"})
        response = await api.get("/api")
        assert (response.status, response.headers["x-two"], response.body) == (200, "a", b"{}")
        assert peer.connections == 1
        assert peer.requests[0].target == "/pre/api?limit=5&continue=a+b"
        assert peer.requests[0].header("user-agent").startswith("kube-bridge/")
        assert peer.requests[0].header("authorization") == ""


async def test_impersonation_headers_are_sent_each_on_its_own() -> None:
    groups = (("Impersonate-User", "jäne"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))
    async with (
        serving(says(reply(200))) as peer,
        ApiServer(Connection(peer.url, impersonation=groups)) as api,
    ):
        await api.get("/")
        sent = [pair for pair in peer.requests[0].headers if pair[0].startswith("Impersonate")]
        assert sent == [(name, value.encode().decode("latin-1")) for name, value in groups]


async def test_any_status_is_given_to_the_caller_and_can_be_made_an_error() -> None:
    body = b'{"kind":"Status","message":"pods \\"x\\" not found","reason":"NotFound","code":404}'
    async with serving(says(reply(404, body))) as peer, ApiServer(Connection(peer.url)) as api:
        response = await api.get("/x")
        assert (response.status, response.body) == (404, body)
        with pytest.raises(ApiError, match=r'/x answered 404: pods "x" not found$') as caught:
            response.checked()
        assert (caught.value.status, caught.value.reason) == (404, "NotFound")
        async with api.stream("/x", {"watch": "1"}) as stream:
            assert stream.status == 404
            assert (await stream.error()).message == 'pods "x" not found'


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"null", b"[]", b'"x"', b"{", b'{"kind":"Status","message":7}', b"[" * 60000]
)
async def test_no_error_body_can_break_the_error_path(body: bytes) -> None:
    """[G17]"""
    async with serving(says(reply(500, body))) as peer, ApiServer(Connection(peer.url)) as api:
        assert (await api.get("/x")).error().status == 500


async def test_server_words_are_one_printable_short_line() -> None:
    words = "bad\n\x1b[2Jthing " + "x" * 5000
    async with serving(says(reply(503, words.encode()))) as peer, ApiServer(Connection(peer.url)) as api:
        message = str((await api.get("/x")).error())
    assert "answered 503: bad [2Jthing xxx" in message
    assert message.isprintable()
    assert len(message) < 600


@pytest.mark.parametrize(
    ("header", "document", "seconds"),
    [
        ("7", {}, 7.0),
        ("", {"details": {"retryAfterSeconds": 3}}, 3.0),
        ("2", {"details": {"retryAfterSeconds": 3}}, 2.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", {}, 0.0),
        ("soon", {}, None),
        ("-1", {}, None),
        ("", {"details": {"retryAfterSeconds": "3"}}, None),
        ("", {"details": []}, None),
        ("", {}, None),
    ],
)
def test_retry_after_is_read_in_each_form(
    header: str, document: dict[str, object], seconds: float | None
) -> None:
    """[I3]"""
    assert retry_after({"retry-after": header}, document) == seconds


@pytest.mark.parametrize("status", [200, 401, 403])
async def test_a_login_page_is_told_as_such(status: int) -> None:
    """[A17]"""
    page = reply(status, b"<!DOCTYPE html><title>Sign in</title>", content_type="text/html; charset=utf-8")
    async with serving(says(page)) as peer, ApiServer(Connection(peer.url)) as api:
        with pytest.raises(
            ApiError, match="with a web page, not as a Kubernetes API server: is it a login page"
        ):
            (await api.get("/api")).checked()
        with pytest.raises(ApiError, match="with a web page"):
            async with api.stream("/api") as stream:
                raise await stream.error()


async def test_a_redirect_is_not_followed_and_named_without_its_query() -> None:
    """[B16]"""
    answer = reply(302, b"", location="https://sso.example/login?token=s3ntinel")
    async with serving(says(answer)) as peer, ApiServer(Connection(peer.url)) as api:
        with pytest.raises(
            ApiError, match=r"answered 302 with a web page and points to sso.example,"
        ) as caught:
            await api.get("/api")
        assert "s3ntinel" not in str(caught.value)
        assert len(peer.requests) == 1
