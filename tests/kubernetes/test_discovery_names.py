"""Names of resources mean what they mean to kubectl; what means nothing or too much is told."""

import pytest

from bridge.errors import UsageError
from bridge.kubernetes.catalog import AmbiguousResource, Catalog, NotWatchable, Resource, UnknownResource

ALL = frozenset({"get", "list", "watch", "create"})


def resource(
    name: str, kind: str, api_version: str = "v1", *, verbs: frozenset[str] = ALL, **more: object
) -> Resource:
    group, _, version = api_version.rpartition("/")
    return Resource(group, version, name, kind, True, verbs, **more)  # type: ignore[arg-type] # fields by name


CATALOG = Catalog(
    [
        resource("bindings", "Binding", verbs=frozenset({"create"})),
        resource(
            "componentstatuses", "ComponentStatus", verbs=frozenset({"get", "list"}), short_names=("cs",)
        ),
        resource("events", "Event", singular="event", short_names=("ev",)),
        resource("pods", "Pod", singular="pod", short_names=("po",), categories=("all",)),
        resource("services", "Service", singular="service", short_names=("svc",), categories=("all",)),
        resource(
            "deployments",
            "Deployment",
            "apps/v1",
            singular="deployment",
            short_names=("deploy",),
            categories=("all",),
        ),
        resource("deployments", "Deployment", "apps/v1beta1", singular="deployment", categories=("all",)),
        resource("events", "Event", "events.k8s.io/v1", singular="event", short_names=("ev",)),
        resource("reviews", "Review", "authz.k8s.io/v1", verbs=frozenset({"create"}), categories=("all",)),
        resource("widgets", "Widget", "example.com/v1", singular="wdg", short_names=("wd",)),
        resource("widgets", "Widget", "example.com/v1alpha1", singular="wdg", short_names=("wd",)),
        resource("old", "OldThing", "example.com/v1alpha1"),
        resource("widgets", "Widget", "other.org/v2"),
        resource("twins", "TwinA", "twins.io/v1", singular="twin"),
        resource("zwillinge", "TwinB", "twins.io/v1", singular="twin"),
        resource("pods", "PodMetrics", "metrics.k8s.io/v1beta1"),
    ]
)


def full(found: list[Resource]) -> list[str]:
    return [f"{one.resource}.{one.api_version}" for one in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pods", "pods.v1"),
        ("pod", "pods.v1"),
        ("po", "pods.v1"),
        ("Pod", "pods.v1"),
        ("PODS", "pods.v1"),
        ("deploy", "deployments.apps/v1"),
        ("deployments.apps", "deployments.apps/v1"),
        ("deploy.apps", "deployments.apps/v1"),
        ("deployment.app", "deployments.apps/v1"),
        ("deployments.v1.apps", "deployments.apps/v1"),
        ("deployments.v1beta1.apps", "deployments.apps/v1beta1"),
        ("Deployment.v1beta1.apps", "deployments.apps/v1beta1"),
        ("events", "events.v1"),
        ("ev", "events.v1"),
        ("events.events.k8s.io", "events.events.k8s.io/v1"),
        ("events.events", "events.events.k8s.io/v1"),
        ("events.v1.events.k8s.io", "events.events.k8s.io/v1"),
        ("events.v1.", "events.v1"),
        ("widgets", "widgets.example.com/v1"),
        ("widgets.example.com", "widgets.example.com/v1"),
        ("widgets.other.org", "widgets.other.org/v2"),
        ("widgets.v1alpha1.example.com", "widgets.example.com/v1alpha1"),
        ("wd.v1alpha1.example.com", "widgets.example.com/v1alpha1"),
        ("wdg", "widgets.example.com/v1"),
        ("Widget.example.com", "widgets.example.com/v1"),
        ("OldThing", "old.example.com/v1alpha1"),
        ("oldthing", "old.example.com/v1alpha1"),
        ("pods.metrics", "pods.metrics.k8s.io/v1beta1"),
        ("TwinB", "zwillinge.twins.io/v1"),
    ],
)
def test_one_name_is_one_resource(text: str, found: str) -> None:
    assert full(CATALOG.resolve(text)) == [found]


def test_lists_keep_their_order_and_name_each_resource_once() -> None:
    assert full(CATALOG.resolve("svc,po,pods,Pod,service")) == ["services.v1", "pods.v1"]


def test_a_category_is_what_of_it_can_be_watched_in_preferred_versions() -> None:
    assert full(CATALOG.resolve("all")) == ["pods.v1", "services.v1", "deployments.apps/v1"]
    assert full(CATALOG.resolve("events,all,po")) == [
        "events.v1",
        "pods.v1",
        "services.v1",
        "deployments.apps/v1",
    ]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("podz", UnknownResource, '"podz"; did you mean (Pod|pods)'),
        ("Deployement", UnknownResource, "did you mean Deployment"),
        ("po.apps", UnknownResource, '"po.apps"; there is pods$'),
        ("deployments.v2.apps", UnknownResource, "there is deployments.apps"),
        ("PO", UnknownResource, '"PO"'),
        (".apps", UnknownResource, '".apps"'),
        ("pod/web-0", UnknownResource, r"write pod --field-selector metadata\.name=web-0"),
        ("twin", AmbiguousResource, r"twins\.twins\.io \(TwinA\), zwillinge\.twins\.io \(TwinB\): name one"),
        (
            "cs",
            NotWatchable,
            "componentstatuses cannot be watched: .* not offer watch for it, only get, list",
        ),
        ("bindings", NotWatchable, "does not offer list and watch for it, only create"),
    ],
)
def test_what_cannot_be_meant_is_told(text: str, kind: type[UsageError], words: str) -> None:
    with pytest.raises(kind, match=words):
        CATALOG.resolve(text)


@pytest.mark.parametrize("text", ["", " ", ",", "pods,,x", "pods,", ",pods", "pods, ,services"])
def test_an_empty_name_is_told_with_the_list_that_has_it(text: str) -> None:
    with pytest.raises(UsageError, match=f'^"{text}" has an empty name in it: write names of resources'):
        CATALOG.resolve(text)


def test_a_category_with_nothing_to_watch_is_told() -> None:
    only = Catalog([resource("reviews", "Review", verbs=frozenset({"create"}), categories=("all",))])
    with pytest.raises(NotWatchable, match='nothing in the category "all"'):
        only.resolve("all")


def test_an_exact_kind_is_found_or_told_where_else_it_is() -> None:
    assert CATALOG.resolve_kind("apps/v1beta1", "Deployment").version == "v1beta1"
    assert CATALOG.resolve_kind("v1", "Pod").resource == "pods"
    with pytest.raises(
        UnknownResource, match=r"no Deployment in v1; there is a Deployment in apps/v1, apps/v1beta1"
    ):
        CATALOG.resolve_kind("v1", "Deployment")
    with pytest.raises(UnknownResource, match="no Deploymint in apps/v1; did you mean Deployment"):
        CATALOG.resolve_kind("apps/v1", "Deploymint")
    with pytest.raises(NotWatchable, match="bindings cannot be watched"):
        CATALOG.resolve_kind("v1", "Binding")


def test_what_kubernetes_serves_itself_is_told_from_custom_resources() -> None:
    assert CATALOG.resolve_kind("apps/v1", "Deployment").builtin
    assert not CATALOG.resolve_kind("example.com/v1", "Widget").builtin
    gateway = resource("gateways", "Gateway", "gateway.networking.k8s.io/v1")
    assert not gateway.builtin
