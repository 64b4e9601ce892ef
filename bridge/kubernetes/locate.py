"""Finds the cluster: what was named, else what the place we run in offers.

In a pod that is the pod's own ServiceAccount, on a laptop the kubeconfig; which one is asked first
depends on the command, because a service in a pod and a person in a shell expect different things.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from bridge.errors import UsageError
from bridge.kubernetes.auth import TokenFile
from bridge.kubernetes.connection import Connection, Tls
from bridge.kubernetes.kubeconfig import load_kubeconfig

__all__ = ["find_connection"]

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def find_connection(
    *,
    kubeconfig: str | Path | None = None,
    context: str | None = None,
    prefer: Literal["pod", "kubeconfig"] = "kubeconfig",
    environ: Mapping[str, str] | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> Connection:
    """Decide which cluster to talk to, and as whom. Reads local files only.

    Args:
        kubeconfig: the one file to use.
        context: the context to use; then a pod's own account is not considered.
        prefer: what to try first when neither is given: `pod` for `run`, `kubeconfig` for `watch`.
        environ: instead of the process's environment.
        service_account: where a pod finds its token and CA.

    Raises:
        UsageError: nothing was found, or what was found cannot be used.
    """
    variables = os.environ if environ is None else environ
    if kubeconfig is not None:
        named = load_kubeconfig([Path(kubeconfig)], explicit=True)
        assert named is not None  # noqa: S101 - an explicit file is read or is an error
        return named.connection(context, variables)
    paths = _default_paths(variables)
    pod = None if context else _in_cluster(variables, service_account)
    if pod and prefer == "pod":
        return pod
    found = load_kubeconfig(paths)
    if found and (context or found.current_context or not pod):
        return found.connection(context, variables)
    if pod:
        return pod
    places = ", ".join(str(path) for path in paths)
    raise UsageError(
        f"no cluster to talk to: there is no kubeconfig ({places}), and this is no pod; use --kubeconfig"
    )


def _default_paths(environ: Mapping[str, str]) -> list[Path]:
    listed = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return listed or [home / ".kube" / "config"]


def _in_cluster(environ: Mapping[str, str], account: Path) -> Connection | None:
    """The pod's own account, or None outside of a pod.

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
