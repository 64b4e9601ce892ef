"""What a watch asks for: the canonical request, from a revision that can be one, on the right path."""

import pytest

from bridge.changes.change import Cursor
from bridge.errors import InvariantError
from bridge.kubernetes.requests import Scope, collection_path, watch_request
from tests.kubernetes.conversation import Conversation, Pods, at


def test_the_canonical_watch() -> None:
    """[B1] [H1] One path, watch, bookmarks, the revision, a random timeout of 300 to 600 s, and nothing
    else."""
    talk = Conversation(at(10), scope=Scope("shop", "app=web", "spec.nodeName=n1"))
    talk.prove(10)
    request = talk.ask()
    assert request.path == "/api/v1/namespaces/shop/pods"
    assert request.streaming
    seconds = int(request.params["timeoutSeconds"])
    assert 300 <= seconds <= 600
    assert request.params == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "10",
        "timeoutSeconds": str(seconds),
        "labelSelector": "app=web",
        "fieldSelector": "spec.nodeName=n1",
    }


@pytest.mark.parametrize("rv", ["", "0"])
def test_a_live_watch_from_no_revision_cannot_be_made(rv: str) -> None:
    """[B2] [F13] RV "" or "0" would be a restart without an end: it is an invariant, not a parameter."""
    with pytest.raises(InvariantError):
        watch_request("/api/v1/pods", Scope(), rv, 300)


@pytest.mark.parametrize(
    ("resource", "namespace", "path"),
    [
        (Pods(), "", "/api/v1/pods"),
        (Pods(), "services", "/api/v1/namespaces/services/pods"),
        (Pods("apps", "v1", "deployments"), "shop", "/apis/apps/v1/namespaces/shop/deployments"),
        (Pods("", "v1", "nodes", namespaced=False), "shop", "/api/v1/nodes"),
        (Pods("a/b", "v1", "x"), "..", "/apis/a%2Fb/v1/namespaces/../x"),
    ],
)
def test_paths_are_never_the_deprecated_ones(resource: Pods, namespace: str, path: str) -> None:
    """[B22] [M8] No /watch/ path; a cluster-scoped kind is never asked for in a namespace (that is a 404)."""
    assert collection_path(resource, Scope(namespace)) == path


def test_a_checkpoint_that_is_no_revision_is_never_sent() -> None:
    """[E9] [B2] It would be a 500 for ever, or a silent restart."""
    for rv in ("", "0", "007", "-5", "a b"):
        talk = Conversation(Cursor(rv, rv) if rv else None)
        assert "resourceVersion" not in talk.ask().params


def test_the_head_of_a_watch_may_be_late() -> None:
    """[B20] Proxies hold it back until the first event: at least a minute, from the moment of sending."""
    talk = Conversation(at(10))
    assert talk.prove(10).ask().patience >= 60
    assert Conversation().ask().patience >= 60
