"""Realistic Pods as an API server writes them: about 6.4 KB, with managedFields, from one seed.

How well a log compresses decides how much it writes. Pods that differ only in name and number compress
twice as well as real ones; so there are 400 applications with their own words for images, environment,
labels and annotations, and every Pod has its own hashes, addresses and times.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

__all__ = ["APPS", "LAST_LISTED", "POD_HEAD", "Pod", "World"]

APPS: Final = 400
LAST_LISTED: Final = 500_000_000
"""The revision of the list. Every revision has 9 digits, so a rendered line can be stamped with another."""
POD_HEAD: Final = b'{"kind":"Pod","apiVersion":"v1",'
"""How an object begins in a watch; the items of a list go without."""

_NAMESPACES: Final = 40
_TEMPLATES: Final = 4000
"""Pods beyond so many repeat the body of an earlier one, under their own name and uid."""
_STAMP: Final = "@resourceVersion@"
_SYLLABLES: Final = tuple(re.findall("..", "bacodifugahejikalominoporasetiuvewoxiyaze"))


@dataclass(frozen=True, slots=True)
class Pod:
    """The bytes of one object around its resourceVersion."""

    head: bytes
    tail: bytes

    def at(self, revision: int) -> bytes:
        """The object with `kind` and `apiVersion`, as a watch sends it."""
        return b"%b%d%b" % (self.head, revision, self.tail)

    def item(self, revision: int) -> bytes:
        """The object as a list holds it."""
        return b"{%b%d%b" % (self.head[len(POD_HEAD) :], revision, self.tail)


class World:
    """The Pods of one cluster, in the byte order of ``namespace/name``, as a server lists them.

    Args:
        count: how many there are.
        seed: the same seed makes the same bytes.
    """

    def __init__(self, count: int, seed: int = 1) -> None:
        rng = random.Random(f"{seed}/names")
        app_of = [rng.randrange(APPS) for _ in range(min(count, _TEMPLATES))]
        keys = []
        for number in range(count):
            body = number % _TEMPLATES
            app = _app(seed, app_of[body])
            keys.append((app.namespace(rng), app.pod_name(rng), _uuid(rng), body))
        # "/" sorts behind "-", so namespace and name cannot be compared one after the other.
        self._keys = sorted(keys, key=lambda key: f"{key[0]}/{key[1]}")
        self._app_of = app_of
        self._seed = seed
        self._bodies: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def pod(self, index: int) -> Pod:
        """The Pod at a place of the list; rendered anew, nothing of it is kept but its template."""
        namespace, name, uid, body = self._keys[index]
        text = self._bodies.get(body)
        if text is None:
            app = _app(self._seed, self._app_of[body])
            text = self._bodies[body] = app.template(random.Random(f"{self._seed}/{body}"))
        text = text.replace("@namespace@", namespace).replace("@name@", name).replace("@uid@", uid)
        head, _, tail = text.partition(_STAMP)
        return Pod(head.encode(), tail.encode())

    def listed_revision(self, index: int) -> int:
        """The revision at which the list shows that Pod."""
        return LAST_LISTED - len(self._keys) + 1 + index


@cache
def _app(seed: int, number: int) -> _App:
    return _App(random.Random(f"{seed}/app/{number}"))


class _App:
    """One application: what all its Pods have in common."""

    def __init__(self, rng: random.Random) -> None:
        self.name = f"{_word(rng)}-{_word(rng)}"
        self.team = _word(rng)
        self.hash = _hex(rng, 10)
        self.port = rng.randrange(1024, 32_000)
        self.image = f"registry.{_word(rng)}.example/{self.team}/{self.name}"
        self.tag = f"{rng.randrange(9)}.{rng.randrange(40)}.{rng.randrange(99)}-{_hex(rng, 8)}"
        self.created = f"2026-0{rng.randrange(1, 9)}-{rng.randrange(10, 28)}T"
        self.variables = {
            f"{_word(rng)}_{_word(rng)}".upper(): f"{_word(rng)}-{_hex(rng, rng.randrange(4, 24))}"
            for _ in range(rng.randrange(6, 9))
        }
        self.labels = {f"{_word(rng)}.example/{_word(rng)}": _word(rng) for _ in range(3)}
        self.annotations = {
            f"{_word(rng)}.example/{_word(rng)}-{_word(rng)}": f"{_word(rng)} {_hex(rng, 20)}"
            for _ in range(3)
        }

    def namespace(self, rng: random.Random) -> str:
        """One of those where this application runs."""
        return f"team-{(hash_of(self.name) + rng.randrange(3)) % _NAMESPACES:02d}"

    def pod_name(self, rng: random.Random) -> str:
        """Unique: the suffix has more places than a cluster has Pods."""
        return f"{self.name}-{self.hash}-{_hex(rng, 8)}"

    def template(self, rng: random.Random) -> str:
        """One Pod as JSON text, in the order of the API server's fields."""
        at = f"{self.created}{rng.randrange(10, 24)}:{rng.randrange(10, 60)}:{rng.randrange(10, 60)}Z"
        pod = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": self._metadata(rng, at),
            "spec": self._spec(rng),
            "status": self._status(rng, at),
        }
        return json.dumps(pod, separators=(",", ":"))

    def _metadata(self, rng: random.Random, at: str) -> dict[str, Any]:
        owner = _uuid(rng)
        return {
            "name": "@name@",
            "generateName": f"{self.name}-{self.hash}-",
            "namespace": "@namespace@",
            "uid": "@uid@",
            "resourceVersion": _STAMP,
            "generation": 1,
            "creationTimestamp": at,
            "labels": {
                "app.kubernetes.io/name": self.name,
                "app.kubernetes.io/part-of": self.team,
                "pod-template-hash": self.hash,
                **self.labels,
            },
            "annotations": {"checksum/config": _hex(rng, 64), **self.annotations},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"{self.name}-{self.hash}",
                    "uid": owner,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [
                _manager("kube-controller-manager", at, self._created_fields(owner)),
                _manager("kubelet", at, _STATUS_FIELDS) | {"subresource": "status"},
            ],
        }

    def _created_fields(self, owner: str) -> dict[str, Any]:
        container = {
            ".": {},
            "f:env": {
                ".": {},
                **{
                    f'k:{{"name":"{name}"}}': {".": {}, "f:name": {}, "f:value": {}}
                    for name in self.variables
                },
            },
            **_fields("image imagePullPolicy name resources terminationMessagePath terminationMessagePolicy"),
            "f:ports": {".": {}, f'k:{{"containerPort":{self.port},"protocol":"TCP"}}': _fields("name")},
            "f:readinessProbe": _fields("failureThreshold httpGet periodSeconds timeoutSeconds"),
        }
        return {
            "f:metadata": {
                "f:annotations": {".": {}, **_fields(*self.annotations)},
                "f:generateName": {},
                "f:labels": {".": {}, **_fields(*self.labels)},
                "f:ownerReferences": {".": {}, f'k:{{"uid":"{owner}"}}': {}},
            },
            "f:spec": {
                "f:containers": {f'k:{{"name":"{self.name}"}}': container},
                **_fields("dnsPolicy enableServiceLinks restartPolicy schedulerName securityContext"),
            },
        }

    def _spec(self, rng: random.Random) -> dict[str, Any]:
        volume = f"kube-api-access-{_hex(rng, 5)}"
        return {
            "volumes": [
                {
                    "name": volume,
                    "projected": {
                        "sources": [
                            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                            {"configMap": {"name": "kube-root-ca.crt", "items": [_CA_ITEM]}},
                        ],
                        "defaultMode": 420,
                    },
                }
            ],
            "containers": [self._container(rng, volume)],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": self.name,
            "serviceAccount": self.name,
            "nodeName": _node(rng),
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {
                    "key": f"node.kubernetes.io/{what}",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
                for what in ("not-ready", "unreachable")
            ],
            "priority": 0,
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
        }

    def _container(self, rng: random.Random, volume: str) -> dict[str, Any]:
        return {
            "name": self.name,
            "image": f"{self.image}:{self.tag}",
            "ports": [{"name": "http", "containerPort": self.port, "protocol": "TCP"}],
            "env": [{"name": name, "value": value} for name, value in self.variables.items()],
            "resources": {
                "limits": {"memory": f"{rng.randrange(1, 9) * 256}Mi"},
                "requests": {"cpu": f"{rng.randrange(1, 20) * 50}m", "memory": "256Mi"},
            },
            "volumeMounts": [
                {
                    "name": volume,
                    "readOnly": True,
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                }
            ],
            "readinessProbe": {
                "httpGet": {"path": "/ready", "port": self.port, "scheme": "HTTP"},
                "timeoutSeconds": 1,
                "periodSeconds": 10,
                "successThreshold": 1,
                "failureThreshold": 3,
            },
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent",
        }

    def _status(self, rng: random.Random, at: str) -> dict[str, Any]:
        address = f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}"
        return {
            "phase": "Running",
            "conditions": [
                {
                    "type": what,
                    "observedGeneration": 1,
                    "status": "True",
                    "lastProbeTime": None,
                    "lastTransitionTime": at,
                }
                for what in _CONDITIONS
            ],
            "hostIP": f"192.168.{rng.randrange(256)}.{rng.randrange(256)}",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": at,
            "containerStatuses": [
                {
                    "name": self.name,
                    "state": {"running": {"startedAt": at}},
                    "lastState": {},
                    "ready": True,
                    "restartCount": rng.randrange(4),
                    "image": f"{self.image}:{self.tag}",
                    "imageID": f"{self.image}@sha256:{_hex(rng, 64)}",
                    "containerID": f"containerd://{_hex(rng, 64)}",
                    "started": True,
                }
            ],
            "qosClass": "Burstable",
        }


_CONDITIONS: Final = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
_CA_ITEM: Final = {"key": "ca.crt", "path": "ca.crt"}


def hash_of(text: str) -> int:
    """A number that is the same in every process, which the built-in hash() is not."""
    return sum(text.encode())


def _fields(*names: str) -> dict[str, Any]:
    return {f"f:{name}": {} for text in names for name in text.split()}


_STATUS_FIELDS: Final = {
    "f:status": {
        "f:conditions": {
            f'k:{{"type":"{what}"}}': {".": {}, **_fields("lastProbeTime lastTransitionTime status type")}
            for what in _CONDITIONS[:4]
        },
        **_fields("containerStatuses hostIP phase podIP"),
        "f:podIPs": {".": {}},
        "f:startTime": {},
    }
}


def _manager(name: str, at: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "manager": name,
        "operation": "Update",
        "apiVersion": "v1",
        "time": at,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def _word(rng: random.Random) -> str:
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randrange(2, 5)))


def _hex(rng: random.Random, length: int) -> str:
    return f"{rng.getrandbits(length * 4):0{length}x}"


def _uuid(rng: random.Random) -> str:
    digits = _hex(rng, 32)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _node(rng: random.Random) -> str:
    return f"ip-10-0-{rng.randrange(20)}-{rng.randrange(250)}.node.example"
