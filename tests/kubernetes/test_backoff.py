"""How long is waited: client-go's numbers, the server's wishes, and no clock of ours."""

import random

import pytest

from bridge.kubernetes.backoff import Backoff, retry_after, slow_backoff
from tests.kubernetes.conversation import Middle


def test_delays_double_from_800_ms_to_30_s_with_jitter() -> None:
    """[I1] client-go's reflector: 0.8 s, factor 2, cap 30 s, each in [d, 2d)."""
    backoff = Backoff(Middle())
    delays = [backoff.delay(0.0) for _ in range(8)]
    assert delays == [pytest.approx(1.5 * d) for d in (0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0)]


def test_jitter_stays_between_the_delay_and_its_double() -> None:
    """[I1] Many watches that failed together do not come back together."""
    chance = random.Random(7)
    delays = {Backoff(chance).delay(0.0) for _ in range(500)}
    assert min(delays) >= 0.8
    assert max(delays) < 1.6
    assert len(delays) == 500


def test_two_healthy_minutes_or_success_start_the_delays_anew() -> None:
    """[I2] A flapping stream does not get its short delays back; a healthy one does."""
    backoff = Backoff(Middle())
    first = backoff.delay(0.0)
    assert backoff.delay(100.0) == pytest.approx(2 * first)
    third = backoff.delay(200.0)
    assert third == pytest.approx(4 * first)
    assert backoff.delay(200.0 + third + 121.0) == pytest.approx(first)
    backoff.delay(400.0)
    backoff.reset()
    assert backoff.delay(401.0) == pytest.approx(first)


def test_what_the_server_asks_only_lengthens_the_delay_up_to_five_minutes() -> None:
    """[I3] Retry-After overrides upward, with a little jitter, and is capped."""
    assert Backoff(Middle()).delay(0.0, 0.1) == pytest.approx(1.2)
    assert Backoff(Middle()).delay(0.0, 20) == pytest.approx(21)
    assert Backoff(Middle()).delay(0.0, 86_400) == pytest.approx(315)


def test_what_a_person_must_mend_is_retried_slowly() -> None:
    """[I6] 403, 404, refused requests: seconds at first, for restarts, then every two minutes."""
    slow = slow_backoff(Middle())
    delays = [slow.delay(0.0) for _ in range(7)]
    assert delays[0] == pytest.approx(5.5)
    assert delays[-1] == pytest.approx(132)


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({}, None, None),
        ({"retry-after": "5"}, None, 5.0),
        ({"retry-after": "1"}, 7.0, 7.0),
        ({}, 2.0, 2.0),
        (
            {"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"},
            None,
            30.0,
        ),
        (
            {"retry-after": "Wed, 21 Oct 2026 07:00:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"},
            None,
            0.0,
        ),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None, None),
        ({"retry-after": "soon"}, None, None),
        ({"retry-after": "-1"}, None, None),
        ({"retry-after": "\u0663"}, None, None),
        ({"retry-after": "9" * 5000}, None, 999999999.0),
        ({"retry-after": "Wed, 21 Oct 99999999999 07:28:30 GMT", "date": "x"}, None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_held_against_the_servers_own_clock(
    headers: dict[str, str], details: float | None, seconds: float | None
) -> None:
    """[I3] [E12] Nonsense is ignored; a date counts only from the Date of the same answer."""
    assert retry_after(headers, details) == seconds
