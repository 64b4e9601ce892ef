"""Key, id and sequence are frozen: consumers store them, so each line here is a promise."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.changes.change import Change, StreamInfo
from bridge.changes.identity import Bridge, Identity, percent_encode, sequence
from bridge.errors import InvariantError

BRIDGE = Bridge("prod-eu1", "4f1d2c3b-0a9e-4d6f-8b7c-112233445566")
PODS = StreamInfo("pods", "", "v1", "pods", "Pod")
DEPLOYMENTS = StreamInfo("apps-of-shop", "apps", "v1", "deployments", "Deployment")
WIDGETS = StreamInfo("w", "example.com", "v1alpha1", "widgets", "Widget")
NODES = StreamInfo("nodes", "", "v1", "nodes", "Node")
UID = "c0ffee00-1234-4abc-9def-000000000001"
PREFIX = "4f1d2c3b-0a9e-4d6f-8b7c-112233445566"


def change(type_: str = "MODIFIED", **fields: Any) -> Change:
    defaults: dict[str, Any] = {
        "origin": "watch",
        "time": 0,
        "namespace": "shop",
        "name": "web-0",
        "uid": UID,
        "rv": "12345",
        "epoch": 0,
        "object": b"{}",
    }
    return Change(type=type_, **(defaults | fields))


@pytest.mark.parametrize(
    ("stream", "namespace", "name", "expected"),
    [
        (PODS, "shop", "web-0", "prod-eu1//pods/shop/web-0"),
        (DEPLOYMENTS, "shop", "web", "prod-eu1/apps/deployments/shop/web"),
        (WIDGETS, "a.b", "x", "prod-eu1/example.com/widgets/a.b/x"),
        (NODES, "", "node-1", "prod-eu1//nodes//node-1"),
        (StreamInfo("r", "rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole"), "", "system:node",
         "prod-eu1/rbac.authorization.k8s.io/clusterroles//system:node"),
        (WIDGETS, "", "", "prod-eu1/example.com/widgets//"),
        (PODS, "ü", "名", "prod-eu1//pods/ü/名"),
    ],
)  # fmt: skip
def test_the_key_is_frozen(stream: StreamInfo, namespace: str, name: str, expected: str) -> None:
    assert Identity(BRIDGE, stream).key(change(namespace=namespace, name=name)) == expected


@pytest.mark.parametrize(
    ("given_change", "expected"),
    [
        (change("ADDED"), f"{PREFIX}/pods/{UID}/12345/U"),
        (change("MODIFIED"), f"{PREFIX}/pods/{UID}/12345/U"),
        (change("DELETED"), f"{PREFIX}/pods/{UID}/12345/D"),
        (change("DELETED", extra={"gone": "deleted"}), f"{PREFIX}/pods/{UID}/12345/D"),
        (change(epoch=1), f"{PREFIX}/pods/{UID}/12345/U~1"),
        (change("DELETED", epoch=12), f"{PREFIX}/pods/{UID}/12345/D~12"),
        (change(extra={"snapshot": "7"}), f"{PREFIX}/pods/{UID}/12345/U/s7"),
        (change(extra={"snapshot": "a/b"}, epoch=3), f"{PREFIX}/pods/{UID}/12345/U~3/sa%2Fb"),
        (change(uid="a.b~c/d e"), f"{PREFIX}/pods/a%2Eb%7Ec%2Fd%20e/12345/U"),
        (change(uid="ü", rv="x:1"), f"{PREFIX}/pods/%C3%BC/x%3A1/U"),
        (change(uid="", rv=""), f"{PREFIX}/pods///U"),
        (
            change("DELETED", rv="90", extra={"gone": "deleted", "synthetic": True, "observedAt": "512"}),
            f"{PREFIX}/pods/{UID}/90/D",
        ),
        (change("RESYNC", extra={"id": "9001-2", "phase": "begin"}), f"{PREFIX}/pods/RESYNC/9001-2/begin"),
        (change("RESYNC", extra={"id": "9001-2", "phase": "end"}), f"{PREFIX}/pods/RESYNC/9001-2/end"),
        (change("RESYNC", epoch=1, extra={"id": "9", "phase": "end"}), f"{PREFIX}/pods/RESYNC/9/end~1"),
        (change("POISON", extra={"id": "sha.256"}), f"{PREFIX}/pods/POISON/sha%2E256"),
    ],
)
def test_the_id_is_frozen(given_change: Change, expected: str) -> None:
    assert Identity(BRIDGE, PODS).id(given_change) == expected


def test_cluster_uid_and_stream_are_percent_encoded_too() -> None:
    identity = Identity(Bridge("c", "sha256:ab/cd"), StreamInfo("my.stream", "", "v1", "pods", "Pod"))
    assert identity.id(change(uid="u", rv="1")) == "sha256%3Aab%2Fcd/my%2Estream/u/1/U"


def test_the_ids_of_a_resync_pair_differ_in_their_phase_only() -> None:
    identity = Identity(BRIDGE, PODS)
    begin = identity.id(change("RESYNC", extra={"id": "x", "phase": "begin"}))
    end = identity.id(change("RESYNC", extra={"id": "x", "phase": "end"}))
    assert begin.rpartition("/")[0] == end.rpartition("/")[0]
    assert begin != end


@pytest.mark.parametrize("extra", [None, {}, {"phase": "begin"}, {"id": ""}])
def test_a_control_record_without_a_stem_stops_the_program(extra: dict[str, Any] | None) -> None:
    with pytest.raises(InvariantError, match="no id stem"):
        Identity(BRIDGE, PODS).id(change("RESYNC", extra=extra))


@pytest.mark.parametrize(
    ("given_change", "expected"),
    [
        (change(rv="512345"), "000006512345"),
        (change(rv="12345"), "00000512345"),
        (change(rv="1"), "0000011"),
        (change(rv="9", epoch=2), "0002019"),
        (change(rv="9", epoch=16), "0016019"),
        (change(rv="9", epoch=9999), "9999019"),
        (change(rv="18446744073709551615"), "00002018446744073709551615"),
        (change(rv=""), "000000"),
        (change(rv="7" * 120), "000099" + "7" * 120),
        (change("DELETED", rv="90", extra={"synthetic": True, "observedAt": "512"}), "000003512"),
        (change("DELETED", rv="90", extra={"gone": "deleted"}), "00000290"),
    ],
)
def test_the_sequence_is_frozen(given_change: Change, expected: str) -> None:
    assert sequence(given_change) == expected


REVISION = st.integers(min_value=1, max_value=2**64 - 1)
EPOCH = st.integers(min_value=0, max_value=9999)


@given(EPOCH, REVISION, EPOCH, REVISION)
def test_sequences_compare_as_strings_like_epoch_and_revision(e1: int, r1: int, e2: int, r2: int) -> None:
    first, second = sequence(change(epoch=e1, rv=str(r1))), sequence(change(epoch=e2, rv=str(r2)))
    assert (first < second) == ((e1, r1) < (e2, r2))
    assert (first == second) == ((e1, r1) == (e2, r2))


PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


@pytest.mark.parametrize("code", range(256))
def test_each_character_but_letters_digits_underscore_and_dash_is_encoded(code: int) -> None:
    character = chr(code)
    expected = character if character in PLAIN else "".join(f"%{b:02X}" for b in character.encode())
    assert percent_encode(character) == expected
    assert percent_encode(f"a-1{character}") == f"a-1{expected}"


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_no_two_texts_share_an_encoding(pair: list[str]) -> None:
    first, second = map(percent_encode, pair)
    assert first != second
    assert set(first) <= set(PLAIN + "%")
