"""A small simulated Kubernetes API server in process, for `kube-bridge demo` and for tests.

`tests/simulator/test_differential.py` holds it against real servers. What it does not do, or otherwise:

- Objects are stored as they come: no defaults, no validation of their content, no schema, no admission.
- Every custom resource keeps all fields; versions of a CRD differ in `apiVersion` only.
- JSON only, full objects only: Table and PartialObjectMetadata are 406 unless plain JSON is accepted too.
- Patches are JSON merge patches; a strategic one is taken for one, JSON patch and server-side apply are 415.
- `/status` writes the whole object. A Pod that has a node waits for a kubelet after its
  DELETE, as in a real cluster without one; there are no controllers at all.
- `managedFields` have the real shape, but not always the real content.
- The core API's kinds in `kinds.py` and nothing else: no events.k8s.io, no aggregated APIs, no shardSelector.
- Namespaces do not empty themselves: `Cluster.finish_namespace`. Objects may be created in none that exists.
- A slow reader is not closed, except when it is `window` changes behind.
- The history is kept by number of changes (`window`), not for 75 seconds; `Cluster.expire` cuts it.
- A continue token with revision 0 brings the whole rest, which servers before 1.34 page.
- Discovery tells of no subresource but `status`; the hashes of storage versions are made up.
- A SelfSubjectAccessReview carries no `managedFields`, and its own words in `reason`.
- Rights are checked by rules in the manner of RBAC (`Access.allow`), which are no objects; no groups.
"""

from bridge.simulator.cluster import Cluster, Snapshot
from bridge.simulator.errors import ApiError
from bridge.simulator.faults import Faults
from bridge.simulator.simulator import Simulator
from bridge.simulator.spoil import Ending

__all__ = ["ApiError", "Cluster", "Ending", "Faults", "Simulator", "Snapshot"]
