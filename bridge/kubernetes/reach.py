"""Finds the cluster: what was named, else what the place we run in offers.

In a pod that is the pod's own ServiceAccount, on a laptop the kubeconfig; which one is asked first
depends on the command, because a service in a pod and a person in a shell expect different things.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from bridge.errors import UsageError
from bridge.kubernetes.auth import Anonymous, TokenFile
from bridge.kubernetes.connection import Connection, Tls
from bridge.kubernetes.kubeconfig import load_kubeconfig, parse_server
from bridge.kubernetes.proxies import environment_proxy

__all__ = ["adhoc_connection", "service_connection"]

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def adhoc_connection(
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    server: str | None = None,
    insecure: bool = False,
    environ: Mapping[str, str] | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> Connection:
    """Decide as kubectl does: the kubeconfig first, in a pod without one the pod's account. Reads files.

    Args:
        kubeconfig: the one file to use.
        context: the context to use, instead of the current one.
        server: another address; alone it is a plain one without credentials, such as a `kubectl proxy`.
        insecure: do not look at the server's certificate.
        environ: instead of the process's environment.
        service_account: where a pod finds its token and CA.

    Raises:
        UsageError: nothing was found, or what was found cannot be used.
    """
    place = _Place(os.environ if environ is None else environ, service_account)
    if server and not kubeconfig and not context:
        connection = _plain(server, place.environ)
    else:
        found = place.named(kubeconfig, context) or place.kubeconfig(None) or place.pod() or place.nothing()
        connection = (
            msgspec.structs.replace(found, server=parse_server(server, "--server")[0]) if server else found
        )
    return _insecure(connection) if insecure else connection


def service_connection(
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    environ: Mapping[str, str] | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> Connection:
    """Decide as a service does: what was named, else the pod's account, else the kubeconfig. Reads files.

    Args and errors are those of `adhoc_connection`.
    """
    place = _Place(os.environ if environ is None else environ, service_account)
    return place.named(kubeconfig, context) or place.pod() or place.kubeconfig(None) or place.nothing()


class _Place(msgspec.Struct, frozen=True):
    """Where we run, and what it offers."""

    environ: Mapping[str, str]
    service_account: Path

    def named(self, kubeconfig: Path | None, context: str | None) -> Connection | None:
        """What the user named, or None when nothing was."""
        if kubeconfig is not None:
            merged = load_kubeconfig([kubeconfig], explicit=True)
            return merged.connection(context, self.environ) if merged else None
        if context is None:
            return None
        return self.kubeconfig(context) or self.nothing()

    def kubeconfig(self, context: str | None) -> Connection | None:
        """What $KUBECONFIG or ~/.kube/config says, or None when there is none that says anything."""
        merged = load_kubeconfig(_default_paths(self.environ))
        if merged is None or not (merged.contexts or merged.clusters):
            return None
        return merged.connection(context, self.environ)

    def pod(self) -> Connection | None:
        """The pod's own account, or None outside of a pod."""
        return _in_cluster(self.environ, self.service_account)

    def nothing(self) -> NoReturn:
        """Say that there is no cluster.

        Raises:
            UsageError: always.
        """
        places = ", ".join(str(path) for path in _default_paths(self.environ))
        raise UsageError(
            f"no cluster to talk to: there is no kubeconfig ({places}) and this is no pod; use --kubeconfig"
        )


def _plain(server: str, environ: Mapping[str, str]) -> Connection:
    address, inline = parse_server(server, "--server")
    credentials = inline or Anonymous()
    return Connection(address, credentials, proxy=environment_proxy(address, environ))


def _insecure(connection: Connection) -> Connection:
    tls = msgspec.structs.replace(connection.tls, authority=None, insecure=True)
    warning = (
        f"the certificate of {connection.server} is not looked at, as you asked: anybody could pose as it"
    )
    return msgspec.structs.replace(connection, tls=tls, warnings=(*connection.warnings, warning))


def _default_paths(environ: Mapping[str, str]) -> list[Path]:
    listed = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return listed or [home / ".kube" / "config"]


def _in_cluster(environ: Mapping[str, str], account: Path) -> Connection | None:
    """Read the pod's own account.

    https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    token, authority, namespace = account / "token", account / "ca.crt", account / "namespace"
    if not host or not port or not token.exists():
        return None
    try:
        name = namespace.read_text("utf-8").strip()
    except OSError:
        name = ""
    return Connection(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        credentials=TokenFile(token),
        tls=Tls(authority if authority.exists() else None),
        # The cluster's own address is never behind the proxy that the pod's environment names.
        proxy=None,
        namespace=name or "default",
        source="this pod's ServiceAccount",
    )
