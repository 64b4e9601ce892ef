"""Changes, streams and works for the tests of the store."""

import json
import random
from collections.abc import Sequence

from bridge.changes.change import Change, StreamInfo
from bridge.changes.deadletter import DeadLetter
from bridge.changes.reconcile import Inventory, Known, object_key
from bridge.store.contract import SnapshotRequest, Work

__all__ = [
    "PODS",
    "SECRETS",
    "change",
    "deleted",
    "emit",
    "gone",
    "letter",
    "owed",
    "pod",
    "put",
    "tell",
    "uid",
]

PODS = StreamInfo("pods", "", "v1", "pods", "Pod")
SECRETS = StreamInfo("secrets", "", "v1", "secrets", "Secret", redacted=True)


def uid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def change(
    name: str, rv: int, *, namespace: str = "shop", kind: str = "MODIFIED", body: bytes = b""
) -> Change:
    number = int.from_bytes(name.encode()[-4:], "big")
    body = body or json.dumps({"metadata": {"name": name, "resourceVersion": str(rv)}}).encode()
    return Change(kind, "watch", 1_700_000_000_000_000 + rv, namespace, name, uid(number), str(rv), 0, body)


def gone(name: str, rv: int, *, namespace: str = "shop") -> Change:
    return Change(
        "DELETED",
        "resync",
        rv,
        namespace,
        name,
        uid(1),
        str(rv),
        0,
        b"",
        {"gone": "deleted", "synthetic": True},
    )


def letter(position: int, record: Change, *, sink: str = "out", stream: StreamInfo = PODS) -> DeadLetter:
    return DeadLetter(
        sink, position, stream, record, f"id-{record.rv}", "key", record.rv, "too large", 3, 10, 20
    )


def owed(sink: str = "out", stream: str = "pods", scope: str = "", key: str = "s1") -> SnapshotRequest:
    return SnapshotRequest(sink, stream, scope, "requested", key)


def deleted(name: str, rv: int) -> Change:
    return change(name, rv, kind="DELETED")


def tell(*changes: Change) -> Work:
    """Work that reports these changes and writes nothing."""
    return lambda _: changes


def emit(*changes: Change) -> Work:
    """Work that reports these changes and writes what they imply."""

    def work(inventory: Inventory) -> Sequence[Change]:
        for item in changes:
            put(inventory, item)
        return changes

    return work


def put(inventory: Inventory, item: Change) -> None:
    key = object_key(item.namespace, item.name)
    if item.type == "DELETED":
        inventory.remove(key)
    elif item.type in ("ADDED", "MODIFIED"):
        inventory.put(key, Known(item.uid, item.rv))


def pod(number: int, rv: int, seed: random.Random, size: int = 6400) -> bytes:
    """A Pod-like object of about `size` bytes, as compressible as real ones."""
    containers = [
        {
            "name": f"c{n}",
            "image": f"registry.example/app{seed.randrange(400)}:{seed.randrange(99)}",
            "env": [{"name": f"KEY_{k}", "value": f"{seed.getrandbits(64):x}"} for k in range(6)],
        }
        for n in range(3)
    ]
    item = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"web-{number}",
            "namespace": "shop",
            "uid": uid(number),
            "resourceVersion": str(rv),
        },
        "spec": {"containers": containers},
        "status": {
            "conditions": [
                {
                    "type": t,
                    "status": "True",
                    "lastTransitionTime": "2026-11-21T09:00:00Z",
                    "reason": "Ok",
                    "message": "containers with ready status",
                }
                for t in ("Ready", "Initialized", "PodScheduled", "ContainersReady")
            ]
        },
    }
    text = json.dumps(item)
    filler = "f:spec f:containers f:terminationMessagePath f:resources f:volumeMounts " * 90
    return (text[:-1] + ',"managedFields":"' + filler[: max(0, size - len(text) - 20)] + '"}').encode()
