"""The token of OAUTHBEARER: from a secret or from a program, and again before it expires.

librdkafka asks for it in a thread of its own and would tell of a failure only that there was one; and the
constructor of a client waits ten seconds for the first token. So the first one is there before a client is.
"""

import base64
import json
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from bridge.secret import Secret, SecretError
from sinks.kafka.errors import shorten

__all__ = ["Token"]

RUN_SECONDS: Final = 8.0
_SHARED_SECONDS: Final = 30.0
_OPAQUE_SECONDS: Final = 300.0
_MAX_BYTES: Final = 64 * 1024


class Token:
    """Librdkafka's `oauth_cb`. Everything here blocks and is called in threads.

    Attributes:
        shown: the token last had, for whoever must hide it.
        problem: why the latest attempt to have one failed, "" when it did not.
    """

    def __init__(self, source: Secret | Sequence[str]) -> None:
        """`source` is where the token stands, or the program that prints it and its arguments."""
        self.shown = ""
        self.problem = ""
        self._source = source
        self._had_at = -float("inf")
        self._ready = False

    def prepare(self) -> None:
        """Have a token for a client that is about to be made; clients made together share it.

        Raises:
            SecretError: there is none; one sentence says why and never has any of it.
        """
        if self.age > _SHARED_SECONDS:
            self._obtain()
        self._ready = True

    @property
    def age(self) -> float:
        """Seconds since it was had; endless before."""
        return time.monotonic() - self._had_at

    def __call__(self, _config: str) -> tuple[str, float]:
        """The token and its end, in seconds since the epoch.

        Raises:
            SecretError: as `prepare`; librdkafka asks again after ten seconds.
        """
        if not self._ready:
            self._obtain()
        self._ready = False
        return self.shown, _expiry(self.shown)

    def _obtain(self) -> None:
        try:
            token = self._read(self._source) if isinstance(self._source, Secret) else self._run(self._source)
        except SecretError as error:
            self.problem = str(error)
            raise
        self.shown, self.problem, self._had_at = token, "", time.monotonic()

    @staticmethod
    def _read(secret: Secret) -> str:
        try:
            return secret.read().decode().strip()
        except UnicodeDecodeError as error:
            raise SecretError("`sasl.token` is not text in UTF-8") from error

    def _run(self, command: Sequence[str]) -> str:
        what = f"the program {command[0]} of `sasl.tokenCommand`"
        try:
            done = subprocess.run(  # noqa: S603 - the user names it, and no shell reads it
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=RUN_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise SecretError(f"{what} did not end within {RUN_SECONDS:g} s and was stopped") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "its arguments cannot be passed"
            raise SecretError(f"{what} cannot be run ({reason}); write one that this user may run") from None
        token = done.stdout.decode("ascii", "replace").strip()
        if done.returncode:
            said = self._clean(done.stderr.decode(errors="replace"), token)
            raise SecretError(f"{what} failed with exit code {done.returncode}{': ' if said else ''}{said}")
        if not token or len(token) > _MAX_BYTES or not all("!" <= char <= "~" for char in token):
            raise SecretError(f"{what} must print a token and nothing else; what it printed is none")
        return token

    def _clean(self, said: str, token: str) -> str:
        for secret in (token, self.shown):
            said = said.replace(secret, "***") if secret else said
        return shorten(said).rstrip(".")


def _expiry(token: str) -> float:
    """When a JWT ends; a token that does not say so is read again soon."""
    try:
        body = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return time.time() + _OPAQUE_SECONDS
