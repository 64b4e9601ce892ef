"""`check`: what would keep this configuration from working on this cluster, all of it at once."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import trio

from bridge.changes.change import StreamInfo
from bridge.changes.envelope import Format
from bridge.config import Config, SinkConfig, made_by_run
from bridge.delivery.sink import Checked, Context, Owning
from bridge.errors import BridgeError, UsageError
from bridge.kubernetes.access import IDENTITY, REVISION, Wanted, missing_permissions, refused
from bridge.kubernetes.apiserver import ApiServer, RateLimiter
from bridge.kubernetes.catalog import Resource
from bridge.kubernetes.discovery import discover, identify_cluster
from bridge.kubernetes.reach import service_connection
from bridge.runtime.overlap import overlaps
from bridge.runtime.plans import info_of, resource_of
from bridge.runtime.volume import short_lived

__all__ = ["check"]

_SINK_SECONDS: Final = 30.0


class NotReady(UsageError):
    """Something that `run` would wait for or fail on; each line is one thing to do."""


async def check(config: Config) -> int:
    """Contact the cluster, resolve each stream, review its permissions; prints what is fine.

    Raises:
        NotReady: with one line for each thing that is wrong.
        BridgeError: the cluster cannot be reached.
    """
    connection = service_connection(kubeconfig=config.cluster.kubeconfig, context=config.cluster.context)
    limiter = RateLimiter(config.cluster.qps, config.cluster.burst)
    async with ApiServer(connection, limiter=limiter) as api:
        uid = config.cluster.uid or (await identify_cluster(api)).uid
        print(f"cluster {config.cluster.name}: {connection.server} ({connection.source}), uid {uid}")  # noqa: T201
        catalog = await discover(api)
        problems = list(_state_problems(config))
        wanted: list[Wanted] = []
        infos: list[StreamInfo] = []
        resources: dict[str, Resource] = {}
        for stream in config.streams:
            try:
                resource = resource_of(stream, catalog)
                resources[stream.name] = resource
                infos.append(info_of(stream, resource))
                wanted.append(Wanted(stream.name, resource, stream.namespaces, stream.field_selector))
            except UsageError as error:
                problems.append(str(error))
        problems += [f"sink {sink}: {overlap}" for sink, overlap in overlaps(config, resources)]
        problems += [str(missing) for missing in await missing_permissions(api, wanted)]
        advised = [REVISION] if config.cluster.uid else [IDENTITY, REVISION]
        warnings = [str(each) for each in await refused(api, advised)]
    for want in wanted:
        print(f"stream {want.stream}: {want.resource.api_version} {want.resource.kind}")  # noqa: T201
    for sink in config.sinks:
        problems += [f"sink {sink.name}: {wrong}" for wrong in _introduce(sink)]
        sys.stdout.flush()  # the destination may take its time
        problems += [f"sink {sink.name}: {wrong}" for wrong in await _sink_problems(sink, config, uid, infos)]
    for warning in [*_state_warnings(config), *warnings]:
        print(f"warning: {warning}")  # noqa: T201
    if problems:
        raise NotReady("not ready:\n" + "\n".join(f"  - {problem}" for problem in problems))
    print("ok")  # noqa: T201
    return 0


def _introduce(sink: SinkConfig) -> Sequence[str]:
    """Print what done means there; one sentence where the sink cannot even say that."""
    owned = "what its destination accepted"
    try:
        if isinstance(sink.options, Owning):  # asks the property already
            owned = sink.options.ownership
    except Exception as error:  # noqa: BLE001 - a sink is anybody's code: the others are still looked at
        print(f"sink {sink.name}: {sink.type}")  # noqa: T201
        return [_cannot_tell(error)]
    print(f"sink {sink.name}: {sink.type}; done means: {owned}")  # noqa: T201
    return ()


async def _sink_problems(
    sink: SinkConfig, config: Config, uid: str, infos: Sequence[StreamInfo]
) -> Sequence[str]:
    """What the sink says of itself, and one sentence where it cannot even say that."""
    if not isinstance(sink.options, Checked) or _not_made_yet(sink, config):
        return ()
    streams = [info for info in infos if sink.streams is None or info.name in sink.streams]
    form = Format(sink.format)
    context = Context(
        sink.name, config.cluster.name, uid, streams, form.content_type, control=form.has_control
    )
    try:
        with trio.fail_after(_SINK_SECONDS):
            return await sink.options.problems(context)
    except trio.TooSlowError:
        return [f"its destination did not answer within {_SINK_SECONDS:.0f} s"]
    except BridgeError as error:
        return [str(error)]
    except Exception as error:  # noqa: BLE001 - a sink is anybody's code: the others are still looked at
        return [_cannot_tell(error)]


def _cannot_tell(error: Exception) -> str:
    return f"it cannot tell ({error!r}); report that to whoever made this sink"


def _not_made_yet(sink: SinkConfig, config: Config) -> bool:
    path = getattr(sink.options, "path", None)
    return isinstance(path, str | Path) and config.state is not None and made_by_run(path, config.state.path)


def _state_problems(config: Config) -> Iterator[str]:
    """A state that cannot be written is found before the first restart loses something."""
    if config.state is None:
        yield "`run` needs `state: {path: ...}`: where cursors and the log live"
        return
    path = existing = config.state.path.absolute()
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK):
        yield f"state.path {str(path)!r} cannot be written: make {str(existing)!r} writable for this user"


def _state_warnings(config: Config) -> Iterator[str]:
    """A state that ends with the pod breaks one promise without a sign of it."""
    place = short_lived(config.state.path) if config.state is not None else ""
    if config.state is not None and place:
        yield (
            f"state.path {str(config.state.path.absolute())!r} is on {place}, which does not outlive the "
            "pod or the machine: with the inventory each deletion meanwhile is lost; "
            "mount a PersistentVolumeClaim there"
        )
