"""Rounds of work: who waits, in which order, and who need not."""

from __future__ import annotations

from functools import partial

from network.turns import AFTER, BURST, RATE, ROUND, Turns
from tests.support.network.clock import FakeScheduler


def is_over(turns: Turns) -> bool:
    """For the type checker, which takes a property for a constant."""
    return turns.is_over


def test_a_round_is_over_when_its_time_is_used_up() -> None:
    clock = FakeScheduler()
    turns = Turns(clock)
    peer = turns.enter()
    begun = clock.now()
    clock.work(ROUND / 2)
    begun = turns.spend(peer, begun)
    assert not is_over(turns)
    clock.work(ROUND)
    turns.spend(peer, begun)
    assert is_over(turns)
    clock.advance(0.0)
    assert not is_over(turns)


def test_work_that_costs_no_time_ends_no_round_and_needs_no_timer() -> None:
    clock = FakeScheduler()
    turns = Turns(clock)
    for _ in range(1000):
        turns.spend(turns.enter(), clock.now())
    assert not turns.is_over
    assert clock.waiting == 0


def test_who_waits_has_its_turn_in_order_as_far_as_a_round_goes() -> None:
    clock = FakeScheduler()
    turns = Turns(clock)
    peer, done = turns.enter(), list[tuple[int, int]]()
    rounds = 0

    def work(number: int) -> None:
        begun = clock.now()
        clock.work(ROUND / 2)
        turns.spend(peer, begun)
        done.append((rounds, number))

    for number in range(5):
        turns.put_off(partial(work, number), peer, 0.0)
    while clock.waiting:
        rounds += 1
        at = clock.next_at()
        assert at is not None
        clock.advance_to(max(at, clock.now()))
    assert [number for _, number in done] == [0, 1, 2, 3, 4]


def test_a_call_may_wait_again() -> None:
    clock = FakeScheduler()
    turns, calls = Turns(clock), list[float]()
    peer = turns.enter()

    def again() -> None:
        calls.append(clock.now())
        if len(calls) < 3:
            turns.put_off(again, peer, 0.0)

    turns.put_off(again, peer, 0.0)
    clock.advance(0.0)
    assert len(calls) == 3


def test_a_wait_in_seconds() -> None:
    clock = FakeScheduler()
    turns, calls = Turns(clock), list[float]()
    turns.put_off(lambda: calls.append(clock.now()), turns.enter(), 0.5)
    clock.advance(0.4)
    assert calls == []
    clock.advance(0.2)
    assert len(calls) == 1


def test_a_peer_is_modest_until_it_has_cost_much_and_again_after_a_while() -> None:
    clock = FakeScheduler()
    turns = Turns(clock)
    peer = turns.enter()
    begun = clock.now()
    clock.work(BURST * 1.5)
    turns.spend(peer, begun)
    assert peer.left(clock.now()) < 0.0
    clock.advance(BURST / RATE)
    assert peer.left(clock.now()) > 0.0


def test_while_others_wait_little_is_done_at_a_time() -> None:
    clock = FakeScheduler()
    turns = Turns(clock)
    before = turns.slice_size, turns.max_events, turns.share
    turns.put_off(lambda: None, turns.enter(), 0.0)
    alone = [few < many for few, many in zip((turns.slice_size, turns.max_events, turns.share), before, strict=True)]
    assert alone == [True, True, True]
    clock.advance(0.0)
    assert (turns.slice_size, turns.max_events, turns.share) == before


def test_who_has_cost_little_waits_before_the_others() -> None:
    clock = FakeScheduler()
    turns, done = Turns(clock), list[str]()
    greedy, modest = turns.enter(), turns.enter()
    begun = clock.now()
    clock.work(BURST * 2)
    turns.spend(greedy, begun)
    turns.put_off(lambda: done.append("greedy"), greedy, 0.0)
    turns.put_off(lambda: done.append("modest"), modest, 0.0)
    clock.advance(0.0)
    assert done == ["modest", "greedy"]


def test_all_who_have_cost_little_have_a_moment_more_between_them() -> None:
    """When the round is over."""
    clock = FakeScheduler()
    turns, served = Turns(clock), 0
    turns.put_off(lambda: None, turns.enter(), 0.0)  # so that the round is not ended by its timer
    begun = clock.now()
    clock.work(ROUND)
    turns.spend(turns.enter(), begun)
    assert is_over(turns)
    for _ in range(100):
        peer = turns.enter()
        if not turns.has_place(peer, clock.now()):
            break
        begun = clock.now()
        clock.work(AFTER / 10)
        turns.spend(peer, begun)
        served += 1
    assert served == 10
