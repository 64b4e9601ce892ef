"""The kinds that the simulated server knows: built-in ones as data, custom ones as their CRDs say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["CRDS", "Kind", "Registry", "built_in_kinds", "kinds_of_crd"]

CRDS = "customresourcedefinitions.apiextensions.k8s.io"

_EVENT_FIELDS = (
    *(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion")),
    *(f"involvedObject.{name}" for name in ("resourceVersion", "fieldPath")),
    *("reason", "reportingComponent", "source", "type"),
)
_POD_FIELDS = (
    *(f"spec.{name}" for name in ("nodeName", "restartPolicy", "schedulerName", "serviceAccountName")),
    *("spec.hostNetwork", "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName"),
)
# What the encoder of the real server writes for a zero object of the kind, after its metadata (W-6).
_POD_TEMPLATE = b'"template":{"metadata":{},"spec":{"containers":null}}'
_ZERO_JOB = b'"spec":{' + _POD_TEMPLATE + b'},"status":{}'
_ZERO_DAEMONS = (
    b'{"currentNumberScheduled":0,"numberMisscheduled":0,"desiredNumberScheduled":0,"numberReady":0}'
)
_ZERO_SET = b'"status":{"replicas":0,"availableReplicas":0}'
_ZERO_CRONJOB = (
    b'"spec":{"schedule":"","jobTemplate":{"metadata":{},"spec":{' + _POD_TEMPLATE + b'}}},"status":{}'
)
_ZERO_EVENT = (
    b'"involvedObject":{},"source":{},"firstTimestamp":null,"lastTimestamp":null,'
    b'"eventTime":null,"reportingComponent":"","reportingInstance":""'
)
_ZERO_CRD = (
    b'"spec":{"group":"","names":{"plural":"","kind":""},"scope":"","versions":null},'
    b'"status":{"conditions":null,"acceptedNames":{"plural":"","kind":""},"storedVersions":null}'
)
_ZERO_NODE = (
    b'"spec":{},"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":0}},"nodeInfo":{"machineID":"",'
    b'"systemUUID":"","bootID":"","kernelVersion":"","osImage":"","containerRuntimeVersion":"",'
    b'"kubeletVersion":"","kubeProxyVersion":"","operatingSystem":"","architecture":""}}'
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One served version of one resource.

    Attributes:
        cached: Whether the server answers from its watch cache; only `events` are not.
        custom: Whether it comes from a CustomResourceDefinition, whose keys are sorted.
        fields: The field selectors it supports beside `metadata.name` and `metadata.namespace`, with the
            value of an absent field.
        generation: Whether the server counts `metadata.generation`.
        returns_deleted: Whether DELETE answers with the object instead of a Status.
        zero: The JSON members that a bookmark of this kind carries after its metadata.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    cached: bool = True
    custom: bool = False
    generation: bool = False
    returns_deleted: bool = False
    status: bool = True
    zero: bytes = b""

    @property
    def resource(self) -> str:
        """The name under which its objects are stored, common to its versions: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """As an object names it: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """The kind in lower case, which is what the server uses unless a CRD says otherwise."""
        return self.kind.lower()

    def key(self, namespace: str, name: str) -> str:
        """The place of an object in the order of a list: `namespace/name`, or `name`."""
        return f"{namespace}/{name}" if self.namespaced else name


_ALL = ("all",)


def _fields(*names: str, **defaults: str) -> dict[str, str]:
    return dict.fromkeys(names, "") | {name.replace("_", "."): value for name, value in defaults.items()}


def _workload(short_name: str, zero: bytes) -> dict[str, Any]:
    replicas = b"" if short_name == "ds" else b'"replicas":0,'
    selector = b'"spec":{' + replicas + b'"selector":null,' + _POD_TEMPLATE
    return {"short_names": (short_name,), "categories": _ALL, "generation": True, "zero": selector + zero}


_BUILT_IN: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("", "configmaps", "ConfigMap", {"short_names": ("cm",), "status": False}),
    (
        "",
        "events",
        "Event",
        {
            "short_names": ("ev",),
            "fields": _fields(*_EVENT_FIELDS),
            "cached": False,
            "status": False,
            "zero": _ZERO_EVENT,
        },
    ),
    (
        "",
        "namespaces",
        "Namespace",
        {
            "short_names": ("ns",),
            "namespaced": False,
            "fields": _fields("status.phase"),
            "returns_deleted": True,
            "zero": b'"spec":{},"status":{}',
        },
    ),
    (
        "",
        "nodes",
        "Node",
        {
            "short_names": ("no",),
            "namespaced": False,
            "fields": _fields(spec_unschedulable="false"),
            "zero": _ZERO_NODE,
        },
    ),
    (
        "",
        "pods",
        "Pod",
        {
            "short_names": ("po",),
            "categories": _ALL,
            "fields": _fields(*_POD_FIELDS),
            "generation": True,
            "returns_deleted": True,
            "zero": b'"spec":{"containers":null},"status":{}',
        },
    ),
    ("", "secrets", "Secret", {"fields": _fields("type"), "status": False}),
    (
        "",
        "serviceaccounts",
        "ServiceAccount",
        {"short_names": ("sa",), "returns_deleted": True, "status": False},
    ),
    (
        "",
        "services",
        "Service",
        {
            "short_names": ("svc",),
            "categories": _ALL,
            "fields": _fields("spec.clusterIP", "spec.type"),
            "returns_deleted": True,
            "zero": b'"spec":{},"status":{"loadBalancer":{}}',
        },
    ),
    ("apps", "daemonsets", "DaemonSet", _workload("ds", b',"updateStrategy":{}},"status":' + _ZERO_DAEMONS)),
    ("apps", "deployments", "Deployment", _workload("deploy", b',"strategy":{}},"status":{}')),
    ("apps", "replicasets", "ReplicaSet", _workload("rs", b'},"status":{"replicas":0}')),
    (
        "apps",
        "statefulsets",
        "StatefulSet",
        _workload("sts", b',"serviceName":"","updateStrategy":{}},' + _ZERO_SET),
    ),
    (
        "batch",
        "cronjobs",
        "CronJob",
        {"short_names": ("cj",), "categories": _ALL, "generation": True, "zero": _ZERO_CRONJOB},
    ),
    (
        "batch",
        "jobs",
        "Job",
        {"categories": _ALL, "fields": _fields(status_successful="0"), "generation": True, "zero": _ZERO_JOB},
    ),
    ("coordination.k8s.io", "leases", "Lease", {"status": False, "zero": b'"spec":{}'}),
    (
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        {
            "namespaced": False,
            "short_names": ("crd", "crds"),
            "categories": ("api-extensions",),
            "generation": True,
            "zero": _ZERO_CRD,
        },
    ),
)


def built_in_kinds() -> list[Kind]:
    """Every kind that is there before anybody defines one."""
    return [Kind(group, "v1", plural, kind, **facts) for group, plural, kind, facts in _BUILT_IN]


def kinds_of_crd(crd: Mapping[str, Any]) -> list[Kind]:
    """The served versions that a CustomResourceDefinition defines, the preferred one first.

    Raises:
        KeyError: a required member of `spec` is missing; the caller answers 422.
    """
    spec = crd["spec"]
    names = spec["names"]
    kinds = []
    for version in spec["versions"]:
        if not version.get("served", True):
            continue
        selectable = [entry["jsonPath"].removeprefix(".") for entry in version.get("selectableFields", ())]
        kinds.append(
            Kind(
                spec["group"],
                version["name"],
                names["plural"],
                names["kind"],
                namespaced=spec.get("scope", "Namespaced") == "Namespaced",
                short_names=tuple(names.get("shortNames", ())),
                categories=tuple(names.get("categories", ())),
                fields=_fields(*selectable),
                custom=True,
                generation=True,
                status="status" in version.get("subresources", {}),
            )
        )
    return kinds


class Registry:
    """What is served now: looked up by path (group, version, plural) or by resource name."""

    def __init__(self) -> None:
        self._kinds = {(kind.group, kind.version, kind.plural): kind for kind in built_in_kinds()}

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind at this path, or None when the server has no such path."""
        return self._kinds.get((group, version, plural))

    def named(self, resource: str) -> Kind:
        """The preferred version of a resource such as `pods` or `deployments.apps`.

        Raises:
            KeyError: there is none; it names the resource.
        """
        for kind in self:
            if kind.resource == resource:
                return kind
        raise KeyError(resource)

    def serve(self, resource: str, kinds: list[Kind]) -> None:
        """Replaces all versions of a resource; none stops serving it."""
        self._kinds = {path: kind for path, kind in self._kinds.items() if kind.resource != resource}
        self._kinds |= {(kind.group, kind.version, kind.plural): kind for kind in kinds}

    def uncache(self, resource: str) -> None:
        """Makes the server read a kind from etcd, as `--watch-cache-sizes=RESOURCE#0` does."""
        self.serve(
            resource, [replace(kind, cached=False) for kind in list(self) if kind.resource == resource]
        )
