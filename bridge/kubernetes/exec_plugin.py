"""Credentials from a program: exec plugins of a kubeconfig, `client.authentication.k8s.io/v1` and `v1beta1`.

The protocol is https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins.
The program runs beside the event loop, once for all who wait, and its result is kept in memory until
`expirationTimestamp` or a 401 ([K4]). Its stdout holds the credential and is never shown.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import orjson
import trio

from bridge.kubernetes.auth import Anonymous, ClientCertificate, Secret, bearer
from bridge.kubernetes.explain import clean
from bridge.kubernetes.failures import CredentialError

__all__ = ["API_VERSIONS", "ExecPlugin", "ExecSpec"]

API_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
RUN_SECONDS: Final = 60.0
"""How long a plugin may take that asks nobody anything."""
INTERACTIVE_SECONDS: Final = 300.0
"""How long one may take that talks to a person."""
REFRESH_SECONDS: Final = 10.0
"""Renewals forced by a 401 are at least this far apart, however many watches were refused at once."""


class ExecSpec(msgspec.Struct, frozen=True):
    """One `exec` entry of a kubeconfig user.

    Attributes:
        cluster: what `KUBERNETES_EXEC_INFO` tells the plugin, or None without `provideClusterInfo`.
        interactive: Never, IfAvailable or Always.
        where: the user and file it stands in, for a sentence.
    """

    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, Secret], ...] = ()
    api_version: str = API_VERSIONS[0]
    install_hint: str = ""
    cluster: Mapping[str, Any] | None = None
    interactive: str = "IfAvailable"
    where: str = ""


class _Issued(msgspec.Struct, frozen=True):
    token: Secret | None
    certificate: ClientCertificate | None
    expires: datetime | None

    @property
    def fresh(self) -> bool:
        return self.expires is None or datetime.now(UTC) < self.expires


class ExecPlugin(Anonymous):
    """The credential that a plugin issues. Cancelling a request that runs it kills the program."""

    def __init__(self, spec: ExecSpec) -> None:
        self.description = f"the exec plugin {spec.command} of {spec.where}"
        self._spec = spec
        self._issued: _Issued | None = None
        self._forced_at = -float("inf")
        self._turn = trio.Lock()

    async def headers(self) -> dict[str, str]:
        """Return the plugin's bearer token, if it gives one; runs it when nothing fresh is at hand."""
        issued = self._issued
        if issued is None or not issued.fresh:
            async with self._turn:
                issued = self._issued
                if issued is None or not issued.fresh:
                    issued = await self._renew()
        if issued.token is None:
            return {}
        return bearer(issued.token.reveal(), f"what {self.description} returned")

    async def refresh(self) -> bool:
        """Run the plugin once more; True when it now says something else."""
        async with self._turn:
            if trio.current_time() - self._forced_at < REFRESH_SECONDS:
                return False
            self._forced_at = trio.current_time()
            before = self._issued
            after = await self._renew()
        return before is None or (after.token, after.certificate) != (before.token, before.certificate)

    def secrets(self) -> tuple[str, ...]:
        """Return the token and key last issued, and the values the plugin gets in its environment."""
        given = [value.reveal() for _, value in self._spec.env]
        if self._issued and self._issued.token:
            given.append(self._issued.token.reveal())
        return tuple(given)

    async def _renew(self) -> _Issued:
        issued = self._read(await self._run())
        if issued.certificate != self.certificate:
            self.certificate = issued.certificate
            self.generation += 1
        self._issued = issued
        return issued

    async def _run(self) -> bytes:
        spec, interactive = self._spec, self._interactive()
        seconds = INTERACTIVE_SECONDS if interactive else RUN_SECONDS
        done = None
        with trio.move_on_after(seconds):
            try:
                done = await trio.run_process(
                    [spec.command, *spec.args],
                    stdin=None if interactive else subprocess.DEVNULL,
                    capture_stdout=True,
                    # A person has to see what the plugin asks; otherwise it belongs into the error.
                    capture_stderr=not interactive,
                    check=False,
                    env=self._environment(interactive=interactive),
                )
            except FileNotFoundError:
                hint = f": {clean(spec.install_hint)}" if spec.install_hint else ""
                raise CredentialError(f"{self.description} is not installed{hint}") from None
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "its arguments cannot be passed"
                raise CredentialError(f"{self.description} cannot be run: {reason}") from None
        if done is None:
            raise CredentialError(f"{self.description} did not answer within {seconds:g} s and was stopped")
        if done.returncode != 0:
            said = clean((done.stderr or b"").decode(errors="replace"), hide=self.secrets())
            tail = f": {said}" if said else ""
            raise CredentialError(f"{self.description} failed with exit code {done.returncode}{tail}")
        return bytes(done.stdout)

    def _interactive(self) -> bool:
        terminal = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
        if self._spec.interactive == "Always" and not terminal:
            raise CredentialError(
                f"{self.description} wants to ask a person (interactiveMode Always), but stdin is no terminal"
            )
        return terminal and self._spec.interactive != "Never"

    def _environment(self, *, interactive: bool) -> dict[str, str]:
        spec: dict[str, Any] = {"interactive": interactive}
        if self._spec.cluster is not None:
            spec["cluster"] = self._spec.cluster
        info = {"kind": "ExecCredential", "apiVersion": self._spec.api_version, "spec": spec}
        given = {name: value.reveal() for name, value in self._spec.env}
        return {**os.environ, **given, "KUBERNETES_EXEC_INFO": orjson.dumps(info).decode()}

    def _read(self, output: bytes) -> _Issued:
        """Validate what the plugin printed; no sentence here may quote it."""
        try:
            document = orjson.loads(output)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict) or document.get("kind") != "ExecCredential":
            raise CredentialError(f"{self.description} did not print an ExecCredential as JSON")
        if document.get("apiVersion") != self._spec.api_version:
            raise CredentialError(
                f"{self.description} answered in another apiVersion than {self._spec.api_version}"
            )
        status = document.get("status")
        fields = status if isinstance(status, dict) else {}
        token = fields.get("token")
        certificate, key = fields.get("clientCertificateData"), fields.get("clientKeyData")
        if not all(value is None or isinstance(value, str) for value in (token, certificate, key)):
            raise CredentialError(f"{self.description} returned a token or certificate that is not text")
        if bool(certificate) != bool(key):
            raise CredentialError(f"{self.description} returned only a certificate or only a key, not both")
        if not token and not certificate:
            raise CredentialError(f"{self.description} returned neither a token nor a client certificate")
        pair = ClientCertificate(certificate, Secret(key)) if certificate and key else None
        return _Issued(Secret(token) if token else None, pair, self._expiry(fields))

    def _expiry(self, fields: Mapping[str, Any]) -> datetime | None:
        text = fields.get("expirationTimestamp")
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except (TypeError, ValueError):
            raise CredentialError(
                f"{self.description} returned an expirationTimestamp that is no time"
            ) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
