"""Where the benchmark happens: a folder, TLS material, cores, and a replay server per measurement."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import trustme

from tests.bench.pods import LAST_LISTED
from tests.bench.programs import NotMeasured, Program

__all__ = ["Server", "Stage"]

_CHECKOUT = Path(__file__).parents[2]


@dataclass
class Stage:
    """One run of the benchmark.

    Args:
        folder: empty, on a disk; everything that is written goes there.
        seed: of the Pods.

    Attributes:
        server_core: the core of the replay server, None when there is only one core for all.
        client_core: the core of a client and of what reads it.
    """

    folder: Path
    seed: int = 1
    server_core: int | None = None
    client_core: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    _made: int = 0

    def __post_init__(self) -> None:
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            self.server_core, self.client_core = cores[0], cores[1]
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(self.certificate))
        # A proxy, a kubeconfig or a setting of Python of this machine must not take part.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and not name.startswith(("KUBECONFIG", "PYTHON"))
        }
        self.environment = kept | {
            "HOME": str(self.folder),
            "NO_PROXY": "127.0.0.1",
            # As after an installation: every start finds its modules compiled, wherever that is allowed.
            "PYTHONPYCACHEPREFIX": str(self.folder / "compiled"),
        }

    @property
    def authority(self) -> Path:
        """The certificate that signs the server's."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The server's certificate and key."""
        return self.folder / "server.pem"

    def fresh(self, name: str) -> Path:
        """A new empty folder."""
        self._made += 1
        folder = self.folder / f"{self._made:03d}-{name}"
        folder.mkdir()
        return folder

    def discard(self, folder: Path) -> None:
        """Removes it: the files of many rounds together would fill a disk."""
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    """A replay server; a context manager.

    Args:
        stage: where.
        pods: objects that exist.
        events: live events.
        rate: events a second, 0 for as fast as they are read.
    """

    def __init__(self, stage: Stage, *, pods: int, events: int, rate: float = 0) -> None:
        self.stage = stage
        self.events = events
        self.folder = stage.fresh("server")
        command = [
            sys.executable, "-m", "tests.bench.server", "--certificate", str(stage.certificate),
            "--pods", str(pods), "--events", str(events), "--rate", str(rate), "--seed", str(stage.seed),
        ]  # fmt: skip
        environment = {**stage.environment, "PYTHONPATH": str(_CHECKOUT)}
        self.program = Program(command, self.folder / "server.log", environment, stage.server_core)
        try:
            self.port: int = self.note("ready")["port"]
        except BaseException:
            self.program.kill()
            raise

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def live(self) -> str:
        """The URL of a watch of the live events alone."""
        return f"{self.url}/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion={LAST_LISTED}"

    def note(self, what: str, *others: Program) -> dict[str, Any]:
        """Waits for a note; see `Program.note`."""
        return self.program.note(what, *others)

    def kubeconfig(self) -> Path:
        """A kubeconfig that reaches it."""
        path = self.folder / "kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.stage.authority)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bench", "cluster": cluster}],
            "users": [{"name": "bench", "user": {"token": "bench"}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
            "current-context": "bench",
        }
        path.write_text(json.dumps(document))
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.kill()
        self.stage.discard(self.folder)


def tool(name: str) -> str:
    """The path of a program of this machine."""
    found = shutil.which(name)
    if found is None:
        raise NotMeasured(f"there is no {name} on the PATH")
    return found


def bridge() -> str:
    """The path of our own command, in the environment that runs the benchmark."""
    path = Path(sys.executable).with_name("kube-bridge")
    if not path.exists():
        raise NotMeasured(f"there is no {path.name} beside {Path(sys.executable).name}; run `make env`")
    return str(path)
