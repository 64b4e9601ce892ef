"""Reaching a receiver: TLS, certificates and proxies; and one clear sentence where it cannot be reached."""

import ssl
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from bridge.delivery.sink import Context, Rejected, Unavailable
from bridge.secret import Secret
from sinks.webhook.auth import AuthOptions, OAuth2Options
from sinks.webhook.sink import Webhook
from sinks.webhook.tls import TlsOptions
from tests.kubernetes.test_apiserver_proxies import context_for, proxying
from tests.sinks.receiver import SECRET, answer, hooked, receiving, secret, send

CONTEXT = Context("hook", "c", "cluster-uid")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    authority.cert_pem.write_to_path(path)
    return path


def client(authority: trustme.CA, directory: Path, name: str = "kube-bridge") -> TlsOptions:
    """Our certificate and its key, in two files."""
    pair = authority.issue_cert(name)
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    pair.cert_chain_pems[0].write_to_path(certificate)
    pair.private_key_pem.write_to_path(key)
    return TlsOptions(certificate=certificate, key=key)


async def trouble(url: str, **options: Any) -> Unavailable:
    """What a delivery to there says, which is also what `check` says."""
    async with hooked(url, **options) as sink:
        with pytest.raises(Unavailable) as caught:
            await send(sink, 1)
    return caught.value


# TLS


async def test_a_receiver_of_a_private_authority_is_trusted_by_its_file(
    authority: trustme.CA, ca: Path
) -> None:
    async with receiving(context=context_for(authority, "127.0.0.1")) as receiver:
        async with hooked(receiver.url, tls=TlsOptions(ca=ca)) as sink:
            await send(sink, 1)
            await send(sink, 2)
        assert receiver.connections == 1


async def test_a_certificate_that_is_not_trusted_is_told_with_the_key_that_helps(
    authority: trustme.CA,
) -> None:
    async with receiving(context=context_for(authority, "127.0.0.1")) as receiver:
        error = await trouble(receiver.url)
        assert error.reason == "tls"
        assert "is not trusted (unable to get local issuer certificate); if a private authority" in str(error)
        assert "`tls.ca`" in str(error)
        assert receiver.requests == []


async def test_a_certificate_for_another_name_is_told(authority: trustme.CA, ca: Path) -> None:
    async with receiving(context=context_for(authority, "elsewhere.example")) as receiver:
        error = await trouble(receiver.url, tls=TlsOptions(ca=ca))
        assert "is for another name (IP address mismatch" in str(error)


async def test_insecure_accepts_anybody(authority: trustme.CA) -> None:
    async with (
        receiving(context=context_for(authority, "elsewhere.example")) as receiver,
        hooked(receiver.url, tls=TlsOptions(insecure=True)) as sink,
    ):
        await send(sink, 1)


async def test_with_mutual_tls_the_receiver_sees_our_certificate(
    authority: trustme.CA, ca: Path, tmp_path: Path
) -> None:
    context = context_for(authority, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    ours = client(authority, tmp_path)
    async with receiving(context=context) as receiver:
        tls = TlsOptions(ca=ca, certificate=ours.certificate, key=ours.key)
        async with hooked(receiver.url, tls=tls) as sink:
            await send(sink, 1)
        assert len(receiver.requests) == 1
        error = await trouble(receiver.url, tls=TlsOptions(ca=ca))
        # Whether its alert is still read is a race that TLS 1.3 leaves open.
        assert "client certificate" in str(error)
        assert "`tls.certificate`" in str(error)


async def test_a_renewed_certificate_is_used_without_a_restart(
    ca: Path, autojump_clock: trio.testing.MockClock
) -> None:
    other = trustme.CA()
    async with receiving(context=context_for(other, "127.0.0.1")) as receiver:
        # Threads read the files, and virtual time must not run away meanwhile.
        autojump_clock.autojump_threshold = float("inf")
        async with hooked(receiver.url, tls=TlsOptions(ca=ca)) as sink:
            with pytest.raises(Unavailable, match="not trusted"):
                await send(sink, 1)
            other.cert_pem.write_to_path(ca)
            autojump_clock.jump(11)
            await send(sink, 1)


@pytest.mark.parametrize("name", ["ca", "certificate"])
async def test_a_file_that_holds_something_else_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pem"
    path.write_text("nothing")
    error = await trouble(
        "https://127.0.0.1:1/", tls=TlsOptions(ca=path) if name == "ca" else TlsOptions(certificate=path)
    )
    assert f"`tls.{name}`: '{path}'" in str(error)
    assert "write PEM files that this user may read" in str(error)


async def test_tls_on_a_plain_port_is_told() -> None:
    async with proxying("babble") as plain:
        error = await trouble(f"https://127.0.0.1:{plain.port}")
        assert "does not speak TLS there: write http:// or its TLS port into `url`" in str(error)


async def test_a_plain_request_on_a_tls_port_is_told(authority: trustme.CA) -> None:
    async with receiving(context=context_for(authority, "127.0.0.1")) as receiver:
        error = await trouble(receiver.url.replace("https:", "http:"))
        assert "speak HTTP there: if it speaks TLS, write https://" in str(error) or "closed" in str(error)


async def test_a_port_that_takes_the_connection_and_then_says_nothing_is_no_matter_of_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sinks.webhook.client._CONNECT_SECONDS", 0.05)

    async def say_nothing(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, say_nothing, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/hook"
        error = await trouble(url)
        assert str(error) == (
            f"{url} takes the connection and says nothing to our TLS handshake: does it speak TLS there? "
            "Write http:// or its TLS port into `url`"
        )
        nursery.cancel_scope.cancel()


# Where nobody is


async def test_a_name_that_cannot_be_resolved_is_told_without_what_is_secret_in_the_address() -> None:
    error = await trouble("https://no-such-host.invalid/hook?token=t0ken")
    assert str(error) == (
        "the name 'no-such-host.invalid' cannot be resolved: check `url`, and the DNS of this machine"
    )
    assert error.reason == "connection"


async def test_a_port_where_nobody_listens_is_told_without_what_is_secret_in_the_address() -> None:
    error = await trouble("http://127.0.0.1:1/hook?token=t0ken")
    assert str(error) == (
        "nothing listens at http://127.0.0.1:1/hook (connection refused): is it running, and is `url` right?"
    )


# Proxies


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_receiver_is_reached_through_a_proxy_that_wants_a_password(
    kind: str, authority: trustme.CA, ca: Path
) -> None:
    async with (
        receiving(context=context_for(authority, "127.0.0.1")) as receiver,
        proxying(kind) as middle,
    ):
        proxy = middle.url.replace("//", "//me:pass@")
        async with hooked(receiver.url, tls=TlsOptions(ca=ca), proxy=secret(proxy)) as sink:
            await send(sink, 1)
            await send(sink, 2)
        assert receiver.connections == 1
        assert len(middle.asked) == 1
        assert middle.users == ["Basic bWU6cGFzcw==" if kind == "http" else "me:pass"]


async def test_a_plain_receiver_is_asked_through_a_forward_proxy() -> None:
    async with proxying("http") as middle, hooked("http://hook.invalid/x", proxy=secret(middle.url)) as sink:
        await send(sink, 1)
        assert middle.asked == ["POST http://hook.invalid/x"]


async def test_the_environment_s_proxy_is_not_used_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with receiving() as receiver, hooked(receiver.url) as sink:
        await send(sink, 1)
        assert len(receiver.requests) == 1


@pytest.mark.parametrize("kind", ["407", "babble"])
async def test_a_proxy_that_refuses_is_told_and_its_password_is_not(kind: str) -> None:
    async with proxying(kind) as middle:
        proxy = middle.url.replace("//", "//me:s3ntinel@")
        error = await trouble("https://hook.invalid/x", proxy=secret(proxy))
        assert f"https://hook.invalid/x cannot be reached: the proxy {middle.url} refused (" in str(error)
        assert "s3ntinel" not in str(error)
        assert error.reason == "proxy"


async def test_a_forward_proxy_s_407_blames_no_record() -> None:
    async with receiving(answer(407)) as middle:
        error = await trouble("http://hook.invalid/x", proxy=secret(f"http://127.0.0.1:{middle.port}"))
        assert "it is the proxy that wants to know who we are" in str(error)
        assert error.reason == "proxy"


@pytest.mark.parametrize("what", ["s3ntinel", "bWU6czNudGluZWw="])
@pytest.mark.parametrize("status", [400, 502])
async def test_a_forward_proxy_that_repeats_its_password_is_told_without_it(status: int, what: str) -> None:
    async with receiving(answer(status, f"you sent {what}".encode())) as middle:
        proxy = secret(f"http://me:s3ntinel@127.0.0.1:{middle.port}")
        async with hooked("http://hook.invalid/x", proxy=proxy) as sink:
            with pytest.raises((Unavailable, Rejected), match="its words repeat a secret of ours"):
                await send(sink, 1)


async def test_an_issuer_s_forward_proxy_that_repeats_its_password_is_told_without_it() -> None:
    said = b'{"error":"you sent bWU6czNudGluZWw="}'
    async with receiving(answer(400, said)) as middle:
        proxy = secret(f"http://me:s3ntinel@127.0.0.1:{middle.port}")
        auth = AuthOptions(oauth2=OAuth2Options("http://issuer.invalid/x", "me", secret("s3cret-of-ours")))
        error = await trouble("http://hook.invalid/x", proxy=proxy, auth=auth)
        assert "its words repeat a secret of ours" in str(error)


async def test_a_forward_proxy_s_password_is_read_again_when_it_was_rotated(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with receiving(answer(200), answer(407)) as middle:
        path = tmp_path / "proxy"
        path.write_text(f"http://me:one@127.0.0.1:{middle.port}")
        async with hooked("http://hook.invalid/x", proxy=Secret(file=path)) as sink:
            await send(sink, 1)
            path.write_text(f"http://me:two@127.0.0.1:{middle.port}")
            with pytest.raises(Unavailable):
                await send(sink, 2)
            autojump_clock.jump(11)
            await send(sink, 2)
        users = [b64decode(one.headers["proxy-authorization"][6:]) for one in middle.requests]
        assert users == [b"me:one", b"me:one", b"me:two"]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_is_not_there_is_told(scheme: str) -> None:
    error = await trouble("https://hook.invalid/x", proxy=secret(f"{scheme}://127.0.0.1:1"))
    assert f"nothing listens at {scheme}://127.0.0.1:1 (connection refused)" in str(error)
    assert "is `proxy` right?" in str(error)
    assert error.reason == "proxy"


async def test_a_proxy_that_says_nothing_is_cut_off_in_time(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    async with proxying("silent") as middle, receiving():
        error = await trouble("http://hook.invalid/x", proxy=secret(middle.url), timeout=20.0)
        assert error.reason == "timeout"


# `kube-bridge check`


@asynccontextmanager
async def checked(sink: Webhook, *words: str) -> AsyncIterator[None]:
    found = await sink.problems(CONTEXT)
    assert len(found) == len(words), found
    for word, sentence in zip(words, found, strict=True):
        assert word in sentence
    yield


async def test_check_connects_and_sends_nothing(authority: trustme.CA, ca: Path) -> None:
    for context in (None, context_for(authority, "127.0.0.1")):
        async with receiving(context=context) as receiver:
            tls = TlsOptions(ca=ca) if context else None
            async with checked(Webhook(receiver.url, tls=tls)):
                await trio.testing.wait_all_tasks_blocked()
            assert receiver.connections == 1
            assert receiver.requests == []


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_check_goes_through_the_proxy_to_the_receiver_s_certificate(
    kind: str, authority: trustme.CA
) -> None:
    async with receiving(context=context_for(authority, "127.0.0.1")) as receiver, proxying(kind) as middle:
        async with checked(Webhook(receiver.url, proxy=secret(middle.url)), "is not trusted"):
            assert receiver.requests == []
        async with checked(Webhook(receiver.url, proxy=secret(middle.url), tls=TlsOptions(insecure=True))):
            assert receiver.requests == []


async def test_check_tells_all_that_is_wrong_at_once(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    sink = Webhook(
        "http://127.0.0.1:1",
        headers={"x-key": secret("{}"), "x-other": Secret(env="NO_SUCH_VARIABLE")},
        signing_secret=(secret(SECRET), Secret(file=empty)),
    )
    words = (
        "`headers.x-other`: the environment variable 'NO_SUCH_VARIABLE' is not set",
        f"`signingSecret`: the secret's file '{empty}' is empty",
        "nothing listens at http://127.0.0.1:1",
    )
    async with checked(sink, *words):
        pass


async def test_check_waits_no_longer_than_a_delivery(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - asked for, it is the clock
) -> None:
    async with proxying("silent") as middle:
        found = await Webhook("http://hook.invalid/x", proxy=secret(middle.url)).problems(CONTEXT)
        assert len(found) == 1
        assert "http://hook.invalid/x through the proxy" in found[0]
        assert trio.current_time() < 31
