"""What a row of the log refers to by number: whose records it holds, and for whom.

One number for both: a row for a single sink costs no byte more than one for all.
"""

import sqlite3
from collections.abc import Collection, Mapping
from typing import NamedTuple

import msgspec

from bridge.changes.change import StreamInfo

__all__ = ["Route", "Routes"]


class Route(NamedTuple):
    """Attributes of a row.

    Attributes:
        stream: as it was described when the row was written; rendered like that when it has changed since.
        audience: the one sink that is meant, or "" for all.
    """

    stream: StreamInfo
    audience: str = ""


class _Audience(msgspec.Struct):
    audience: str = ""


class Routes:
    """The routes of one log, by number; a number may be missing, it never had a row."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT id, info FROM stream").fetchall()
        self.by_number = {number: _unpack(info) for number, info in rows}
        self._numbers = {route: number for number, route in self.by_number.items()}
        self._stored = set(self.by_number)

    def number(self, route: Route) -> int:
        """The number of a route, given to it if it has none."""
        number = self._numbers.get(route)
        if number is None:
            number = self._numbers[route] = max(self.by_number, default=0) + 1
            self.by_number[number] = route
        return number

    def latest(self) -> list[StreamInfo]:
        """Each stream as it was described last."""
        return list({route.stream.name: route.stream for _, route in sorted(self.by_number.items())}.values())

    def write(self, connection: sqlite3.Connection, numbers: Collection[int]) -> None:
        """Make routes durable that are not yet, in the caller's transaction."""
        for number in set(numbers) - self._stored:
            connection.execute(
                "INSERT INTO stream (id, info) VALUES (?, ?)", (number, _pack(self.by_number[number]))
            )

    def renamed(self, names: Mapping[str, str]) -> dict[int, Route]:
        """The routes of streams that get other names, with these: new names by old ones."""
        return {
            number: route._replace(
                stream=msgspec.structs.replace(route.stream, name=names[route.stream.name])
            )
            for number, route in self.by_number.items()
            if route.stream.name in names
        }

    def rewrite(self, connection: sqlite3.Connection, routes: Mapping[int, Route]) -> None:
        """Have rows refer to other routes by the numbers they have, in the caller's transaction."""
        stored = sorted(self._stored & routes.keys())
        connection.executemany("DELETE FROM stream WHERE id = ?", [(number,) for number in stored])
        connection.executemany(
            "INSERT INTO stream (id, info) VALUES (?, ?)",
            [(number, _pack(routes[number])) for number in stored],
        )

    def rewritten(self, routes: Mapping[int, Route]) -> None:
        """The transaction of `rewrite` is committed."""
        self.by_number.update(routes)
        self._numbers = {route: number for number, route in self.by_number.items()}

    def written(self, numbers: Collection[int]) -> None:
        """The transaction of `write` is committed."""
        self._stored.update(numbers)


def _pack(route: Route) -> str:
    """The description of the stream, with one member more where there is an audience."""
    members = msgspec.to_builtins(route.stream)
    if route.audience:
        members["audience"] = route.audience
    return msgspec.json.encode(members).decode()


def _unpack(text: str) -> Route:
    return Route(
        msgspec.json.decode(text, type=StreamInfo), msgspec.json.decode(text, type=_Audience).audience
    )
