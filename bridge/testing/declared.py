"""What a sink says of itself: its limits and its options."""

import dataclasses

from bridge.config import SinkConfig
from bridge.config.fields import settings_of
from bridge.delivery.sink import Overlap, Sink
from bridge.secret import Secret

__all__ = ["declared_wrong"]


def declared_wrong(sink: Sink) -> list[str]:
    """What is wrong with the class and its options, before anything is delivered."""
    if not isinstance(sink, Sink):
        return ["It is no sink: something of `bridge.delivery.sink.Sink` is missing."]
    if not dataclasses.is_dataclass(sink) or not type(sink).__dataclass_params__.frozen:
        return ["Its options must be the fields of a frozen dataclass: `@dataclass(frozen=True)`."]
    try:
        settings = settings_of(type(sink))
    except (TypeError, NameError) as error:
        return [f"Its options cannot be configured: {error}."]
    wrong = []
    if taken := {one.key for one in settings} & {one.key for one in settings_of(SinkConfig)}:
        wrong.append(
            f"Every sink has these keys already, so it needs other names: {', '.join(sorted(taken))}."
        )
    if silent := [one.key for one in settings if not one.about]:
        wrong.append(
            f"These keys say not what they mean; give them `metadata=about(...)`: {', '.join(silent)}."
        )
    if min(sink.max_records, sink.max_bytes, sink.concurrency) < 1:
        wrong.append("`max_records`, `max_bytes` and `concurrency` must be at least 1.")
    if sink.overlap not in list(Overlap):
        wrong.append("`overlap` must be one of `bridge.delivery.sink.Overlap`.")
    if sink.overlap == Overlap.NONE and sink.concurrency != 1:
        wrong.append("Without overlap `concurrency` must be 1.")
    if any(secret.read().decode(errors="replace") in repr(sink) for secret in _secrets(sink)):
        wrong.append("Its `repr` shows a secret; make the field a `bridge.secret.Secret`.")
    return wrong


def _secrets(options: object) -> list[Secret]:
    found = []
    for field in dataclasses.fields(options) if dataclasses.is_dataclass(options) else ():
        value = getattr(options, field.name)
        for one in value if isinstance(value, tuple) else (value,):
            found += [one] if isinstance(one, Secret) else _secrets(one)
    return found
