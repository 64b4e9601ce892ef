"""Compressed bodies: asked for where they help, decoded whole or not at all, and never beyond the limit."""

import gzip
import random

import pytest

from bridge.kubernetes.apiserver import ApiError, ApiServer, Interrupted
from bridge.kubernetes.connection import Connection
from tests.kubernetes.wire import chunked, everything, reply, says, serving


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, br"])
async def test_a_foreign_encoding_is_refused(encoding: str) -> None:
    """[C10]"""
    async with (
        serving(says(reply(200, b"{}", content_encoding=encoding))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        with pytest.raises(ApiError, match="something between us and the API server meddles"):
            await api.get("/x")
        with pytest.raises(ApiError, match="meddles"):
            async with api.stream("/x", {"watch": "1"}):
                pass


async def test_a_watch_asks_for_identity_and_a_list_may_ask_for_gzip() -> None:
    """[C9]"""
    async with serving(says(chunked())) as peer, ApiServer(Connection(peer.url)) as api:
        async with api.stream("/x", {"watch": "1"}) as stream:
            await everything(stream)
        async with api.stream("/x", accept_encoding="gzip") as stream:
            await everything(stream)
        assert [one.header("accept-encoding") for one in peer.requests] == ["identity", "gzip"]


@pytest.mark.parametrize("members", [1, 3])
async def test_gzip_is_decoded_over_all_members_and_any_cut_of_chunks(members: int) -> None:
    """[A18]"""
    whole = random.Random(1).randbytes(3_000_000) + b"x" * 5_000_000
    size = len(whole) // members + 1
    packed = b"".join(gzip.compress(whole[at : at + size], 1) for at in range(0, len(whole), size))
    pieces = [packed[at : at + 70_001] for at in range(0, len(packed), 70_001)]
    async with (
        serving(says(chunked(*pieces, content_encoding="gzip"))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        assert (await api.get("/x")).body == whole
        async with api.stream("/x", accept_encoding="gzip") as stream:
            largest, total = 0, 0
            while piece := await stream.read(5):
                largest, total = max(largest, len(piece)), total + len(piece)
            assert total == len(whole)
            assert largest <= 1024 * 1024


@pytest.mark.parametrize("cut", [1, 8, 9, 2000, 30_000])
async def test_a_gzip_body_without_its_end_is_interrupted(cut: int) -> None:
    """[A18]"""
    packed = gzip.compress(random.Random(1).randbytes(60_000))[:-cut]
    async with (
        serving(says(chunked(packed, content_encoding="gzip"))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        with pytest.raises(Interrupted, match="the gzip body ended before its end"):
            await api.get("/x")


@pytest.mark.parametrize(
    "packed",
    [
        b"no gzip at all",
        gzip.compress(b"x" * 1000, mtime=0)[:-4] + b"abcd",
        gzip.compress(b"x", mtime=0) + b"y",
    ],
)
async def test_a_damaged_gzip_body_is_interrupted(packed: bytes) -> None:
    async with (
        serving(says(chunked(packed, content_encoding="gzip"))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        with pytest.raises(Interrupted, match="gzip body"):
            await api.get("/x")


async def test_an_answer_larger_than_the_limit_is_refused_also_when_gzip_hid_it() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    async with (
        serving(says(reply(200, bomb, content_encoding="gzip"))) as peer,
        ApiServer(Connection(peer.url)) as api,
    ):
        with pytest.raises(ApiError, match="more than 1000000 bytes"):
            await api.get("/x", limit=1_000_000)
