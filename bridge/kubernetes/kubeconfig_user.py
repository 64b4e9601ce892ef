"""The user of a kubeconfig context: which credential it is, its client certificate, whom it acts as.

Precedence as in client-go: tokenFile over token over user name and password over exec; a client
certificate goes along with any of them ([K8]).
"""

import base64
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bridge.errors import UsageError
from bridge.kubernetes.auth import (
    Anonymous,
    Basic,
    ClientCertificate,
    Credentials,
    Secret,
    StaticToken,
    TokenFile,
)
from bridge.kubernetes.exec_plugin import API_VERSIONS, ExecPlugin, ExecSpec
from bridge.kubernetes.failures import CredentialError
from bridge.kubernetes.kubeconfig_section import Section

__all__ = ["client_certificate", "impersonation", "user_credentials"]

_INTERACTIVE_MODES: Final = ("Never", "IfAvailable", "Always")
_EXEC_EXTENSION: Final = "client.authentication.k8s.io/exec"


def user_credentials(user: Section, cluster: Section) -> Credentials:
    """Make the credential that this user sends in headers.

    Raises:
        UsageError: two ways at once, or one that cannot be used.
    """
    token, token_file = user.text("token"), user.file("tokenFile")
    basic = user.text("username") or user.text("password")
    if token and basic:
        raise UsageError(f"{user.where} has a token and a user name or password: keep only one of them")
    if token_file:
        return TokenFile(token_file, fallback=Secret(token) if token else None)
    if token:
        try:
            return StaticToken(Secret(token), user.where)
        except CredentialError as error:
            raise UsageError(str(error)) from None
    if basic:
        return Basic(user.text("username"), Secret(user.text("password")), user.where)
    plugin = user.section("exec")
    if plugin:
        return ExecPlugin(_exec_spec(plugin, user, cluster))
    provider = user.section("auth-provider")
    if provider:
        raise UsageError(
            f'{user.where} uses the auth-provider "{provider.text("name")}", which Kubernetes clients '
            "no longer have: use an exec plugin"
        )
    return Anonymous()


def client_certificate(user: Section) -> ClientCertificate | None:
    """Return the user's client certificate, by file or data, or None.

    Raises:
        UsageError: only one half of it is there, or a file cannot be read.
    """
    certificate, key = user.pem("client-certificate"), user.pem("client-key")
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "client-key" if key is None else "client-certificate"
        raise UsageError(f"{user.where} has only one half of a client certificate: {missing} is missing")
    return ClientCertificate(certificate, key if isinstance(key, Path) else Secret(key))


def impersonation(user: Section) -> tuple[tuple[str, str], ...]:
    """Return the headers that make the server treat us as somebody else.

    Raises:
        UsageError: groups, uid or extra without a user, which servers refuse.
    """
    name, uid, groups = user.text("as"), user.text("as-uid"), user.texts("as-groups")
    extra = user.section("as-user-extra")
    headers = [("Impersonate-User", name)] if name else []
    headers += [("Impersonate-Uid", uid)] if uid else []
    headers += [("Impersonate-Group", group) for group in groups]
    for key in extra.values if extra else ():
        # A header name takes few characters; the server decodes percent signs.
        escaped = quote(key, safe="!#$&'*+.^`|~")
        headers += [(f"Impersonate-Extra-{escaped}", value) for value in extra.texts(key)] if extra else []
    if headers and not name:
        raise UsageError(f"{user.where} sets as-groups, as-uid or as-user-extra, but not as")
    if not all(value.isprintable() for _, value in headers):
        raise UsageError(f"{user.where} impersonates somebody whose name holds line breaks")
    return tuple(headers)


def _exec_spec(plugin: Section, user: Section, cluster: Section) -> ExecSpec:
    api_version = plugin.required("apiVersion")
    if api_version not in API_VERSIONS:
        raise UsageError(f"apiVersion of {plugin.where} must be one of {', '.join(API_VERSIONS)}")
    mode = plugin.text("interactiveMode")
    if not mode and api_version == API_VERSIONS[1]:
        mode = "IfAvailable"
    if mode not in _INTERACTIVE_MODES:
        raise UsageError(f"interactiveMode of {plugin.where} must be one of {', '.join(_INTERACTIVE_MODES)}")
    command = plugin.required("command")
    return ExecSpec(
        # A path is relative to the file; a bare name is looked up in $PATH.
        command=str(plugin.resolve(command)) if "/" in command else command,
        args=plugin.texts("args"),
        env=_exec_environment(plugin),
        api_version=api_version,
        install_hint=plugin.text("installHint"),
        cluster=_cluster_info(cluster) if plugin.flag("provideClusterInfo") else None,
        interactive=mode,
        where=user.where,
    )


def _exec_environment(plugin: Section) -> tuple[tuple[str, Secret], ...]:
    entries = plugin.values.get("env") or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"env of {plugin.where} must be a list of name and value")
    sections = [Section(entry, f"env of {plugin.where}", plugin.path) for entry in entries]
    return tuple((entry.required("name"), Secret(entry.text("value"))) for entry in sections)


def _cluster_info(cluster: Section) -> dict[str, Any]:
    """What `provideClusterInfo` passes on: the ExecCredential's `spec.cluster`."""
    info: dict[str, Any] = {
        key: cluster.text(key)
        for key in ("server", "tls-server-name", "certificate-authority-data", "proxy-url")
        if cluster.text(key)
    }
    if cluster.flag("insecure-skip-tls-verify"):
        info["insecure-skip-tls-verify"] = True
    authority = cluster.pem("certificate-authority")
    if isinstance(authority, Path):
        info["certificate-authority-data"] = base64.b64encode(authority.read_bytes()).decode()
    extensions = cluster.values.get("extensions")
    for index, extension in enumerate(extensions if isinstance(extensions, list) else ()):
        if isinstance(extension, dict) and extension.get("name") == _EXEC_EXTENSION:
            info["config"] = cluster.typed("extensions")[index].get("extension")
    return info
