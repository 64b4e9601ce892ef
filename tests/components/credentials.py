"""Certificates, tokens and kubeconfigs of a cluster, made anew for each one."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class User:
    """Somebody with a bearer token; without groups that RBAC knows, they may do nothing yet."""

    name: str
    groups: tuple[str, ...] = ()
    token: str = ""


@dataclass(frozen=True)
class Certificate:
    """A client certificate with its private key, two PEM files."""

    certificate_file: Path
    key_file: Path


class Credentials:
    """All secrets of one cluster, as files in one folder; its API servers share them."""

    def __init__(self, folder: Path, users: Iterable[User] = ()) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.ca_file = folder / "ca.crt"
        self.tokens_file = folder / "tokens.csv"
        self.service_account_key = folder / "service-account.key"
        self._authority = trustme.CA(organization_name="kube-bridge tests")
        self._authority.cert_pem.write_to_path(str(self.ca_file))
        # Any PEM private key can sign service account tokens; its certificate is not used.
        keypair = self._authority.issue_cert(common_name="service-accounts")
        keypair.private_key_pem.write_to_path(str(self.service_account_key))
        server = self._authority.issue_cert("127.0.0.1", "localhost", common_name="kube-apiserver")
        self.serving = self._write("serving", server)
        self.users: dict[str, User] = {}
        self.admin = self.add_user("admin", "system:masters")
        for user in users:
            self.add_user(user.name, *user.groups, token=user.token)

    def add_user(self, name: str, *groups: str, token: str = "") -> User:
        """Writes a user into the token file, which an API server reads only when it starts."""
        user = User(name, groups, token or secrets.token_urlsafe(24))
        self.users[name] = user
        lines = [f'{u.token},{u.name},uid-{u.name},"{",".join(u.groups)}"\n' for u in self.users.values()]
        self.tokens_file.write_text("".join(lines))
        return user

    def client_certificate(self, name: str, group: str | None = None) -> Certificate:
        """Issues a client certificate, which every running API server of the cluster accepts at once."""
        # Without a name to stand in it, trustme makes the SAN extension empty and critical, which Go refuses.
        issued = self._authority.issue_cert(f"{name}.invalid", common_name=name, organization_name=group)
        return self._write(f"client-{name}", issued)

    def kubeconfig(self, server: str, token: str, *, namespace: str = "default") -> dict[str, Any]:
        """A kubeconfig for a bearer token; a dict, so that a test can spoil it before it writes it."""
        authority = base64.b64encode(self.ca_file.read_bytes()).decode()
        context = {"cluster": "test", "user": "test", "namespace": namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {"name": "test", "cluster": {"server": server, "certificate-authority-data": authority}}
            ],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": context}],
        }

    def write_kubeconfig(self, path: Path, server: str, token: str) -> Path:
        """Writes a kubeconfig; JSON is YAML."""
        path.write_text(json.dumps(self.kubeconfig(server, token), indent=2) + "\n")
        path.chmod(0o600)
        return path

    def ssl_context(self) -> ssl.SSLContext:
        """For a client that trusts this cluster and nothing else."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def _write(self, name: str, issued: trustme.LeafCert) -> Certificate:
        files = Certificate(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        files.certificate_file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(files.key_file))
        return files
