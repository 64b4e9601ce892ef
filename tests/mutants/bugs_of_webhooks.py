"""Planted bugs on the last steps to a webhook's receiver."""

from tests.mutants.bug import Bug

__all__ = ["BUGS"]

_SENDER = "sinks/webhook/sender.py"
_CLIENT = "sinks/webhook/client.py"
_ANSWERS = "sinks/webhook/answers.py"
_TEST = "tests/sinks/test_webhook.py::"

BUGS = (
    Bug(
        "webhook-id-of-an-attempt",
        "a receiver cannot tell that a retry is one: it counts the change twice",
        _SENDER,
        "            *webhook_headers(message.id, int(time.time()), message.body, keys),\n",
        "            *webhook_headers(str(time.time_ns()), int(time.time()), message.body, keys),\n",
        (_TEST + "test_every_attempt_has_the_same_id_and_a_signature_of_its_own",),
    ),
    Bug(
        "webhook-signs-with-one-key",
        "while a key is rotated, receivers with the other one refuse everything",
        _SENDER,
        "        keys = [kept.value() for kept in self._keys]\n",
        "        keys = [kept.value() for kept in self._keys[:1]]\n",
        (_TEST + "test_while_keys_change_receivers_with_either_verify",),
    ),
    Bug(
        "webhook-batch-rejected-whole",
        "one object that a receiver refuses sends all others of its batch to the dead letters",
        "sinks/webhook/sink.py",
        "        if len(records) == 1 or not refusal.of_content:\n",
        "        if len(records) >= 1 or not refusal.of_content:\n",
        ("tests/sinks/test_webhook_batches.py::test_of_a_batch_only_those_are_rejected_that_are_to_blame",),
    ),
    Bug(
        "webhook-owned-by-its-body",
        "a receiver that took a record and hangs up gets it again and again",
        _CLIENT,
        "        except httpx.HTTPError:\n            pass  # the status has come, and it decides\n",
        "        except httpx.HTTPError:\n            raise  # the status has come, and it decides\n",
        (_TEST + "test_once_a_2xx_has_come_the_record_is_owned_whatever_follows",),
    ),
    Bug(
        "webhook-reads-all-of-an-answer",
        "a receiver that answers with a gigabyte holds up its lane and the memory",
        _CLIENT,
        "                    enough.cancel()\n",
        "                    pass\n",
        (_TEST + "test_of_a_gigabyte_in_answer_little_is_read",),
    ),
    Bug(
        "webhook-tries-new-connections-twice",
        "a receiver that is down is hit twice as often as its backoff allows",
        _CLIENT,
        "            if line.connected or not isinstance(error, _DEAD):\n",
        "            if not isinstance(error, _DEAD):\n",
        (_TEST + "test_a_new_connection_that_died_is_not_tried_twice",),
    ),
    Bug(
        "webhook-retry-after-ignored",
        "a throttling receiver is asked again before it wants to be",
        _ANSWERS,
        "    wait = retry_after(answer.headers, now)\n",
        "    wait = None\n",
        ("tests/sinks/test_webhook_answers.py::test_every_answer_that_comes_again_says_when",),
    ),
    Bug(
        "webhook-redirect-rejects",
        "a login page in front of the receiver turns the whole feed into dead letters",
        _ANSWERS,
        "    if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects\n",
        "    if 300 <= status < 400:  # noqa: PLR2004\n        return Refusal(said, of_content=False)\n"
        "    if 300 <= status < 400:  # noqa: PLR2004\n",
        (_TEST + "test_a_redirect_is_never_followed",),
    ),
    Bug(
        "webhook-echoes-a-secret",
        "a receiver that repeats our key puts it into the log and the dead letters",
        _ANSWERS,
        '    words = told(answer.body.decode("utf-8", "replace"), hide)\n',
        '    words = plain(answer.body.decode("utf-8", "replace"))\n',
        ("tests/sinks/test_webhook_echo.py::test_what_a_receiver_echoes_is_told_without_our_secrets",),
    ),
    Bug(
        "oauth2-asks-for-each-lane",
        "an issuer that is down is asked by every lane in turn, each for the whole timeout",
        "sinks/webhook/auth.py",
        "            if flight is None:\n",
        "            if flight is None or flight:\n",
        ("tests/sinks/test_webhook_auth.py::test_all_who_wait_share_one_token_and_one_failure",),
    ),
    Bug(
        "webhook-secret-read-once",
        "a rotated token is not used before a restart: every record is refused",
        "sinks/webhook/secrets.py",
        "        if self._found is not None and now < self._until:\n",
        "        if self._found is not None:\n",
        ("tests/sinks/test_webhook_auth.py::test_a_bearer_token_is_read_again_when_it_was_rotated",),
    ),
)
