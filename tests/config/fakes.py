"""Sinks that exist for their options only: what an installed package would offer under an entry point."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from bridge.config.sinks import GROUP
from bridge.delivery.sink import Context, Delivery, Overlap, Resume
from bridge.secret import Secret
from bridge.settings import Items, Range, Seconds, Size, about

if TYPE_CHECKING:
    from collections.abc import Callable


class Nowhere:
    """What the bridge wants of each sink."""

    max_records: ClassVar[int] = 100
    max_bytes: ClassVar[int] = 1 << 20
    concurrency: ClassVar[int] = 1
    overlap: ClassVar[Overlap] = Overlap.NONE

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(self, *_: object) -> None:
        raise NotImplementedError

    async def open(self, resume: Resume, context: Context) -> Resume:
        raise NotImplementedError

    async def deliver(self, batch: Delivery) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Lines(Nowhere):
    """One key, as the sink of JSON lines has."""

    path: str = field(metadata=about("A file, or - for stdout.", example='"-"'))
    # What a sink keeps for itself is no key, and its type may be unknown when the program runs.
    _opened: "Callable[[], None] | None" = field(default=None, init=False)


@dataclass(frozen=True, slots=True)
class Topic(Nowhere):
    """A key that is filled in from each stream, as the sink of Kafka has."""

    topic: str = field(metadata=about("Where to.", example="k8s"))


@dataclass(frozen=True, slots=True)
class Tls:
    """Something nested."""

    ca: Path | None = field(default=None, metadata=about("A certificate authority.", readable=True))
    insecure: bool = field(default=False, metadata=about("Trust anybody."))


@dataclass(frozen=True, slots=True)
class Everything(Nowhere):
    """A field of each type that can be configured."""

    url: str = field(metadata=about("Where to."))
    password: Secret | None = field(default=None, metadata=about("Who we are."))
    tls: Tls = field(default_factory=Tls, metadata=about("How to trust."))
    batch_bytes: Annotated[Size, Range(minimum=1024)] = field(default=1 << 20, metadata=about("A batch."))
    timeout: Seconds = field(default=10.0, metadata=about("Patience."))
    attempts: Annotated[int, Range(minimum=1, maximum=9)] = field(default=3, metadata=about("Tries."))
    ratio: float = field(default=0.5, metadata=about("A share."))
    method: Literal["POST", "PUT"] = field(default="POST", metadata=about("How."))
    words: tuple[str, ...] = field(default=(), metadata=about("More."))
    keys: Annotated[tuple[Secret, ...], Items(1, "write at least one key", or_one=True)] = field(
        default=(), metadata=about("Who we are, twice.")
    )
    headers: Mapping[str, Secret] = field(default_factory=dict, metadata=about("What goes with it."))

    def __post_init__(self) -> None:
        if self.ratio == 0 and self.attempts > 1:
            raise ValueError("a ratio of 0 allows one attempt; write attempts: 1")


@dataclass(frozen=True, slots=True)
class Clashing(Nowhere):
    """Takes a key that every sink has."""

    format: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Is not written to its end."""

    url: str
    max_records: int = field(default=1, metadata=about("A field may be what the bridge asks for."))

    async def deliver(self, batch: Delivery) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Has a field that nothing can be written for."""

    table: dict[str, Any]


def entry_points(*, group: str) -> list[EntryPoint]:
    """Stands in for `importlib.metadata.entry_points`."""
    targets = {
        "lines": "tests.config.fakes:Lines",
        "topic": "tests.config.fakes:Topic",
        "everything": "tests.config.fakes:Everything",
        "clashing": "tests.config.fakes:Clashing",
        "unfinished": "tests.config.fakes:Unfinished",
        "unreadable": "tests.config.fakes:Unreadable",
        "uninstalled": "tests.config.no_such_module:Sink",
    }
    return [EntryPoint(name, target, GROUP) for name, target in targets.items() if group == GROUP]
