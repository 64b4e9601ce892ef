"""One complete list in pages: which page to ask for next, and whether they belong together. No I/O here.

Only the last page makes a list: whatever happens before, nothing may be concluded from it [A15]. `limit` is
a wish [A8], `remainingItemCount` a guess [A7], an empty page not the end [A5]; only an empty `continue` is.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from bridge.changes.change import Cause, Event
from bridge.errors import InvariantError
from bridge.kubernetes.diagnosis import Diagnosis, diagnose_failure
from bridge.kubernetes.requests import Request, Scope, page_request
from bridge.kubernetes.revision import compare, is_revision, is_sendable
from bridge.kubernetes.scan import Failure, Malformed, Page, Shape, read_page
from bridge.kubernetes.transitions import Signal

__all__ = ["ListProtocol", "PageSize", "Pager", "listing_floor"]

_LARGEST: Final = 500
_SMALLEST: Final = 10
_FIRST: Final = 50
"""Items of the first page, while nothing is known of their size."""
_GROWTH: Final = 4
_PAGE_BYTES: Final = 4 << 20
_EXPIRIES: Final = 2
_NOTHING_AMISS: Final = frozenset({Cause.REQUESTED, Cause.AUDIT, Cause.BACKLOG_FULL})
_TOO_MUCH: Final = frozenset({413, 504})
_NOT_ABOUT_THE_REVISION: Final = frozenset({Signal.CUT, Signal.BUSY})


def listing_floor(cause: Cause, newest: str) -> str:
    """The revision that a listing must not be older than, "" for none: after a rewind it has to be [A12]."""
    return "" if cause is Cause.EPOCH else newest


class PageSize:
    """How many items to ask for, so that a page, which is held whole, is not larger than need be.

    Outlives one list: objects stay as large as they were, and what was too much once is so again.
    """

    def __init__(self) -> None:
        self._most: int | None = _LARGEST
        self._fitting = _FIRST
        self._expiries = 0

    @property
    def limit(self) -> int | None:
        """How many; None for all of them."""
        return None if self._most is None else min(self._most, self._fitting)

    def taken(self, items: int, size: int) -> None:
        """A page of so many items and bytes was taken: the next one shall have about `_PAGE_BYTES`.

        What begins with small objects may go on with large ones, so pages grow step by step.
        """
        if items:
            fitting = min(_PAGE_BYTES * items // max(size, 1), self._fitting * _GROWTH, _LARGEST)
            self._fitting = max(fitting, _SMALLEST)

    def too_much(self) -> None:
        """Too slow or too large: ask for half [A19]."""
        asked = self.limit
        self._most = max(asked // 2, _SMALLEST) if asked is not None else _LARGEST

    def expired(self) -> None:
        """A continue token expired: after two, ask for everything at once [A4]."""
        self._expiries += 1
        if self._expiries >= _EXPIRIES:
            self._most = None

    def listed(self) -> None:
        """A list was completed."""
        self._expiries = 0
        self._most = self._most or _LARGEST


class ListProtocol:
    """One attempt at a complete list.

    Args:
        scope: its selectors are part of every page [M2].
        size: how many items a page shall have.
        newest: the greatest revision seen before, "" when none; the list must not be older [A12].
        exact: list at this revision and no other, "" for the latest; used where the watch goes on
            from that same revision, so that no change falls between list and watch.

    Attributes:
        rv: revision of the list, "" before the first page.
        pages: how many were taken.
    """

    def __init__(self, scope: Scope, size: PageSize, *, newest: str = "", exact: str = "") -> None:
        self.rv = ""
        self.pages = 0
        self._scope = scope
        self._size = size
        self._newest = newest
        self._exact = exact
        self._continue = ""
        self._last: Event | None = None

    @property
    def begun(self) -> bool:
        """Whether a page was taken."""
        return bool(self.rv)

    @property
    def exact(self) -> bool:
        """Whether a certain revision is asked for."""
        return bool(self._exact)

    def parameters(self) -> Mapping[str, str]:
        """Parameters of the next page.

        A first read names no revision: it is consistent, where "0" may be older than what we have
        seen [A1]. A later page names none either: together with `continue` that is a 400 [A2].
        """
        parameters = self._scope.parameters()
        if self._size.limit is not None:
            parameters["limit"] = str(self._size.limit)
        if self._continue:
            parameters["continue"] = self._continue
        elif self._exact:
            parameters |= {"resourceVersion": self._exact, "resourceVersionMatch": "Exact"}
        return parameters

    def take(self, body: bytes, shape: Shape, asked: str) -> list[Event] | Diagnosis:
        """Take the body of the answer to the last request.

        Returns:
            Its items, in order, neighbours of one uid once; `complete` says whether another page
            follows. Or why the page cannot be used: INCONSISTENT (another revision than the first page,
            two objects of one name, no usable revision), INEXACT (another revision than asked for),
            REWOUND (older than what was seen before), NONSENSE (torn, or no such list).
        """
        try:
            page = read_page(body, shape)
        except Malformed as error:
            return Diagnosis(
                Signal.NONSENSE, f"{asked} was answered with something else than that list: {error}"
            )
        if isinstance(page, Failure):
            return diagnose_failure(page, asked)
        self._size.taken(len(page.events), len(body))
        return self._check_revision(page.rv, asked) or self._accept(page, asked)

    @property
    def complete(self) -> bool:
        """Whether the last page was taken."""
        return self.begun and not self._continue

    def _check_revision(self, rv: str, asked: str) -> Diagnosis | None:
        if rv == "0" or not is_sendable(rv):
            why = f"{asked} has the revision {rv[:40]!r}, from which no watch can start"
            return Diagnosis(Signal.INCONSISTENT, why)
        if self.rv:
            if rv == self.rv:
                return None
            why = f"one page of {asked} is of revision {self.rv}, the next of {rv}"
            return Diagnosis(Signal.INCONSISTENT, why)
        if self._exact and rv != self._exact:
            return Diagnosis(Signal.INEXACT, f"{asked} is of revision {rv}")
        if self._newest and compare(rv, self._newest) == -1:
            return Diagnosis(
                Signal.REWOUND, f"{asked} is of revision {rv}, but {self._newest} was seen before"
            )
        return None

    def _accept(self, page: Page, asked: str) -> list[Event] | Diagnosis:
        """Neighbours of one name are one object listed twice, or two pages that do not belong together."""
        items: list[Event] = []
        last = self._last
        for event in page.events:
            if last is not None and event.name == last.name and event.namespace == last.namespace:
                if event.uid != last.uid:
                    why = f"{asked} holds two objects named {event.namespace}/{event.name}"
                    return Diagnosis(Signal.INCONSISTENT, why)
                if items:
                    items.pop()
            items.append(event)
            last = event
        self._last = last
        self.rv = page.rv
        self.pages += 1
        self._continue = page.continue_token
        return items


class Pager:
    """Lists again and again, one attempt after the other.

    Args:
        path: the collection.
        scope: which of its objects.
        shape: what they look like.

    Attributes:
        exactly: whether a list at our own revision may still be asked for.
    """

    def __init__(self, path: str, scope: Scope, shape: Shape) -> None:
        self.exactly = True
        self._path = path
        self._scope = scope
        self._shape = shape
        self._size = PageSize()
        self._attempt: ListProtocol | None = None

    def begin(self, cause: Cause, newest: str) -> None:
        """Begin a new attempt; whatever the last one read is void.

        A listing that somebody wants, with nothing amiss, is made at the very revision that the watch has
        reached: at a later one it would pass over changes that the watch goes on to show.
        """
        at_ours = cause in _NOTHING_AMISS and self.exactly and is_revision(newest)
        self._attempt = ListProtocol(
            self._scope, self._size, newest=listing_floor(cause, newest), exact=newest if at_ours else ""
        )

    @property
    def attempt(self) -> ListProtocol:
        """The attempt under way."""
        if self._attempt is None:
            raise InvariantError("a page is wanted, but no list was begun")
        return self._attempt

    def request(self) -> Request:
        """The next page."""
        return page_request(self._path, self.attempt.parameters())

    def take(self, body: bytes, asked: str) -> list[Event] | Diagnosis:
        """Take a page; see `ListProtocol.take`."""
        return self.attempt.take(body, self._shape, asked)

    def refuse(self, wrong: Diagnosis) -> Diagnosis:
        """Take what came in place of a page; the next attempt, or the next page, will be another one."""
        attempt = self.attempt
        if attempt.exact and not attempt.begun and wrong.signal not in _NOT_ABOUT_THE_REVISION:
            self.exactly = False
            return msgspec.structs.replace(wrong, signal=Signal.INEXACT)
        if wrong.signal is Signal.EXPIRED:
            self._size.expired()
        elif wrong.code in _TOO_MUCH:
            self._size.too_much()
        return wrong

    def listed(self) -> None:
        """A list was completed, in pages or otherwise."""
        self.exactly = True
        self._size.listed()
