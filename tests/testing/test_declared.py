"""The kit finds what a sink says wrongly of itself, and names it."""

from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from bridge.secret import Secret
from bridge.settings import about
from tests.testing.good import Good, broken


@dataclass(frozen=True)
class Clashing(Good):
    format: str = field(default="", metadata=about("A key that every sink has."))


@dataclass(frozen=True)
class Silent(Good):
    bucket: str = ""


@dataclass
class Melting:
    """Not frozen."""

    bucket: str = ""


@dataclass(frozen=True)
class Unreadable(Good):
    table: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Telling(Good):
    password: Secret = field(default=Secret(value=b"hunter2"), metadata=about("Who we are."))

    def __repr__(self) -> str:
        return f"Telling({self.password.value!r})"


class NoLimits(Good):
    max_records: ClassVar[int] = 0


class Parallel(Good):
    concurrency: ClassVar[int] = 4


DECLARED = [
    (Clashing, "Every sink has these keys already, so it needs other names: format."),
    (Silent, "These keys say not what they mean; give them `metadata=about(...)`: bucket."),
    (Unreadable, "Its options cannot be configured: dict[str, int] cannot be configured"),
    (Telling, "Its `repr` shows a secret; make the field a `bridge.secret.Secret`."),
    (NoLimits, "`max_records`, `max_bytes` and `concurrency` must be at least 1."),
    (Parallel, "Without overlap `concurrency` must be 1."),
    (Melting, "It is no sink: something of `bridge.delivery.sink.Sink` is missing."),
]


@pytest.mark.parametrize(("sink", "sentence"), DECLARED, ids=[sink.__name__ for sink, _ in DECLARED])
async def test_what_a_sink_declares_wrongly_is_told_before_anything_is_delivered(
    sink: type[Good], sentence: str
) -> None:
    [told] = await broken(sink)
    assert told.startswith(sentence)
