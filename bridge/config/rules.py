"""What must hold between keys: told of whatever could be read, so that no mistake hides another."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bridge.config.delivery import NamedRateLimitConfig, RateLimitConfig, RetryConfig, SinkConfig
from bridge.config.model import Config, StreamConfig
from bridge.config.problems import Place, nearest
from bridge.config.records import Record
from bridge.config.scalars import Kind
from bridge.config.shapes import Listing, SecretSource, Table
from bridge.config.topics import Watched, shared_topic, topic_problems
from bridge.secret import Secret, SecretError

__all__ = ["STREAM_SCHEMA", "check_readable", "check_rules"]

STREAM_SCHEMA: dict[str, Any] = {
    "oneOf": [{"required": ["kind"]}, {"required": ["resource"]}],
    "dependentRequired": {"kind": ["apiVersion"]},
    "not": {"required": ["namespaces", "excludeNamespaces"]},
}
"""The rules of a stream that JSON Schema can tell as well."""


def check_rules(root: Record) -> None:
    """Note every rule that the configuration breaks."""
    for record in root.records():
        for rule in _RULES.get(record.type, ()):
            rule(record)


def check_readable(root: Record) -> None:
    """Note every file and secret that cannot be read now."""
    for record in root.records():
        for setting in record.settings:
            value = record.values.get(setting.name)
            for secret, least in _secrets(setting.kind, value):
                _check_secret(secret, least, record.place_of(setting.name))
            if setting.readable and value is not None:
                _check_file(value, record.place_of(setting.name))


def _secrets(kind: Kind, value: Any) -> Iterator[tuple[Secret, int]]:
    """The secrets that a value consists of, each with how many bytes it must have."""
    match kind, value:
        case SecretSource(least=least), Secret():
            yield value, least
        case Listing(item=SecretSource(least=least)), tuple():
            yield from ((secret, least) for secret in value)
        case Table(value=SecretSource(least=least)), Mapping():
            yield from ((secret, least) for secret in value.values())


def _check_secret(secret: Secret, least: int, place: Place) -> None:
    try:
        length = len(secret.read())
    except SecretError as error:
        place.wrong(str(error))
        return
    if length < least:
        place.wrong(f"the secret has {length} bytes and can be guessed; write one of at least {least}")


def _check_file(path: Any, place: Place) -> None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - reads a byte of whatever kind of path it is
            file.read(1)
    except OSError as error:
        place.wrong(f"{str(path)!r} cannot be read ({error.strerror}); name a file that this user may read")


def _one_of_kind_and_resource(stream: Record) -> None:
    kind, resource = stream.given("kind"), stream.given("resource")
    if kind and resource:
        stream.place_of("resource").wrong("`kind` is there too; keep either kind or resource")
    elif not kind and not resource:
        stream.place.wrong("names nothing to watch; write `resource: pods`, or apiVersion and kind")
    elif kind and not stream.given("api_version"):
        stream.place_of("kind").wrong(
            "needs apiVersion; write `apiVersion: v1` or `apiVersion: apps/v1` beside it"
        )


def _one_resource(stream: Record) -> None:
    resource = stream.get("resource")
    if resource is None:
        return
    here = stream.place_of("resource")
    if resource == "all":
        here.wrong("`all` names several resources; write a stream for each")
    elif "." in resource and stream.given("api_version"):
        here.wrong(f"`{resource}` names its group already; remove apiVersion, or write the plain name")


def _one_choice_of_namespaces(stream: Record) -> None:
    if stream.given("namespaces") and stream.given("exclude_namespaces"):
        here = stream.place_of("exclude_namespaces")
        here.wrong("`namespaces` is there too; keep either namespaces or excludeNamespaces")


def _growing_pause(retry: Record) -> None:
    initial, longest = retry.get("initial"), retry.get("max")
    if initial is not None and longest is not None and longest < initial:
        place = retry.place_of("max") if retry.given("max") else retry.place_of("initial")
        place.wrong("max is less than initial; write a max that is as long or longer")


def _some_rate(limit: Record) -> None:
    """A burst alone limits nothing."""
    rates = ("records_per_second", "requests_per_second", "bytes_per_second")
    if not limit.get("shared") and not any(map(limit.given, rates)):
        limit.place.wrong("limits nothing; write recordsPerSecond, requestsPerSecond or bytesPerSecond")


def _unique_names(config: Record) -> None:
    for items in ("streams", "sinks", "rate_limits"):
        first: dict[str, Place] = {}
        for item in config.get(items) or ():
            name, place = item.get("name"), item.place_of("name")
            if name in first:
                place.wrong(
                    f"`{name}` is taken by {first[name].path} in line {first[name].line}; write another name"
                )
            elif name is not None:
                first[name] = place


def _known_streams(config: Record) -> None:
    known = [name for stream in config.get("streams") or () if (name := stream.get("name")) is not None]
    for sink in config.get("sinks") or ():
        for name in sink.get("streams") or ():
            if name not in known and known:
                close = nearest(name, known)
                hint = f"did you mean `{close}`?" if close else f"write one of {', '.join(known)}"
                sink.place_of("streams").wrong(f"there is no stream `{name}`; {hint}")


def _known_rate_limits(config: Record) -> None:
    limits = config.get("rate_limits") or ()
    known = [name for limit in limits if (name := limit.get("name")) is not None]
    for sink in config.get("sinks") or ():
        limit = sink.get("rate_limit")
        name = limit.get("shared") if limit is not None else ""
        if name and name not in known:
            close = nearest(name, known)
            hint = f"did you mean `{close}`?" if close else "write a limit of that name under rateLimits"
            sink.place_of("rate_limit").wrong(f"there is no rate limit `{name}`; {hint}")


def _no_lag_to_block_at(sink: Record) -> None:
    """Intake waits for room in the log, not for a sink."""
    if sink.get("when_full") == "block" and sink.given("max_lag"):
        sink.place_of("max_lag").wrong(
            "`whenFull: block` waits only once the state is full; remove maxLag, or write resync or park"
        )


def _block_stalls_nobody_else(config: Record) -> None:
    """There is one log: where it waits for one sink, the others get nothing new of any stream."""
    sinks = config.get("sinks") or ()
    for sink in sinks:
        if sink.get("when_full") != "block" or sink.get("allow_stall_others"):
            continue
        names = (other.get("name") for other in sinks if other is not sink)
        others = ", ".join(f"`{name}`" for name in names if name is not None)
        if others:
            sink.place_of("when_full").wrong(
                f"`block` would also stall {others}: the one log holds the records of all streams; "
                "write resync or park, or allowStallOthers: true to accept that"
            )


def _one_sink_per_path(config: Record) -> None:
    """Two sinks that write into one file, or both to stdout, would tear each other's lines."""
    first: dict[str, Place] = {}
    for sink in config.get("sinks") or ():
        options = sink.get("options")
        if options is None or "path" not in options.values:
            continue
        path, place = os.path.normpath(str(options.values["path"])), options.place_of("path")
        file = path if path == "-" else os.path.abspath(path)  # noqa: PTH100 - links are not followed
        if file in first:
            what = "stdout (`-`)" if path == "-" else f"`{path}`"
            place.wrong(
                f"{what} belongs to {first[file].path} in line {first[file].line}; write another path"
            )
        else:
            first[file] = place


def _cloud_events_are_rendered(config: Record) -> None:
    """How a sink sends CloudEvents means nothing while its format makes none."""
    for sink in config.get("sinks") or ():
        options = sink.get("options")
        mode = options.get("cloud_events") if options is not None else None
        if mode is not None and sink.get("format") not in (None, "cloudevents"):
            options.place_of("cloud_events").wrong(
                f"`{mode}` needs CloudEvents; write `format: cloudevents` beside it"
            )


def _one_stream_per_key(config: Record) -> None:
    """As far as texts tell; that two of them name one resource only the cluster tells (`runtime.overlap`)."""
    for sink in config.get("sinks") or ():
        options = sink.get("options")
        if options is None or not shared_topic(options.get("topic")):
            continue
        chosen = sink.get("streams")
        streams = [s for s in config.get("streams") or () if not chosen or s.get("name") in chosen]
        for problem in topic_problems(_watched(stream) for stream in streams if _resource(stream)):
            options.place_of("topic").wrong(problem)


def _watched(stream: Record) -> Watched:
    return Watched(
        stream.get("name"),
        _resource(stream),
        frozenset(stream.get("namespaces") or ()),
        frozenset(stream.get("exclude_namespaces") or ()),
    )


def _resource(stream: Record) -> tuple[str, ...] | None:
    """What it watches, as it is written; None when that is wrong."""
    kind, resource = stream.get("kind"), stream.get("resource")
    group = stream.get("api_version") or ""
    if resource:
        return ("resource", group, resource.lower())
    return ("kind", group, kind) if kind else None


_RULES: dict[type[Any], tuple[Callable[[Record], None], ...]] = {
    StreamConfig: (_one_of_kind_and_resource, _one_resource, _one_choice_of_namespaces),
    SinkConfig: (_no_lag_to_block_at,),
    RetryConfig: (_growing_pause,),
    RateLimitConfig: (_some_rate,),
    NamedRateLimitConfig: (_some_rate,),
    Config: (
        _unique_names,
        _known_streams,
        _known_rate_limits,
        _block_stalls_nobody_else,
        _one_sink_per_path,
        _cloud_events_are_rendered,
        _one_stream_per_key,
    ),
}
