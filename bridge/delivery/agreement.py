"""Where an opened sink goes on: the place of the log and that of its destination, held against each other."""

from bridge.delivery.plan import Hooks, Plan
from bridge.delivery.session import LogReader
from bridge.delivery.sink import Context, Forgetting, Resume, Sink
from bridge.errors import StateError
from bridge.logs import Level, Logger

__all__ = ["Agreement"]


class Agreement:
    """With one destination, over all openings of its sink.

    Args:
        plan: what is configured.
        hooks: who is asked for a snapshot when the destination is elsewhere.
        reader: the log.
        logger: told where the two differ.
    """

    def __init__(self, plan: Plan, hooks: Hooks, reader: LogReader, logger: Logger) -> None:
        self._plan = plan
        self._hooks = hooks
        self._reader = reader
        self._logger = logger
        self._lost: Resume | None = None  # a place that a snapshot was asked for already

    async def reach(self, sink: Sink, given: Resume, context: Context) -> int:
        """Open the sink.

        Args:
            sink: entered.
            given: the log's place.
            context: where the sink stands.

        Returns:
            The position behind which it goes on: the given one, or a later one that the destination has.

        Raises:
            StateError: the destination knows a place that this log never gave out; a person must decide.
            Exception: whatever `open` raises.
        """
        known = await sink.open(given, context)
        if known != given:
            try:
                self._reader.verify(known.log_id, known.incarnation, known.position)
            except StateError as error:
                await self._lose(sink, known, error)
                return given.position
        self._lost = None
        if known.position < given.position and not context.fresh:
            self._tell_behind(given, known)
        return max(given.position, known.position)

    def _tell_behind(self, given: Resume, known: Resume) -> None:
        """A place before ours is normal where what lies between was not meant for the destination."""
        level: Level = "info" if known.position else "warning"
        has = "an earlier place" if known.position else "no place"
        self._logger(
            level,
            f"the destination has {has} of what was acknowledged: if it was emptied or restored "
            "from a backup, a snapshot of each stream brings it up to date",
            sink=self._plan.name,
            acknowledged=given.position,
            destination=known.position,
        )

    async def _lose(self, sink: Sink, known: Resume, error: StateError) -> None:
        """The destination has a place of a log, or of a life of it, that is gone; it keeps that for now."""
        name = self._plan.name
        if not self._plan.resync_on_state_loss:
            way_out = f", or {sink.forgetting}" if isinstance(sink, Forgetting) else ""
            raise StateError(f"sink {name}: {error}{way_out}") from error
        if known == self._lost:
            return
        self._logger(
            "error",
            "the destination is ahead of this state: the sink gets a new snapshot, as onStateLoss says",
            sink=name,
            reason=str(error),
        )
        if self._hooks.on_state_loss is not None:
            await self._hooks.on_state_loss(name, None)
        self._lost = known
