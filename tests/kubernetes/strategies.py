"""Watch lines as servers write them, and as only an adversary would."""

import json
from random import Random
from typing import Any

from hypothesis import strategies as st

from bridge.kubernetes.scan import Shape

POD = Shape("", "v1", "Pod", builtin=True)
WIDGET = Shape("probe.io", "v1", "Widget", builtin=False)

DECOYS = [
    '"resourceVersion":"1"',
    '","resourceVersion":"1","uid":"evil',
    '"metadata":{"name":"evil","uid":"EVIL","resourceVersion":"1"}',
    '"},"resourceVersion":"1"',
    '{"type":"DELETED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"evil"',
    "}}",
    '"}}',
    "\\",
    "\\u0022",
    "\u0085\u2028\x7f\ufeff",
    "<&>",
    "\N{PILE OF POO}",
]
_KEYS = [
    "metadata",
    "object",
    "type",
    "kind",
    "apiVersion",
    "name",
    "uid",
    "resourceVersion",
    "namespace",
    "labels",
    "annotations",
]

texts = st.one_of(st.sampled_from(DECOYS), st.text(max_size=12))
keys = st.one_of(st.sampled_from(_KEYS), texts)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(12345678901234567890123 * 10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
names = st.one_of(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True), texts)
types = st.sampled_from(["ADDED", "MODIFIED", "DELETED"])


@st.composite
def builtin_lines(draw: st.DrawFn) -> bytes:
    """In the order of a built-in kind's encoder: the identity stands before all free text."""
    metadata: dict[str, Any] = {
        "name": draw(names),
        "namespace": draw(names),
        "uid": draw(names),
        "resourceVersion": draw(names),
    }
    metadata |= {"labels": draw(st.dictionaries(keys, texts, max_size=3))}
    metadata |= {"annotations": draw(st.dictionaries(keys, texts, max_size=3))}
    body = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": metadata,
        "spec": draw(values),
        "status": draw(values),
    }
    return as_go({"type": draw(types), "object": body})


@st.composite
def custom_lines(draw: st.DrawFn) -> bytes:
    """In the order of a custom resource: sorted keys at every level, so free text comes first."""
    metadata = draw(st.dictionaries(keys, values, max_size=4))
    metadata |= {"name": draw(names), "uid": draw(names), "resourceVersion": draw(names)}
    metadata.pop("namespace", None)
    body = draw(st.dictionaries(keys, values, max_size=4))
    body |= {"apiVersion": "probe.io/v1", "kind": "Widget", "metadata": metadata}
    line = json.dumps(body, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    return f'{{"type":"{draw(types)}","object":{line}}}'.encode()


@st.composite
def adversarial_lines(draw: st.DrawFn) -> bytes:
    """Any order, whitespace, escaped keys, foreign members, identities missing or of a wrong type."""
    some = st.one_of(names, scalars)
    metadata = draw(st.dictionaries(keys, values, max_size=3))
    metadata |= draw(st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "uid", "namespace"), some)))
    metadata["resourceVersion"] = draw(some)
    body = draw(st.dictionaries(keys, values, max_size=3))
    body |= {"kind": "Pod", "apiVersion": "v1", "metadata": draw(st.one_of(st.just(metadata), values))}
    top = draw(st.dictionaries(keys, values, max_size=2))
    top |= {
        "type": draw(st.one_of(types, st.sampled_from(["BOOKMARK", "ERROR", "FOO", None]))),
        "object": body,
    }
    return scribble(top, draw(st.randoms(use_true_random=False))).encode()


def as_go(value: Any) -> bytes:
    """As Go's encoder writes it: no spaces, `<`, `>`, `&`, U+2028 and U+2029 escaped."""
    line = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        line = line.replace(character, f"\\u{ord(character):04x}")
    return line.encode()


def scribble(value: Any, random: Random) -> str:
    """The same value, written in the least usual way that is still JSON."""
    if isinstance(value, dict):
        members = [
            f"{_space(random)}{_quoted(key, random)}{_space(random)}:{scribble(item, random)}"
            for key, item in value.items()
        ]
        random.shuffle(members)
        inner = "{" + ",".join(members) + _space(random) + "}"
    elif isinstance(value, list):
        inner = "[" + ",".join(scribble(item, random) for item in value) + _space(random) + "]"
    else:
        inner = _quoted(value, random) if isinstance(value, str) else json.dumps(value)
    return _space(random) + inner + _space(random)


def _space(random: Random) -> str:
    return random.choice(["", "", "", " ", "\t", "\r\n", "  "])


def _quoted(value: str, random: Random) -> str:
    if random.random() < 0.7:
        return json.dumps(value, ensure_ascii=random.random() < 0.5)
    units = value.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2)) + '"'
