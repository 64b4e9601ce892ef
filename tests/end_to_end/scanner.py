"""Looks for a secret text in everything that a bridge leaves behind, packed or not."""

import base64
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import zstandard

__all__ = ["Scanner", "forms"]

_ZSTD = b"\x28\xb5\x2f\xfd"
_LIMIT = 64 << 20


def forms(text: bytes) -> set[bytes]:
    """The text itself, what base64 makes of it wherever it stands in what is encoded, and both once more."""
    found = {text}
    for _ in range(2):
        found |= {piece for known in found for piece in _encoded(known)}
    return found


def _encoded(text: bytes) -> Iterator[bytes]:
    """The characters that `text` alone decides, for each of its three alignments."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + text)
        first = -(-before * 8 // 6)
        last = (before + len(text)) * 8 // 6
        yield whole[first:last]


class Scanner:
    """Collects where a text is found.

    Args:
        text: what must be nowhere; long enough not to occur by chance.

    Attributes:
        findings: "where: which form", for each place.
        looked: how many pieces of each sort were searched, so that a scan of nothing shows.
    """

    def __init__(self, text: bytes) -> None:
        self._forms = forms(text)
        self.findings: list[str] = []
        self.looked = {"file": 0, "value": 0, "decompressed": 0}

    def bytes(self, where: str, data: bytes, sort: str = "value") -> None:
        """Search one piece, and every zstd frame in it."""
        self.looked[sort] += 1
        self.findings += [f"{where}: {form[:12]!r}" for form in self._forms if form in data]
        at = data.find(_ZSTD)
        while at >= 0:
            unpacked = _unpacked(data[at:])
            if unpacked is not None:
                self.bytes(f"{where}@{at} decompressed", unpacked, "decompressed")
            at = data.find(_ZSTD, at + 1)

    def tree(self, folder: Path) -> None:
        """Search the name and every byte of every file below a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.bytes(path.name, str(path).encode(), "file")
                self.bytes(path.name, path.read_bytes(), "file")

    def database(self, path: Path) -> None:
        """Search every value of every table, WAL included; nobody else may have the file open."""
        with sqlite3.connect(path) as connection:
            tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            for (table,) in tables:
                for row in connection.execute(f"SELECT * FROM {table}").fetchall():  # noqa: S608 - its own names
                    for value in row:
                        data = value if isinstance(value, bytes) else str(value).encode()
                        self.bytes(f"table {table}", data)
        connection.close()


def _unpacked(data: bytes) -> bytes | None:
    """As much as can be decompressed from here, None when it is no frame at all."""
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data[:_LIMIT])
    except zstandard.ZstdError:
        return None
