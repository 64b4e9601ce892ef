"""Many watches at once: each on a connection of its own, whatever the environment says."""

import pytest
import trio

from bridge.kubernetes.apiserver import ApiServer
from bridge.kubernetes.connection import Connection
from tests.kubernetes.wire import Request, chunked, serving

_WATCHES = 130
"""More than the hundred connections that HTTP clients keep by default."""


async def hold_open(_request: Request, stream: trio.abc.Stream) -> None:
    await stream.send_all(chunked(b"{}\n", end=False))
    await trio.sleep_forever()


async def test_each_watch_has_a_connection_of_its_own_and_no_pool_limits_their_number() -> None:
    """[J1] [J2] All are live at the same time, over HTTP/1.1."""
    live = trio.Event()
    seen = 0

    async def watch(api: ApiServer) -> None:
        nonlocal seen
        async with api.stream("/api/v1/pods", {"watch": "1"}) as stream:
            assert await stream.read(30) == b"{}\n"
            seen += 1
            if seen == _WATCHES:
                live.set()
            await trio.sleep_forever()

    async with (
        serving(hold_open) as peer,
        ApiServer(Connection(peer.url)) as api,
        trio.open_nursery() as nursery,
    ):
        for _ in range(_WATCHES):
            nursery.start_soon(watch, api)
        with trio.fail_after(30):
            await live.wait()
        assert peer.connections == peer.open == _WATCHES
        nursery.cancel_scope.cancel()


async def test_neither_proxy_variables_nor_a_netrc_change_where_a_request_goes_or_as_whom(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """[J5] Only the connection decides; proxies are resolved once, when it is made, by our own rules."""
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def answer(_request: Request, stream: trio.abc.Stream) -> None:
        await stream.send_all(chunked(b"{}"))

    async with serving(answer) as peer, ApiServer(Connection(peer.url)) as api:
        response = await api.get("/api")
    assert response.body == b"{}"
    assert [request.header("authorization") for request in peer.requests] == [""]
