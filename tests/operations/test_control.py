"""The control socket: for its owner only, one sentence for what cannot be done, and nothing holds it up."""

import json
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bridge.errors import UsageError
from bridge.operations.address import SOCKET
from bridge.operations.control import Send, serve_control
from bridge.remote import NotRunning, Refused, ask


async def echo(command: str, arguments: Mapping[str, Any], send: Send) -> Any:
    match command:
        case "items":
            for number in range(arguments["count"]):
                await send({"number": number, "text": "\ud800 é \n"})
        case "refuse":
            raise UsageError("that cannot be")
        case "break":
            raise RuntimeError("nobody expected this")
        case "hang":
            await trio.sleep_forever()
    return {"command": command, "arguments": arguments}


@asynccontextmanager
async def serving(state: Path) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, state / SOCKET, echo)
        yield
        nursery.cancel_scope.cancel()


async def asked(state: Path, command: str, items: list[Any] | None = None, **arguments: Any) -> Any:
    take = (items if items is not None else []).append
    return await trio.to_thread.run_sync(partial(ask, state, command, arguments, take))


async def test_items_and_the_result_arrive_as_they_were_sent(tmp_path: Path) -> None:
    items: list[Any] = []
    async with serving(tmp_path):
        result = await asked(tmp_path, "items", items, count=300)
    assert result == {"command": "items", "arguments": {"count": 300}}
    assert items == [{"number": number, "text": "\ud800 é \n"} for number in range(300)]


async def test_a_reader_that_leaves_is_not_taken_for_a_bridge_that_ended(tmp_path: Path) -> None:
    def leave(_: Any) -> None:
        raise BrokenPipeError

    async with serving(tmp_path):
        with pytest.raises(BrokenPipeError):
            await trio.to_thread.run_sync(partial(ask, tmp_path, "items", {"count": 3}, leave))


async def test_what_cannot_be_done_is_one_sentence_with_its_exit_code(tmp_path: Path) -> None:
    async with serving(tmp_path):
        with pytest.raises(Refused, match="that cannot be") as refused:
            await asked(tmp_path, "refuse")
        assert refused.value.exit_code == 2
        with pytest.raises(Refused, match="nobody expected this"):
            await asked(tmp_path, "break")
        assert (await asked(tmp_path, "again"))["command"] == "again"


async def test_only_the_owner_may_open_it_and_it_goes_with_the_bridge(tmp_path: Path) -> None:
    path = tmp_path / SOCKET
    async with serving(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    with pytest.raises(NotRunning, match="no bridge runs on the state"):
        await asked(tmp_path, "status")


async def test_a_socket_that_a_killed_bridge_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(tmp_path / SOCKET))
    with pytest.raises(NotRunning, match="no bridge runs"):
        await asked(tmp_path, "status")
    async with serving(tmp_path):
        assert (await asked(tmp_path, "status"))["command"] == "status"


async def test_a_file_that_is_no_socket_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / SOCKET
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="is no socket"):
        await serve_control(path, echo)
    assert path.read_text() == "mine"


async def test_a_state_whose_path_is_too_long_for_a_socket_can_be_reached(tmp_path: Path) -> None:
    state = tmp_path / ("d" * 90) / ("e" * 90)
    state.mkdir(parents=True)
    async with serving(state):
        assert (await asked(state, "status"))["command"] == "status"


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"[]\n", b"no json\n", b'{"command": "x", "arguments": 7', b"\xff\xfe\n"]
)
async def test_nonsense_is_answered_and_harms_nobody(tmp_path: Path, line: bytes) -> None:
    async with serving(tmp_path):
        async with await trio.open_unix_socket(str(tmp_path / SOCKET)) as stream:
            await stream.send_all(line)
            await stream.send_eof()
            assert json.loads(await stream.receive_some())["code"] == 2
        assert (await asked(tmp_path, "status"))["command"] == "status"


async def test_clients_that_say_nothing_are_left_and_keep_nobody_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    del autojump_clock
    async with serving(tmp_path):
        silent = [await trio.open_unix_socket(str(tmp_path / SOCKET)) for _ in range(8)]
        for stream in silent:
            async with stream:
                assert await stream.receive_some() == b"", "closed after its time was up"
        async with await trio.open_unix_socket(str(tmp_path / SOCKET)) as stream:
            await stream.send_all(b'{"command": "status"}\n')
            assert json.loads(await stream.receive_some())["result"]["command"] == "status"
