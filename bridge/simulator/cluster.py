"""What a cluster holds: one line of revisions over all resources, as in etcd, and watch caches. Pure."""

from __future__ import annotations

import random
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bridge.simulator.encode import Obj, at_revision, in_wire_order
from bridge.simulator.errors import conflict, not_found
from bridge.simulator.history import Change, History
from bridge.simulator.kinds import CRDS, Kind, Registry, kinds_of_crd
from bridge.simulator.managed import record_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Cluster", "Snapshot", "merge_patch"]

_EVENT_DEFAULTS: Obj = {
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
_SYSTEM_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A backup of etcd: everything at one revision."""

    revision: int
    resources: tuple[str, ...]


@dataclass(slots=True)
class _Resource:
    """`stored` is etcd, `served` the watch cache: one and the same until a restore tears them apart."""

    stored: History
    served: History


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


class Cluster:
    """The state behind the simulated API server; every write is one revision, at once visible to watches.

    Objects that go in are copied, objects that come out must not be changed. Resources are named as `pods` or
    `deployments.apps`; objects of namespaced kinds without a namespace go to `default`. Namespaces need not
    exist.

    Args:
        seed: Makes the uids reproducible.
        clock: Where timestamps come from.
        managed_fields: Whether objects carry `managedFields`, as on a real server.
        window: How many changes of a resource are kept before the older half becomes too old to resume from.

    Raises (all writes):
        ApiError: what the real server would refuse, with its words.
        KeyError: no such resource.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        managed_fields: bool = True,
        window: int = 100_000,
    ) -> None:
        self.revision = 1
        self.compacted = 0
        self.kinds = Registry()
        self.changed: list[Callable[[], None]] = []
        self.ended: list[Callable[[str], None]] = []
        self._clock = clock
        self._random = random.Random(seed)
        self._managed_fields = managed_fields
        self._window = window
        self._resources: dict[str, _Resource] = {}
        for name in _SYSTEM_NAMESPACES:
            self.create("namespaces", {"metadata": {"name": name}})

    # Reading

    def get(self, resource: str, name: str, namespace: str = "default") -> Obj | None:
        """The object as etcd has it, or None."""
        return self.stored(resource).get(self.kinds.named(resource).key(namespace, name))

    def objects(self, resource: str, namespace: str | None = None) -> list[Obj]:
        """All objects of a resource, or of one namespace, as etcd has them."""
        return list(self.stored(resource).scan(f"{namespace}/" if namespace else ""))

    def stored(self, resource: str) -> History:
        """What etcd knows of a resource."""
        return self._resource(resource).stored

    def served(self, resource: str) -> History:
        """What the watch cache knows of a resource."""
        return self._resource(resource).served

    def now(self) -> str:
        """The time as an object shows it."""
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    # Writing

    def create(self, resource: str, obj: Obj, *, manager: str = "simulator") -> Obj:
        """Adds an object; uid, creationTimestamp and resourceVersion are the server's."""
        kind = self.kinds.named(resource)
        metadata = dict(obj.get("metadata", {}))
        if not metadata.get("name"):
            metadata["name"] = metadata["generateName"] + self._suffix()
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        key = kind.key(metadata.get("namespace", ""), metadata["name"])
        if self.stored(resource).get(key) is not None:
            raise conflict(kind, metadata["name"], exists=True)
        metadata |= {"uid": self._uid(), "creationTimestamp": self.now()}
        if kind.generation:
            metadata["generation"] = 1
        return self._write(kind, key, _with_server_side(obj | {"metadata": metadata}, kind), manager=manager)

    def update(self, resource: str, obj: Obj, *, manager: str = "simulator", subresource: str = "") -> Obj:
        """Replaces an object; without a difference nothing is written and no event follows.

        Its `resourceVersion`, when it has one, must be the current one. The last finalizer of an object
        that is being deleted ends it, with the content from before the update.
        """
        kind = self.kinds.named(resource)
        metadata = obj["metadata"]
        key = kind.key(metadata.get("namespace", "default"), metadata["name"])
        current = self.stored(resource).get(key)
        if current is None:
            raise not_found(kind, metadata["name"])
        if metadata.get("resourceVersion") not in {None, "", current["metadata"]["resourceVersion"]}:
            raise conflict(kind, metadata["name"])
        kept = ("name", "namespace", "uid", "creationTimestamp", "generation", "deletionTimestamp")
        metadata = dict(metadata) | {k: current["metadata"][k] for k in kept if k in current["metadata"]}
        metadata["resourceVersion"] = current["metadata"]["resourceVersion"]
        metadata.pop("managedFields", None)
        if "managedFields" in current["metadata"]:
            metadata["managedFields"] = current["metadata"]["managedFields"]
        wanted = in_wire_order(obj | {"metadata": metadata}, kind)
        if wanted == current:
            return current
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            return self._remove([key], kind)[0]
        if kind.generation and _specification(wanted) != _specification(current):
            wanted["metadata"]["generation"] = current["metadata"].get("generation", 0) + 1
        return self._write(kind, key, wanted, manager=manager, subresource=subresource)

    def patch(
        self,
        resource: str,
        name: str,
        patch: Obj,
        namespace: str = "default",
        *,
        manager: str = "simulator",
        subresource: str = "",
    ) -> Obj:
        """Applies a JSON merge patch."""
        kind = self.kinds.named(resource)
        current = self.get(resource, name, namespace)
        if current is None:
            raise not_found(kind, name)
        merged: Obj = merge_patch(current, patch)
        return self.update(resource, merged, manager=manager, subresource=subresource)

    def delete(
        self, resource: str, name: str, namespace: str = "default", *, grace_seconds: int | None = None
    ) -> Obj:
        """Deletes an object, or marks it while a finalizer or grace period holds it; returns what it was."""
        kind = self.kinds.named(resource)
        key = kind.key(namespace, name)
        current = self.stored(resource).get(key)
        if current is None:
            raise not_found(kind, name)
        metadata = current["metadata"]
        if not metadata.get("finalizers") and grace_seconds is None and kind.resource != "namespaces":
            return self._remove([key], kind)[0]
        if "deletionTimestamp" in metadata:
            return current
        marks = {"deletionTimestamp": self.now(), "deletionGracePeriodSeconds": grace_seconds or 0}
        marked = merge_patch(current, {"metadata": marks})
        if kind.resource == "namespaces":
            del marked["metadata"]["deletionGracePeriodSeconds"]
            marked["status"] = {"phase": "Terminating"}
        elif kind.custom or grace_seconds:
            marked["metadata"]["generation"] = metadata.get("generation", 0) + 1
        return self._write(kind, key, marked)

    def delete_together(self, resource: str, names: Iterable[str], namespace: str = "default") -> list[Obj]:
        """Deletes several objects at one revision, as the expiry of an etcd lease does with Events."""
        kind = self.kinds.named(resource)
        return self._remove([kind.key(namespace, name) for name in names], kind)

    def finish_namespace(self, name: str) -> None:
        """What the namespace controller does to a terminating namespace: removes its content, then itself."""
        for resource in {kind.resource: kind for kind in self.kinds if kind.namespaced}:
            for obj in self.objects(resource, name):
                self._remove([f"{name}/{obj['metadata']['name']}"], self.kinds.named(resource))
        self._remove([name], self.kinds.named("namespaces"))

    def define(self, group: str, plural: str, kind: str, **spec: Any) -> Obj:
        """Creates a CustomResourceDefinition with a schema that keeps everything; `spec` members override."""
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        version = {"name": "v1", "served": True, "storage": True, "schema": schema}
        defaults = {
            "group": group,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "scope": "Namespaced",
            "versions": [version],
        }
        return self.create(CRDS, {"metadata": {"name": f"{plural}.{group}"}, "spec": defaults | spec})

    # History, backups and disasters

    def compact(self) -> None:
        """Compacts etcd; what watch caches keep stays resumable."""
        self.compacted = self.revision

    def expire(self, resource: str | None = None) -> None:
        """Makes every older revision of a resource (or of all) too old for watches and exact lists."""
        for name in [resource] if resource else list(self._resources):
            for history in (self.served(name), self.stored(name)):
                history.revision = max(history.revision, self.revision)
                history.expire()
        if resource is None:
            self.compact()

    def snapshot(self) -> Snapshot:
        """Takes a backup."""
        return Snapshot(self.revision, tuple(self._resources))

    def restore(self, snapshot: Snapshot, *, bump: int = 0, restart: bool = False) -> None:
        """Puts etcd back to a snapshot.

        Plainly, API servers do not notice: their caches go on showing the lost timeline and skip every event
        up to the revision they had reached. With `bump` revisions jump by that much and the caches start
        anew, which is what etcd documents for Kubernetes; with `restart` the API server is restarted.
        """
        self.revision = snapshot.revision + (bump or 2)
        for name, resource in self._resources.items():
            at = snapshot.revision if name in snapshot.resources else 0
            resource.stored = resource.stored.copy(at, self._window)
            kinds = [kind for kind in self.kinds if kind.resource == name]
            if bump or restart or not all(kind.cached for kind in kinds):
                resource.served = resource.stored
        if bump:
            self.compact()
        if bump or restart:
            self.restart()

    def restart(self) -> None:
        """Restarts the API server: all streams end, and cached kinds forget what was before."""
        for name, resource in self._resources.items():
            resource.served = resource.stored
            resource.served.revision = self.revision
            resource.served.floor = self.revision
            self._end_streams(name)

    # Inside

    def _resource(self, resource: str) -> _Resource:
        found = self._resources.get(resource)
        if found is None:
            self.kinds.named(resource)
            history = History(self.revision, 0, self._window)
            found = self._resources[resource] = _Resource(history, history)
        return found

    def _write(
        self, kind: Kind, key: str, obj: Obj, *, manager: str = "simulator", subresource: str = ""
    ) -> Obj:
        previous = self.stored(kind.resource).get(key)
        if self._managed_fields:
            record_manager(
                obj,
                previous,
                manager=manager,
                subresource=subresource,
                now=self.now(),
                api_version=kind.api_version,
                custom=kind.custom,
            )
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        current = in_wire_order(obj, kind)
        self._apply(kind.resource, [Change(self.revision, key, previous, current)])
        if kind.resource == CRDS:
            self._define(current, previous)
        return current

    def _remove(self, keys: list[str], kind: Kind) -> list[Obj]:
        history = self.stored(kind.resource)
        found = [(key, obj) for key in keys if (obj := history.get(key)) is not None]
        if kind.resource == CRDS:
            self._undefine([obj for _, obj in found])
        self.revision += 1
        self._apply(kind.resource, [Change(self.revision, key, obj, None) for key, obj in found])
        return [at_revision(obj, self.revision) for _, obj in found]

    def _apply(self, name: str, changes: list[Change]) -> None:
        resource = self._resource(name)
        for change in changes:
            resource.stored.apply(change)
            if resource.served is not resource.stored and change.revision > resource.served.revision:
                resource.served.apply(change)
        for tell in self.changed:
            tell()

    def _define(self, crd: Obj, previous: Obj | None) -> None:
        resource = crd["metadata"]["name"]
        if previous is not None and previous.get("spec") == crd["spec"]:
            return
        with suppress(KeyError):
            self.kinds.serve(resource, kinds_of_crd(crd))
        if previous is not None and resource in self._resources:
            # The write of the CRD itself is newer than any custom resource: nobody can resume.
            self._resources[resource].served.revision = self.revision
            self._resources[resource].served.expire()
            self._end_streams(resource)

    def _undefine(self, crds: list[Obj]) -> None:
        for crd in crds:
            resource = crd["metadata"]["name"]
            for kind in [kind for kind in self.kinds if kind.resource == resource][:1]:
                for obj in self.objects(resource):
                    metadata = obj["metadata"]
                    self._remove([kind.key(metadata.get("namespace", ""), metadata["name"])], kind)
            self.kinds.serve(resource, [])
            self._end_streams(resource)

    def _end_streams(self, resource: str) -> None:
        for tell in self.ended:
            tell(resource)

    def _uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _suffix(self) -> str:
        return "".join(self._random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))


def _specification(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if key not in {"metadata", "status"}}


def _with_server_side(obj: Obj, kind: Kind) -> Obj:
    """What the server adds to a new object of some kinds."""
    if kind.resource == "namespaces":
        labels = {"kubernetes.io/metadata.name": obj["metadata"]["name"]} | obj["metadata"].get("labels", {})
        return obj | {
            "metadata": obj["metadata"] | {"labels": labels},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }
    if kind.resource == "events":
        return _EVENT_DEFAULTS | obj
    if kind.resource == "pods":
        return obj | {"status": {"phase": "Pending"} | obj.get("status", {})}
    return obj
