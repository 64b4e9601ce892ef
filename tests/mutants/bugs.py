"""The bugs that `python -m tests.mutants` plants: where, what stands there instead, what a user suffers."""

from tests.mutants.bug import Bug
from tests.mutants.bugs_of_changes import BUGS as OF_CHANGES
from tests.mutants.bugs_of_delivery import BUGS as OF_DELIVERY
from tests.mutants.bugs_of_kafka import BUGS as OF_KAFKA
from tests.mutants.bugs_of_snapshots import BUGS as OF_SNAPSHOTS
from tests.mutants.bugs_of_the_store import BUGS as OF_THE_STORE
from tests.mutants.bugs_of_watching import BUGS as OF_WATCHING
from tests.mutants.bugs_of_webhooks import BUGS as OF_WEBHOOKS

__all__ = ["BUGS", "Bug"]

BUGS = (
    *OF_WATCHING,
    *OF_CHANGES,
    *OF_THE_STORE,
    *OF_SNAPSHOTS,
    *OF_DELIVERY,
    *OF_KAFKA,
    *OF_WEBHOOKS,
)
"""In the order in which data flows."""
