"""The receiver of docs/webhook.md works as it stands there."""

import re
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from bridge.delivery.sink import Unavailable
from sinks.webhook.sink import Webhook
from tests.sinks.receiver import OTHER, SECRET, batch, hooked, record, secret

PAGE = Path(__file__).parents[2] / "docs" / "webhook.md"


@pytest.fixture
def code() -> str:
    (found,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(found)


@pytest.fixture
def url(code: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example, serving in a thread on a free port."""
    made: list[ThreadingHTTPServer] = []

    def caught(server: ThreadingHTTPServer) -> None:
        made.append(server)

    with monkeypatch.context() as patch:
        patch.setattr(ThreadingHTTPServer, "serve_forever", caught)
        patch.setattr(sys, "argv", ["receiver.py", "0"])
        exec(compile(code, str(PAGE), "exec"), {"__name__": "example"})  # noqa: S102 - it is what is tested
    (server,) = made
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_has_less_than_twenty_lines(code: str) -> None:
    assert len([line for line in code.splitlines() if line.strip()]) < 20


async def hand_over(sink: Webhook, *numbers: int) -> None:
    """Records with the members of the native form that the example reads."""
    values = {number: b'{"type":"MODIFIED","id":"%d"}' % number for number in numbers}
    await sink.deliver(batch(record(number, value) for number, value in values.items()))


async def test_it_takes_what_is_signed_with_its_secret_and_no_record_is_lost_by_another_one(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with hooked(url) as sink:
        await hand_over(sink, 1)
    async with hooked(url, signing_secret=(secret(OTHER),)) as sink:
        with pytest.raises(Unavailable, match="answered 503"):
            await hand_over(sink, 2)
    async with hooked(url, signing_secret=(secret(OTHER), secret(SECRET))) as sink:
        await hand_over(sink, 2)
    assert capfd.readouterr().out.splitlines() == ["1 MODIFIED", "2 MODIFIED"]


async def test_it_takes_batches_too(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    async with hooked(url, together=100) as sink:
        await hand_over(sink, 1)
        await hand_over(sink, 2, 3)
    assert capfd.readouterr().out.splitlines() == ["1 MODIFIED", "2 MODIFIED", "3 MODIFIED"]
