"""The fast paths that judge a header, a reward, a DAO field and a chain root say what the plain rules say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from consensus.codec.layout import U64_MAX
from consensus.errors import CkbError
from consensus.fast.chain import (
    ancestors_of,
    chain_root_matches,
    dao_field_matches,
    fast_proposer_reward,
    fast_reward,
    fast_verify_header,
)
from consensus.fast.mmr import chain_root_of, nodes_of_next
from consensus.params import Consensus, PowFunc, ProposalWindow
from consensus.rules.block_contextual import verify_chain_root, verify_dao_field_after
from consensus.rules.dao import CapacityMoves, DaoField, dao_field_after
from consensus.rules.header import median_time, verify_header
from consensus.rules.mmr import chain_root_hash, nodes_of_block
from consensus.rules.reward import block_reward, has_finalization_target, proposer_reward
from consensus.types.blockchain import Header
from consensus.types.core import EpochFraction
from tests.support.chains.unchecked import UncheckedChain, block, header, make_consensus, transaction
from tests.support.fuzz import examples

NOW_MS = 10_000_000


def verdict(rule: Callable[..., object], *args: object) -> object:
    """What a rule says."""
    try:
        rule(*args)
    except CkbError as error:
        return type(error), str(error)
    return None


# ---------------------------------------------------------------- headers


def chain_of_odd_times(random: Random, length: int) -> UncheckedChain:
    """Times go back and forth, as those of miners do."""
    chain = UncheckedChain.with_genesis(make_consensus(genesis_length=30))
    for _ in range(length):
        chain.extend(timestamp=max(chain.tip_header().timestamp + random.randrange(-20_000, 30_000), 0))
    return chain


def next_header(chain: UncheckedChain, random: Random) -> Header:
    """Mostly good; else with one field that may break a rule."""
    tip = chain.tip_header()
    epoch = EpochFraction.unpack(tip.epoch)
    good = header(
        number=tip.number + 1,
        parent_hash=tip.hash,
        epoch=chain.epochs[tip.hash].fraction_at(tip.number + 1),
        timestamp=tip.timestamp + random.randrange(-100_000, 100_000) % (NOW_MS * 2),
    )
    changes: list[dict[str, object]] = [
        {},
        {},
        {"timestamp": NOW_MS + random.choice((0, 1, 14_999, 15_000, 15_001))},
        {"number": random.choice((0, tip.number, tip.number + 2))},
        {"epoch": good.epoch + random.choice((1, 1 << 24, -(1 << 24) if epoch.index else 1, 1 << 40, 1 << 56))},
        {"epoch": EpochFraction(epoch.number + 1, 0, 7).pack()},
        {"epoch": random.getrandbits(64)},
        {"parent_hash": bytes(32)},
    ]
    return good.with_fields(**random.choice(changes))


@pytest.mark.fuzz
@hypothesis_settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_headers(seed: int) -> None:
    random = Random(seed)
    chain = chain_of_odd_times(random, random.choice((0, 1, 5, 28, 29, 30, 45)))
    for _ in range(12):
        new = next_header(chain, random)
        plain = verdict(verify_header, chain.consensus, new, chain, NOW_MS)
        assert verdict(fast_verify_header, chain.consensus, new, chain, NOW_MS) == plain
        if random.random() < 0.5:
            chain.extend(timestamp=chain.tip_header().timestamp + random.randrange(20_000))


def test_work_is_asked_for() -> None:
    chain = UncheckedChain.with_genesis(make_consensus())
    chain.extend()
    tip = chain.tip_header()
    epoch = chain.epochs[tip.hash].fraction_at(2)
    new = header(number=2, parent_hash=tip.hash, epoch=epoch, timestamp=tip.timestamp + 1, compact_target=0x01010000)
    with_work = replace(chain.consensus, pow_func=PowFunc.EAGLESONG)
    assert verdict(fast_verify_header, chain.consensus, new, chain, NOW_MS) is None
    plain = verdict(verify_header, with_work, new, chain, NOW_MS)
    assert verdict(fast_verify_header, with_work, new, chain, NOW_MS) == plain
    assert plain is not None


def test_ancestors_reach_as_far_as_they_are_asked_for() -> None:
    chain = chain_of_odd_times(Random(5), 60)
    reach = 2 * chain.consensus.proposal_window.farthest + 1
    for number in (0, 1, reach - 1, reach, 59, 60, 30):
        ancestors = ancestors_of(chain.consensus, chain.headers[chain.main[number]], chain)
        assert ancestors.hashes == tuple(chain.main[max(number + 1 - reach, 0) : number + 1])


def test_the_median_time_of_ancestors() -> None:
    chain = chain_of_odd_times(Random(6), 90)
    for number in (*range(90), 3, 50):
        block_hash, count = chain.main[number], chain.consensus.median_time_block_count
        ancestors = ancestors_of(chain.consensus, chain.headers[block_hash], chain)
        assert ancestors.median_ms() == median_time(chain, block_hash, count)


# ---------------------------------------------------------------- DAO field

AMOUNTS = st.one_of(st.integers(0, 1 << 62), st.integers(U64_MAX - 1000, U64_MAX + 1000), st.integers(0, 10))


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.tuples(*[AMOUNTS.map(lambda amount: min(amount, U64_MAX))] * 4), st.tuples(*[AMOUNTS] * 4), st.booleans())
def test_dao_fields(before: tuple[int, int, int, int], moves: tuple[int, int, int, int], is_spoilt: bool) -> None:
    consensus = make_consensus()
    parent, all_moves = header(number=7, dao=DaoField(*before).pack()), CapacityMoves(*moves)
    epoch = consensus.genesis_epoch
    try:
        expected = dao_field_after(consensus, parent, epoch, all_moves)
    except CkbError:
        expected = bytes(32)
    new = header(number=8, dao=bytes(31) + b"\1" if is_spoilt else expected)
    plain = verdict(verify_dao_field_after, consensus, new, parent, epoch, all_moves)
    assert dao_field_matches(consensus, new, parent, epoch, all_moves) == (plain is None)


# ---------------------------------------------------------------- reward


def chain_of_fees(consensus: Consensus, random: Random, length: int) -> UncheckedChain:
    """Blocks propose and commit a few transactions again and again, inside and outside of windows."""
    chain = UncheckedChain.with_genesis(consensus)
    known = [transaction(version=number) for number in range(12)]
    for _ in range(length):
        proposed = [tx.short_id for tx in random.sample(known, random.choice((0, 0, 1, 3)))]
        committed = random.sample(known, random.choice((0, 0, 1, 2)))
        fees = [random.randrange(1 << random.choice((4, 20, 40))) for _ in committed]
        chain.extend(committed, fees=fees, proposals=proposed)
    return chain


@pytest.mark.fuzz
@hypothesis_settings(max_examples=examples(25), deadline=None)
@given(seed=st.integers(0, 1 << 32), window=st.sampled_from(((2, 10), (2, 5), (1, 1), (1, 4))))
def test_rewards(seed: int, window: tuple[int, int]) -> None:
    random = Random(seed)
    consensus = make_consensus(proposal_window=ProposalWindow(*window))
    chain = chain_of_fees(consensus, random, random.choice((3, 14, 40)))
    for number in range(1, len(chain.main)):
        if not has_finalization_target(consensus, number):
            continue
        parent = chain.headers[chain.main[number - 1]]
        target = chain.headers[chain.main[number - consensus.finalization_delay]]
        proposed = chain.proposal_ids(target.hash)
        assert proposed is not None
        assert fast_proposer_reward(consensus, parent, proposed, chain) == proposer_reward(
            consensus, parent, target, chain
        )
        _, plain = block_reward(consensus, parent, chain)
        assert fast_reward(consensus, parent, target, chain) == plain.total


# ---------------------------------------------------------------- chain root


def test_chain_roots() -> None:
    chain = UncheckedChain.with_genesis(make_consensus())
    for _ in range(70):
        parent = chain.tip_header()
        good = chain_root_hash(chain, parent.number)
        for extension in (good, good + b"more", good[:31], bytes(32), good[:31] + bytes((good[31] ^ 1,)), None):
            candidate = block(header(number=parent.number + 1, parent_hash=parent.hash), extension=extension)
            plain = verdict(verify_chain_root, chain.consensus, candidate, parent, chain)
            assert chain_root_matches(chain.consensus, candidate, parent, chain) == (plain is None)
        chain.extend(extension=good)


def nodes_or_fault(nodes: Callable[..., Sequence[bytes]], chain: UncheckedChain, candidate: Header) -> object:
    try:
        return list(nodes(chain, candidate))
    except CkbError as error:
        return type(error), str(error)


def plain_nodes(chain: UncheckedChain, candidate: Header) -> Sequence[bytes]:
    return nodes_of_block(chain, candidate)[1]


def test_nodes_of_the_next_block() -> None:
    """Of two branches in turns, and of headers of epochs that do not follow, which the plain way refuses."""
    consensus = make_consensus()
    chains = UncheckedChain.with_genesis(consensus), UncheckedChain.with_genesis(consensus)
    kinds: set[type] = set()
    for height in range(60):
        for chain in chains[: 2 if height % 7 < 3 else 1]:
            parent = chain.tip_header()
            for epoch in (header().epoch, parent.epoch, parent.epoch + (1 << 24)):
                candidate = header(number=parent.number + 1, parent_hash=parent.hash, epoch=epoch, timestamp=height)
                plain = nodes_or_fault(plain_nodes, chain, candidate)
                kinds.add(type(plain))
                assert nodes_or_fault(nodes_of_next, chain, candidate) == plain
                assert chain_root_of(chain, parent) == chain_root_hash(chain, parent.number)
            chain.extend(extension=bytes([height]) * 32)
    assert kinds == {list, tuple}, "some follow, some do not"
