"""What happened before on one watch, so that the same thing again can mean something else. No I/O here."""

from typing import Final

import msgspec

from bridge.kubernetes.diagnosis import Diagnosis, diagnose_failure
from bridge.kubernetes.documents import Fault
from bridge.kubernetes.scan import Failure
from bridge.kubernetes.transitions import Signal

__all__ = ["History"]

_AT_ONCE: Final = 2.0
_SHORT_WATCHES: Final = 3
_STREAM_ATTEMPTS: Final = 2
_TIMED_OUT: Final = 504


class History:
    """Counts what must not be repeated for ever.

    Attributes:
        fruitless: complete listings since the last live progress.
    """

    def __init__(self) -> None:
        self.fruitless = 0
        self._short = 0
        self._stream_attempts = 0
        self._failed_at: str | None = None
        self._garbled_at: str | None = None

    def progressed(self) -> None:
        """An event or a bookmark moved the cursor."""
        self.fruitless = 0
        self._short = 0
        self._failed_at = None
        self._garbled_at = None

    def healthy(self) -> None:
        """A watch lived long, though perhaps nothing happened."""
        self.fruitless = 0

    def listed(self) -> None:
        """A listing was completed: whatever stood in the way before was stepped over."""
        self.fruitless += 1
        self._short = 0
        self._stream_attempts = 0
        self._failed_at = None
        self._garbled_at = None

    def ended(self, lasted: float, *, empty: bool) -> Signal:
        """A watch ended cleanly after `lasted` seconds."""
        if not empty or lasted >= _AT_ONCE:
            self._short = 0
            return Signal.ENDED
        self._short += 1
        if self._short < _SHORT_WATCHES:
            return Signal.SHORT
        self._short = 0
        return Signal.SILENT

    def expired(self) -> Signal:
        """The server does not know our revision any more."""
        return Signal.EXPIRED_AGAIN if self.fruitless else Signal.EXPIRED

    def erred(self, failure: Failure, request: str, newest: str) -> Diagnosis:
        """A live watch ended with an ERROR event, when we had seen everything up to `newest`.

        The first is tried again from the same revision, which keeps what lies between. The second, or one
        of which the server says itself that it can never pass [D16], has to be stepped over.
        """
        why = diagnose_failure(failure, request)
        if why.signal is Signal.EXPIRED:
            return msgspec.structs.replace(why, signal=self.expired())
        if why.signal is not Signal.FAILED or why.code == _TIMED_OUT:
            return why
        again = failure.reason == "StorageReadError" or newest == self._failed_at
        self._failed_at = newest
        return msgspec.structs.replace(why, signal=Signal.STUCK) if again else why

    def garbled(self, fault: Fault, request: str, newest: str | None) -> Diagnosis:
        """A line cannot be understood: the transport's fault at first, the server's if it repeats [C14]."""
        why = f"{request} sent what cannot be understood: {fault.error}"
        if fault.foreign:
            return Diagnosis(Signal.NONSENSE, why)
        again = newest is not None and newest == self._garbled_at
        self._garbled_at = newest
        return Diagnosis(Signal.POISONED if again else Signal.GARBLED, why)

    def streaming_failed(self) -> None:
        """A streaming list did not come to its end."""
        self._stream_attempts += 1

    def may_stream(self) -> bool:
        """Whether a streaming list is worth another attempt; asked once for each listing to come."""
        if self._stream_attempts < _STREAM_ATTEMPTS:
            return True
        self._stream_attempts = 0
        return False
