"""From what is configured and what the cluster offers to what is watched."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bridge.changes.change import StreamInfo
from bridge.changes.redact import Redactor
from bridge.config import Config, SinkConfig, StreamConfig
from bridge.errors import StateError, UsageError
from bridge.kubernetes.catalog import Catalog, Resource
from bridge.kubernetes.requests import Scope
from bridge.runtime.stream import StreamPlan

__all__ = ["info_of", "plan_stream", "redaction_key", "resource_of", "watches_of"]

_KEY_BYTES: Final = 32


def resource_of(stream: StreamConfig, catalog: Catalog) -> Resource:
    """The resource of a configured stream.

    Raises:
        UsageError: unknown, ambiguous, or it cannot be listed and watched; names what could be meant.
    """
    if stream.resource is None:
        return catalog.resolve_kind(stream.api_version or "v1", stream.kind or "")
    found = catalog.resolve(stream.resource)
    if len(found) != 1:
        raise UsageError(
            f"stream {stream.name}: {stream.resource} means {len(found)} resources; write a stream for each"
        )
    return found[0]


def plan_stream(stream: StreamConfig, catalog: Catalog, *, key: bytes, cluster_uid: str) -> StreamPlan:
    """Resolve one configured stream.

    Args:
        stream: as configured.
        catalog: what the server offers.
        key: of the redaction's HMAC.
        cluster_uid: part of what the HMAC covers.

    Raises:
        UsageError: see `resource_of`; or namespaces were given for a cluster-scoped resource.
    """
    resource = resource_of(stream, catalog)
    if not resource.namespaced and (stream.namespaces or stream.exclude_namespaces):
        raise UsageError(
            f"stream {stream.name}: {resource.resource} are not namespaced; remove its namespaces"
        )
    info = info_of(stream, resource)
    redact = None
    if info.redacted:
        hides = _hides(stream, resource)
        redact = Redactor(key, cluster_uid, secret_values=hides, redact=stream.redact, drop=stream.drop)
    field_selector = _joined(
        [stream.field_selector, *(f"metadata.namespace!={n}" for n in stream.exclude_namespaces)]
    )
    scopes = tuple(
        Scope(namespace, stream.label_selector, field_selector) for namespace in stream.namespaces or ("",)
    )
    return StreamPlan(info, resource, scopes, report_initial=stream.initial == "emit", redact=redact)


def info_of(stream: StreamConfig, resource: Resource) -> StreamInfo:
    """What the records of a stream tell of it."""
    selected = bool(stream.label_selector or stream.field_selector or stream.exclude_namespaces)
    redacted = _hides(stream, resource) or bool(stream.redact) or bool(stream.drop)
    return StreamInfo(
        stream.name,
        resource.group,
        resource.version,
        resource.resource,
        resource.kind,
        selected=selected,
        redacted=redacted,
    )


def watches_of(config: Config, sink: SinkConfig) -> dict[str, Sequence[str]]:
    """The watches whose records a sink wants: of each of its streams the namespaces, `("",)` for all."""
    return {
        stream.name: stream.namespaces or ("",)
        for stream in config.streams
        if sink.streams is None or stream.name in sink.streams
    }


def _hides(stream: StreamConfig, resource: Resource) -> bool:
    return resource.secret and stream.secret_values == "redact"  # noqa: S105 - a choice, no secret


def redaction_key(config: Config, state: Path) -> bytes:
    """The configured key, else the one in the state directory, made once with mode 0600.

    Raises:
        UsageError: the configured key cannot be read.
        StateError: the key in the state cannot be read or made.
    """
    if config.redaction.key is not None:
        return config.redaction.key.read()
    path = state / "redaction.key"
    try:
        if not path.exists():
            _write_new(path, secrets.token_bytes(_KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise StateError(
            f"the redaction key {path} cannot be used: {error.strerror}; check its owner and mode"
        ) from error
    if len(key) < _KEY_BYTES:
        raise StateError(
            f"the redaction key {path} is damaged; restore it, or remove it and accept that all hashes change"
        )
    return key


def _write_new(path: Path, content: bytes) -> None:
    """Whole or not at all, and durable, before anybody relies on it."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _joined(terms: Sequence[str]) -> str:
    return ",".join(term for term in terms if term)
