"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, perhaps kube-controller-manager."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.components.build import CURRENT, OLD, binary, say
from tests.components.credentials import Certificate, Credentials, User
from tests.components.etcd import Compacted, Etcd, Event
from tests.components.process import ComponentFailed, Server, free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

__all__ = [
    "CURRENT",
    "OLD",
    "ApiServer",
    "Certificate",
    "Cluster",
    "Compacted",
    "ComponentFailed",
    "ControllerManager",
    "Etcd",
    "Event",
    "User",
]

REQUEST_SECONDS = 60
# Enough for Deployments to make real churn, and for namespaces and owners to take along what is theirs. The
# last one fills the ClusterRoles `view`, `edit` and `admin`, which are empty on a cluster without it.
CONTROLLERS = (
    "deployment,replicaset,namespace,garbagecollector,serviceaccount,job,clusterrole-aggregation-controller"
)


class ApiServer(Server):
    """A real kube-apiserver with RBAC on an etcd; several may share the etcd and the credentials."""

    name = "kube-apiserver"

    def __init__(
        self,
        directory: Path,
        etcd: Etcd,
        credentials: Credentials,
        *,
        version: str = CURRENT,
        args: Sequence[str] = (),
    ) -> None:
        super().__init__(directory)
        self.etcd = etcd
        self.credentials = credentials
        self.args = list(args)
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        # Replicas have logs of their own.
        self.log = self.log.with_name(f"{self.name}-{self.port}.log")
        self._program = binary(self.name, None if version == CURRENT else version)
        self._ssl = credentials.ssl_context()

    def command(self) -> list[str]:
        """The server's flags; ``args`` come last and so win."""
        files = self.credentials
        return [
            str(self._program),
            f"--etcd-servers={self.etcd.url}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--cert-dir={files.folder}",
            f"--tls-cert-file={files.serving.certificate_file}",
            f"--tls-private-key-file={files.serving.key_file}",
            f"--client-ca-file={files.ca_file}",
            f"--token-auth-file={files.tokens_file}",
            f"--service-account-key-file={files.service_account_key}",
            f"--service-account-signing-key-file={files.service_account_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            # Pods may be created although nothing makes the default ServiceAccounts.
            "--disable-admission-plugins=ServiceAccount",
            # What etcd has stored is the judge of tests: only they make it forget (`Etcd.compact`).
            "--etcd-compaction-interval=0",
            *self.args,
        ]

    def ready(self) -> bool:
        """Whether /readyz says so and the namespace `default`, which comes a moment later, is there."""
        try:
            with self.client(timeout=5) as client:
                return all(
                    client.get(path).status_code == httpx.codes.OK
                    for path in ("/readyz", "/api/v1/namespaces/default")
                )
        except httpx.HTTPError:
            return False

    def client(self, token: str | None = None, *, timeout: float = REQUEST_SECONDS) -> httpx.Client:
        """A client of the tests' own (not kube-bridge's); the default token is the admin's."""
        token = self.credentials.admin.token if token is None else token
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(
            base_url=self.url, headers=headers, verify=self._ssl, trust_env=False, timeout=timeout
        )


class ControllerManager(Server):
    """A real kube-controller-manager: Deployments get ReplicaSets and Pods, deleted namespaces really go."""

    name = "kube-controller-manager"

    def __init__(self, directory: Path, apiserver: ApiServer, controllers: str = CONTROLLERS) -> None:
        super().__init__(directory)
        self.controllers = controllers
        self.port = free_port()
        self._apiserver = apiserver
        self._program = binary(self.name)
        admin = apiserver.credentials.admin.token
        path = directory / "controller-manager.kubeconfig"
        self._kubeconfig = apiserver.credentials.write_kubeconfig(path, apiserver.url, admin)

    def command(self) -> list[str]:
        """One replica, as admin, with the chosen controllers only."""
        files = self._apiserver.credentials
        return [
            str(self._program),
            f"--kubeconfig={self._kubeconfig}",
            f"--controllers={self.controllers}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={files.folder / 'controller-manager'}",
            f"--tls-cert-file={files.serving.certificate_file}",
            f"--tls-private-key-file={files.serving.key_file}",
        ]

    def ready(self) -> bool:
        """Whether it serves /healthz, which it does once its controllers are started."""
        url = f"https://127.0.0.1:{self.port}/healthz"
        context = self._apiserver.credentials.ssl_context()
        try:
            answer = httpx.get(url, verify=context, trust_env=False, timeout=5)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK


class Cluster:
    """A whole control plane in a temporary folder; started by ``with``, gone without a trace after it.

    Unless the ``with`` ends by an exception or ``keep_logs()`` was called: then the logs stay.
    """

    def __init__(
        self,
        *,
        version: str = CURRENT,
        args: Sequence[str] = (),
        etcd_args: Sequence[str] = (),
        users: Iterable[User] = (),
        controllers: bool | str = False,
    ) -> None:
        self.version = version
        self.directory = Path(tempfile.mkdtemp(prefix="kube-bridge-cluster-"))
        self._keep_logs = False
        self._args = args
        self._replicas: list[ApiServer] = []
        try:
            self.credentials = Credentials(self.directory / "certs", users)
            self.etcd = Etcd(self.directory, etcd_args)
            self.apiserver = ApiServer(
                self.directory, self.etcd, self.credentials, version=version, args=args
            )
            self.kubeconfig = self.directory / "kubeconfig"
            self.credentials.write_kubeconfig(self.kubeconfig, self.url, self.token)
            self.kubectl_program = binary("kubectl")
            chosen = CONTROLLERS if controllers is True else controllers
            self.controller_manager = (
                ControllerManager(self.directory, self.apiserver, chosen) if chosen else None
            )
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def start(self) -> None:
        """Starts everything and returns when it is ready."""
        self.etcd.start()
        self.apiserver.start()
        if self.controller_manager is not None:
            self.controller_manager.start()

    def close(self) -> None:
        """Kills everything and removes the folder; logs that must be kept are told and stay."""
        servers = [self.controller_manager, *self._replicas, self.apiserver, self.etcd]
        with contextlib.ExitStack() as stack:
            for server in servers:
                if server is not None:
                    stack.callback(server.kill)
        for path in self.directory.iterdir():
            if not (self._keep_logs and path.name == "logs"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if self._keep_logs:
            say(f"the logs of the cluster are kept in {self.directory / 'logs'}")
        else:
            self.directory.rmdir()

    def keep_logs(self) -> None:
        """Makes the logs stay after the end, for a test that failed."""
        self._keep_logs = True

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.keep_logs()
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, Exception):
            self.keep_logs()
        self.close()

    @property
    def url(self) -> str:
        """Where the API server is."""
        return self.apiserver.url

    @property
    def token(self) -> str:
        """The bearer token of an administrator (system:masters)."""
        return self.credentials.admin.token

    @property
    def ca_file(self) -> Path:
        """The certificate authority of the API server."""
        return self.credentials.ca_file

    def client(self, token: str | None = None, *, timeout: float = REQUEST_SECONDS) -> httpx.Client:
        """A client of the tests' own (not kube-bridge's), to be used in a ``with``; by default as admin."""
        return self.apiserver.client(token, timeout=timeout)

    def request(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """One request with a JSON answer; an error of the server is an exception with its message."""
        with self.client(token) as client:
            answer = client.request(method, path, json=body)
        if answer.is_error:
            raise ComponentFailed(f"{method} {path}: HTTP {answer.status_code} {answer.text}")
        return answer.json()

    def kubectl(self, *args: str, input: str | None = None, kubeconfig: Path | None = None) -> str:  # noqa: A002 - as in subprocess
        """Runs kubectl, as admin unless another kubeconfig is given, and returns what it prints."""
        command = [str(self.kubectl_program), f"--cache-dir={self.directory / 'kubectl-cache'}", *args]
        environment = os.environ | {"KUBECONFIG": str(kubeconfig or self.kubeconfig)}
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, input=input, env=environment, timeout=120
        )
        if done.returncode != 0:
            raise ComponentFailed(f"kubectl {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def history(self, since: int = 1, prefix: str = "/registry/") -> list[Event]:
        """What etcd has really stored: every (key, revision, PUT or DELETE) up to now."""
        return self.etcd.history(since, prefix)

    def add_user(self, name: str, *groups: str) -> User:
        """Adds a user with a bearer token; restarts the API servers (``users=`` at the start does not)."""
        user = self.credentials.add_user(name, *groups)
        for server in [self.apiserver, *self._replicas]:
            server.restart()
        return user

    def client_certificate(self, name: str, group: str | None = None) -> Certificate:
        """A user with a client certificate, at once."""
        return self.credentials.client_certificate(name, group)

    def service_account_token(self, namespace: str, name: str, *, seconds: int = 3600) -> str:
        """Returns a token of a ServiceAccount, which is made if needed; the server wants at least 600 s."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        with self.client() as client:
            made = client.post(accounts, json={"metadata": {"name": name}})
        if made.is_error and made.status_code != httpx.codes.CONFLICT:
            raise ComponentFailed(f"ServiceAccount {namespace}/{name}: {made.text}")
        body = {"spec": {"expirationSeconds": seconds}}
        return str(self.request("POST", f"{accounts}/{name}/token", body)["status"]["token"])

    def write_kubeconfig(self, path: Path, token: str) -> Path:
        """Writes a kubeconfig for another user."""
        return self.credentials.write_kubeconfig(path, self.url, token)

    def start_replica(self, args: Sequence[str] | None = None, *, version: str | None = None) -> ApiServer:
        """Starts one more API server on the same etcd, with the same users; it ends with the cluster."""
        replica = ApiServer(
            self.directory,
            self.etcd,
            self.credentials,
            version=version or self.version,
            args=self._args if args is None else args,
        )
        self._replicas.append(replica)
        replica.start()
        return replica
