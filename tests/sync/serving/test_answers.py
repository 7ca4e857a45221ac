"""The pace of answers: in turns, by time and bytes, of each peer and of all."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from random import Random

import pytest

from ckb_node.sync.serving.answers import Answers
from ckb_node.sync.serving.errors import RefusedQuestion, UnansweredQuestion
from ckb_node.sync.serving.pace import PaceLimits, Work
from ckb_node.sync.upload import Upload
from network.budget import Allowance
from network.limits import FILTER, LIGHT_CLIENT
from network.peers.penalties import Misbehaviour
from storage.chain_store import ChainView
from storage.errors import StorageClosed
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer
from tests.sync.serving.kit_chain import FakeChain, StoredChain, stored_chain

LIMITS = PaceLimits(max_questions=4)


@pytest.fixture(scope="module")
def stored() -> StoredChain:
    return stored_chain(3)


class Kit:
    """Answers over a clock that a test moves."""

    def __init__(self, stored: StoredChain, limits: PaceLimits = LIMITS, upload: Upload | None = None) -> None:
        self.scheduler = FakeScheduler()
        self.chain = FakeChain(stored, self.scheduler)
        self.answers = Answers(self.chain, self.scheduler, limits, upload)

    def work(self, message: bytes | None, *seconds: float, error: Exception | None = None) -> Work:
        """It takes so long from breath to breath."""

        def answer(view: ChainView) -> Generator[None, None, bytes | None]:
            for each in seconds:
                self.scheduler.work(each)
                assert not view.is_empty()
                yield
            if error is not None:
                raise error
            return message

        return answer

    def ask(self, peer: FakePeer, message: bytes | None, *seconds: float, price: float = 0.001) -> None:
        self.answers.ask(peer, LIGHT_CLIENT, self.work(message, *seconds), price)


def a_peer(seed: int = 1) -> FakePeer:
    return FakePeer(seed, protocols=[LIGHT_CLIENT, FILTER])


def test_a_question_is_answered(stored: StoredChain) -> None:
    kit, peer = Kit(stored), a_peer()
    kit.ask(peer, b"answer")
    assert peer.sent == []
    kit.chain.settle()
    assert peer.take(LIGHT_CLIENT) == [b"answer"]
    assert (kit.chain.views, kit.answers.open_questions, kit.answers.answered) == (0, 0, 1)


def test_long_answers_come_in_slices_of_one_view(stored: StoredChain) -> None:
    kit, peer = Kit(stored), a_peer()
    kit.ask(peer, b"answer", *[0.002] * 10)
    assert kit.chain.views == 1
    assert kit.chain.run() == 4
    assert peer.take(LIGHT_CLIENT) == [b"answer"]
    assert kit.chain.views == 0


def test_nothing_to_say(stored: StoredChain) -> None:
    kit, peer = Kit(stored), a_peer()
    kit.ask(peer, None)
    kit.chain.settle()
    assert peer.sent == []
    assert not peer.has_ended


def test_answers_of_a_peer_keep_their_order(stored: StoredChain) -> None:
    kit, peer = Kit(stored), a_peer()
    for number in range(3):
        kit.ask(peer, bytes([number]), *[0.006] * (3 - number))
    kit.chain.settle()
    assert peer.take(LIGHT_CLIENT) == [b"\0", b"\1", b"\2"]


def test_who_has_had_least_time_is_next(stored: StoredChain) -> None:
    kit, greedy, modest = Kit(stored), a_peer(1), a_peer(2)
    for _ in range(3):
        kit.ask(greedy, b"long", *[0.006] * 50)
    kit.chain.run(10)
    for _ in range(2):
        kit.ask(modest, b"short", 0.001)
    kit.chain.run(4)
    assert len(modest.take(LIGHT_CLIENT)) == 2
    assert greedy.take(LIGHT_CLIENT) == []
    kit.chain.settle()
    assert len(greedy.take(LIGHT_CLIENT)) == 3


def test_equal_askers_get_equal_time(stored: StoredChain) -> None:
    kit = Kit(stored)
    peers = [a_peer(seed) for seed in range(20)]
    rng = Random(1)
    for peer in peers:
        for _ in range(30):
            kit.ask(peer, b"x", *[rng.choice((0.001, 0.006))] * rng.randrange(1, 20))
    kit.chain.run(600)
    used = [line.used for line in kit.answers._lines.values()]
    assert len(used) == 20
    assert max(used) - min(used) < 0.02


def test_a_newcomer_does_not_make_up_for_the_past(stored: StoredChain) -> None:
    kit, old, new = Kit(stored), a_peer(1), a_peer(2)
    for _ in range(50):
        kit.ask(old, b"x", *[0.006] * 10)
    kit.chain.run(300)
    for _ in range(50):
        kit.ask(new, b"x", *[0.006] * 10)
    old.take(LIGHT_CLIENT)
    kit.chain.run(200)
    assert abs(len(old.take(LIGHT_CLIENT)) - len(new.take(LIGHT_CLIENT))) <= 1


def test_all_get_a_share_of_the_time(stored: StoredChain) -> None:
    kit = Kit(stored, replace(LIMITS, share=0.25, share_burst=0.01))
    begun = kit.scheduler.now()
    for seed in range(10):
        kit.ask(a_peer(seed), b"x", *[0.005] * 20)
    kit.chain.settle()
    assert kit.scheduler.now() - begun == pytest.approx(1.0 / 0.25, rel=0.05)


def test_each_gets_a_share_of_the_time(stored: StoredChain) -> None:
    kit = Kit(stored, replace(LIMITS, peer_share=0.1, peer_share_burst=0.1))
    greedy, modest = a_peer(1), a_peer(2)
    for _ in range(10):
        kit.ask(greedy, b"x", 0.1)
    kit.chain.settle(5.0)
    assert len(greedy.take(LIGHT_CLIENT)) == 5
    kit.ask(modest, b"x", 0.001)
    kit.chain.run()
    assert modest.take(LIGHT_CLIENT) == [b"x"]
    kit.chain.settle()
    assert len(greedy.take(LIGHT_CLIENT)) == 5


@pytest.mark.parametrize("is_of_each", [True, False])
def test_bytes_are_limited(stored: StoredChain, is_of_each: bool) -> None:
    limits = replace(LIMITS, peer_rate=1000, peer_burst=5000) if is_of_each else replace(LIMITS, rate=1000, burst=5000)
    kit, peer, other = Kit(stored, limits), a_peer(1), a_peer(2)
    for _ in range(20):
        kit.ask(peer, bytes(1000))
    kit.chain.run()
    assert len(peer.take(LIGHT_CLIENT)) == 5
    kit.ask(other, bytes(1000))
    kit.chain.run()
    assert len(other.take(LIGHT_CLIENT)) == is_of_each
    kit.chain.settle(5.1)
    assert len(peer.take(LIGHT_CLIENT)) + len(other.take(LIGHT_CLIENT)) == 6, "the last overdraws the allowance"


def test_uploads_of_all_kinds_share_an_allowance(stored: StoredChain) -> None:
    upload = Upload(Allowance(1000, 3000, 1000.0))
    kit, peer = Kit(stored, upload=upload), a_peer()
    other = Answers(kit.chain, kit.scheduler, LIMITS, upload)
    other.ask(peer, FILTER, kit.work(bytes(3000)), 0.001)
    kit.chain.run()
    kit.ask(peer, bytes(10))
    kit.chain.run()
    assert [protocol for protocol, _ in peer.sent] == [FILTER]
    kit.chain.settle()
    assert [protocol for protocol, _ in peer.sent] == [FILTER, LIGHT_CLIENT]


def test_many_questions_hold_their_protocol(stored: StoredChain) -> None:
    kit, peer = Kit(stored), a_peer()
    for _ in range(3):
        kit.ask(peer, b"x", 0.001)
    assert peer.held == set()
    kit.ask(peer, b"x", 0.001)
    assert peer.held == {LIGHT_CLIENT}
    kit.chain.run(1)
    assert peer.held == {LIGHT_CLIENT}
    kit.chain.run(1)
    assert peer.held == set(), "half of them are answered"
    kit.chain.settle()
    assert len(peer.take(LIGHT_CLIENT)) == 4


def test_a_peer_that_does_not_read_gets_no_more(stored: StoredChain) -> None:
    kit, idle, other = Kit(stored), a_peer(1), a_peer(2)
    idle.queued_bytes = LIMITS.max_unsent + 1
    kit.ask(idle, b"x")
    kit.ask(other, b"x")
    kit.chain.settle(10)
    assert (idle.take(LIGHT_CLIENT), other.take(LIGHT_CLIENT)) == ([], [b"x"])
    assert kit.chain.views == 0, "nothing was begun"
    idle.queued_bytes = 0
    kit.chain.settle()
    assert idle.take(LIGHT_CLIENT) == [b"x"]


def test_few_dear_answers_are_in_work_at_a_time(stored: StoredChain) -> None:
    kit = Kit(stored, replace(LIMITS, max_dear=2))
    dear, cheap = [a_peer(seed) for seed in range(5)], a_peer(9)
    for peer in dear:
        kit.ask(peer, b"dear", *[0.006] * 100, price=1.0)
    kit.chain.run(50)
    assert kit.chain.views == 2
    kit.ask(cheap, b"cheap", 0.001)
    kit.chain.run(3)
    assert cheap.take(LIGHT_CLIENT) == [b"cheap"]
    kit.chain.settle()
    assert all(peer.take(LIGHT_CLIENT) == [b"dear"] for peer in dear)


def test_a_bad_question_is_punished(stored: StoredChain) -> None:
    kit, peer = Kit(stored), a_peer()
    error = RefusedQuestion(Misbehaviour.LIGHT_CLIENT_410_INVALID_REQUEST, "so")
    kit.answers.ask(peer, LIGHT_CLIENT, kit.work(b"x", error=error), 0.001)
    kit.chain.settle()
    assert peer.banned == (300, "light client 410: invalid request: so")
    assert kit.chain.views == 0


@pytest.mark.parametrize("error", [UnansweredQuestion("so"), StorageClosed("db", "closed"), ZeroDivisionError()])
def test_a_fault_of_ours_costs_nobody_anything(stored: StoredChain, error: Exception) -> None:
    kit, peer = Kit(stored), a_peer()
    kit.answers.ask(peer, LIGHT_CLIENT, kit.work(b"x", 0.001, error=error), 0.001)
    kit.ask(peer, b"next")
    kit.chain.settle()
    assert not peer.has_ended
    assert peer.take(LIGHT_CLIENT) == [b"next"]
    assert kit.chain.views == 0


def test_a_chain_that_is_closed(stored: StoredChain) -> None:
    kit, peer = Kit(stored), a_peer()

    def view() -> ChainView:
        raise StorageClosed("db", "closed")

    kit.chain.view = view  # type: ignore[method-assign]
    for _ in range(2000):
        kit.ask(peer, b"x")
    kit.chain.settle()
    assert kit.answers.open_questions == 0
    assert not peer.has_ended


def test_an_answer_that_is_too_large(stored: StoredChain) -> None:
    kit, peer = Kit(stored), a_peer()
    kit.ask(peer, bytes(LIGHT_CLIENT.max_frame))
    kit.ask(peer, b"next")
    kit.chain.settle()
    assert not peer.has_ended
    assert peer.take(LIGHT_CLIENT) == [b"next"]


def test_who_has_left_gets_nothing(stored: StoredChain) -> None:
    kit, peer = Kit(stored), a_peer()
    for _ in range(4):
        kit.ask(peer, b"x", *[0.006] * 3)
    kit.answers.ask(peer, FILTER, kit.work(b"filter"), 0.001)
    kit.answers.closed(peer, LIGHT_CLIENT)
    assert kit.answers.open_questions == 2, "what a thread works at, and that of the other protocol"
    kit.chain.settle()
    assert peer.sent == [(FILTER, b"filter")]
    kit.answers.closed(peer, FILTER)
    assert (len(kit.answers._lines), kit.chain.views) == (0, 0)


def test_who_leaves_between_two_slices(stored: StoredChain) -> None:
    kit, peer = Kit(stored, replace(LIMITS, share=0.5, share_burst=0.001)), a_peer()
    kit.ask(peer, b"x", *[0.006] * 3)
    kit.chain.run()
    assert kit.chain.views == 1
    kit.answers.closed(peer, LIGHT_CLIENT)
    assert kit.chain.views == 0
    kit.chain.settle()
    assert peer.sent == []


def test_who_leaves_and_does_not_come_back_is_forgotten(stored: StoredChain) -> None:
    kit = Kit(stored)
    for seed in range(100):
        peer = a_peer(seed)
        kit.ask(peer, b"x", *[0.006] * 3)
        kit.chain.run(seed % 3)
        kit.answers.closed(peer, LIGHT_CLIENT)
    kit.chain.settle()
    assert (len(kit.answers._lines), kit.chain.views, kit.scheduler.waiting) == (0, 0, 0)


def test_stop(stored: StoredChain) -> None:
    kit, first, second = Kit(stored), a_peer(1), a_peer(2)
    for peer in (first, second):
        kit.ask(peer, b"x", *[0.006] * 3)
    kit.chain.run(3)
    kit.answers.stop()
    kit.ask(first, b"y")
    kit.chain.settle()
    assert (first.sent, second.sent) == ([], [])
    assert (kit.chain.views, kit.scheduler.waiting) == (0, 0)
