"""Signatures: what the official package verifies, and nothing else."""

import base64
import time

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from sinks.webhook.signing import batch_id, signing_key, webhook_headers

KEYS = st.binary(min_size=24, max_size=64)
IDS = st.text("abcXYZ019_-%/~", min_size=1, max_size=80)
BODIES = st.text(max_size=300).map(str.encode)


def sent(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


@given(KEYS, IDS, BODIES)
def test_the_official_package_verifies_what_is_signed(key: bytes, id_: str, body: bytes) -> None:
    headers = sent(webhook_headers(id_, int(time.time()), body, [key]))
    assert headers["webhook-id"] == id_
    standardwebhooks.Webhook(key).verify(body, headers, json_parse=False)


@given(st.lists(KEYS, min_size=2, max_size=4), IDS, BODIES)
def test_a_receiver_with_any_one_of_the_keys_verifies_it(keys: list[bytes], id_: str, body: bytes) -> None:
    headers = sent(webhook_headers(id_, int(time.time()), body, keys))
    assert headers["webhook-signature"].count("v1,") == len(keys)
    for key in keys:
        standardwebhooks.Webhook(key).verify(body, headers, json_parse=False)


@pytest.mark.parametrize("change", ["webhook-id", "webhook-timestamp", "body", "key"])
def test_what_was_changed_on_its_way_is_not_verified(change: str) -> None:
    now, key, body = int(time.time()), b"k" * 32, b"{}"
    headers = sent(webhook_headers("a", now, body, [key]))
    headers |= {"webhook-id": "b"} if change == "webhook-id" else {}
    headers |= {"webhook-timestamp": str(now - 1)} if change == "webhook-timestamp" else {}
    body = b"{ }" if change == "body" else body
    key = b"l" * 32 if change == "key" else key
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(key).verify(body, headers)


def test_without_a_key_there_is_an_id_and_a_time_and_no_signature() -> None:
    assert sent(webhook_headers("a", 12, b"", [])) == {"webhook-id": "a", "webhook-timestamp": "12"}


@given(KEYS, st.booleans(), st.booleans())
def test_a_secret_is_read_as_the_official_package_reads_it(key: bytes, prefixed: bool, padded: bool) -> None:  # noqa: FBT001
    text = base64.b64encode(key).decode()
    text = ("whsec_" if prefixed else "") + (text if padded else text.rstrip("="))
    assert signing_key(text.encode() + b"\n") == key == standardwebhooks.Webhook(text)._whsecret


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (b"whsec_s3ntinel!", "is not base64; write `whsec_`"),
        (b"whsec_", "has 0 bytes"),
        (b"whsec_" + base64.b64encode(b"s3ntinel"), "has 8 bytes; write `whsec_` and the base64 of 24 to 64"),
        (b"whsec_" + base64.b64encode(b"s3ntinel" * 9), "has 72 bytes"),
        (b"\xff\xfes3ntinel", "is not base64"),
    ],
)
def test_another_secret_is_refused_in_a_sentence_that_holds_nothing_of_it(secret: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        signing_key(secret)
    assert "s3ntinel" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.lists(IDS, min_size=1, max_size=5), st.lists(IDS, min_size=1, max_size=5))
def test_a_batch_has_the_same_id_if_and_only_if_it_has_the_same_records(a: list[str], b: list[str]) -> None:
    assert (batch_id(a) == batch_id(b)) == (a == b)
    assert "." not in batch_id(a)
