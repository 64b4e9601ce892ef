"""TLS and SASL as a user configures them: whom we trust, and who we are to the brokers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from bridge.secret import Secret
from bridge.settings import Items, Looks, Rule, about, enforce
from sinks.pem import authorities_problem, identity_problem

__all__ = ["Sasl", "Tls"]


def _half_an_identity(certificate: Path | None, key: Path | None) -> Iterator[str]:
    if (certificate is None) != (key is None):
        yield "needs both `certificate` and `key`, or neither"


def _identity_problem(certificate: Path | None, key: Path | None) -> Iterator[str]:
    # librdkafka knows a password from `ssl.key.password`, and tells about it.
    return identity_problem(certificate, key, encrypted=True) if key is not None else iter(())


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to the brokers; that it is there turns TLS on."""

    ca: Path | None = field(
        default=None,
        metadata=about(
            "PEM of the authorities to trust. Default: those of the system.",
            example="/etc/kafka/ca.pem",
            readable=True,
        ),
    )
    certificate: Path | None = field(
        default=None,
        metadata=about("PEM of our own certificate (mTLS).", example="/etc/kafka/tls.crt", readable=True),
    )
    key: Path | None = field(
        default=None,
        metadata=about("PEM of its private key.", example="/etc/kafka/tls.key", readable=True),
    )
    insecure: bool = field(
        default=False, metadata=about("Trusts any certificate. For experiments only.", example="true")
    )

    RULES: ClassVar = (
        Rule(("certificate", "key"), _half_an_identity),
        Rule(("ca",), authorities_problem, Looks.FILES),
        Rule(("certificate", "key"), _identity_problem, Looks.FILES),
    )

    def __post_init__(self) -> None:
        enforce(self)


def _sasl_problems(
    mechanism: str,
    username: str | None,
    password: Secret | None,
    token: Secret | None,
    token_command: Sequence[str],
) -> Iterator[str]:
    """What a mechanism needs and what has no meaning for it."""
    oauth = mechanism == "OAUTHBEARER"
    given = [key for key, value in (("token", token), ("tokenCommand", token_command)) if value]
    if oauth and not given:
        yield "OAUTHBEARER needs `token`, as `token: {file: /var/run/kafka/token}`, or `tokenCommand`"
    if oauth and len(given) > 1:
        yield "has both `token` and `tokenCommand`; keep one of them"
    if oauth and (username or password):
        yield "has `username` or `password`, which OAUTHBEARER does not use; remove them"
    if not oauth and (not username or password is None):
        yield f"{mechanism} needs `username` and `password`"
    if not oauth and given:
        yield f"has `{given[0]}`, which {mechanism} does not use; remove it"


@dataclass(frozen=True, slots=True)
class Sasl:
    """Who we are to the brokers."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = field(
        metadata=about("How we authenticate.", example="SCRAM-SHA-512")
    )
    username: str | None = field(default=None, metadata=about("Of PLAIN and SCRAM.", example="kube-bridge"))
    password: Secret | None = field(
        default=None, metadata=about("Of PLAIN and SCRAM.", example="{file: /etc/kafka/password}")
    )
    token: Secret | None = field(
        default=None,
        metadata=about(
            "Of OAUTHBEARER: a JWT, read again before it expires.", example="{file: /var/run/kafka/token}"
        ),
    )
    token_command: Annotated[
        tuple[str, ...],
        Items(1, "write the program and its arguments", repeats=True),
    ] = field(
        default=(),
        metadata=about(
            "Of OAUTHBEARER, instead of `token`: a program that prints one, and its arguments; run without a "
            "shell, and again before the token expires.",
            example="[get-token, --audience, kafka]",
        ),
    )

    RULES: ClassVar = (
        Rule(
            ("mechanism", "username", "password", "token", "token_command"),
            _sasl_problems,
        ),
    )

    def __post_init__(self) -> None:
        enforce(self)
