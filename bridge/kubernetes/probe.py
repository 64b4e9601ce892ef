"""Is the server's history at least as long as ours? No I/O here.

A watch from a revision that the server has not reached is silent, and what happens until it is reached
is lost without a word [B8]. So before resuming, and before trusting a new listing, a consistent read is
asked for and its revision compared with the greatest one that we have seen.

A list of a cached kind can lie: when etcd was restored under a running API server, the cache goes on
answering with the old revision (real-apiserver 8.4). Only an uncached kind, Events, shows the truth, and only
where it shares its etcd with the rest. That is learned, never assumed: a list read between two reads
of Events lies between their revisions if all three come from one etcd.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from bridge.changes.jsontext import Malformed, members
from bridge.kubernetes.diagnosis import Diagnosis
from bridge.kubernetes.requests import LATEST_EVENT_PATH, Request, Scope, probe_request
from bridge.kubernetes.revision import compare, is_revision
from bridge.kubernetes.server_memory import ServerMemory
from bridge.kubernetes.transitions import Signal

_FOR_GOOD: Final = frozenset({Signal.FORBIDDEN, Signal.ABSENT, Signal.UNSUPPORTED, Signal.EXPIRED})
_DECIDED: Final = frozenset({Signal.SOUND, Signal.UNPROVEN, Signal.REWOUND, Signal.CUT})
_BREAKS: Final = frozenset({Signal.CUT, Signal.TOO_LARGE})
_REFUSALS: Final = frozenset(
    {Signal.FAILED, Signal.NONSENSE, Signal.UNSUPPORTED, Signal.FORBIDDEN, Signal.ABSENT}
)
_UNAUTHORIZED: Final = 401
_LASTS: Final = 60.0

__all__ = ["Probe", "Prover", "list_revision"]


class Probe:
    """One round of questions: ask `question` until `take` or `refuse` returns a verdict.

    Args:
        path: the watched collection.
        scope: the watch's scope, for its selectors [M2].
        newest: the greatest revision seen.
        memory: what is known of this server.
    """

    def __init__(self, path: str, scope: Scope, newest: str, memory: ServerMemory) -> None:
        self._path = path
        self._scope = scope
        self._newest = newest
        self._memory = memory
        self._first_event = ""
        self._listed = ""
        self._events_refused = False
        self._about_events = is_revision(newest)

    def question(self) -> tuple[str, Mapping[str, str]]:
        """Path and parameters of the next read."""
        if self._about_events:
            return LATEST_EVENT_PATH, {"limit": "1"}
        return self._path, {**self._scope.parameters(), "limit": "1"}

    def take(self, body: bytes, asked: str) -> Diagnosis | None:
        """Take the body of a good answer; None when one more question is needed."""
        rv = list_revision(body)
        if rv is None:
            return Diagnosis(Signal.NONSENSE, f"{asked} was not answered with a list that has a revision")
        signal = self._take_list(rv) if not self._about_events else self._take_events(rv)
        why = f"the server is at revision {rv}, but {self._newest} was seen before"
        return None if signal is None else Diagnosis(signal, why if signal is Signal.REWOUND else "")

    def refuse(self, wrong: Diagnosis) -> Diagnosis | None:
        """Take another answer; None when there is another question to ask.

        Rights on Events are not needed, only welcome; a credential that is not accepted is another matter.
        """
        if wrong.signal not in _FOR_GOOD or wrong.code == _UNAUTHORIZED:
            return wrong
        if not self._about_events:
            return Diagnosis(Signal.UNPROVEN, wrong.reason)
        if self._listed:
            return Diagnosis(Signal.SOUND, "")
        self._events_refused = True
        self._about_events = False
        return None

    def _take_events(self, rv: str) -> Signal | None:
        if self._memory.events_share_revisions:
            return Signal.REWOUND if compare(rv, self._newest) == -1 else Signal.SOUND
        if self._listed:
            self._learn(rv)
            return Signal.SOUND
        self._first_event = rv
        self._about_events = False
        return None

    def _take_list(self, rv: str) -> Signal | None:
        if is_revision(rv) != is_revision(self._newest):
            # A checkpoint that is no number, on a server that counts: it was never written by it.
            return Signal.EXPIRED
        if compare(rv, self._newest) == -1:
            return Signal.REWOUND
        if self._events_refused or compare(rv, self._first_event) is None:
            return Signal.SOUND
        self._listed = rv
        self._about_events = True
        return None

    def _learn(self, second_event: str) -> None:
        below, above = compare(self._first_event, self._listed), compare(self._listed, second_event)
        if below is not None and above is not None and below <= 0 and above <= 0:
            self._memory.events_share_revisions = True


class Prover:
    """Asks when it must be asked, and says what an unanswered question means.

    Args:
        path: the watched collection.
        scope: the watch's scope.
        memory: what is known of this server.

    Attributes:
        must: nothing was watched or listed yet by this process, so resuming waits for an answer. Later the
            watch is the surer call: while etcd is away it goes on, and a consistent read hangs (8.1).
    """

    def __init__(self, path: str, scope: Scope, memory: ServerMemory) -> None:
        self.must = True
        self._path = path
        self._scope = scope
        self._memory = memory
        self._probe: Probe | None = None
        self._proven_at = float("-inf")

    def proven(self, now: float) -> bool:
        """Whether the last proof is young enough."""
        return now - self._proven_at < _LASTS

    @property
    def doubtful(self) -> bool:
        """Whether there was a reason to ask and no answer yet."""
        return self._proven_at == float("-inf")

    def prove(self, now: float) -> None:
        """The server was seen not to be behind us."""
        self.must = False
        self._proven_at = now

    def weaken(self, signal: Signal, *, refused: bool) -> None:
        """Take note of what may mean that a restarted server, or another, answers from now on [B8].

        Unless `must` is set, a question that cannot be answered does not keep the watch from resuming; the
        doubt stays, so it is asked again.

        Args:
            signal: what happened.
            refused: it is the answer to the request for a watch. An error in an open stream comes from the
                server that was proven; and one that is merely busy is not asked for more.
        """
        if signal in _BREAKS or (refused and signal in _REFUSALS):
            self._proven_at = float("-inf")

    def request(self, newest: str) -> Request:
        """The next question of this round."""
        self._probe = self._probe or Probe(self._path, self._scope, newest, self._memory)
        return probe_request(*self._probe.question())

    def forget(self) -> None:
        """This round is over."""
        self._probe = None

    def take(self, body: bytes, asked: str, now: float) -> Diagnosis | None:
        """Take a good answer; None when another question must be asked."""
        verdict = self._probe.take(body, asked) if self._probe else None
        if verdict is not None and verdict.signal is Signal.SOUND:
            self._proven_at = now
        return verdict

    def refuse(self, wrong: Diagnosis) -> Diagnosis | None:
        """Take another answer, or none; None when another question must be asked."""
        return self._probe.refuse(wrong) if self._probe and wrong.signal is not Signal.CUT else wrong

    def weigh(self, signal: Signal, *, before_listing: bool) -> Signal:
        """What a verdict means for the watch: a listing does not wait for a proof, a first watch does."""
        if signal in _DECIDED:
            return signal
        if before_listing:
            return Signal.UNPROVEN
        if signal in {Signal.EXPIRED, Signal.FORBIDDEN}:
            return signal
        if not self.must:
            return Signal.UNPROVEN
        return Signal.FAILED if signal is Signal.TOO_LARGE else signal


class _ListMetadata(msgspec.Struct, rename={"rv": "resourceVersion"}):
    rv: str = ""


class _ListHead(msgspec.Struct):
    metadata: _ListMetadata
    kind: str = ""


def list_revision(body: bytes) -> str | None:
    """The revision of a list document, or None when this is no usable list [A13]."""
    try:
        head = msgspec.json.decode(body, type=_ListHead)
    except RecursionError:  # its item is a deep custom resource; the list around it is as good as any
        return _revision_around_depth(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return _revision(head)


def _revision_around_depth(body: bytes) -> str | None:
    try:
        outline = {key: value for key, value in members(body).items() if key != "items"}
        text = b",".join(b'"%s":%s' % (key.encode(), value) for key, value in outline.items())
        return _revision(msgspec.json.decode(b"{%s}" % text, type=_ListHead))
    except (Malformed, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _revision(head: _ListHead) -> str | None:
    usable = head.kind.endswith("List") and head.metadata.rv not in {"", "0"}
    return head.metadata.rv if usable else None
