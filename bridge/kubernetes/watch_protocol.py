"""One watch as a conversation: what came in, what it means, what to ask for next. No I/O here.

Sans-I/O: the caller makes the request that `request` returns, not before `due`, and says what became of it
(`opened`, `receive`, `ended`, `cut`, `idle`, `refused`, `answered`); after each call it hands on
`reports`, in order, and reads on while `reading`. Time is passed in, as seconds of a monotonic clock.

Every transition is in `bridge.kubernetes.transitions`, whose docstring shows the table. This module only
finds the signal, and makes the request that belongs to a state.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from bridge.changes.change import Cause, Cursor
from bridge.errors import InvariantError
from bridge.kubernetes.backoff import Random
from bridge.kubernetes.control import Control
from bridge.kubernetes.diagnosis import Diagnosis, check_body, diagnose, diagnose_failure, diagnose_sentence
from bridge.kubernetes.documents import DocumentReader
from bridge.kubernetes.history import History
from bridge.kubernetes.initial_events import InitialEvents
from bridge.kubernetes.lines import LINE_LIMIT
from bridge.kubernetes.list_protocol import Pager, listing_floor
from bridge.kubernetes.observer import Phase
from bridge.kubernetes.open_watch import STALL, OpenWatch
from bridge.kubernetes.probe import Prover
from bridge.kubernetes.reports import Began, Changed, Items, Listed, Moved, Poisoned, Report
from bridge.kubernetes.requests import (
    Request,
    Resource,
    Scope,
    collection_path,
    describe,
    streaming_list_request,
    watch_request,
)
from bridge.kubernetes.revision import LaggingCursor, is_sendable
from bridge.kubernetes.scan import Shape
from bridge.kubernetes.server_memory import ServerMemory
from bridge.kubernetes.transitions import Signal, State
from bridge.kubernetes.watch_body import Harvest, WatchBody

__all__ = ["WatchProtocol"]

_WATCH_SECONDS: Final = 300
"""300 to 600, random, so that watches do not end together [H1] [H9]; a tenth if nothing is proven [B8]."""
_VERIFY_AFTER: Final = 120.0
_OK: Final = 200
_TIMED_OUT: Final = 504


class WatchProtocol:
    """Follows one resource in one scope, for ever.

    Args:
        resource: what to watch, as discovery knows it.
        shape: what its objects look like.
        scope: which of them.
        cursor: where to resume; None lists first.
        memory: shared by all watches of the server.
        random: source of jitter.
        first_cause: why the first listing is made, if one is.
        line_limit: longest event in bytes.

    Attributes:
        cursor: where the watch is; also counts replays and oddities.
        tally: what happened so far.
    """

    def __init__(
        self,
        resource: Resource,
        shape: Shape,
        scope: Scope,
        cursor: Cursor | None,
        *,
        memory: ServerMemory,
        random: Random,
        first_cause: Cause = Cause.FIRST_START,
        line_limit: int = LINE_LIMIT,
    ) -> None:
        self.cursor = LaggingCursor(cursor)
        self._path = collection_path(resource, scope)
        self._shape = shape
        self._scope = scope
        self._memory = memory
        self._random = random
        self._line_limit = line_limit
        self._control = Control(random, first_cause)
        self.tally = self._control.tally
        self._history = History()
        self._pager = Pager(self._path, scope, shape)
        self._prover = Prover(self._path, scope, memory)
        self._open: OpenWatch | None = None
        self._asked = ""
        self._demand: tuple[float, Cause] | None = None

    @property
    def state(self) -> State:
        """Where the watch is in its table."""
        return self._control.state

    @property
    def due(self) -> float:
        """Not before this moment may the next request be made."""
        return self._control.due

    @property
    def reading(self) -> bool:
        """Whether the body that is open shall be read on."""
        return self._open is not None and self._open.body is not None

    @property
    def leavable(self) -> bool:
        """Whether a demand would be acted on at once."""
        return self._control.allows(Signal.DEMANDED)

    @property
    def listing(self) -> bool:
        """Whether a complete listing is under way."""
        return self.state in {State.STREAMING, State.PAGING}

    def reports(self) -> list[Report]:
        """What there is to tell since the last call, in order."""
        return self._control.reports()

    def read_timeout(self, now: float) -> float:
        """How many seconds the next read may take before `idle` is to be called; at least a moment."""
        until = self._watch().deadline(now, streaming=self.state is State.STREAMING)
        if self._demand is not None and self.state is State.WATCHING:
            until = min(until, self._demand[0])
        return max(until - now, 0.05)

    def demand(self, cause: Cause, at: float) -> None:
        """Somebody wants a complete listing at that time or later; a running one is finished first."""
        self._demand = (at, cause)

    def poll(self, now: float) -> None:
        """Begin the listing that was demanded, if it is time and the watch can be left."""
        if self._demand is None or self._demand[0] > now or not self.leavable:
            return
        cause = self._demand[1]
        self._demand = None
        self._signal(Signal.DEMANDED, now)
        self._control.cause = cause

    def request(self, now: float) -> Request:
        """The request to make now."""
        self.poll(now)
        while True:
            match self.state:
                case State.START:
                    self._begin(now)
                case State.LISTING:
                    self._choose(now)
                case State.PROBING | State.CHECKING if self._prover.proven(now):
                    self._signal(Signal.SOUND, now)
                case _:
                    break
        match self.state:
            case State.PROBING | State.CHECKING:
                request = self._prover.request(self.cursor.newest)
            case State.PAGING:
                request = self._pager.request()
            case _:
                request = self._watch_request(now)
        self._asked = describe(request)
        if request.listing and not self._control.troubled:
            self._control.say(Phase.LISTING)
        return request

    def opened(self, headers: Mapping[str, str], now: float) -> None:
        """The watch was answered with 200 and these headers (names in lower case)."""
        wrong = check_body(headers, self._asked, watch=True)
        if wrong is not None:
            self._fail(wrong, now)
            return
        watch = self._watch()
        streaming = self.state is State.STREAMING
        reader = DocumentReader(self._shape, self._line_limit)
        initial = InitialEvents() if streaming else None
        floor = listing_floor(self._control.cause, self.cursor.newest)
        watch.open(WatchBody(reader, self.cursor, initial, floor), now)
        self._control.signal(Signal.OPENED, now)
        if streaming:
            self._began()
        else:
            self._live()

    def receive(self, data: bytes, now: float) -> None:
        """These bytes of the body arrived."""
        watch = self._watch()
        self.tally.received += len(data)
        if watch.body is not None:
            self._take(watch, watch.body.receive(data), now)

    def ended(self, now: float) -> None:
        """The body ended as HTTP says it should."""
        watch = self._watch()
        if watch.body is not None:
            self._take(watch, watch.body.end(), now)
        if self._open is not watch:
            return
        if self.state is State.WATCHING:
            signal = self._history.ended(now - watch.opened_at, empty=watch.empty)
            self._fail(Diagnosis(signal, f"{self._asked} is ended at once, without an event"), now)
        elif now >= watch.ends - 1:
            self._stall("was ended by the server without its end marker", now)
        else:
            self._fail(Diagnosis(Signal.ENDED, f"{self._asked} ended before its end marker"), now)

    def cut(self, reason: str, now: float) -> None:
        """There was no answer, or the body broke off; its last line, if torn, never was [C6]."""
        self._fail(Diagnosis(Signal.CUT, reason), now)

    def idle(self, now: float) -> None:
        """Nothing arrived for `read_timeout`."""
        watch = self._watch()
        self.poll(now)
        if self._open is not watch:
            return
        if self.state is State.STREAMING:
            self._stall(f"sent nothing for {STALL:.0f} s before its end marker", now)
        else:
            self._signal(Signal.IDLE, now)

    def refused(self, status: int, headers: Mapping[str, str], body: bytes, now: float) -> None:
        """The watch was answered with another status than 200."""
        self._fail(diagnose(status, headers, body, self._asked), now)

    def denied(self, status: int, reason: str, wait: float | None, now: float) -> None:
        """The transport itself judged the answer (a refused credential, a redirect, a page, too large)."""
        self._fail(diagnose_sentence(status, reason, wait), now)

    def late(self, patience: float, now: float) -> None:
        """The page or the probe was not answered in that many seconds."""
        why = f"{self._asked} was not answered within {patience:.0f} s"
        self._fail(diagnose_sentence(_TIMED_OUT, why, None), now)

    def answered(self, status: int, headers: Mapping[str, str], body: bytes, now: float) -> None:
        """The page or the probe was answered, and this is all of it."""
        if status == _OK:
            wrong = check_body(headers, self._asked, watch=False)
        else:
            wrong = diagnose(status, headers, body, self._asked)
        if wrong is not None:
            self._fail(wrong, now)
        elif self.state is State.PAGING:
            self._take_page(body, now)
        else:
            self._conclude(self._prover.take(body, self._asked, now), now)

    def _begin(self, now: float) -> None:
        self._control.say(Phase.CONNECTING)
        if not self.cursor.known:
            self._signal(Signal.FRESH, now)
        elif is_sendable(self.cursor.rv):
            self._signal(Signal.RESUMABLE, now)
        else:
            self._signal(Signal.EXPIRED, now)

    def _choose(self, now: float) -> None:
        """Streaming where it works; a list at our own revision exists only in pages."""
        # A streaming list may yet be given up for pages, so those are prepared in any case.
        self._pager.begin(self._control.cause, self.cursor.newest)
        exact = self._pager.attempt.exact
        streams = not exact and self._memory.streams(self._path, now) and self._history.may_stream()
        self._signal(Signal.STREAMABLE if streams else Signal.PAGEABLE, now)

    def _watch_request(self, now: float) -> Request:
        least = _WATCH_SECONDS // (10 if self.state is State.RESUMING and self._prover.doubtful else 1)
        seconds = least + int(self._random.random() * (least + 1))
        self._open = OpenWatch(ends=now + seconds)
        self.tally.requests += 1
        if self.state is State.STREAMING:
            return streaming_list_request(self._path, self._scope, seconds)
        return watch_request(self._path, self._scope, self.cursor.start(), seconds)

    def _take(self, watch: OpenWatch, harvest: Harvest, now: float) -> None:
        watch.note(harvest, now)
        if harvest.items:
            self._control.tell(Items(harvest.items))
        if harvest.refusal is not None:
            self._fail(harvest.refusal, now)
            return
        events = harvest.events
        if harvest.listed is not None:
            self._listed(harvest.listed.rv, now)
            events = harvest.listed.held + events
        if events:
            self._control.tell(Changed(events, self.cursor.snapshot()))
        elif harvest.moved:
            self._control.tell(Moved(self.cursor.snapshot()))
        if harvest.moved:
            self._history.progressed()
            self._control.progressed()
        if harvest.failure is not None or harvest.fault is not None:
            self._stop(harvest, now)
        elif watch.overdue(now) and self.state is State.STREAMING:
            self._stall("sends live events, but no end marker", now)

    def _stop(self, harvest: Harvest, now: float) -> None:
        """An ERROR event or a bad line ends the stream, never the bridge [G6] [G7]."""
        live = self.state is State.WATCHING
        if harvest.failure is not None and not live:
            self._fail(diagnose_failure(harvest.failure, self._asked), now)
        elif harvest.failure is not None:
            why = self._history.erred(harvest.failure, self._asked, self.cursor.newest)
            if why.signal is Signal.FAILED and self._demand is None:
                # An error that was retried and forgotten is how events get lost (kubernetes#123072) [G4].
                self.demand(Cause.AUDIT, now + _VERIFY_AFTER * (1 + self._random.random()))
            self._fail(why, now)
        elif harvest.fault is not None:
            why = self._history.garbled(harvest.fault, self._asked, self.cursor.newest if live else None)
            if why.signal is Signal.POISONED:
                self._control.tell(Poisoned(harvest.fault.line, harvest.fault.error))
            self._fail(why, now)

    def _take_page(self, body: bytes, now: float) -> None:
        items = self._pager.take(body, self._asked)
        if isinstance(items, Diagnosis):
            self._fail(items, now)
            return
        attempt = self._pager.attempt
        if attempt.pages == 1:
            self._began()
        if items:
            self._control.tell(Items(items))
        self._control.progressed()
        if attempt.complete:
            self.cursor.complete(attempt.rv)
            self._listed(attempt.rv, now)
        else:
            self._signal(Signal.PAGED, now)

    def _fail(self, wrong: Diagnosis, now: float) -> None:
        match self.state:
            case State.PROBING | State.CHECKING:
                self._conclude(self._prover.refuse(wrong), now)
                return
            case State.PAGING:
                wrong = self._pager.refuse(wrong)
            case State.STREAMING:
                if wrong.signal is Signal.UNSUPPORTED:
                    self._memory.refused_streaming(self._path, now)
                self._history.streaming_failed()
            case State.RESUMING if wrong.signal is Signal.EXPIRED:
                wrong = msgspec.structs.replace(wrong, signal=self._history.expired())
        self._signal(wrong.signal, now, wrong)

    def _conclude(self, verdict: Diagnosis | None, now: float) -> None:
        if verdict is None:
            return
        signal = self._prover.weigh(verdict.signal, before_listing=self.state is State.CHECKING)
        self._signal(signal, now, verdict)

    def _stall(self, what: str, now: float) -> None:
        """No end marker: the server does not know streaming lists; do not try again for a while [F4]."""
        self._memory.refused_streaming(self._path, now)
        self._fail(Diagnosis(Signal.STALLED, f"{self._asked} {what}"), now)

    def _signal(self, signal: Signal, now: float, why: Diagnosis | None = None) -> None:
        """Leave what is open, and move."""
        if self._open is not None and self.state is State.WATCHING and self._open.healthy(now):
            self._history.healthy()
            self._control.progressed()
        self._open = None
        self._prover.forget()
        self._prover.weaken(signal, refused=self.state is State.RESUMING)
        self._control.signal(signal, now, why)

    def _began(self) -> None:
        self._control.say(Phase.LISTING)
        self._control.tell(Began(self._control.cause, self.cursor.rv))

    def _listed(self, rv: str, now: float) -> None:
        cause = self._control.cause
        self.tally.listings[cause] = self.tally.listings.get(cause, 0) + 1
        self._control.tell(Listed(rv))
        self._history.listed()
        self._pager.listed()
        self._prover.prove(now)
        if self._demand is not None and self._demand[1] is Cause.AUDIT:
            self._demand = None
        if self.state is State.STREAMING:
            self._control.signal(Signal.LISTED, now)
            self._live()
        else:
            self._signal(Signal.LISTED, now)

    def _live(self) -> None:
        self._prover.must = False
        self._control.say(Phase.LIVE)

    def _watch(self) -> OpenWatch:
        if self._open is None:
            raise InvariantError("a stream was reported that was not asked for")
        return self._open
