"""What librdkafka tells on its own: errors of connections and its log, kept short and without secrets."""

import logging
from collections.abc import Collection
from typing import Final

from bridge.logs import Incidents, Level, Logger
from bridge.logs import log as default_logger
from sinks.kafka.errors import Trouble, connection_trouble, shorten
from sinks.kafka.token import Token
from sinks.kafka.window import Failure

__all__ = ["Voice"]

_SHORTEST_SECRET: Final = 6
_LEVELS: Final[dict[int, Level]] = {logging.CRITICAL: "error", logging.ERROR: "warning"}


class Voice(logging.Handler):
    """Listens to one client. Its methods are callbacks: they never raise and never wait.

    Attributes:
        trouble: the latest error of a connection since `calm`.
    """

    def __init__(
        self,
        sink: str,
        servers: str,
        secrets: Collection[str],
        logger: Logger = default_logger,
        token: Token | None = None,
        incidents: Incidents | None = None,
    ) -> None:
        super().__init__()
        self.trouble: Trouble | None = None
        self._sink = sink
        self._servers = servers
        # A shorter one stands in too many words: hiding it would show it.
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
        self._token = token
        self._incidents = incidents or Incidents(logger)
        self._noisy = False

    @property
    def logger(self) -> logging.Logger:
        """For librdkafka's `logger`; it belongs to no hierarchy, so nobody else writes its lines."""
        logger = logging.Logger("kafka")  # noqa: LOG001 - see above
        logger.addHandler(self)
        return logger

    def error(self, error: Failure) -> None:
        """`error_cb`."""
        name = error.name()
        if name == "_ALL_BROKERS_DOWN" and self.trouble is not None:
            return  # it sums up what the errors before it have explained
        if name == "_AUTHENTICATION" and self._token is not None and self._token.problem:
            # librdkafka knows only that there is none.
            self.trouble = Trouble("authentication", f"Kafka: {self._token.problem}.", certain=True)
            return
        self.trouble = connection_trouble(name, self._clean(error.str()), self._servers)

    def silence(self, seconds: float) -> Trouble:
        """Why Kafka has confirmed nothing for so long."""
        sentence = f"Kafka at {self._servers} has confirmed nothing for {seconds:.0f} s; waiting for it."
        return self.trouble or Trouble("silent", sentence, certain=False)

    def tell(self, trouble: Trouble) -> None:
        """Write into the log why a call that may not be given up yet still waits."""
        self._incidents.report(
            "silence", "warning", "kafka does not answer", sink=self._sink, says=trouble.sentence
        )

    def calm(self) -> None:
        """Kafka takes records: what was wrong is over."""
        self.trouble = None
        self._incidents.end("silence", "kafka answers again", sink=self._sink)
        if self._noisy:
            self._noisy = False
            self._incidents.end("kafka", "kafka client goes on", sink=self._sink)

    def emit(self, record: logging.LogRecord) -> None:
        """A line of librdkafka's log: one for each kind of trouble at once, then sums every five minutes."""
        try:
            text = self._clean(record.getMessage())
            level = _LEVELS.get(record.levelno, "info" if record.levelno < logging.WARNING else "warning")
            self._noisy = True
            self._incidents.report("kafka", level, "kafka client", sink=self._sink, says=shorten(text))
        except Exception:  # noqa: BLE001, S110 - raised in a callback it would end the client
            pass

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        token = self._token.shown if self._token is not None else ""
        return text.replace(token, "***") if token else text
