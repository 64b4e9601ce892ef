"""Secrets in use: read again every ten seconds, so a rotated one is seen, and checked before they go out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Generic, TypeVar

import trio

from bridge.delivery.sink import Unavailable
from bridge.secret import Secret, SecretError
from bridge.settings import Looks

__all__ = ["Kept", "header_value", "problems_of"]

_BELIEVED: Final = 10.0

T = TypeVar("T")


class Kept(Generic[T]):
    """What a secret means; it never shows itself."""

    def __init__(self, secret: Secret, key: str, parse: Callable[[bytes], T]) -> None:
        """Nothing is read before `value`.

        Args:
            secret: where it stands.
            key: the configuration's key, for sentences.
            parse: makes of its bytes what is needed; a ValueError says what is wrong, without any of them.
        """
        self._secret = secret
        self._key = key
        self._parse = parse
        self._found: tuple[bytes, T] | None = None
        self._until = -float("inf")

    def value(self) -> T:
        """What it means now; a few bytes of a local file at most, so it is read in place.

        Raises:
            Unavailable: it cannot be had or is not what it must be; it may be in the middle of a rotation.
        """
        now = trio.current_time()
        if self._found is not None and now < self._until:
            return self._found[1]
        try:
            raw = self._secret.read()
            if self._found is None or self._found[0] != raw:
                self._found = raw, self._parse(raw)
        except SecretError as error:
            raise Unavailable(f"`{self._key}`: {error}", reason="credentials") from error
        except ValueError as error:
            raise Unavailable(f"`{self._key}`: {error}", reason="credentials") from None
        self._until = now + _BELIEVED
        return self._found[1]


def header_value(value: bytes) -> bytes:
    """A value that a header can carry.

    Raises:
        ValueError: it has line breaks or other control characters, or blanks around it; without this the
            HTTP library would name it, secret included, in an error of its own.
    """
    if value != value.strip() or any(byte < 0x20 or byte == 0x7F for byte in value):  # noqa: PLR2004 - ASCII's controls
        raise ValueError("holds line breaks, control characters or blanks around it; no header can carry it")
    return value


Secrets = Secret | tuple[Secret, ...] | Mapping[str, Secret] | None


def problems_of(parse: Callable[[bytes], object], looks: Looks) -> Callable[[Secrets], Iterator[str]]:
    """What is wrong with secrets, for a `Rule`: those that are written out, or those kept elsewhere.

    Args:
        parse: a ValueError says what is wrong, without any of the secret.
        looks: NOWHERE for the former, FILES for the latter; what cannot be read is told elsewhere.
    """

    def problems(secrets: Secrets) -> Iterator[str]:
        for name, secret in _named(secrets):
            if (secret.value is None) != (looks is Looks.FILES):
                continue
            try:
                parse(secret.read())
            except SecretError:
                continue
            except ValueError as error:
                yield f"{name}{error}"

    return problems


def _named(secrets: Secrets) -> Iterator[tuple[str, Secret]]:
    if isinstance(secrets, Mapping):
        yield from ((f"`{name}` ", secret) for name, secret in secrets.items())
    elif secrets is not None:
        yield from (("", secret) for secret in (secrets if isinstance(secrets, tuple) else (secrets,)))
