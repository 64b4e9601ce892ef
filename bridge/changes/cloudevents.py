"""A change as a CloudEvent 1.0 around the object's bytes, which are never parsed. No I/O here.

```
type             kube-bridge.resource.{added,modified,deleted} or kube-bridge.stream.{resync,poison}
id               the record's id
time             when the bridge read it
specversion      1.0
source           /clusters/<clusterUid>/streams/<stream>
subject          the object's path on its API server, as /apis/apps/v1/namespaces/shop/deployments/web
datacontenttype  application/json
extensions       sequence partitionkey cluster stream origin resource apiversion kind namespace name uid
                 resourceversion gone synthetic observedat partial snapshot
data             the object; of RESYNC and POISON their own members
```

Every attribute is text, so that the structured and the binary mode say the same; one that would be empty
is left out. Golden tests hold these forms: consumers route by them.
"""

import re
from typing import Any, Final

import msgspec

from bridge.changes.change import Change, StreamInfo, Type
from bridge.changes.identity import Bridge
from bridge.changes.jsonwrite import Clock

__all__ = ["CloudEvents"]

_TYPES: Final = {
    Type.ADDED.value: "kube-bridge.resource.added",
    Type.MODIFIED.value: "kube-bridge.resource.modified",
    Type.DELETED.value: "kube-bridge.resource.deleted",
    Type.RESYNC.value: "kube-bridge.stream.resync",
    Type.POISON.value: "kube-bridge.stream.poison",
}
_FURTHER: Final = {key: key.lower() for key in ("gone", "synthetic", "observedAt", "partial", "snapshot")}
"""Members of a record that become extensions, whose names have lower-case letters and digits only."""

_NO_PATH: Final = re.compile(r"[^A-Za-z0-9._~!$&'()*+,;=:@-]")
"""What a segment of a path cannot hold as it is: https://www.rfc-editor.org/rfc/rfc3986#section-3.3."""
_NONCHARACTERS: Final = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_NO_TEXT: Final = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]")
"""What the type String of CloudEvents cannot hold."""


class CloudEvents:
    """Makes the CloudEvents of one stream, with the constant parts made once."""

    __slots__ = ("_clock", "_collection", "_common", "_resource", "_source")

    def __init__(self, bridge: Bridge, stream: StreamInfo) -> None:
        self._clock = Clock()
        self._source = f"/clusters/{_segment(bridge.cluster_uid)}/streams/{_segment(stream.name)}"
        group = f"apis/{_segment(stream.group)}" if stream.group else "api"
        self._collection = f"/{group}/{_segment(stream.version)}"
        self._resource = _segment(stream.resource)
        common = {
            "cluster": bridge.cluster,
            "stream": stream.name,
            "resource": stream.resource,
            "apiversion": stream.api_version,
            "kind": stream.kind,
        }
        self._common = {attribute: _text(value) for attribute, value in common.items() if value}

    def of_object(self, change: Change, identity: str, key: str, order: str) -> dict[str, str]:
        """The context attributes of ADDED, MODIFIED or DELETED.

        Args:
            change: what happened.
            identity: the record's id.
            key: the record's key.
            order: the record's sequence.
        """
        namespace, name = _segment(change.namespace), _segment(change.name)
        scope = f"{self._collection}/namespaces/{namespace}" if namespace else self._collection
        attributes = self._attributes(change, identity, key)
        attributes["subject"] = f"{scope}/{self._resource}/{name}"
        for attribute, value in (
            ("sequence", order),
            ("namespace", change.namespace),
            ("name", change.name),
            ("uid", change.uid),
            ("resourceversion", change.rv),
        ):
            if value:
                attributes[attribute] = _text(value)
        extra = change.extra or {}
        for member, extension in _FURTHER.items():
            if member in extra and (text := _value(extra[member])):
                attributes[extension] = text
        if not change.object:
            attributes["partial"] = "true"
        return attributes

    def of_stream(self, change: Change, identity: str, key: str) -> tuple[dict[str, str], bytes]:
        """The context attributes and the data of RESYNC or POISON."""
        extra = {member: value for member, value in (change.extra or {}).items() if member != "id"}
        return self._attributes(change, identity, key), msgspec.json.encode(extra)

    def _attributes(self, change: Change, identity: str, key: str) -> dict[str, str]:
        # In the order of a native record, which lines of ours are known by.
        return {
            "type": _TYPES[change.type],
            "id": identity,
            "time": self._clock.text(change.time),
            "specversion": "1.0",
            "source": self._source,
            "datacontenttype": "application/json",
            "partitionkey": _text(key),
            "origin": change.origin,
            **self._common,
        }

    @staticmethod
    def structured(attributes: dict[str, str], data: bytes) -> bytes:
        """One JSON object with attributes and data, the media type `application/cloudevents+json`."""
        return b'%b,"data":%b}' % (msgspec.json.encode(attributes)[:-1], data)


def _segment(text: str) -> str:
    return text if not _NO_PATH.search(text) else _NO_PATH.sub(_percent_encoded, text)


def _text(text: str) -> str:
    """As it is, but for what CloudEvents forbid: Kubernetes has no `%` in names, so nothing becomes equal."""
    if (text.isascii() and text.isprintable()) or not _NO_TEXT.search(text):
        return text
    return _NO_TEXT.sub(_percent_encoded, text)


def _percent_encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def _value(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else _text(str(value))
