"""A bridge reduced to its last step, to be killed: the log of `program`, one worker, one Kafka sink.

    python -m tests.sinks.kafka_program BROKER TOPIC CLUSTER CURSOR COUNT RECORDS EVERY DELIVERY [KEYS]

RECORDS are handed out at once. The log's own cursor becomes durable at every EVERY-th acknowledgement only.
"""

import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import trio

from bridge.changes.change import Change
from bridge.changes.envelope import Bridge
from bridge.delivery.sink import Resume
from bridge.delivery.worker import Plan, Worker
from sinks.kafka.sink import Kafka
from sinks.kafka.topics import CreateTopics
from tests.components.process import PATIENCE
from tests.sinks import program
from tests.sinks.program import FixedLog

PAD = 200


class TellingLog(FixedLog):
    """Tells each acknowledged position to whoever started this."""

    teller: Connection | None = None

    def acknowledge(self, name: str, position: int) -> None:
        super().acknowledge(name, position)
        if self.teller is not None:
            self.teller.send(position)

    def verify(self, log_id: str, incarnation: int, position: int) -> None:
        """Every place is of this log; what is not is the store's to refuse."""
        assert (log_id, incarnation) == ("log", 1)
        assert position <= self.end()


async def main(arguments: Sequence[str], teller: Connection | None) -> None:
    broker, topic, cluster, cursor = arguments[:4]
    count, records, every = map(int, arguments[4:7])
    delivery: Any = arguments[7]
    Kafka.max_records = property(lambda _self: records)  # type: ignore[method-assign, assignment]
    log = TellingLog(count, PAD, Path(cursor), every)
    log.teller = teller
    sink = Kafka(broker, topic, delivery=delivery, create_topics=CreateTopics())
    plan = Plan("out", Bridge(cluster, "cluster-uid"))
    worker = Worker(plan, sink, log, Resume("log", 1, log.position))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        drained = await worker.drain(trio.current_time() + 120 * PATIENCE)
        nursery.cancel_scope.cancel()
    if not drained:
        sys.exit(f"not drained: {worker.stats}")


def run(arguments: Sequence[str], teller: Connection | None = None) -> None:
    """Everything, as a process of its own."""
    if len(arguments) > 8:
        few_keys(int(arguments[8]))
    trio.run(main, arguments, teller)


def few_keys(keys: int) -> None:
    """Let the records be of so many objects in turn."""

    def record(number: int, pad: int) -> Change:
        body = b'{"n":%d,"pad":"%b"}' % (number, b"x" * pad)
        return Change("MODIFIED", "watch", number, "ns", f"n{number % keys}", "u", str(number), 0, body)

    program.record = record


if __name__ == "__main__":
    run(sys.argv[1:])
