"""The query parameters of list and watch, with the checks and the words of the real server. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

from bridge.simulator.errors import ApiError, bad_request, invalid_options

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ContinueToken", "ListOptions"]

_DIGITS = re.compile(r"[0-9]+")
_WIDEST = 2**64


@dataclass(frozen=True, slots=True)
class ContinueToken:
    """Where a paged list goes on; revision -1 means: at whatever is newest."""

    revision: int
    start: str

    def encode(self) -> str:
        """As it stands in `metadata.continue` (W-2)."""
        token = {"v": "meta.k8s.io/v1", "rv": self.revision, "start": self.start + "\0"}
        return base64.urlsafe_b64encode(orjson.dumps(token)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> ContinueToken:
        """Reads what `encode` wrote.

        Raises:
            ApiError: 400, it is not such a token.
        """
        try:
            token = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            return cls(int(token["rv"]), str(token["start"]))
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise bad_request(f"continue key is not valid: {error}") from error


@dataclass(frozen=True, slots=True)
class ListOptions:
    """As the server understood them; `revision` is None when unset and 0 for "any"."""

    watch: bool
    revision: int | None
    match: str
    limit: int
    token: ContinueToken | None
    timeout: int | None
    bookmarks: bool
    send_initial_events: bool | None
    labels: str
    fields: str

    @classmethod
    def parse(cls, query: Mapping[str, str], *, watch_list: bool) -> ListOptions:
        """Reads and checks the parameters; `watch_list` is the feature gate.

        Raises:
            ApiError: what does not stand together (422), or is no number (400, for a watch's revision 500).
        """
        watch = _truth(query.get("watch", ""))
        initial = query.get("sendInitialEvents")
        options = cls(
            watch=watch,
            revision=_revision(query.get("resourceVersion", ""), watch=watch),
            match=query.get("resourceVersionMatch", ""),
            limit=max(0, _integer(query.get("limit", "")) or 0),
            token=ContinueToken.decode(query["continue"]) if query.get("continue") else None,
            timeout=_integer(query.get("timeoutSeconds", "")),
            bookmarks=_truth(query.get("allowWatchBookmarks", "")),
            send_initial_events=None if initial is None else _truth(initial),
            labels=query.get("labelSelector", ""),
            fields=query.get("fieldSelector", ""),
        )
        if watch:
            options._check_watch(watch_list=watch_list)
        else:
            options._check_list(query.get("resourceVersion", ""))
        return options

    @property
    def exact(self) -> bool:
        """Whether a list must show the state at just this revision."""
        return self.match == "Exact" or bool(self.limit and self.revision and not self.match)

    def wants_state(self) -> bool:
        """Whether a watch begins with what exists."""
        if self.send_initial_events is not None:
            return self.send_initial_events
        return not self.revision

    def _check_watch(self, *, watch_list: bool) -> None:
        problems = []
        match = "resourceVersionMatch"
        if self.send_initial_events is None:
            if self.match:
                text = f"Forbidden: {match} is forbidden for watch unless sendInitialEvents is provided"
                problems.append((match, text))
        elif not self.match:
            text = f"Forbidden: sendInitialEvents requires setting {match} to NotOlderThan"
            problems.append((match, text))
        if self.send_initial_events is not None and not watch_list:
            text = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            problems.append(("sendInitialEvents", f"Forbidden: {text}"))
        if self.match not in {"", "NotOlderThan"}:
            problems.append((match, f'Unsupported value: "{self.match}": supported values: "NotOlderThan"'))
        if problems:
            raise invalid_options(problems)

    def _check_list(self, revision: str) -> None:
        problems = []
        match = "resourceVersionMatch"
        if self.match and not revision:
            text = f"Forbidden: {match} is forbidden unless resourceVersion is provided"
            problems.append((match, text))
        if self.match and self.token is not None:
            problems.append((match, f"Forbidden: {match} is forbidden when continue is provided"))
        if self.match == "Exact" and revision == "0":
            problems.append((match, f'Forbidden: {match} "exact" is forbidden for resourceVersion "0"'))
        if self.send_initial_events is not None:
            problems.append(("sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list"))
        if problems:
            raise invalid_options(problems)
        if self.token is not None and revision not in {"", "0"}:
            raise bad_request("specifying resource version is not allowed when using continue")


def _truth(text: str) -> bool:
    return text.lower() not in {"", "0", "false"}


def _integer(text: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def _revision(text: str, *, watch: bool) -> int | None:
    if not text:
        return None
    problem = ""
    if not _DIGITS.fullmatch(text):
        problem = "invalid syntax"
    elif int(text) >= _WIDEST:
        problem = "value out of range"
    if not problem:
        return int(text)
    parsing = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {problem}'
    if watch:
        raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "", f"resourceVersion: {parsing}")
    raise bad_request(f"invalid resource version: resourceVersion: {parsing}")
