"""A lively workload for `kube-bridge demo`: rollouts, scaling, a crash loop, jobs, edits, a namespace."""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING

import trio

from bridge.simulator import workload

if TYPE_CHECKING:
    from collections.abc import Generator

    from bridge.simulator.cluster import Cluster
    from bridge.simulator.encode import Obj

    # Does one thing after the other; between two of them it says how many seconds pass.
    Actor = Generator[float, None, None]

__all__ = ["churn"]

_DEPLOYMENTS = "deployments.apps"
_REPLICA_SETS = "replicasets.apps"
_CONTROLLER, _KUBELET, _SCHEDULER = "kube-controller-manager", "kubelet", "kube-scheduler"
_JOBS_KEPT = 2


async def churn(cluster: Cluster, *, seconds: float, seed: int = 0) -> None:
    """Lets a believable cluster live for some time, on trio's clock, and returns.

    The same seed and clock on a new cluster make the same history. Nothing is cleaned up at the
    end. Cancelling it is safe at any time.

    Args:
        cluster: Where it happens; it must not yet hold what is created here.
        seconds: How long.
        seed: Which of many histories.

    Raises:
        ApiError: something of the same name exists already.
    """
    world = _World(cluster, seed)
    end = trio.current_time() + seconds
    start = trio.current_time()
    world.populate()
    while world.agenda:
        due, _, actor = heapq.heappop(world.agenda)
        if start + due > end:
            break
        await trio.sleep_until(start + due)
        world.now = due
        world.resume(actor)
    await trio.sleep_until(end)


class _World:
    """The actors, and when each of them goes on."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.random = random.Random(seed)
        self.now = 0.0
        self.agenda: list[tuple[float, int, Actor]] = []
        self._ticket = 0

    def spawn(self, actor: Actor, after: float = 0.0) -> None:
        """Starts an actor some seconds from now."""
        self._ticket += 1
        heapq.heappush(self.agenda, (self.now + after, self._ticket, actor))

    def resume(self, actor: Actor) -> None:
        """Lets an actor do its next thing."""
        pause = next(actor, None)
        if pause is not None:
            self.spawn(actor, pause)

    def between(self, low: float, high: float) -> float:
        """A random pause."""
        return self.random.uniform(low, high)

    def suffix(self) -> str:
        """Five characters, as generated names end."""
        return "".join(self.random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))

    def populate(self) -> None:
        """What is there before anything moves, and who will move it."""
        for number in (1, 2, 3):
            self.cluster.create("nodes", workload.node(f"worker-{number}", f"10.0.0.{10 + number}"))
        for namespace, apps in (("shop", ("web", "cart")), ("pay", ("ledger",))):
            self.cluster.create("namespaces", {"metadata": {"name": namespace}})
            for app in apps:
                config = {"metadata": {"name": app, "namespace": namespace}}
                self.cluster.create("configmaps", config | {"data": {"log.level": "info", "workers": "4"}})
                self.spawn(_service(self, namespace, app, oversized=app == "web"))
        self.spawn(_settings(self, "shop", "web"), 3.0)
        self.spawn(_crash_loop(self, "pay"), 1.5)
        self.spawn(_cron(self, "pay"), 2.5)
        self.spawn(_preview(self), 6.0)

    # What several actors do

    def event(self, about: Obj, reason: str, message: str, source: str, *, warning: bool = False) -> None:
        """Writes an Event."""
        suffix = f"{self.random.getrandbits(64):016x}"
        now = self.cluster.now()
        obj = workload.event(about, reason, message, suffix, now=now, source=source, warning=warning)
        self.cluster.create("events", obj, manager=source)

    def status(self, resource: str, obj: Obj, status: Obj, manager: str = _CONTROLLER) -> None:
        """Reports a status, if the object is still there."""
        metadata = obj["metadata"]
        if self.cluster.get(resource, metadata["name"], metadata["namespace"]) is not None:
            self.cluster.patch(
                resource,
                metadata["name"],
                {"status": status},
                metadata["namespace"],
                manager=manager,
                subresource="status",
            )

    def owned(self, resource: str, parent: Obj) -> list[Obj]:
        """What a controller made for its parent and has not begun to delete."""
        uid = parent["metadata"]["uid"]
        return [
            obj
            for obj in self.cluster.objects(resource, parent["metadata"]["namespace"])
            if "deletionTimestamp" not in obj["metadata"]
            and any(reference["uid"] == uid for reference in obj["metadata"].get("ownerReferences", ()))
        ]


def _service(world: _World, namespace: str, name: str, *, oversized: bool = False) -> Actor:
    """A Deployment that is rolled out again and scaled now and then; an oversized one shrinks at once."""
    version = 1
    image = f"registry.example/{namespace}/{name}"
    replicas = 3 if oversized else world.random.choice((2, 3))
    applied = workload.deployment(namespace, name, f"{image}:1.{version}", replicas)
    world.cluster.create(_DEPLOYMENTS, applied, manager="kubectl")
    yield from _reconcile(world, namespace, name)
    while True:
        yield world.between(0.2, 0.4) if oversized else world.between(4.0, 9.0)
        if oversized:
            # Who tries the demo sees a deletion in the first seconds.
            oversized = False
            replicas -= 1
            patch: Obj = {"spec": {"replicas": replicas}}
        elif world.random.random() < 0.5:  # noqa: PLR2004 - a coin
            version += 1
            template = {"spec": {"containers": _with_image(world, namespace, name, f"{image}:1.{version}")}}
            patch = {
                "metadata": {"annotations": {"deployment.kubernetes.io/revision": str(version)}},
                "spec": {"template": template},
            }
        else:
            replicas = max(1, replicas + world.random.choice((-1, 1)))
            patch = {"spec": {"replicas": replicas}}
        world.cluster.patch(_DEPLOYMENTS, name, patch, namespace, manager="kubectl")
        yield world.between(0.1, 0.3)
        yield from _reconcile(world, namespace, name)


def _with_image(world: _World, namespace: str, name: str, image: str) -> list[Obj]:
    current = world.cluster.get(_DEPLOYMENTS, name, namespace) or {}
    containers: list[Obj] = current["spec"]["template"]["spec"]["containers"]
    return [containers[0] | {"image": image}]


def _reconcile(world: _World, namespace: str, name: str) -> Actor:
    """What the deployment and the replicaset controller do until reality is as wanted."""
    cluster = world.cluster
    parent = cluster.get(_DEPLOYMENTS, name, namespace)
    if parent is None:
        return
    wanted = parent["spec"]["replicas"]
    fresh = workload.replica_set(parent, wanted)
    current = cluster.get(_REPLICA_SETS, fresh["metadata"]["name"], namespace)
    if current is None:
        current = cluster.create(_REPLICA_SETS, fresh, manager=_CONTROLLER)
    elif current["spec"]["replicas"] != wanted:
        patch = {"spec": {"replicas": wanted}}
        current = cluster.patch(
            _REPLICA_SETS, current["metadata"]["name"], patch, namespace, manager=_CONTROLLER
        )
    yield 0.1
    for obj in world.owned(_REPLICA_SETS, parent):
        if obj["metadata"]["uid"] != current["metadata"]["uid"]:
            yield from _replace_pods(world, obj, current)
    yield from _scale(world, current, wanted)
    counts = {
        "replicas": wanted,
        "updatedReplicas": wanted,
        "readyReplicas": wanted,
        "availableReplicas": wanted,
    }
    world.status(_REPLICA_SETS, current, {"replicas": wanted, "readyReplicas": wanted})
    world.status(_DEPLOYMENTS, parent, {"observedGeneration": parent["metadata"]["generation"]} | counts)


def _replace_pods(world: _World, old: Obj, new: Obj) -> Actor:
    """One step of a rolling update for each pod of the old ReplicaSet, which goes at the end."""
    metadata = old["metadata"]
    for count, obj in enumerate(world.owned("pods", old), start=1):
        yield from _scale(world, new, count)
        world.spawn(_terminate(world, obj))
        yield world.between(0.3, 0.8)
    yield 0.5
    world.cluster.delete(_REPLICA_SETS, metadata["name"], metadata["namespace"])


def _scale(world: _World, parent: Obj, wanted: int) -> Actor:
    pods = world.owned("pods", parent)
    for obj in pods[wanted:]:
        world.spawn(_terminate(world, obj))
        yield 0.1
    for _ in range(wanted - len(pods)):
        obj = world.cluster.create("pods", workload.pod(parent, world.suffix()), manager=_CONTROLLER)
        world.spawn(_run(world, obj), world.between(0.05, 0.2))
        yield 0.05
    yield world.between(0.8, 1.2)


def _bind(world: _World, obj: Obj) -> Obj:
    """What the scheduler does."""
    metadata = obj["metadata"]
    spec = {"nodeName": f"worker-{world.random.randint(1, 3)}"}
    bound = world.cluster.patch(
        "pods", metadata["name"], {"spec": spec}, metadata["namespace"], manager=_SCHEDULER
    )
    message = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {spec['nodeName']}"
    world.event(bound, "Scheduled", message, "default-scheduler")
    return bound


def _run(world: _World, obj: Obj) -> Actor:
    """A Pod from Pending to Running and ready."""
    metadata = obj["metadata"]
    if world.cluster.get("pods", metadata["name"], metadata["namespace"]) is None:
        return
    bound = _bind(world, obj)
    yield world.between(0.1, 0.3)
    creating = {"waiting": {"reason": "ContainerCreating"}}
    now = world.cluster.now()
    world.status("pods", bound, workload.pod_status(bound, "Pending", creating, now=now), _KUBELET)
    yield world.between(0.2, 0.6)
    running = {"running": {"startedAt": world.cluster.now()}}
    address = f"10.244.{world.random.randint(0, 2)}.{world.random.randint(2, 250)}"
    for ready in (False, True):
        now = world.cluster.now()
        status = workload.pod_status(bound, "Running", running, now=now, ready=ready, address=address)
        world.status("pods", bound, status, _KUBELET)
        yield world.between(0.2, 0.4)


def _terminate(world: _World, obj: Obj) -> Actor:
    """A Pod that is asked to go, and goes."""
    metadata = obj["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    if world.cluster.get("pods", name, namespace) is None:
        return
    world.cluster.delete("pods", name, namespace, grace_seconds=30)
    yield world.between(0.4, 1.2)
    if world.cluster.get("pods", name, namespace) is not None:
        world.cluster.delete("pods", name, namespace)


def _crash_loop(world: _World, namespace: str) -> Actor:
    """A Pod whose program ends with an error again and again."""
    parent = workload.deployment(namespace, "importer", "registry.example/pay/importer:0.9", 1)
    created = world.cluster.create(_DEPLOYMENTS, parent, manager="kubectl")
    replica_set = world.cluster.create(_REPLICA_SETS, workload.replica_set(created, 1), manager=_CONTROLLER)
    obj = world.cluster.create("pods", workload.pod(replica_set, world.suffix()), manager=_CONTROLLER)
    yield 0.2
    obj = _bind(world, obj)
    restarts = 0
    while True:
        now = world.cluster.now()
        failed = {"exitCode": 1, "reason": "Error", "startedAt": now, "finishedAt": now}
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
        for phase_state in ({"running": {"startedAt": now}}, {"terminated": failed}, {"waiting": waiting}):
            status = workload.pod_status(obj, "Running", phase_state, now=now, restarts=restarts)
            world.status("pods", obj, status, _KUBELET)
            yield world.between(0.4, 0.8)
        restarts += 1
        world.event(obj, "BackOff", "Back-off restarting failed container importer", _KUBELET, warning=True)
        yield min(2.0 * restarts, 10.0)


def _cron(world: _World, namespace: str) -> Actor:
    """A CronJob whose Jobs run for a moment; only the last few are kept."""
    applied = workload.cron_job(namespace, "invoices", "registry.example/pay/invoices:2.4", "*/1 * * * *")
    parent = world.cluster.create("cronjobs.batch", applied, manager="kubectl")
    done: list[Obj] = []
    number = 29_000_000
    while True:
        number += 1
        job = world.cluster.create("jobs.batch", workload.job(parent, number), manager=_CONTROLLER)
        world.status("cronjobs.batch", parent, {"lastScheduleTime": world.cluster.now()})
        pod = world.cluster.create("pods", workload.pod(job, world.suffix()), manager=_CONTROLLER)
        yield 0.2
        yield from _run(world, pod)
        yield world.between(0.5, 1.5)
        now = world.cluster.now()
        ended = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}
        world.status("pods", pod, workload.pod_status(pod, "Succeeded", ended, now=now), _KUBELET)
        yield 0.2
        complete = {"type": "Complete", "status": "True", "lastTransitionTime": now}
        world.status("jobs.batch", job, {"conditions": [complete], "completionTime": now, "succeeded": 1})
        done.append(job)
        for old in done[:-_JOBS_KEPT]:
            for gone in world.owned("pods", old):
                world.cluster.delete("pods", gone["metadata"]["name"], namespace)
            world.cluster.delete("jobs.batch", old["metadata"]["name"], namespace)
            done.remove(old)
        yield world.between(3.0, 5.0)


def _settings(world: _World, namespace: str, name: str) -> Actor:
    """Somebody who edits a ConfigMap."""
    while True:
        data = {
            "log.level": world.random.choice(("debug", "info", "warn")),
            "workers": str(world.random.randint(2, 16)),
        }
        world.cluster.patch("configmaps", name, {"data": data}, namespace, manager="kubectl")
        yield world.between(3.0, 6.0)


def _preview(world: _World) -> Actor:
    """A namespace that is made for a moment and goes with everything in it."""
    while True:
        name = f"preview-{world.random.randint(100, 999)}"
        world.cluster.create("namespaces", {"metadata": {"name": name}})
        yield 0.3
        applied = workload.deployment(name, "web", "registry.example/shop/web:main", 1)
        world.cluster.create(_DEPLOYMENTS, applied, manager="kubectl")
        yield from _reconcile(world, name, "web")
        yield world.between(3.0, 5.0)
        world.cluster.delete("namespaces", name)
        yield 0.8
        world.cluster.finish_namespace(name)
        yield world.between(5.0, 8.0)
