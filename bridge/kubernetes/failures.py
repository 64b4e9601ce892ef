"""What can go wrong between us and an API server; each message is one sentence for a person.

```
BridgeError
|-- ApiError                it answered, and the answer is no (status, reason, retry_after)
|-- Unreachable             it did not answer: name, network, TLS, proxy
|   `-- CredentialError     we could not even ask: no usable token, certificate or exec plugin
`-- Interrupted             a body ended before its end
    `-- Idle                nothing came for as long as the reader was willing to wait
```

None of them says anything about objects: after any of them the caller keeps what it knows.
"""

from collections.abc import Mapping
from typing import Any

from bridge.errors import BridgeError

__all__ = ["ApiError", "CredentialError", "Idle", "Interrupted", "Unreachable"]


class ApiError(BridgeError):
    """The server answered something other than what was asked for.

    Attributes:
        status: the HTTP status; 200 when only the body was wrong (a login page, a foreign encoding).
        reason: the Status document's reason (`Expired`, `Forbidden`, ...), or "".
        message: the server's own words, cleaned and shortened; str() of the error is our sentence.
        retry_after: seconds the server asked to wait (`Retry-After` or `details.retryAfterSeconds`), or None.
        document: the Status document, or {} when there was none.
    """

    def __init__(
        self,
        sentence: str,
        *,
        status: int,
        reason: str = "",
        message: str = "",
        retry_after: float | None = None,
        document: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.document: Mapping[str, Any] = document or {}


class Unreachable(BridgeError):
    """No answer: name, network, proxy or TLS. Try again later, with backoff."""


class CredentialError(Unreachable):
    """No usable credential, so nothing was asked. Try again later: files and plugins recover."""


class Interrupted(BridgeError):
    """The body ended before its end; what came before is good. Go on from the last known cursor."""


class Idle(Interrupted):
    """Nothing was received for the time the reader named; the connection may be half-open ([H2])."""
