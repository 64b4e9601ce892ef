"""The simulated API server as others use it: a cluster, faults, users, and two ways to reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.simulator.api import Api
from bridge.simulator.backend import Backend
from bridge.simulator.cluster import Cluster
from bridge.simulator.server import serve
from bridge.simulator.transport import SimulatorTransport

if TYPE_CHECKING:
    import ssl
    from contextlib import AbstractAsyncContextManager

__all__ = ["Simulator"]


class Simulator:
    """One API server over one cluster.

    Several may share a cluster, as replicas do. Without users everybody is an admin, as by `kubectl proxy`.

    Args:
        cluster: What it serves; by default a new one with the four system namespaces.
        watch_list: The feature gate: False answers `sendInitialEvents` as servers before 1.34 do.
        aggregated: Whether discovery may be asked for in one document.
        version: What /version says.
        bookmark_seconds: The cadence of bookmarks.
    """

    def __init__(
        self,
        cluster: Cluster | None = None,
        *,
        watch_list: bool = True,
        aggregated: bool = True,
        version: str = "v1.36.3",
        bookmark_seconds: float = 60.0,
    ) -> None:
        self.cluster = Cluster() if cluster is None else cluster
        backend = Backend(self.cluster, watch_list=watch_list, bookmark_seconds=bookmark_seconds)
        self.faults = backend.faults
        self.access = backend.access
        self.api = Api(backend, version=version, aggregated=aggregated)

    def transport(self) -> SimulatorTransport:
        """For `httpx.AsyncClient(transport=..., base_url="http://simulator")`: no socket, any trio clock."""
        return SimulatorTransport(self.api)

    def serve(
        self, *, port: int = 0, ssl_context: ssl.SSLContext | None = None
    ) -> AbstractAsyncContextManager[str]:
        """Listens on 127.0.0.1 while the block runs: `async with simulator.serve() as url`.

        Raises:
            OSError: the port is taken.
        """
        return serve(self.api, port=port, ssl_context=ssl_context)
