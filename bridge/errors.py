"""Errors that end something, each with the exit code that the command line promises.

The message of each is one sentence for a person: what is wrong and what to do about it.
A room may subclass these; it never raises a bare `Exception`.

```
BridgeError (1)
|-- UsageError (2)       the command line or the configuration is wrong
|-- Refused (1)          the log cannot do that now; nothing was changed
|-- StateError (3)       a person must decide: lock, version, corruption, another cluster
`-- InvariantError (1)   our own promise is about to be broken: stop rather than go on
```
"""

from typing import ClassVar

__all__ = ["BridgeError", "InvariantError", "Refused", "StateError", "UsageError"]


class BridgeError(Exception):
    """A failure that a user can be told in one sentence; the command ends with `exit_code`."""

    exit_code: ClassVar[int] = 1


class UsageError(BridgeError):
    """The command line or the configuration cannot work; nothing was started."""

    exit_code: ClassVar[int] = 2


class StateError(BridgeError):
    """The state directory (or the cluster behind it) needs a person's decision."""

    exit_code: ClassVar[int] = 3


class InvariantError(BridgeError):
    """A promise of the bridge would be broken by going on; the whole process ends."""


class Refused(BridgeError):
    """The log cannot do that now, and says why; nothing was changed and everything else goes on.

    Whoever asked for a person passes the sentence on; the worker of a sink parks.
    """
