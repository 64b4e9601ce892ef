"""A rate limit lets through what a naive token bucket does, in turn, and no batch waits for ever."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from bridge.delivery.rates import Bucket, Buckets, Rates
from bridge.delivery.throttle import Throttle


class NaiveBucket:
    """Tokens that drip in; what is larger than the bucket may go when it is full, and leaves a debt."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, 0.0

    def wait(self, now: float, tokens: float) -> float:
        held = min(self.burst, self.tokens + (now - self.at) * self.rate)
        return max((min(tokens, self.burst) - held) / self.rate, 0.0)

    def take(self, now: float, tokens: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate) - tokens
        self.at = now


@given(
    st.floats(0.1, 1000),
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 80)), max_size=30),
)
def test_a_bucket_waits_as_a_naive_one_does(rate: float, burst: int, asked: list[tuple[float, int]]) -> None:
    bucket, naive, now = Bucket(rate, burst), NaiveBucket(rate, burst), 0.0
    for pause, tokens in asked:
        now += pause
        wait = bucket.wait(now, tokens)
        assert wait == pytest.approx(naive.wait(now, tokens), abs=1e-6)
        now += wait
        bucket.take(now, tokens)
        naive.take(now, tokens)


def test_each_unit_has_its_own_bucket_and_the_slowest_decides() -> None:
    buckets = Buckets(Rates(records=10, requests=2, bytes=1000, burst=5))
    assert buckets.wait(0, 5, 1000) == 0
    buckets.take(0, 5, 1000)
    assert buckets.wait(0, 1, 0) == pytest.approx(0.1), "records: one drips in each 0.1 s"
    assert buckets.wait(0, 1, 500) == pytest.approx(0.5), "bytes: half a second's worth"
    assert Buckets(Rates(requests=2, burst=1)).wait(0, 10_000, 1 << 30) == 0, "what is not limited is not"


async def test_a_batch_above_the_burst_goes_alone_and_is_paid_for_afterwards(
    autojump_clock: MockClock,
) -> None:
    throttle, begin = Throttle(Rates(records=10, burst=5)), autojump_clock.current_time()
    await throttle.acquire(50, 0)
    assert autojump_clock.current_time() == begin, "the bucket was full"
    await throttle.acquire(1, 0)
    assert autojump_clock.current_time() - begin == pytest.approx(4.6), "45 of debt and one more"


async def test_who_shares_a_limit_is_served_in_the_order_of_asking(autojump_clock: MockClock) -> None:
    throttle, served = Throttle(Rates(requests=1, burst=1)), list[str]()

    async def ask(name: str, times: int) -> None:
        for _ in range(times):
            await throttle.acquire(1, 0)
            served.append(name)

    begin = autojump_clock.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "a", 5)
        nursery.start_soon(ask, "b", 5)
    assert autojump_clock.current_time() - begin == pytest.approx(9)
    assert {served[i] for i in (2, 4, 6, 8)} != {served[i] for i in (3, 5, 7, 9)}, "they take turns"


async def test_who_gives_up_waiting_takes_nothing(autojump_clock: MockClock) -> None:
    throttle, begin = Throttle(Rates(records=1, burst=10)), autojump_clock.current_time()
    await throttle.acquire(10, 0)
    with trio.move_on_after(3):
        await throttle.acquire(10, 0)
    await throttle.acquire(4, 0)
    assert autojump_clock.current_time() - begin == pytest.approx(4)
