"""Planted bugs of the Kafka sink. Those of transactions need the real broker."""

from tests.mutants.bug import Bug

__all__ = ["BUGS"]

_WINDOW = "sinks/kafka/window.py"
_PLACE = "sinks/kafka/place.py"
_T = "tests/sinks/test_kafka_transactions.py"
_W = "tests/sinks/test_kafka_window.py"
_RESUME = "        return Resume(self._known.log_id, self._known.incarnation, self._known.position)\n"

BUGS = (
    Bug(
        "kafka-skips-to-the-head",
        "after a state that was rolled back, new records are taken for ones that Kafka has: silent loss",
        _PLACE,
        _RESUME,
        "        self.committed = self._known.position\n" + _RESUME,
        ("tests/sinks/test_kafka_transactions.py::test_a_log_that_went_back_is_not_skipped_to_its_head",),
    ),
    Bug(
        "kafka-trusts-the-local-cursor",
        "each restart repeats what the log's cursor lags behind: not exactly once",
        _PLACE,
        _RESUME,
        "        return self._given\n",
        (_T + "::test_a_restart_goes_on_where_kafka_is_not_where_the_log_was",),
    ),
    Bug(
        "kafka-guesses-that-it-committed",
        "a commit without an answer is taken for done: its records are lost",
        _PLACE,
        "        if self._attempt is not None and found == self._attempt:\n",
        "        if self._attempt is not None:\n",
        ("tests/sinks/test_kafka_transactions.py::test_an_open_end_is_asked_for_never_guessed",),
    ),
    Bug(
        "kafka-cursor-beyond-a-refused-record",
        "a crash before the dead letter is kept loses the record",
        _PLACE,
        "        position = through if first is None else min(through, first - 1)\n",
        "        position = through\n",
        (_T + "::test_a_refused_record_stays_before_the_cursor_until_it_is_a_dead_letter",),
    ),
    Bug(
        "kafka-overtakes-a-cut-off-batch",
        "a newer state of an object arrives before an older one",
        _WINDOW,
        "        return alone or not stale or first <= min(stale)\n",
        "        return True\n",
        ("tests/sinks/test_kafka_window.py::test_a_batch_cannot_overtake_one_that_was_cut_off",),
    ),
    Bug(
        "kafka-keeps-what-stands-behind-a-repeated-record",
        "a compacted topic ends in an old state of an object",
        _WINDOW,
        "        if position < self._newest:\n",
        "        if False:\n",
        (_W + "::test_whatever_is_refused_nothing_is_lost_and_a_key_ends_in_its_last_record",),
    ),
)
