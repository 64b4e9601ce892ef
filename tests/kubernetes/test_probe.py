"""The revision of a consistent read, whatever object happens to be its one item."""

import ssl

import httpcore

from bridge.kubernetes.explain import root_cause
from bridge.kubernetes.probe import list_revision

DEEP = b'{"a":' * 9900 + b"1" + b"}" * 9900


def test_a_list_whose_item_is_as_deep_as_etcd_takes_has_its_revision() -> None:
    """[B8] Else a stream with one such object could never resume: the question would never be answered."""
    body = b'{"kind":"ThingList","metadata":{"resourceVersion":"7"},"items":[{"spec":%s}]}'
    assert list_revision(body % DEEP) == "7"
    assert list_revision((body % DEEP)[:-1]) is None
    assert list_revision((body % DEEP).replace(b"ThingList", b"Thing")) is None


def test_a_tls_handshake_that_only_waits_too_long_is_no_disagreement() -> None:
    late = httpcore.ConnectTimeout()
    late.__context__ = ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "read")
    assert root_cause(late) is late
