"""The same server on a real socket: framing, broken connections, TLS."""

from __future__ import annotations

import json
import ssl

import httpx
import pytest
import trio
import trustme

from bridge.simulator import Simulator
from tests.simulator.support import MAPS, STREAMED, config_map, socket_watching


@pytest.fixture
def simulator() -> Simulator:
    simulator = Simulator()
    for name in ("a", "b", "c"):
        simulator.cluster.create("configmaps", config_map(name))
    return simulator


async def exchange(url: str, request: bytes) -> bytes:
    """Sends bytes and reads until the server closes."""
    host, _, port = url.removeprefix("http://").partition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        await stream.send_all(request)
        received = b""
        while data := await stream.receive_some():
            received += data
    return received


async def test_a_live_event_is_one_chunk(simulator: Simulator) -> None:
    async with (
        simulator.serve() as url,
        socket_watching(url, resourceVersion=str(simulator.cluster.revision)) as watch,
    ):
        for name in ("x", "y"):
            simulator.cluster.create("configmaps", config_map(name))
            assert (await watch.chunk()).count(b"\n") == 1


async def test_requests_follow_one_another_on_one_connection(simulator: Simulator) -> None:
    async with simulator.serve() as url:
        get = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
        answer = await exchange(url, get + b"\r\n" + get + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.count(b"\r\n\r\nok") == 2


async def test_writes_and_selectors_come_through_the_socket(simulator: Simulator) -> None:
    async with simulator.serve() as url, httpx.AsyncClient(base_url=url) as client:
        body = {"metadata": {"name": "d", "labels": {"app": "ü&x"}}}
        assert (await client.post(MAPS, json=body)).status_code == 201
        found = await client.get(MAPS, params={"fieldSelector": "metadata.name=d", "labelSelector": "app"})
        assert [item["metadata"]["labels"] for item in found.json()["items"]] == [{"app": "ü&x"}]


async def test_a_cut_ends_without_a_last_chunk_and_a_reset_without_anything(simulator: Simulator) -> None:
    request = f"GET {MAPS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with simulator.serve() as url:
        simulator.faults.cut(after_events=3)
        received = await exchange(url, request)
        assert received.count(b'"type":"ADDED"') == 3
        assert not received.endswith(b"0\r\n\r\n")
        simulator.faults.cut(after_events=3, reset=True)
        with pytest.raises(trio.BrokenResourceError):
            await exchange(url, request)


async def test_a_client_that_goes_ends_its_watch(simulator: Simulator) -> None:
    async with simulator.serve() as url:
        async with socket_watching(url, resourceVersion="8"):
            assert len(simulator.faults.streams) == 1
        with trio.fail_after(5):
            while simulator.faults.streams:
                await trio.lowlevel.checkpoint()


async def test_nonsense_closes_the_connection_and_nothing_else(simulator: Simulator) -> None:
    async with simulator.serve() as url, httpx.AsyncClient(base_url=url) as client:
        assert await exchange(url, b"\x16\x03\x01 this is no HTTP\r\n\r\n") == b""
        assert (await client.get("/readyz")).text == "ok"


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/vnd.kubernetes.protobuf", b"k8s\0\x01", 415),
        ("application/json", b"{", 400),
        ("application/json", b"[]", 400),
        ("application/json", b"", 400),
    ],
)
async def test_a_body_that_is_no_object_is_refused(
    simulator: Simulator, content_type: str, body: bytes, status: int
) -> None:
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    async with simulator.serve() as url, httpx.AsyncClient(base_url=url) as client:
        for path in (MAPS, reviews):
            answer = await client.post(path, content=body, headers={"Content-Type": content_type})
            assert (answer.status_code, answer.json()["kind"]) == (status, "Status")


async def test_the_error_of_the_block_is_the_error_of_the_block(simulator: Simulator) -> None:
    with pytest.raises(ZeroDivisionError):
        async with simulator.serve():
            raise ZeroDivisionError


async def test_it_speaks_tls(simulator: Simulator) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with (
        simulator.serve(ssl_context=context) as url,
        httpx.AsyncClient(base_url=url, verify=trusting) as client,
    ):
        assert url.startswith("https://")
        query = {"watch": "1", "timeoutSeconds": "1"} | STREAMED
        assert (await client.get(MAPS, params=query)).text.count('"type":"ADDED"') == 3
        simulator.faults.cut(after_events=2)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(MAPS, params=query)


async def test_lists_of_thousands_come_whole_compressed_or_not(simulator: Simulator) -> None:
    for number in range(2000):
        simulator.cluster.create("configmaps", config_map(f"many-{number:04}", x="y" * 100))
    async with simulator.serve() as url, httpx.AsyncClient(base_url=url) as client:
        for accepted in ("gzip", "identity"):
            answer = await client.get(MAPS, headers={"Accept-Encoding": accepted})
            assert answer.headers.get("content-encoding", "identity") == accepted
            assert len(json.loads(answer.content)["items"]) == 2003
