"""Objects as controllers and kubelets write them: what `churn.py` fills a cluster with. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.simulator.encode import Obj

__all__ = [
    "cron_job",
    "deployment",
    "event",
    "job",
    "node",
    "owner",
    "pod",
    "pod_status",
    "replica_set",
    "template_hash",
]

_TOKEN_SECONDS = 3607
_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def template_hash(*parts: str) -> str:
    """The suffix that tells one revision of a pod template from the others."""
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()
    return digest[:9].translate(str.maketrans("0123ae", "bcdfgh"))


def owner(obj: Obj) -> list[Obj]:
    """The ownerReferences of what a controller made."""
    return [
        {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "name": obj["metadata"]["name"],
            "uid": obj["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def node(name: str, address: str) -> Obj:
    """A worker that is ready."""
    return {
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
            },
        },
        "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]},
        "status": {
            "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "allocatable": {"cpu": "7900m", "memory": "31Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": name},
            ],
        },
    }


def deployment(namespace: str, name: str, image: str, replicas: int) -> Obj:
    """A Deployment as somebody applies it."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": namespace},
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": _pod_spec(name, image)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
            },
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        },
        "status": {},
    }


def replica_set(parent: Obj, replicas: int) -> Obj:
    """The ReplicaSet of a Deployment's current template."""
    metadata = parent["metadata"]
    template = parent["spec"]["template"]
    suffix = template_hash(metadata["name"], template["spec"]["containers"][0]["image"])
    labels = template["metadata"]["labels"] | {"pod-template-hash": suffix}
    return {
        "metadata": {
            "name": f"{metadata['name']}-{suffix}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {"deployment.kubernetes.io/desired-replicas": str(parent["spec"]["replicas"])},
            "ownerReferences": owner(parent),
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
        },
        "status": {"replicas": 0},
    }


def cron_job(namespace: str, name: str, image: str, schedule: str) -> Obj:
    """A CronJob as somebody applies it."""
    pod_template = {"spec": _pod_spec(name, image) | {"restartPolicy": "OnFailure"}}
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": name}},
        "spec": {
            "schedule": schedule,
            "concurrencyPolicy": "Forbid",
            "suspend": False,
            "jobTemplate": {"metadata": {}, "spec": {"template": {"metadata": {}} | pod_template}},
            "successfulJobsHistoryLimit": 2,
            "failedJobsHistoryLimit": 1,
        },
        "status": {},
    }


def job(parent: Obj, number: int) -> Obj:
    """One run of a CronJob."""
    metadata = parent["metadata"]
    name = f"{metadata['name']}-{number}"
    labels = {"batch.kubernetes.io/job-name": name, "job-name": name}
    template = parent["spec"]["jobTemplate"]["spec"]["template"]
    return {
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": owner(parent),
        },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 6,
            "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
            "completionMode": "NonIndexed",
            "suspend": False,
        },
        "status": {},
    }


def pod(parent: Obj, suffix: str) -> Obj:
    """A Pod from the template of a ReplicaSet or a Job, not yet scheduled."""
    metadata = parent["metadata"]
    template = parent["spec"]["template"]
    name = f"{metadata['name']}-{suffix}"
    return {
        "metadata": {
            "name": name,
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {"prometheus.io/port": "8080", "prometheus.io/scrape": "true"},
            "ownerReferences": owner(parent),
        },
        "spec": template["spec"],
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    }


def _pod_spec(name: str, image: str) -> Obj:
    mounts = [
        {"name": "config", "readOnly": True, "mountPath": f"/etc/{name}"},
        {
            "name": "kube-api-access",
            "readOnly": True,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        },
    ]
    container = {
        "name": name,
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [
            {
                "name": "POD_NAME",
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
            },
            {"name": "LOG_LEVEL", "value": "info"},
        ],
        "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": mounts,
        "livenessProbe": _probe("/healthz", 10),
        "readinessProbe": _probe("/ready", 5),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    return {
        "volumes": [
            {"name": "config", "configMap": {"name": name, "defaultMode": 420}},
            {"name": "kube-api-access", "projected": {"sources": _token_sources(), "defaultMode": 420}},
        ],
        "containers": [container],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": name,
        "serviceAccount": name,
        "securityContext": {"runAsNonRoot": True, "fsGroup": 65532},
        "schedulerName": "default-scheduler",
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }


def _probe(path: str, period: int) -> Obj:
    request = {"path": path, "port": "http", "scheme": "HTTP"}
    return {
        "httpGet": request,
        "timeoutSeconds": 1,
        "periodSeconds": period,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def _token_sources() -> list[Obj]:
    return [
        {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]


def pod_status(
    pod: Obj, phase: str, state: Obj, *, now: str, ready: bool = False, restarts: int = 0, address: str = ""
) -> Obj:
    """What a kubelet reports of the one container of a Pod.

    Args:
        pod: The Pod as it is.
        phase: Its new phase.
        state: The state of the container: `waiting`, `running` or `terminated`.
        now: The time of the conditions, as objects show it.
        ready: Whether it passes its readiness probe.
        restarts: How often the container was restarted.
        address: The Pod's own address.
    """
    container = pod["spec"]["containers"][0]
    conditions = [
        {
            "type": name,
            "status": str(ready or name in {"Initialized", "PodScheduled"}),
            "lastProbeTime": None,
            "lastTransitionTime": now,
        }
        for name in _CONDITIONS
    ]
    digest = hashlib.sha256(container["image"].encode()).hexdigest()
    repository = container["image"].partition(":")[0]
    container_status: dict[str, Any] = {
        "name": container["name"],
        "state": state,
        "lastState": {},
        "ready": ready,
        "restartCount": restarts,
        "image": container["image"],
        "imageID": f"{repository}@sha256:{digest}" if "waiting" not in state else "",
        "started": ready,
    }
    return {
        "phase": phase,
        "conditions": conditions,
        "hostIP": "10.0.0.11",
        **({"podIP": address, "podIPs": [{"ip": address}]} if address else {}),
        "startTime": pod.get("status", {}).get("startTime", now),
        "containerStatuses": [container_status],
        "qosClass": "Burstable",
    }


def event(
    about: Obj, reason: str, message: str, suffix: str, *, now: str, source: str, warning: bool = False
) -> Obj:
    """An Event of the core API; the suffix makes its name unique."""
    metadata = about["metadata"]
    return {
        "metadata": {"name": f"{metadata['name']}.{suffix}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "kind": about["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "apiVersion": about["apiVersion"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "reason": reason,
        "message": message,
        "source": {"component": source},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "type": "Warning" if warning else "Normal",
        "eventTime": None,
        "reportingComponent": source,
        "reportingInstance": "",
    }
