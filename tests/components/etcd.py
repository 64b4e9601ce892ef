"""A real etcd on loopback, and what it really holds: the judge of the tests."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import httpx

from tests.components.build import binary
from tests.components.process import ComponentFailed, Server, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

HISTORY_SECONDS = 30
# etcd is asked in plain HTTP; httpx would still load all of the world's CAs for each client: 60 ms.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_EVERYTHING = base64.b64encode(b"\0").decode()  # as key and as range_end: all keys


class Event(NamedTuple):
    """One stored change; ``revision`` is the resourceVersion (of a deletion: that of the watch event)."""

    key: str
    revision: int
    operation: Literal["PUT", "DELETE"]


class Compacted(ComponentFailed):
    """The wanted history is gone; ``revision`` is the first that is left."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"etcd's history starts at revision {revision}")
        self.revision = revision


class Etcd(Server):
    """One etcd with its data in a folder; stays on its ports and data over restarts."""

    name = "etcd"

    def __init__(self, directory: Path, args: Sequence[str] = ()) -> None:
        super().__init__(directory)
        self.args = list(args)
        self.data = directory / "etcd-data"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.peer_url = f"http://127.0.0.1:{free_port()}"
        self._program = binary("etcd")

    def command(self) -> list[str]:
        """Etcd alone in its cluster; without fsync, which only a power cut would notice, not a SIGKILL."""
        return [
            str(self._program),
            f"--data-dir={self.data}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster=default={self.peer_url}",
            "--unsafe-no-fsync",
            *self.args,
        ]

    def ready(self) -> bool:
        """Whether it has a leader and answers."""
        try:
            with _client(5) as client:
                answer = client.get(f"{self.url}/health")
        except httpx.HTTPError:
            return False
        return bool(answer.status_code == httpx.codes.OK and answer.json().get("health") == "true")

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Asks the HTTP gateway, for example ``call("/v3/kv/range", {...})``; keys and values are base64."""
        with _client(HISTORY_SECONDS) as client:
            answer = client.post(self.url + path, json=body)
        if answer.status_code != httpx.codes.OK:
            raise ComponentFailed(f"etcd {path}: HTTP {answer.status_code} {answer.text}")
        result: dict[str, Any] = answer.json()
        return result

    def revision(self) -> int:
        """The current revision of the store."""
        header = self.call("/v3/kv/range", {"key": _EVERYTHING, "limit": "1"})["header"]
        return int(header["revision"])

    def history(self, since: int = 1, prefix: str = "/registry/") -> list[Event]:
        """Everything that was stored under a prefix from a revision on up to now, in order.

        Raises:
            Compacted: when a part of it is gone.
        """
        until = self.revision()
        if until <= 1 or since > until:
            return []  # revision 1 is the empty store, and a watch would wait for the next change
        return [e for e in self._replay(since, until) if e.key.startswith(prefix) and e.revision <= until]

    def _replay(self, since: int, until: int) -> Iterator[Event]:
        # All keys are watched: some key has changed in each revision, so `until` is sure to come.
        create = {
            "key": _EVERYTHING,
            "range_end": _EVERYTHING,
            "start_revision": str(since),
            "fragment": True,
        }
        url = f"{self.url}/v3/watch"
        body = {"create_request": create}
        with (
            _client(HISTORY_SECONDS) as client,
            client.stream("POST", url, json=body) as answer,
        ):
            for line in answer.iter_lines():
                message = json.loads(line)
                if "error" in message:
                    raise ComponentFailed(f"etcd /v3/watch: {message['error']}")
                result = message["result"]
                if result.get("compact_revision"):
                    raise Compacted(int(result["compact_revision"]))
                events = [_event(event) for event in result.get("events", ())]
                yield from events
                if events and events[-1].revision >= until and not result.get("fragment"):
                    return
        raise ComponentFailed(f"etcd ended the watch before revision {until}")

    def compact(self, revision: int | None = None) -> int:
        """Forgets what is older than a revision (default: the current one); an API server may cache it."""
        revision = self.revision() if revision is None else revision
        self.call("/v3/kv/compaction", {"revision": str(revision), "physical": True})
        return revision

    def snapshot(self, file: Path) -> Path:
        """Saves the store into a file."""
        self._tool("etcdctl", f"--endpoints={self.url}", "snapshot", "save", str(file))
        return file

    def restore(self, file: Path, *, bump_revision: int = 0) -> None:
        """Crashes etcd and starts it again with the content of a snapshot: time goes back.

        With ``bump_revision`` the revisions do not go back (and older ones count as compacted), as etcd
        recommends for Kubernetes; without it, the next writes use revisions a second time.
        """
        self.kill()
        aside = self.data.with_name(f"{self.data.name}-before-{len(list(self.directory.iterdir()))}")
        self.data.rename(aside)
        bump = [f"--bump-revision={bump_revision}", "--mark-compacted"] if bump_revision else []
        self._tool(
            "etcdutl",
            "snapshot",
            "restore",
            str(file),
            f"--data-dir={self.data}",
            f"--initial-cluster=default={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            *bump,
        )
        self.start()

    def _tool(self, name: str, *arguments: str) -> None:
        command = [str(binary(name)), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise ComponentFailed(f"{name} {' '.join(arguments)}: {done.stderr.strip()}")


def _client(seconds: float) -> httpx.Client:
    return httpx.Client(trust_env=False, verify=_NO_TLS, timeout=seconds)


def _event(event: dict[str, Any]) -> Event:
    stored = event["kv"]
    key = base64.b64decode(stored["key"]).decode()
    # The gateway leaves out what is zero, and PUT is zero.
    operation: Literal["PUT", "DELETE"] = "DELETE" if event.get("type") == "DELETE" else "PUT"
    return Event(key, int(stored["mod_revision"]), operation)
