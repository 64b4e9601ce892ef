"""The configuration as frozen objects. Their fields are the keys; parser, schema and reference follow.

Sizes are bytes and durations seconds. `None` and empty tuples mean what the description of the field says.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from bridge.changes.redact import MIN_KEY_BYTES, parse_path
from bridge.config.delivery import NamedRateLimitConfig, SinkConfig
from bridge.config.selectors import field_selector_problem, label_selector_problem
from bridge.config.shapes import As
from bridge.config.sinks import SinkObject
from bridge.config.words import ALL_TYPES, TYPES_ABOUT, Name, Types
from bridge.errors import UsageError
from bridge.secret import Secret
from bridge.settings import Items, Range, Size, Text, about

__all__ = [
    "ClusterConfig",
    "Config",
    "HttpConfig",
    "Listen",
    "MemoryConfig",
    "RedactionConfig",
    "StateConfig",
    "StreamConfig",
]


def _field_path_problem(path: str) -> str | None:
    try:
        parse_path(path)
    except UsageError as error:
        return str(error).replace(f"the field path {path!r}", "it", 1)
    return None


_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_GROUP = rf"{_LABEL}(\.{_LABEL})*"

_ClusterName = Annotated[
    str, Text("a cluster name", "lower-case letters, digits, `.` and `-`, as prod-eu1", r"[a-z0-9.\-]+")
]
_Namespace = Annotated[
    str, Text("a namespace", "at most 63 lower-case letters, digits and `-`, or leave the key out", _LABEL)
]
_ApiVersion = Annotated[
    str,
    Text(
        "an apiVersion",
        "`v1`, or `group/version` as apps/v1",
        rf"({_GROUP}/)?[a-z]([-a-z0-9]{{0,61}}[a-z0-9])?",
    ),
]
_Kind = Annotated[str, Text("a kind", "its name with a capital, as Pod", r"[A-Z][A-Za-z0-9]{0,62}")]
_Resource = Annotated[
    str,
    Text(
        "a resource",
        "a name that kubectl takes, as pods, deploy, deployments.apps or deployments.v1.apps",
        r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*",
    ),
]
_LabelSelector = Annotated[
    str, Text("a label selector", "as app in (web, api),tier!=test", check=label_selector_problem)
]
_FieldSelector = Annotated[
    str, Text("a field selector", "as status.phase!=Succeeded", check=field_selector_problem)
]
_FieldPath = Annotated[
    str,
    Text("a field path", "as spec.containers[*].env", check=_field_path_problem),
]


class Listen(NamedTuple):
    """An address to listen on; `host` is "" for every address of the machine."""

    host: str
    port: int

    @classmethod
    def from_text(cls, text: str) -> Self:
        """From `:8080`, `127.0.0.1:8080` or `[::1]:8080`; port 0 lets the system choose.

        Raises:
            ValueError: it is none of these.
        """
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or (":" in host and not bracketed):
            raise ValueError("write host:port, as :8080, 127.0.0.1:8080 or [::1]:8080")
        if not (port.isascii() and port.isdecimal()) or len(port) > 5 or int(port) > 0xFFFF:  # noqa: PLR2004 - 65535
            raise ValueError("write a port from 0 to 65535 behind the last `:`, as :8080")
        if any(char.isspace() or char in "/@[]" for char in host.strip("[]")):
            raise ValueError("write a host name or an address before the `:`, nothing for all addresses")
        return cls(host[1:-1] if bracketed else host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_Listen = Annotated[
    Listen,
    Text(
        "an address to listen on",
        'host:port in quotes, as ":8080"',
        r"(\[[0-9A-Fa-f:.%]+\]|[^:/@\s\[\]]*):[0-9]{1,5}",
    ),
]


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The API server to watch, and how hard it may be asked."""

    name: _ClusterName = field(
        metadata=about(
            "Names the cluster in every record and key; it never changes afterwards.", example="prod-eu1"
        )
    )
    kubeconfig: Path | None = field(
        default=None,
        metadata=about(
            "A kubeconfig file. Without it: in the cluster its service account, else `$KUBECONFIG`, "
            "else `~/.kube/config`.",
            example="/etc/kube-bridge/kubeconfig",
            readable=True,
        ),
    )
    context: str | None = field(
        default=None,
        metadata=about("The context of the kubeconfig; without it the current one.", example="prod-admin"),
    )
    uid: (
        Annotated[str, Text("a cluster uid", "letters, digits, `.`, `_` and `-`", r"[A-Za-z0-9._\-]+")] | None
    ) = field(
        default=None,
        metadata=about(
            "Identity of the cluster, part of every record's id. Without it the uid of the namespace "
            "kube-system, else a hash of the certificate authority; chosen once and kept in the state.",
            example="6ec4a1b2-prod-eu1",
        ),
    )
    qps: Annotated[float, Range(above=0)] = field(
        default=20.0,
        metadata=about("Requests per second that the bridge makes, all streams together.", example="50"),
    )
    burst: Annotated[int, Range(minimum=1)] = field(
        default=40, metadata=about("Requests that may be made at once before `qps` holds.", example="100")
    )
    max_concurrent_lists: Annotated[int, Range(minimum=1)] = field(
        default=2,
        metadata=about(
            "Complete listings that run at the same time; each costs the API server.", example="4"
        ),
    )


@dataclass(frozen=True, slots=True)
class StateConfig:
    """What outlives a restart."""

    path: Path = field(
        metadata=about(
            "Directory of the state, on a local disk that outlives the pod; made when it is not there.",
            example="/var/lib/kube-bridge",
        )
    )
    max_bytes: Annotated[Size, Range(minimum=64 << 20)] = field(
        default=1 << 30,
        metadata=about(
            "Limit of the log, the inventory, their WAL and the dead letters together.", example="10Gi"
        ),
    )


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """What may be held in memory."""

    max_bytes: Annotated[Size, Range(minimum=1 << 20)] = field(
        default=16 << 20,
        metadata=about("Records in memory: the newest of the log, and those on their way.", example="64Mi"),
    )


@dataclass(frozen=True, slots=True)
class RedactionConfig:
    """How redacted values are replaced."""

    key: Annotated[Secret, Range(minimum=MIN_KEY_BYTES)] | None = field(
        default=None,
        metadata=about(
            "Key of the HMAC that stands in for a redacted value, 16 bytes or more. Without it one is made "
            "once, in the state directory.",
            example="{file: /etc/kube-bridge/redaction-key}",
        ),
    )


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """One collection of objects that is watched: a kind in some namespaces, with selectors."""

    name: Name = field(
        metadata=about("Names the stream in records and in the state; unique.", example="pods")
    )
    api_version: _ApiVersion | None = field(
        default=None,
        metadata=about(
            "Group and version; `kind` needs it. With a plain `resource` it says which one.", example="v1"
        ),
    )
    kind: _Kind | None = field(
        default=None, metadata=about("The kind of the objects. Either this or `resource`.", example="Pod")
    )
    resource: _Resource | None = field(
        default=None,
        metadata=about(
            "The resource as kubectl names it. Either this or `kind`.", example="deployments.apps"
        ),
    )
    namespaces: Annotated[
        tuple[_Namespace, ...], Items(1, "write namespaces, or leave the key out for all of them")
    ] = field(
        default=(),
        metadata=about(
            "Only these namespaces, each with a watch of its own. Default: all.", example="[shop, pay]"
        ),
    )
    exclude_namespaces: tuple[_Namespace, ...] = field(
        default=(),
        metadata=about("All namespaces but these; not together with `namespaces`.", example="[kube-system]"),
    )
    label_selector: _LabelSelector = field(
        default="",
        metadata=about("Only objects with such labels, as `kubectl -l`.", example="app in (web, api)"),
    )
    field_selector: _FieldSelector = field(
        default="",
        metadata=about(
            "Only objects with such fields, as `kubectl --field-selector`; the kind decides which ones work.",
            example="status.phase!=Succeeded",
        ),
    )
    initial: Literal["emit", "skip"] = field(
        default="emit",
        metadata=about("What the very first start does with objects that exist already.", example="skip"),
    )
    types: Types = field(default=ALL_TYPES, metadata=about(TYPES_ABOUT, example="[ADDED, DELETED]"))
    secret_values: Literal["redact", "keep"] = field(
        default="redact",
        metadata=about(
            "Whether the values of a v1 Secret are replaced before anything is stored or sent.",
            example="keep",
        ),
    )
    redact: tuple[_FieldPath, ...] = field(
        default=(),
        metadata=about(
            "Fields whose values are replaced, so that a change still shows as a change.",
            example='["spec.template.spec.containers[*].env"]',
        ),
    )
    drop: tuple[_FieldPath, ...] = field(
        default=(), metadata=about("Fields that are left out.", example="[metadata.managedFields]")
    )


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """The read-only endpoint: /metrics, /livez and /readyz."""

    listen: _Listen = field(
        metadata=about("Address and port; without a host every address of the machine.", example='":8080"')
    )


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that `kube-bridge run` needs to know."""

    cluster: ClusterConfig = field(metadata=about(ClusterConfig.__doc__ or "", example="{name: prod-eu1}"))
    state: StateConfig | None = field(
        default=None,
        metadata=about(StateConfig.__doc__ or "", example="{path: /var/lib/kube-bridge}", required=True),
    )
    memory: MemoryConfig = field(
        default_factory=MemoryConfig, metadata=about(MemoryConfig.__doc__ or "", example="{maxBytes: 64Mi}")
    )
    redaction: RedactionConfig = field(
        default_factory=RedactionConfig,
        metadata=about(
            RedactionConfig.__doc__ or "", example="{key: {file: /etc/kube-bridge/redaction-key}}"
        ),
    )
    streams: Annotated[tuple[StreamConfig, ...], Items(1, "write at least one stream")] = field(
        default=(),
        metadata=about(
            "What is watched.", example="[{name: pods, apiVersion: v1, kind: Pod}]", required=True
        ),
    )
    sinks: Annotated[
        tuple[Annotated[SinkConfig, As(SinkObject)], ...], Items(1, "write at least one sink")
    ] = field(
        default=(),
        metadata=about("Where it goes.", example='[{name: out, type: jsonlines, path: "-"}]', required=True),
    )
    rate_limits: tuple[NamedRateLimitConfig, ...] = field(
        default=(),
        metadata=about("Limits that several sinks share.", example="[{name: alerts, requestsPerSecond: 10}]"),
    )
    http: HttpConfig | None = field(
        default=None,
        metadata=about(
            "Without it nothing listens. " + (HttpConfig.__doc__ or ""), example='{listen: ":8080"}'
        ),
    )
    config_version: Literal[1] = field(default=1, metadata=about("The version of this format.", example="1"))
