"""From what is configured of a sink to what its worker is told."""

from typing import Final

from bridge.changes.envelope import Bridge, Format
from bridge.config import Config, RateLimitConfig, SinkConfig
from bridge.delivery.handout import Selection
from bridge.delivery.pacing import Retry
from bridge.delivery.rates import Rates
from bridge.delivery.throttle import Throttle
from bridge.delivery.worker import Batching, Plan

__all__ = ["SinkPlans"]

_LEAST_WINDOW: Final = 256 << 10


class SinkPlans:
    """Plans the sinks of one bridge; those that name the same rate limit share it.

    Args:
        config: all that is configured.
    """

    def __init__(self, config: Config) -> None:
        self._types = {stream.name: stream.types for stream in config.streams}
        self._shared = {limit.name: Throttle(_rates(limit)) for limit in config.rate_limits}
        # A quarter of the memory is for what is rendered and on its way, the rest for the ring of the log.
        self._window = max(config.memory.max_bytes // 4 // max(len(config.sinks), 1), _LEAST_WINDOW)

    def plan(self, sink: SinkConfig, bridge: Bridge) -> Plan:
        """What the worker of a sink is told."""
        batch, retry = sink.batch, sink.retry
        return Plan(
            sink.name,
            bridge,
            Selection(sink.streams, sink.types, self._types),
            Format(sink.format),
            Retry(retry.initial, retry.max, retry.max_retry_after),
            Batching(batch.max_records, batch.max_bytes, batch.max_delay),
            throttle=self._throttle(sink.rate_limit),
            window_bytes=self._window,
            resync_on_state_loss=sink.on_state_loss == "resync",
        )

    def _throttle(self, limit: RateLimitConfig | None) -> Throttle | None:
        if limit is None:
            return None
        return self._shared[limit.shared] if limit.shared else Throttle(_rates(limit))


def _rates(limit: RateLimitConfig) -> Rates:
    return Rates(limit.records_per_second, limit.requests_per_second, limit.bytes_per_second, limit.burst)
