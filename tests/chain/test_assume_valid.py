"""Assume-valid: only ancestors of a known target skip scripts, and only scripts; when it starts and when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ckb_node.chain.assume_valid import STRETCH, AssumeValid
from ckb_node.chain.assume_valid_defaults import DEFAULT_TARGETS
from ckb_node.chain.events import Verdict
from ckb_node.chain.initial_download import (
    MAX_TIP_AGE_MS,
    FetchAll,
    FetchGate,
    FetchTo,
    InitialDownload,
    MinWorkNotReached,
    TargetNotFound,
    fetch_gate,
    has_enough_work,
)
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.rules.block_contextual import DaoFieldMismatchError
from consensus.rules.verify_block import BlockTransactionError
from consensus.types.blockchain import Block, Header
from tests.support.chains.branches import branch, tip_of, verified_flag, with_wrong_dao
from tests.support.chains.devchain import dev_chain, dev_consensus
from tests.support.chains.long_chain import chain_with_a_bad_signature


@dataclass
class Headers:
    """A chain of headers, as sync keeps it."""

    chain: list[Header] = field(default_factory=list)
    read: int = 0
    """How often hashes of a branch were read."""

    def header(self, block_hash: bytes) -> Header | None:
        return next((each for each in self.chain if each.hash == block_hash), None)

    def branch_hashes(self, block_hash: bytes, first: int, last: int) -> list[bytes] | None:
        of = self.header(block_hash)
        if of is None or last > of.number:
            return None
        self.read += 1
        return [each.hash for each in self.chain if first <= each.number <= last]

    def best_header(self) -> Header:
        return self.chain[-1]


def header_chain(count: int, nonce: int = 0) -> Headers:
    made = [dev_consensus().genesis_block.header]
    for number in range(1, count + 1):
        fields = {"number": number, "parent_hash": made[-1].hash, "timestamp": number * 1000, "nonce": nonce}
        made.append(made[-1].with_fields(**fields))
    return Headers(made)


def state(policy: AssumeValid) -> tuple[bytes, bool, bytes | None]:
    return policy.last, policy.is_reached, policy.next_target


LONG_AFTER = MAX_TIP_AGE_MS + 1_000_000


def test_ancestors_of_a_known_target_are_trusted() -> None:
    headers = header_chain(10)
    policy = AssumeValid([headers.chain[4].hash, headers.chain[8].hash])
    assert not any(map(policy.trusts, headers.chain)), "no headers yet"
    policy.follow(Headers(headers.chain[:4]), LONG_AFTER)
    assert not any(map(policy.trusts, headers.chain)), "no target among them"
    policy.follow(Headers(headers.chain[:6]), LONG_AFTER)
    assert [policy.trusts(header) for header in headers.chain] == [True] * 5 + [False] * 6
    policy.follow(headers, LONG_AFTER)
    assert [policy.trusts(header) for header in headers.chain] == [True] * 8 + [False] * 3, "not the last target itself"


def test_hashes_are_read_for_many_blocks_at_once() -> None:
    headers = header_chain(3 * STRETCH)
    policy = AssumeValid([headers.chain[-2].hash, headers.chain[-1].hash])
    policy.follow(headers, 2 * MAX_TIP_AGE_MS)
    headers.read = 0
    assert all(map(policy.trusts, headers.chain[1:-1]))
    assert 3 <= headers.read <= 6
    assert policy.trusts(headers.chain[5]), "a height below those that were read last"
    policy.note_stored([headers.chain[-2].hash])
    assert policy.trusts(headers.chain[-2]), "by the other target"


def test_who_is_no_ancestor_is_not_trusted() -> None:
    headers, others = header_chain(10), header_chain(10, nonce=1)
    policy = AssumeValid([headers.chain[8].hash])
    policy.follow(headers, LONG_AFTER)
    assert not any(policy.trusts(header) for header in others.chain[1:])


def test_targets_are_left_behind_as_their_blocks_come() -> None:
    headers = header_chain(10)
    first, last = headers.chain[4].hash, headers.chain[8].hash
    policy = AssumeValid([first, last])
    assert state(policy) == (last, False, first)
    policy.follow(headers, LONG_AFTER)
    policy.note_stored([headers.chain[3].hash, first])
    assert policy.next_target == last
    assert policy.trusts(headers.chain[7])
    policy.note_stored([last])
    assert state(policy) == (last, True, None)
    assert not any(map(policy.trusts, headers.chain))


def test_targets_that_are_stored_at_the_start_lie_behind() -> None:
    headers = header_chain(10)
    first, last = headers.chain[4].hash, headers.chain[8].hash
    policy = AssumeValid([first, last])
    policy.forget_stored({first}.__contains__)
    assert policy.next_target == last
    policy.forget_stored({first, last}.__contains__)
    assert policy.is_reached


@pytest.mark.parametrize(("age", "is_given_up"), [(MAX_TIP_AGE_MS, False), (MAX_TIP_AGE_MS - 1, True), (-5000, True)])
def test_a_target_of_the_last_day_is_given_up(age: int, is_given_up: bool) -> None:
    headers = header_chain(10)
    policy = AssumeValid([headers.chain[8].hash])
    policy.follow(headers, headers.chain[8].timestamp + age)
    assert policy.is_reached is is_given_up
    assert policy.trusts(headers.chain[1]) is not is_given_up


@pytest.mark.parametrize(("age", "is_given_up"), [(MAX_TIP_AGE_MS, False), (MAX_TIP_AGE_MS - 1, True)])
def test_a_target_that_the_headers_lack_is_given_up_when_they_are_complete(age: int, is_given_up: bool) -> None:
    headers = header_chain(10)
    policy = AssumeValid([bytes([1] * 32), headers.chain[8].hash])
    policy.follow(headers, headers.chain[-1].timestamp + age)
    assert policy.is_reached is is_given_up


@pytest.mark.parametrize("targets", [[], [bytes(32)]])
def test_nothing_is_trusted_without_targets(targets: Sequence[bytes]) -> None:
    policy = AssumeValid(targets)
    assert (policy.last, policy.is_reached) == (bytes(32), True)
    policy.follow(header_chain(3), LONG_AFTER)
    assert not policy.trusts(dev_consensus().genesis_block.header)


def test_defaults_are_for_the_public_chains() -> None:
    assert {chain: len(targets) for chain, targets in DEFAULT_TARGETS.items()} == {"ckb": 16, "ckb_testnet": 16}
    assert all(
        len(set(targets)) == 16 and all(len(each) == 32 for each in targets) for targets in DEFAULT_TARGETS.values()
    )


# ---------------------------------------------------------------- blocks


def assume(blocks: Sequence[Block], target: bytes) -> AssumeValid:
    policy = AssumeValid([target])
    policy.follow(Headers([dev_consensus().genesis_block.header, *(block.header for block in blocks)]), 1 << 50)
    return policy


async def test_scripts_of_ancestors_do_not_run_and_their_cycles_are_zero() -> None:
    blocks = chain_with_a_bad_signature()
    bad = next(block for block in reversed(blocks) if len(block.transactions) > 1)
    policy = assume(blocks, blocks[-2].hash)
    async with dev_chain(assume_valid=policy) as dev:
        for block in blocks:
            assert await dev.chain.process(block) is Verdict.BEST
        assert policy.is_reached
        ext = dev.chain.view().block_ext(bad.hash)
        assert ext is not None
        assert (ext.verified, ext.cycles) == (True, [0])
        assert next(iter(ext.txs_fees)) > 0
        assert len(dev.scripts.verified) == 0, "nobody learns that they passed"


async def test_without_a_target_above_they_run() -> None:
    blocks = chain_with_a_bad_signature()
    bad = next(block for block in reversed(blocks) if len(block.transactions) > 1)
    async with dev_chain(assume_valid=assume(blocks, bad.hash)) as dev:  # the last target's own scripts run
        for block in blocks[: blocks.index(bad)]:
            await dev.chain.process(block)
        with pytest.raises(BlockTransactionError):
            await dev.chain.process(bad)
        assert verified_flag(dev, bad) is False


async def test_all_other_rules_are_checked_of_ancestors() -> None:
    made = await branch(b"ours", 3)
    bad = with_wrong_dao(made[1])
    async with dev_chain(assume_valid=assume([made[0], bad, made[2]], made[2].hash)) as dev:
        await dev.chain.process(made[0])
        with pytest.raises(DaoFieldMismatchError):
            await dev.chain.process(bad)
        assert tip_of(dev) == made[0].hash


# ---------------------------------------------------------------- least work, initial download


def test_initial_download_ends_once() -> None:
    download = InitialDownload()
    assert download.is_on(1000, 1001 + MAX_TIP_AGE_MS)
    assert not download.is_on(1000, 1000 + MAX_TIP_AGE_MS)
    assert not download.is_on(1000, 9000 + MAX_TIP_AGE_MS), "never again in this run"


def test_the_least_work_must_be_exceeded() -> None:
    assert not has_enough_work(100, 100)
    assert has_enough_work(101, 100)
    assert has_enough_work(compact_to_difficulty(dev_consensus().genesis_block.header.compact_target), 0)


@pytest.mark.parametrize(
    ("best", "target", "number", "gate"),
    [
        (100, b"t", 5, MinWorkNotReached()),
        (101, b"t", None, TargetNotFound(b"t")),
        (101, b"t", 5, FetchTo(5)),
        (101, None, None, FetchAll()),
    ],
)
def test_when_blocks_are_fetched(best: int, target: bytes | None, number: int | None, gate: FetchGate) -> None:
    assert fetch_gate(best, 100, target, number) == gate
