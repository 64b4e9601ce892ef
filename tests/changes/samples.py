"""Changes of every sort, for the tests of each format."""

import json

from hypothesis import strategies as st

from bridge.changes.change import Change, StreamInfo
from bridge.changes.identity import Bridge

BRIDGE = Bridge("prod-eu1", "4f1d-uid")
PODS = StreamInfo("pods", "", "v1", "pods", "Pod")
TIME = 1_795_251_600_123_456

TEXT = st.text(st.characters(codec="utf-8")) | st.text('abc-.:/"\\\n\x00\x7fü\u2028😀', max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
STREAMS = st.builds(StreamInfo, TEXT, TEXT, TEXT, TEXT, TEXT)
BRIDGES = st.builds(Bridge, TEXT, TEXT)
EXTRA = st.none() | st.dictionaries(
    st.sampled_from(["gone", "synthetic", "observedAt", "snapshot", "x"]), TEXT, max_size=4
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4).flatmap(
    lambda value: st.sampled_from(
        [
            json.dumps(value),
            json.dumps(value, ensure_ascii=False),
            json.dumps(value, separators=(",\t", ": ")),
        ]
    )
)
CHANGES = st.builds(
    Change,
    type=st.sampled_from(["ADDED", "MODIFIED", "DELETED"]),
    origin=st.sampled_from(["watch", "snapshot", "resync", "audit"]),
    time=st.integers(0, 4_000_000_000_000_000),
    namespace=TEXT,
    name=TEXT,
    uid=TEXT,
    rv=TEXT,
    epoch=st.integers(0, 20),
    object=OBJECTS.map(str.encode),
    extra=EXTRA,
)

CONTROLS = [
    Change("RESYNC", "resync", TIME, "", "", "", "", 0, b"",
           {"id": "41-1", "phase": "begin", "cause": "expired", "from": "12", "to": ""}),
    Change("RESYNC", "resync", TIME, "", "", "", "", 1, b"",
           {"id": "41-1", "phase": "end", "cause": "expired", "from": "12", "to": "99",
            "counts": {"added": 1, "modified": 0, "deleted": 2, "unchanged": 10}}),
    Change("POISON", "watch", TIME, "", "", "", "", 0, b"",
           {"id": "ab12", "length": 7, "sha256": "00", "error": 'not "JSON"\n', "raw": "AAE="}),
]  # fmt: skip
