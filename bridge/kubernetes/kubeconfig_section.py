"""One entry of a kubeconfig, which knows its file: typed reading, relative paths, file or data.

No error here quotes a value.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bridge.errors import UsageError

__all__ = ["Section"]


class Section(msgspec.Struct, frozen=True):
    """One cluster, user or context.

    Attributes:
        values: as parsed; everything is text, null, a list or a mapping. May hold secrets: no repr.
        where: `user "dev" of /home/me/.kube/config`.
        path: the file it stands in; relative paths are relative to its folder.
        parse: reads the same entry once more, with YAML's own types; only plugins' configuration needs them.
    """

    values: Mapping[str, Any]
    where: str
    path: Path
    parse: Callable[[], Mapping[str, Any]] = dict

    def __repr__(self) -> str:
        return f"<Section {self.where}>"

    def text(self, key: str) -> str:
        """Return a text, "" when it is absent.

        Raises:
            UsageError: it is a list or a mapping.
        """
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise UsageError(f"{key} of {self.where} must be a text")
        return value

    def required(self, key: str) -> str:
        """Return a text that must be there.

        Raises:
            UsageError: it is not.
        """
        value = self.text(key)
        if not value:
            raise UsageError(f"{self.where} has no {key}")
        return value

    def flag(self, key: str) -> bool:
        """Return a boolean, False when it is absent.

        Raises:
            UsageError: it is neither true nor false.
        """
        value = self.text(key).lower()
        if value not in {"", "true", "false"}:
            raise UsageError(f"{key} of {self.where} must be true or false")
        return value == "true"

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts.

        Raises:
            UsageError: it is something else.
        """
        value = self.values.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UsageError(f"{key} of {self.where} must be a list of texts")
        return tuple(value)

    def section(self, key: str) -> "Section | None":
        """Return the mapping under a key, or None.

        Raises:
            UsageError: it is something else.
        """
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise UsageError(f"{key} of {self.where} must be a mapping")
        return Section(value, f"{key} of {self.where}", self.path)

    def typed(self, key: str) -> Any:
        """Return what is under a key with numbers and booleans as such."""
        return self.parse()[key]

    def resolve(self, path: str) -> Path:
        """Make a path of this file absolute, as kubectl does."""
        return self.path.absolute().parent / path

    def file(self, key: str) -> Path | None:
        """Return the path of a file that can be read now, or None when none is named.

        Raises:
            UsageError: it cannot be read.
        """
        name = self.text(key)
        if not name:
            return None
        path = self.resolve(name)
        try:
            with path.open("rb"):
                return path
        except OSError as error:
            raise UsageError(f"{key} of {self.where}: {path} cannot be read: {error.strerror}") from None

    def pem(self, key: str) -> Path | str | None:
        """Return PEM text from `<key>-data`, else the file that `<key>` names, else None.

        Raises:
            UsageError: the data is not base64 of a text, or the file cannot be read.
        """
        data = self.text(f"{key}-data")
        if not data:
            return self.file(key)
        try:
            return base64.b64decode("".join(data.split()), validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            raise UsageError(f"{key}-data of {self.where} is not base64 of a PEM text") from None
