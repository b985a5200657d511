"""Lines, paces and rounds: whose call may start, and whose is next."""

import asyncio
import math
import time

import pytest

from common.delivery import Breaker, Line, Pace
from common.delivery.line import Rounds


def test_a_call_of_somebody_new_goes_before_what_another_still_has_in_hand() -> None:
    rounds = Rounds()
    mass = [rounds.enter(["mass"]) for _ in range(50)]
    for entered in mass[:10]:
        rounds.started(entered)
    new = rounds.enter(["new"])
    assert sum(entered < new for entered in mass[10:]) == 0


def test_nobody_who_is_in_hand_is_overtaken_for_ever() -> None:
    rounds = Rounds()
    last = [rounds.enter(["mass"]) for _ in range(5)][-1]
    overtaken = 0
    while (new := rounds.enter([f"new {overtaken}"])) < last:
        overtaken += 1
        rounds.started(new)
        assert overtaken < 10
    assert overtaken == 4


def test_a_dear_call_comes_less_often() -> None:
    rounds = Rounds()
    bulk = [rounds.enter(["bulk"], 8) for _ in range(2)]
    live = [rounds.enter(["live"]) for _ in range(20)]
    assert [sum(entered < one for entered in live) for one in bulk] == [7, 15]


def test_a_shared_call_is_as_early_as_the_one_who_has_waited_longest() -> None:
    rounds = Rounds()
    for _ in range(10):
        rounds.enter(["mass"])
    assert rounds.enter(["mass", "new"]) == 1


def test_a_line_tries_one_call_after_failures_and_none_while_it_is_paused() -> None:
    line = Line("a", 4, Breaker(failures_to_open=1, pause_seconds=0.0))
    line.running = 1
    assert (line.free, line.shut) == (3, False)
    line.breaker.record(failed=True)
    assert line.free == 0  # the one that runs is the try
    line.running = 0
    assert line.free == 1
    line.breaker.hold(5)
    assert (line.free, line.shut) == (0, True)
    line.breaker.reset()
    assert (line.free, line.shut) == (4, False)
    line.closed = "no password"
    assert (line.free, line.shut, line.wait()) == (0, True, math.inf)


async def test_a_pace_lets_a_burst_through_and_then_keeps_to_its_rate() -> None:
    pace = Pace(50, burst=2)
    started = time.monotonic()
    await asyncio.gather(*(pace.take() for _ in range(7)))
    assert time.monotonic() - started >= 0.095
    assert 0 < pace.wait() <= 0.03


async def test_a_token_that_was_waited_for_in_vain_is_given_back() -> None:
    pace = Pace(1)
    await pace.take()
    waiting = asyncio.create_task(pace.take())
    await asyncio.sleep(0)
    assert pace.wait() > 1.5
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pace.wait() <= 1
