"""How one cluster is reached, as values: address, identity, trust, proxy. No I/O here."""

from pathlib import Path

import msgspec

from bridge.kubernetes.auth import Anonymous, ClientCertificate, Credentials
from bridge.kubernetes.proxies import Proxy

__all__ = ["Connection", "Tls"]


class Tls(msgspec.Struct, frozen=True):
    """What the server must prove, and what we prove with.

    Files stay paths, so that they are read again when somebody rotates them ([K5], [K6]).

    Attributes:
        authority: the cluster's CA as a PEM file or as PEM text; None trusts the system's CAs.
        certificate: our client certificate, unless the credentials bring one.
        server_name: the name to expect in the server's certificate instead of the address.
        insecure: the server's certificate is not looked at; only ever because somebody asked for it.
    """

    authority: Path | str | None = None
    certificate: ClientCertificate | None = None
    server_name: str | None = None
    insecure: bool = False


class Connection(msgspec.Struct, frozen=True):
    """Everything needed to talk to one API server. Its repr is safe to log.

    Attributes:
        server: scheme, host, port and path prefix, without a slash at the end and without credentials.
        impersonation: headers to act as somebody else; a name may come more than once.
        namespace: the context's (or the pod's) namespace.
        source: where all this comes from, for a sentence: `context "dev" of /home/me/.kube/config`.
        warnings: sentences that a person should see once.
    """

    server: str
    credentials: Credentials = msgspec.field(default_factory=Anonymous)
    tls: Tls = msgspec.field(default_factory=Tls)
    proxy: Proxy | None = None
    impersonation: tuple[tuple[str, str], ...] = ()
    namespace: str = "default"
    source: str = "the given address"
    warnings: tuple[str, ...] = ()
