"""The requests that the simulator and real servers are asked alike, by the sections of real-apiserver.md."""

from __future__ import annotations

from tests.components.process import PATIENCE
from tests.simulator.differential import GROUP, Case

MAPS = "/api/v1/namespaces/{ns}/configmaps"
EVENTS = "/api/v1/namespaces/{ns}/events"
WIDGETS = f"/apis/{GROUP}/v1/namespaces/{{ns}}/widgets"
FUTURE = "99999999"
WATCH = {"watch": "1", "timeoutSeconds": str(PATIENCE)}
STREAMED = WATCH | {
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
}

CASES = [
    # 1. resourceVersion
    Case("1.1 watch from unset", MAPS, WATCH),
    Case("1.1 watch from 0", MAPS, WATCH | {"resourceVersion": "0"}),
    Case("1.3 watch from the list", MAPS, WATCH | {"resourceVersion": "{rv}"}),
    Case("1.6 watch from the future", MAPS, WATCH | {"resourceVersion": FUTURE}),
    *(
        Case(f"1.7 watch from {bad!r}", MAPS, WATCH | {"resourceVersion": bad})
        for bad in ("abc", "-1", "1e3", str(2**64))
    ),
    *(Case(f"1.8 list at {bad!r}", MAPS, {"resourceVersion": bad}) for bad in ("abc", "-5")),
    Case("1.9 list at a number with zeros", MAPS, {"resourceVersion": "007"}),
    Case("1.10 list at the future", MAPS, {"resourceVersion": FUTURE}),
    Case("1.11 list of an uncached kind at the future", EVENTS, {"resourceVersion": FUTURE}),
    Case(
        "1.12 streamed list of the future",
        MAPS,
        STREAMED | {"resourceVersion": FUTURE, "timeoutSeconds": "5"},
    ),
    Case(
        "1.13 exact list from before", MAPS, {"resourceVersion": "{before}", "resourceVersionMatch": "Exact"}
    ),
    Case("1.15 watch with a match only", MAPS, WATCH | {"resourceVersionMatch": "Exact"}),
    Case("1.16 streamed list without a match", MAPS, WATCH | {"sendInitialEvents": "true"}),
    Case("1.17 list with sendInitialEvents", MAPS, {"sendInitialEvents": "true"}),
    Case("1.19 timeoutSeconds is no number", MAPS, WATCH | {"timeoutSeconds": "abc"}),
    Case("1.19 limit is no number", MAPS, {"limit": "abc"}),
    Case("1.19 negative limit", MAPS, {"limit": "-1"}),
    Case("1.20 watch=2", MAPS, WATCH | {"watch": "2", "resourceVersion": "{rv}"}),
    Case("exact list at a revision", MAPS, {"resourceVersion": "{rv}", "resourceVersionMatch": "Exact"}),
    Case("match without a revision", MAPS, {"resourceVersionMatch": "Exact"}),
    Case("exact at 0", MAPS, {"resourceVersion": "0", "resourceVersionMatch": "Exact"}),
    Case("list not older", MAPS, {"resourceVersion": "{rv}", "resourceVersionMatch": "NotOlderThan"}),
    # 3. WatchList
    Case("3.1 streamed list", MAPS, STREAMED),
    Case("3.1 streamed list of custom resources", WIDGETS, STREAMED),
    Case("3.1 streamed list of an uncached kind", EVENTS, STREAMED),
    Case("3.1 streamed empty list of Pods", "/api/v1/namespaces/{ns}/pods", STREAMED),
    Case("3.1 streamed empty list of Deployments", "/apis/apps/v1/namespaces/{ns}/deployments", STREAMED),
    Case("3.1 streamed empty list of ReplicaSets", "/apis/apps/v1/namespaces/{ns}/replicasets", STREAMED),
    Case("3.1 streamed empty list of StatefulSets", "/apis/apps/v1/namespaces/{ns}/statefulsets", STREAMED),
    Case("3.1 streamed empty list of DaemonSets", "/apis/apps/v1/namespaces/{ns}/daemonsets", STREAMED),
    Case("3.1 streamed empty list of Jobs", "/apis/batch/v1/namespaces/{ns}/jobs", STREAMED),
    Case("3.1 streamed empty list of CronJobs", "/apis/batch/v1/namespaces/{ns}/cronjobs", STREAMED),
    Case("3.1 streamed empty list of Secrets", "/api/v1/namespaces/{ns}/secrets", STREAMED),
    Case("3.1 streamed empty list of Services", "/api/v1/namespaces/{ns}/services", STREAMED),
    Case("3.1 streamed empty list of ServiceAccounts", "/api/v1/namespaces/{ns}/serviceaccounts", STREAMED),
    Case(
        "3.1 streamed empty list of Leases", "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases", STREAMED
    ),
    Case("3.1 streamed empty list of Nodes", "/api/v1/nodes", STREAMED),
    Case("3.3 the marker comes by default", MAPS, WATCH | {"allowWatchBookmarks": "true"}),
    Case("3.7 no state", MAPS, STREAMED | {"sendInitialEvents": "false"}),
    # 4. Paging, framing, compression
    Case("4.2 first page", MAPS, {"limit": "2"}),
    Case("4.2 next page", MAPS, {"limit": "2", "continue": "{token}"}),
    Case("4.2 page of an uncached kind", EVENTS, {"limit": "1"}),
    Case("4.2 page of custom resources", WIDGETS, {"limit": "2"}),
    Case(
        "4.3 continue with a revision", MAPS, {"limit": "2", "continue": "{token}", "resourceVersion": "{rv}"}
    ),
    Case("4.3 continue with revision 0", MAPS, {"limit": "2", "continue": "{token}", "resourceVersion": "0"}),
    Case("4.3 continue with a match", MAPS, {"continue": "{token}", "resourceVersionMatch": "NotOlderThan"}),
    Case("4.5 continue without a limit", MAPS, {"continue": "{token}"}),
    Case("4.8 page with a label selector", MAPS, {"limit": "1", "labelSelector": "app=web"}),
    Case("4.9 limit with revision 0", MAPS, {"limit": "2", "resourceVersion": "0"}),
    Case("4.10 list", MAPS),
    Case("4.10 list of custom resources", WIDGETS),
    Case("4.10 list of an uncached kind", EVENTS),
    Case("4.11 empty list", "/api/v1/namespaces/{ns}/secrets"),
    Case("4.11 namespace that does not exist", "/api/v1/namespaces/nowhere/configmaps"),
    Case("4.14 no compression of watches", MAPS, WATCH, headers={"Accept-Encoding": "gzip"}),
    Case("4.18 HTML is not to be had", MAPS, headers={"Accept": "text/html"}),
    Case("4.18 parameters of JSON", MAPS, WATCH, headers={"Accept": "application/json;stream=watch"}),
    # 6.1 Discovery
    Case("6.1 group that does not exist", "/apis/nothing.example/v1/things"),
    Case("6.1 resource that does not exist", "/api/v1/namespaces/{ns}/things"),
    Case("6.1 resource that its group does not have", "/apis/apps/v1/namespaces/{ns}/things"),
    Case("6.1 version that its group does not have", "/apis/apps/v7/namespaces/{ns}/deployments"),
    Case("6.1 resource that a custom group does not have", f"/apis/{GROUP}/v1/namespaces/{{ns}}/things"),
    Case("6.1 group alone", "/apis/nothing.example"),
    Case("6.1 version of core", "/api/v2"),
    Case("6.1 no such path", "/foo"),
    Case("status that a kind has not", f"{MAPS}/c0/status"),
    Case("a namespaced object without its namespace", "/api/v1/configmaps/c0"),
    Case("one object", f"{MAPS}/c0"),
    Case("one custom resource", f"{WIDGETS}/w0"),
    Case("9.6 no such object", f"{MAPS}/nothing"),
    Case("9.6 no such custom resource", f"{WIDGETS}/nothing", {"watch": "1"}),
    Case("core versions", "/api"),
    Case("group of custom resources", f"/apis/{GROUP}"),
    Case("resources of custom resources", f"/apis/{GROUP}/v1"),
    # 7. Authentication
    Case("7.2 garbage token", MAPS, headers={"Authorization": "Bearer garbage"}),
    Case("7.3 no token", MAPS, headers={"Authorization": ""}),
    Case("7.3 no token, discovery", "/apis", headers={"Authorization": ""}),
    # 9. Selectors
    *(
        Case(f"9 label selector {text!r}", MAPS, {"labelSelector": text})
        for text in (
            "app=web",
            "app==web,number!=1",
            "app in (api, x)",
            "app notin (api)",
            "!app",
            "number",
            "a=",
        )
    ),
    *(
        Case(f"9.9 label selector {text!r}", MAPS, {"labelSelector": text})
        for text in (",", "=x", "a in b", "a b", "a in (x", "app,,b", "app,", "a=b=c", "a!b")
    ),
    *(
        Case(f"9 field selector {text!r}", MAPS, {"fieldSelector": text})
        for text in ("metadata.name=c1", "metadata.name!=c1", "metadata.namespace=nowhere")
    ),
    Case("9.7 unknown field", MAPS, {"fieldSelector": "data.k=1"}),
    Case("9.7 unknown field of a Pod", "/api/v1/namespaces/{ns}/pods", {"fieldSelector": "spec.foo=1"}),
    Case("9.7 unknown field of a custom resource", WIDGETS, {"fieldSelector": "spec.foo=1"}),
    Case("9.7 unknown field on a watch", MAPS, WATCH | {"fieldSelector": "data.k=1"}),
    Case("9.8 field of a custom resource", WIDGETS, {"fieldSelector": "spec.color=red"}),
    Case("9.8 field of an Event", EVENTS, {"fieldSelector": "involvedObject.name=c0"}),
    Case("9 broken field selector", MAPS, {"fieldSelector": "metadata.name"}),
    # 11. Writes
    Case(
        "11.5 resourceVersion on create",
        MAPS,
        method="POST",
        body={"metadata": {"name": "x", "resourceVersion": "5"}},
    ),
    Case("create what exists", MAPS, method="POST", body={"metadata": {"name": "c0"}}),
    Case("create without a name", MAPS, method="POST", body={}),
    Case(
        "create nowhere",
        "/api/v1/namespaces/nowhere/configmaps",
        method="POST",
        body={"metadata": {"name": "x"}},
    ),
    Case(
        "update at an old revision",
        f"{MAPS}/c0",
        method="PUT",
        body={"metadata": {"name": "c0", "resourceVersion": "1"}},
    ),
    Case("delete nothing", f"{MAPS}/nothing", method="DELETE"),
    Case("11.6 delete another uid", f"{MAPS}/c0", method="DELETE", body={"preconditions": {"uid": "other"}}),
]
# With a token that may do nothing, and one that may list only.
LIMITED = {"Authorization": "Bearer {limited}"}
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
LIMITED_CASES = [
    Case("7.5 list", MAPS, headers=LIMITED),
    Case("7.5 list of the whole cluster", "/api/v1/secrets", headers=LIMITED),
    Case("7.5 watch", MAPS, WATCH, headers=LIMITED),
    Case("7.5 get", f"{MAPS}/c0", headers=LIMITED),
    Case("7.5 list of a group", "/apis/apps/v1/deployments", headers=LIMITED),
    Case("7.7 list of one name", MAPS, {"fieldSelector": "metadata.name=c0"}, headers=LIMITED),
    Case("6.3 a group that does not exist", "/apis/nothing.example/v1/things", headers=LIMITED),
    Case("6.3 discovery is allowed", f"/apis/{GROUP}/v1", headers=LIMITED),
    Case("7.6 list without watch", EVENTS, headers=LIMITED),
    Case("7.6 watch without list", EVENTS, WATCH, headers=LIMITED),
    *(
        Case(
            f"7.8 review {verb}",
            REVIEW,
            only="status",
            method="POST",
            headers=LIMITED | {"Content-Type": "application/json"},
            body={
                "kind": "SelfSubjectAccessReview",
                "apiVersion": "authorization.k8s.io/v1",
                "spec": {"resourceAttributes": {"verb": verb, "resource": "events", "namespace": "{ns}"}},
            },
        )
        for verb in ("list", "watch")
    ),
]
# What the old server answers otherwise, and the simulator does not imitate.
OLD_LIES = {
    "4.3 continue with revision 0": "the old server pages behind a token, also with revision 0",
}
