"""One call at a time (`Overlap.NONE`): the next delivery is rendered when the last one is owned."""

import trio

from bridge.delivery.session import Session
from bridge.delivery.tries import Parcel

__all__ = ["run_serial"]


async def run_serial(session: Session) -> None:
    """Deliver until the session ends; raises what ends it (`Handover.insist`, `Session.finish`)."""
    ledger = session.ledger
    while True:
        batches = await session.read(session.limits.delay)
        for delivery in session.hand_out.deliveries(batches, ledger.reached, session.replay_through):
            if delivery.records:
                ledger.take(delivery.last_position)
                parcel = Parcel(delivery)
                await session.finish(parcel, await session.handover.insist(parcel))
            else:
                ledger.pass_over(delivery.last_position)
                session.acknowledge()
        session.stats.filtered = session.hand_out.filtered
        await trio.lowlevel.checkpoint()  # a reader that always has more must not starve the others
