"""Proves that a sink keeps its promises: the kit for whoever writes one.

```
async def test_my_sink(tmp_path):
    path = tmp_path / "out"
    await check_sink(lambda: MySink(str(path)), lambda: path.read_bytes().splitlines())
```

The sink runs in the same worker as in the bridge, over a log in memory. It needs trio and no test runner.
"""

from collections.abc import Awaitable, Callable

from bridge.changes.envelope import Format
from bridge.delivery.sink import Sink
from bridge.testing.declared import declared_wrong
from bridge.testing.promises import Broken, Outage, Promises, Read
from bridge.testing.stage import UNWELCOME

__all__ = ["UNWELCOME", "PromiseBroken", "check_sink"]


class PromiseBroken(AssertionError):
    """The sink does not keep its promises: one sentence, one line, for each."""


async def check_sink(
    make_sink: Callable[[], Sink],
    read_destination: Read,
    *,
    outage: Outage | None = None,
    refuses: bool = False,
    form: Format = Format.NATIVE,
) -> None:
    """Run a sink through restarts, cancellations and trouble, and look at what its destination holds.

    Args:
        make_sink: makes a sink for one and the same destination, as a new start of the bridge does.
        read_destination: every record that the destination holds, oldest first, as its `Record.value` was
            handed over; what it holds twice comes twice. A plain or an async function.
        outage: a context in which the destination takes nothing; without it this is not checked.
        refuses: the destination refuses each record that contains `UNWELCOME`, and no other.
        form: the format that the sink is handed.

    Raises:
        PromiseBroken: names each promise that was not kept.
    """
    check = Promises(make_sink, read_destination, form)
    promises: dict[str, Callable[[], Awaitable[None]]] = {
        "is asked for problems": check.finds_no_problem_where_none_is,
        "is handed records": check.owns_what_is_acknowledged,
        "is entered a second time": check.can_be_entered_again,
        "is cancelled": check.survives_being_cancelled_anywhere,
        "is handed a record over its limit": check.takes_or_refuses_a_record_over_its_limit,
    }
    if outage is not None:
        promises["has lost its destination"] = lambda: check.waits_for_its_destination(outage)
    if refuses:
        promises["is handed a record that its destination refuses"] = check.names_what_is_refused
    broken = list(declared_wrong(make_sink()))
    cause: Exception | None = None
    for when, promise in promises.items() if not broken else ():
        try:
            await promise()
        except Exception as error:  # noqa: BLE001 - whatever a sink raises is what is told
            cause = error
            broken += [
                str(one) if isinstance(one, Broken) else f"It raises {one!r} when it {when}."
                for one in _leaves(error)
            ]
    if broken:
        raise PromiseBroken("\n".join(broken)) from cause


def _leaves(error: Exception) -> list[Exception]:
    """The errors themselves, without the groups that nurseries make."""
    if isinstance(error, ExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
