"""Headers of little worth do not fill the disk, and a chain that is worth more is never refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ckb_node.sync.headers.light import SLACK_BLOCKS
from ckb_node.sync.headers.limits import MAX_HEADERS
from ckb_node.sync.peers import ChainSync, SyncPeer
from consensus.types.blockchain import Header
from tests.support.network.clock import WALL_MS
from tests.sync.headers.kit_headers import DAY_MS, GENESIS, Case, branch, fake, questions

FIRST_MS = WALL_MS - 40 * DAY_MS
BEST = branch(GENESIS, 3 * MAX_HEADERS, first_ms=FIRST_MS)
OTHER = branch(GENESIS, 4 * MAX_HEADERS + 100, first_ms=FIRST_MS, salt=1)
"""Has more work, but only at its end."""


class Server:
    """A peer that answers as it should, from its own chain."""

    def __init__(self, case: Case, seed: int, chain: Sequence[Header]) -> None:
        self._case, self._chain = case, chain
        self._heights = {GENESIS.hash: 0} | {each.hash: each.number for each in chain}
        self.peer: SyncPeer = case.connect(seed)
        self.batches = 0

    def serve(self, questions_at_most: int = 100) -> None:
        """Until it is asked nothing more."""
        for _ in range(questions_at_most):
            asked = questions(self.peer)
            if not asked:
                return
            common = next(self._heights[each] for each in asked[-1] if each in self._heights)
            self.batches += 1
            self._case.send(self.peer, self._chain[common : common + MAX_HEADERS])


def test_a_light_branch_is_not_written_however_long_it_is() -> None:
    case = Case()
    Server(case, 1, BEST).serve()
    assert case.rows == len(BEST)
    light = Server(case, 2, OTHER[: 2 * MAX_HEADERS])
    case.advance(30.0)
    light.serve()
    assert light.batches == 3  # the last is empty
    assert case.rows == len(BEST)
    assert case.chain.best_header().header == BEST[-1]
    assert not fake(light.peer).has_ended
    assert light.peer.chain_sync is ChainSync.TIP_SYNCED


def test_a_branch_that_becomes_heavier_is_fetched_again_and_written() -> None:
    case = Case()
    Server(case, 1, BEST).serve()
    heavy = Server(case, 2, OTHER)
    case.advance(30.0)
    heavy.serve()
    assert case.chain.best_header().header == OTHER[-1]
    assert case.rows == len(BEST) + len(OTHER)
    assert heavy.peer.best_known == case.chain.best_header()
    assert not fake(heavy.peer).has_ended
    # three to weigh, one that was asked for meanwhile, and all of them once more
    assert heavy.batches <= 3 + 1 + 5


@pytest.mark.parametrize("shift", [1, 777])
def test_what_was_weighed_in_other_batches_is_found_again(shift: int) -> None:
    """The best branch shares its beginning with the other, so the first batch has known headers in it."""
    case = Case()
    common = branch(GENESIS, shift, first_ms=FIRST_MS)
    ours = [*common, *branch(common[-1], 3 * MAX_HEADERS)]
    theirs = [*common, *branch(common[-1], 4 * MAX_HEADERS, salt=1)]
    Server(case, 1, ours).serve()
    other = Server(case, 2, theirs)
    case.advance(30.0)
    other.serve()
    assert case.chain.best_header().header == theirs[-1]
    assert not fake(other.peer).has_ended


def test_a_branch_near_the_tip_is_written_at_once() -> None:
    case = Case()
    Server(case, 1, BEST).serve()
    near = branch(BEST[-SLACK_BLOCKS], SLACK_BLOCKS - 10, salt=1)
    peer = Server(case, 2, [*BEST[: -SLACK_BLOCKS + 1], *near])
    case.advance(30.0)
    peer.serve()
    assert case.rows == len(BEST) + len(near)
    assert peer.batches == 1


def test_a_branch_that_we_have_forgotten_is_nobodys_fault() -> None:
    case = Case()
    Server(case, 1, BEST).serve()
    peer = case.connect(2)
    case.advance(30.0)
    case.send(peer, OTHER[:MAX_HEADERS])
    for salt in range(2, 80):  # others come meanwhile
        case.chain._header_judge.judge(branch(GENESIS, 2, salt=salt))
    questions(peer)
    case.send(peer, OTHER[MAX_HEADERS : 2 * MAX_HEADERS])
    assert not fake(peer).has_ended
    questions(peer)
    case.advance(30.0)
    assert len(questions(peer)) == 1


def test_who_sends_another_branch_than_it_promised_gets_nothing_written() -> None:
    case = Case()
    Server(case, 1, BEST).serve()
    peer = case.connect(2)
    case.advance(30.0)
    for number in range(3):
        case.send(peer, OTHER[number * MAX_HEADERS : (number + 1) * MAX_HEADERS])
    assert questions(peer)
    case.send(peer, OTHER[3 * MAX_HEADERS : 4 * MAX_HEADERS])  # was asked for before the verdict
    case.send(peer, branch(GENESIS, MAX_HEADERS, first_ms=FIRST_MS, salt=9))
    assert case.rows == len(BEST)


def test_headers_of_an_impossible_epoch_are_banned_for() -> None:
    case = Case()
    peer = case.connect(1)
    made = branch(GENESIS, 10)
    made[-1] = made[-1].with_fields(compact_target=0x2000_0001)
    case.send(peer, made)
    banned = fake(peer).banned
    assert banned is not None
    assert banned[1].startswith("415")
    assert case.rows == 9
