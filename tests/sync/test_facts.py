"""What RPC and progress are told of sync."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import pytest

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.initial_download import InitialDownload
from ckb_node.sync.blocks.waiting import ForPeers, Waiting
from ckb_node.sync.facts import SyncFacts, last_common
from ckb_node.sync.headers.waiting import HeaderWait, NothingMore
from ckb_node.sync.peers import ChainSync, SyncPeers
from consensus.types.blockchain import Header
from tests.support.chains.devchain import dev_consensus
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer
from tests.support.sync_figures import HEIGHT, NOW_MS, tip_at

TARGET = b"\7" * 32


class Branches:
    """A main chain up to `tip`, and a branch that leaves it after `fork`. A hash says height and branch."""

    def __init__(self, tip: int, fork: int) -> None:
        self.tip, self.fork, self.looked_up = tip, fork, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing is kept."""

    def known_headers(self) -> Self:
        return self

    def tip_header(self) -> Header:
        return tip_at(self.tip).header

    def main_hash(self, number: int) -> bytes | None:
        self.looked_up += 1
        return tip_at(number).hash if number <= self.tip else None

    def ancestor_hash(self, _: bytes, number: int) -> bytes | None:
        return tip_at(number).hash if number <= self.fork else bytes(31) + b"\1"


@pytest.mark.parametrize(
    ("tip", "fork", "best", "height"),
    [(100, 100, 100, 100), (100, 50, 100, 50), (100, 300, 300, 100), (300, 100, 100, 100), (9, 0, 9, 0), (0, 0, 5, 0)],
)
def test_the_last_common_block(tip: int, fork: int, best: int, height: int) -> None:
    view: Any = Branches(tip, fork)
    assert last_common(view, tip_at(best)) == (height, tip_at(height).hash)


def test_few_hashes_are_looked_up() -> None:
    view: Any = Branches(15_000_000, 7_654_321)
    last_common(view, tip_at(16_000_000))
    assert view.looked_up < 30


class Chain:
    """Of ckb_node.sync.chain.SyncChain what facts ask."""

    def __init__(self, tip: int, best: int) -> None:
        self.consensus = dev_consensus()
        self.assume_valid = AssumeValid([TARGET])
        self._tip, self._best = tip_at(tip), tip_at(best)

    def tip(self) -> Any:
        return self._tip

    def best_header(self) -> Any:
        return self._best

    def now_ms(self) -> int:
        return NOW_MS

    def view(self) -> Any:
        return Branches(self._tip.number, 4000)


class Headers:
    taken = 7

    def waits_for(self) -> HeaderWait:
        return NothingMore(3, 5.0)


class Blocks:
    in_flight_count, buffered_count, buffered_bytes, blocks_taken = 11, 12, 13, 14
    fast_time, normal_time, low_time = 900, 1200, 1400
    unverified_tip: tuple[int, bytes] | None = None

    def in_flight_of(self, session_id: int) -> int:
        return session_id

    def can_fetch_of(self, session_id: int) -> int:
        return 2 * session_id

    def waits_for(self) -> Waiting:
        return ForPeers(5001, bytes(32))


def facts_of(tip: int, best: int, blocks: Blocks | None = None) -> tuple[SyncFacts, SyncPeers]:
    chain: Any = Chain(tip, best)
    peers = SyncPeers()
    return SyncFacts(chain, peers, FakeScheduler(), InitialDownload(), Headers(), blocks or Blocks()), peers


def test_sync_state_is_what_the_parts_say() -> None:
    facts, _ = facts_of(5000, 9000)
    state = facts.state(orphans=3)
    assert state.ibd
    assert (state.assume_valid_target, state.assume_valid_target_reached) == (TARGET, False)
    assert (state.min_chain_work, state.min_chain_work_reached) == (0, True)
    assert state.best_known_block_number == 9000
    assert state.best_known_block_timestamp == tip_at(9000).header.timestamp
    assert (state.orphan_blocks_count, state.inflight_blocks_count) == (15, 11)
    assert (state.tip_number, state.tip_hash) == (5000, tip_at(5000).hash)
    assert (state.unverified_tip_number, state.unverified_tip_hash) == (5000, tip_at(5000).hash)
    assert (state.fast_time, state.normal_time, state.low_time) == (900, 1200, 1400)


def test_what_the_writer_has_counts_as_unverified() -> None:
    blocks = Blocks()
    blocks.unverified_tip = 5100, b"\1" * 32
    facts, _ = facts_of(5000, 9000, blocks)
    assert (facts.state(0).unverified_tip_number, facts.state(0).unverified_tip_hash) == (5100, b"\1" * 32)
    blocks.unverified_tip = 4000, b"\1" * 32
    assert facts.state(0).unverified_tip_number == 5000


def test_a_tip_above_the_known_headers_is_the_best() -> None:
    facts, _ = facts_of(HEIGHT, 9000)
    state = facts.state(0)
    assert (state.best_known_block_number, state.ibd, facts.best_number()) == (HEIGHT, False, HEIGHT)


def test_figures_for_progress() -> None:
    facts, peers = facts_of(5000, 9000)
    peers.add(FakePeer(1)).chain_sync = ChainSync.STARTED
    peers.add(FakePeer(2))
    figures = facts.figures("0 addresses known")
    assert (figures.peers, figures.asked, figures.in_flight, figures.buffered_bytes) == (2, 1, 11, 13)
    assert figures.headers_wait == "3 peers asked and none has more headers; asked again in 5 s"
    assert figures.blocks_wait == "a peer that has block 5001, the next one"
    assert figures.connecting == "0 addresses known"
    assert (facts.peers_in(ChainSync.STARTED), facts.peers_in(ChainSync.SUSPENDED)) == (1, 0)


def test_the_state_of_a_peer() -> None:
    facts, peers = facts_of(5000, 9000)
    fresh, known = peers.add(FakePeer(1)), peers.add(FakePeer(2))
    known.note_known(tip_at(9000))
    known.hints = [bytes(32)] * 5
    assert facts.peer_state(10**9) is None
    empty, full = facts.peer_state(fresh.session_id), facts.peer_state(known.session_id)
    assert empty is not None
    assert full is not None
    assert (empty.best_known_header_hash, empty.last_common_header_number) == (None, None)
    assert (full.best_known_header_number, full.best_known_header_hash) == (9000, tip_at(9000).hash)
    assert (full.last_common_header_number, full.last_common_header_hash) == (4000, tip_at(4000).hash)
    assert full.unknown_header_list_size == 5
    assert (full.inflight_count, full.can_fetch_count) == (known.session_id, 2 * known.session_id)
