"""A secret of the configuration: read when it is needed, shown never.

A mounted Kubernetes Secret changes while the program runs, so what is kept is where the value stands.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from bridge.errors import UsageError

__all__ = ["Secret", "SecretError"]

MAX_BYTES = 64 * 1024
"""More than any key or password has; keeps a wrong path from being read into memory."""


class SecretError(UsageError):
    """The value of a secret cannot be had; the message names its source, never a value."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where the value of a secret is: in exactly one of a file, an environment variable, the configuration.

    Attributes:
        file: read at every `read`, so a rotated secret is seen; one line end at its end does not count.
        env: name of an environment variable.
        value: the value itself.
    """

    file: Path | None = None
    env: str | None = None
    value: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if sum(source is not None for source in (self.file, self.env, self.value)) != 1:
            raise ValueError("a secret has exactly one source: a file, an environment variable or its value")

    def read(self) -> bytes:
        """The value as it is now, never empty.

        Raises:
            SecretError: the source is missing, unreadable, empty or larger than 64 KiB.
        """
        if self.file is not None:
            return _read_file(self.file)
        if self.env is not None:
            return _read_variable(self.env)
        if not self.value:
            raise SecretError("the secret is empty; write its value, `{file: ...}` or `{env: ...}`")
        return self.value


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            value = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SecretError(
            f"the secret's file {str(path)!r} cannot be read ({reason}); "
            "name a file that this user may read, or mount the secret there"
        ) from error
    if len(value) > MAX_BYTES:
        raise SecretError(
            f"the secret's file {str(path)!r} has more than 64 KiB; name the file of one secret"
        )
    value = value.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise SecretError(f"the secret's file {str(path)!r} is empty; write the secret into it")
    return value


def _read_variable(name: str) -> bytes:
    value = os.environb.get(os.fsencode(name))
    if value is None:
        raise SecretError(f"the environment variable {name!r} is not set; set it to the secret")
    if not value:
        raise SecretError(f"the environment variable {name!r} is empty; set it to the secret")
    return value
