"""The kubeconfig as kubectl reads it: files merged, a context chosen, made into a `Connection`.

Rules are those of client-go's `tools/clientcmd`: of several files the first that names something wins,
relative paths are relative to the file they stand in, and no value is ever shown in an error.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

import msgspec
import yaml

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment] # slower, else the same

from bridge.errors import UsageError
from bridge.kubernetes.auth import Anonymous, Basic, Secret
from bridge.kubernetes.connection import Connection, Tls
from bridge.kubernetes.explain import nearest
from bridge.kubernetes.kubeconfig_section import Section
from bridge.kubernetes.kubeconfig_user import client_certificate, impersonation, user_credentials
from bridge.kubernetes.proxies import Proxy, environment_proxy, parse_proxy

__all__ = ["Kubeconfig", "load_kubeconfig", "parse_server"]

_KINDS: Final = {"clusters": "cluster", "users": "user", "contexts": "context"}


class _Loader(SafeLoader):
    """Everything but null stays text: a password `0123` or a namespace `no` means itself."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag.endswith((":null", ":merge"))]
    for first, rules in SafeLoader.yaml_implicit_resolvers.items()
}


class Kubeconfig(msgspec.Struct):
    """Merged kubeconfig files.

    Attributes:
        clusters: name -> section, each knowing the file it came from; users and contexts likewise.
        current_context: the first one that was set, or "".
        files: what was read, for sentences.
    """

    clusters: dict[str, Section] = msgspec.field(default_factory=dict)
    users: dict[str, Section] = msgspec.field(default_factory=dict)
    contexts: dict[str, Section] = msgspec.field(default_factory=dict)
    current_context: str = ""
    files: list[Path] = msgspec.field(default_factory=list)

    def connection(self, context: str | None, environ: Mapping[str, str]) -> Connection:
        """Make the connection of a context (default: the current one).

        Raises:
            UsageError: no such context, cluster or user, or something in them cannot be used.
        """
        name, chosen = self._context(context)
        cluster = self._named(self.clusters, "cluster", chosen.text("cluster"), name)
        user_name = chosen.text("user")
        user = self._named(self.users, "user", user_name, name) if user_name else None
        server, inline = parse_server(cluster.required("server"), cluster.where)
        credentials = user_credentials(user, cluster) if user else Anonymous()
        return Connection(
            server=server,
            # As Go does: a user name and password in the address, unless there is something better.
            credentials=inline if inline and not credentials.description else credentials,
            tls=_tls(cluster, user),
            proxy=_proxy(cluster, server, environ),
            impersonation=impersonation(user) if user else (),
            namespace=chosen.text("namespace") or "default",
            source=f'context "{name}" of {chosen.path}',
            warnings=_warnings(cluster),
        )

    def _context(self, wanted: str | None) -> tuple[str, Section]:
        files = " and ".join(str(path) for path in self.files)
        name = wanted or self.current_context
        if not name:
            known = ", ".join(sorted(self.contexts)) or "it has none"
            raise UsageError(f"{files} sets no current-context: choose one with --context ({known})")
        if name not in self.contexts:
            raise UsageError(f'there is no context "{name}" in {files}{nearest(name, self.contexts)}')
        return name, self.contexts[name]

    def _named(self, sections: Mapping[str, Section], kind: str, name: str, context: str) -> Section:
        if name not in sections:
            what = f'the {kind} "{name}"' if name else f"a {kind}"
            verb = "which no file defines" if name else "but names none"
            raise UsageError(f'context "{context}" needs {what}, {verb}{nearest(name, sections)}')
        return sections[name]


def load_kubeconfig(paths: Sequence[Path], *, explicit: bool = False) -> Kubeconfig | None:
    """Read and merge kubeconfig files; None when none of them exists.

    Args:
        paths: in order of precedence, as in $KUBECONFIG.
        explicit: the one path was named by the user and so must exist.

    Raises:
        UsageError: a file cannot be read or is no kubeconfig.
    """
    merged = Kubeconfig()
    for path in dict.fromkeys(paths):
        if explicit or path.exists():
            _merge(merged, path)
    return merged if merged.files else None


def _merge(merged: Kubeconfig, path: Path) -> None:
    document = _parse(path)
    merged.files.append(path)
    merged.current_context = merged.current_context or Section(document, str(path), path).text(
        "current-context"
    )
    for plural, singular in _KINDS.items():
        sections: dict[str, Section] = getattr(merged, plural)
        for index, entry in enumerate(document.get(plural) or ()):
            name = entry.get("name") if isinstance(entry, dict) else None
            body = entry.get(singular) if isinstance(entry, dict) else None
            if not isinstance(name, str) or not isinstance(body, dict | None):
                raise UsageError(f"{path}: {plural}[{index}] must have a name and a {singular}")
            typed = partial(_typed, path, plural, index, singular)
            sections.setdefault(name, Section(body or {}, f'{singular} "{name}" of {path}', path, typed))


def _typed(path: Path, plural: str, index: int, singular: str) -> Mapping[str, Any]:
    entry: Mapping[str, Any] = _parse(path, SafeLoader)[plural][index][singular]
    return entry


def _parse(path: Path, loader: type[SafeLoader] = _Loader) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise UsageError(f"the kubeconfig {path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        # The parser's own words quote the file, which is full of secrets.
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise UsageError(f"the kubeconfig {path} is not valid YAML{line}") from None
    except RecursionError:
        raise UsageError(f"the kubeconfig {path} is nested too deeply") from None
    if document is None:
        return {}
    if not isinstance(document, dict) or any(
        not isinstance(document.get(plural) or [], list) for plural in _KINDS
    ):
        raise UsageError(f"{path} is no kubeconfig: it must hold clusters, users and contexts")
    return document


def parse_server(text: str, where: str) -> tuple[str, Basic | None]:
    """Split a server address into the address proper and a user name and password written into it.

    Raises:
        UsageError: it is no http(s) address; it is not quoted, it may hold a password.
    """
    try:
        parts: SplitResult = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"the server of {where} is no address: write https://host:port")
    try:
        name = parts.hostname.encode("idna").decode()
    except UnicodeError:
        raise UsageError(f"the server of {where} is no address: its host is no name") from None
    host = f"[{name}]" if ":" in name else name
    path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    server = f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"
    if parts.username is None:
        return server, None
    return server, Basic(
        unquote(parts.username), Secret(unquote(parts.password or "")), f"the server of {where}"
    )


def _tls(cluster: Section, user: Section | None) -> Tls:
    insecure = cluster.flag("insecure-skip-tls-verify")
    authority = cluster.pem("certificate-authority")
    if insecure and authority:
        raise UsageError(
            f"{cluster.where} sets a certificate-authority and insecure-skip-tls-verify: keep one of them"
        )
    certificate = client_certificate(user) if user else None
    return Tls(authority, certificate, cluster.text("tls-server-name") or None, insecure)


def _proxy(cluster: Section, server: str, environ: Mapping[str, str]) -> Proxy | None:
    url = cluster.text("proxy-url")
    if url:
        return parse_proxy(url, f"the proxy-url of {cluster.where}")
    return environment_proxy(server, environ)


def _warnings(cluster: Section) -> tuple[str, ...]:
    if not cluster.flag("insecure-skip-tls-verify"):
        return ()
    return (f"{cluster.where} sets insecure-skip-tls-verify: anybody on the way can read everything",)
