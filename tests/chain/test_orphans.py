"""Blocks that wait for their parents: bounded in number, bytes and age, and not for sale without work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from ckb_node.chain.attach import store_block
from ckb_node.chain.errors import InvalidParentError
from ckb_node.chain.events import Verdict
from ckb_node.chain.orphans import EXPIRE_EPOCHS, OrphanPool
from ckb_node.verification.stopping import ScriptsStopped
from consensus.errors import CkbError
from consensus.params import PowFunc
from consensus.rules.block import TransactionsRootError
from consensus.rules.header import BlockTimeTooNewError
from consensus.rules.pow import PowError
from consensus.types.blockchain import Block
from storage.chain_txn import ChainTxn
from storage.errors import StorageError
from tests.support.chains.branches import branch, branch_on_bad, is_stored, tip_of, with_wrong_dao
from tests.support.chains.devchain import dev_chain, dev_consensus


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    """A chain of 8 made-up blocks in epochs 0 to 7; only their links matter."""
    made = [dev_consensus().genesis_block]
    for number in range(1, 9):
        header = made[-1].header.with_fields(number=number, parent_hash=made[-1].hash, epoch=number - 1)
        made.append(made[-1].replace(header=header))
    return made[1:]


def test_children_come_out_in_order_of_arrival(blocks: list[Block]) -> None:
    pool = OrphanPool()
    twin = blocks[1].replace(header=blocks[1].header.with_fields(nonce=1))
    for block in (blocks[1], twin, blocks[3], blocks[1]):
        pool.add(block)
    assert len(pool) == 3
    assert [orphan.block for orphan in pool.take_children(blocks[0].hash)] == [blocks[1], twin]
    assert pool.take_children(blocks[0].hash) == []
    assert list(pool) == [blocks[3]]
    assert blocks[3].hash in pool


def test_the_oldest_arrival_leaves_a_full_pool(blocks: list[Block]) -> None:
    by_number = OrphanPool(max_blocks=2)
    by_bytes = OrphanPool(max_bytes=blocks[0].raw_size * 2)
    for pool in (by_number, by_bytes):
        for block in (blocks[5], blocks[2], blocks[3]):
            pool.add(block)
        assert list(pool) == [blocks[2], blocks[3]]
    assert by_bytes._orphans.size_bytes == blocks[0].raw_size * 2


def test_old_ones_expire(blocks: list[Block]) -> None:
    pool = OrphanPool()
    strangers = [each.replace(header=each.header.with_fields(parent_hash=bytes([each.number] * 32))) for each in blocks]
    for block in strangers:
        pool.add(block)
    assert pool.expire(EXPIRE_EPOCHS) == []
    assert len(pool.expire(EXPIRE_EPOCHS + 2)) == 2
    assert list(pool) == strangers[2:]


def test_who_waits_for_an_expired_one_leaves_with_it(blocks: list[Block]) -> None:
    pool = OrphanPool()
    for block in (blocks[7], blocks[6], blocks[3], blocks[2], blocks[1]):  # heights 8, 7, 4, 3, 2 in epochs 7 to 1
        pool.add(block)
    assert len(pool.expire(EXPIRE_EPOCHS + 2)) == 3
    assert list(pool) == [blocks[7], blocks[6]], "these wait for another"
    assert pool._orphans.size_bytes == blocks[7].raw_size + blocks[6].raw_size


def test_descendants_are_dropped_on_all_branches(blocks: list[Block]) -> None:
    pool = OrphanPool()
    fork = blocks[3].replace(header=blocks[3].header.with_fields(nonce=1))
    stranger = blocks[7].replace(header=blocks[7].header.with_fields(parent_hash=bytes(32)))
    for block in (*blocks[2:5], fork, stranger):
        pool.add(block)
    assert len(pool.drop_descendants(blocks[1].hash)) == 4
    assert list(pool) == [stranger]
    assert not pool._by_parent.keys() - {bytes(32)}


async def test_they_follow_when_the_parent_comes() -> None:
    made = await branch(b"other", 6)
    side = await branch(b"side", 2, made[:2])
    async with dev_chain() as dev:
        for block in (*made[:0:-1], *side[::-1]):
            assert await dev.chain.process(block) is Verdict.ORPHAN
            assert await dev.chain.process(block) is Verdict.ORPHAN
        assert dev.chain.orphan_count == 7
        assert await dev.chain.process(made[0]) is Verdict.BEST
        assert tip_of(dev) == made[-1].hash
        assert is_stored(dev, side[-1])
        assert dev.chain.orphan_count == 0


async def test_a_false_body_gets_no_room() -> None:
    made = await branch(b"other", 2)
    false = made[1].replace(transactions=made[0].transactions)
    async with dev_chain() as dev:
        with pytest.raises(TransactionsRootError):
            await dev.chain.process(false)
        assert dev.chain.orphan_count == 0
        assert await dev.chain.process(made[1]) is Verdict.ORPHAN


async def test_a_header_without_work_gets_no_room() -> None:
    made = await branch(b"other", 2)
    hard = made[1].replace(header=made[1].header.with_fields(compact_target=0x1A08A97E))
    async with dev_chain(replace(dev_consensus(), pow_func=PowFunc.EAGLESONG)) as dev:
        with pytest.raises(PowError):
            await dev.chain.process(hard)
        assert dev.chain.orphan_count == 0


async def test_they_do_not_wait_for_an_invalid_block() -> None:
    made = await branch(b"other", 1)
    bad = with_wrong_dao(made[0])
    children = await branch_on_bad(b"other", 3, [bad])
    async with dev_chain() as dev:
        for block in children:
            await dev.chain.process(block)
        with pytest.raises(CkbError, match="InvalidDAO"):
            await dev.chain.process(bad)
        assert dev.chain.orphan_count == 0
        with pytest.raises(InvalidParentError):
            await dev.chain.process(children[0])
        assert await dev.chain.process(children[2]) is Verdict.ORPHAN, "nobody knows yet what it stands on"


async def test_an_invalid_orphan_takes_its_descendants_with_it() -> None:
    made = await branch(b"other", 2)
    bad = with_wrong_dao(made[1])
    children = await branch_on_bad(b"other", 2, [made[0], bad])
    async with dev_chain() as dev:
        for block in (*children, bad):
            await dev.chain.process(block)
        assert await dev.chain.process(made[0]) is Verdict.BEST, "the parent's sender did nothing wrong"
        assert tip_of(dev) == made[0].hash
        assert dev.chain.orphan_count == 0


async def test_they_go_on_waiting_for_a_block_that_is_only_too_early_or_garbled() -> None:
    made = await branch(b"other", 3)
    async with dev_chain() as dev:
        await dev.chain.process(made[2])
        await dev.chain.process(made[1])
        with pytest.raises(TransactionsRootError):
            await dev.chain.process(made[0].replace(transactions=made[1].transactions))
        dev.clock.advance(-60_000)
        with pytest.raises(BlockTimeTooNewError):
            await dev.chain.process(made[0])
        assert dev.chain.orphan_count == 2
        dev.clock.advance(60_000)
        assert await dev.chain.process(made[0]) is Verdict.BEST
        assert tip_of(dev) == made[2].hash


async def test_a_database_failure_keeps_them_and_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block is on the chain: its event must go out although the orphan after it cannot be stored."""
    made = await branch(b"other", 3)
    async with dev_chain() as dev:
        heard = []
        dev.chain.listen(lambda change: heard.append(change.new_tip.number))
        for block in made[:0:-1]:
            await dev.chain.process(block)
        full_disk = StorageError(dev.store.path, "no space left")

        def store_or_fail(*args: object) -> object:
            if made[1] in args:
                raise full_disk
            return store_block(*args)  # type: ignore[arg-type]

        monkeypatch.setattr("ckb_node.chain.writer.store_block", store_or_fail)
        assert await dev.chain.process(made[0]) is Verdict.BEST
        assert heard == [1]
        assert dev.chain.orphan_count == 2
        with pytest.raises(StorageError):
            await dev.chain.process(made[1])
        monkeypatch.undo()
        assert await dev.chain.process(made[0]) is Verdict.KNOWN
        assert heard == [1, 2, 3], "their parent came again"
        assert dev.chain.orphan_count == 0


@pytest.mark.parametrize(
    ("failure", "logged"),
    [(RuntimeError("can't start new thread"), ["orphan blocks must wait"]), (ScriptsStopped(), [])],
)
async def test_no_failure_keeps_the_event_back(
    failure: Exception, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scripts of the second block cannot be run; the first is on the chain."""
    made = await branch(b"other", 4)
    async with dev_chain() as dev:
        heard = []
        dev.chain.listen(lambda change: heard.append(change.new_tip.number))
        for block in made[:0:-1]:
            await dev.chain.process(block)
        attach = dev.writer._verifier.attach

        def attach_or_fail(txn: ChainTxn, blocks: Sequence[bytes]) -> None:
            if made[2].hash in blocks:
                raise failure
            attach(txn, blocks)

        monkeypatch.setattr(dev.writer._verifier, "attach", attach_or_fail)
        with capture_logs() as logs:
            assert await dev.chain.process(made[0]) is Verdict.BEST
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == logged
        assert heard == [1, 2]
        assert tip_of(dev) == made[1].hash
        assert dev.chain.orphan_count == 2
        monkeypatch.setattr(dev.writer._verifier, "attach", attach)
        assert await dev.chain.process(made[1]) is Verdict.KNOWN
        assert heard == [1, 2, 3, 4]


async def test_a_node_that_stops_does_not_go_on_with_them() -> None:
    made = await branch(b"other", 3)
    async with dev_chain() as dev:
        for block in made[:0:-1]:
            await dev.chain.process(block)
        dev.scripts.end_runs()
        assert await dev.chain.process(made[0]) is Verdict.BEST
        assert tip_of(dev) == made[0].hash


async def test_they_expire_with_the_tips_epoch() -> None:
    made = await branch(b"other", 3)
    async with dev_chain() as dev:
        await dev.chain.process(made[2])
        epoch_blocks = dev.consensus.genesis_epoch.length
        while dev.chain.view().tip_epoch().number <= EXPIRE_EPOCHS:
            assert dev.chain.orphan_count == 1
            await dev.mine(epoch_blocks)
        assert dev.chain.orphan_count == 0


async def test_a_truncation_takes_the_orphans_above_along() -> None:
    base = await branch(b"base", 2)
    main = await branch(b"main", 3, base)
    waiting, low = (await branch(b"waiting", 3, [*base, *main]))[1:], (await branch(b"low", 2))[1]
    async with dev_chain() as dev:
        for block in (*base, *main):
            await dev.chain.submit_block(block)
        for block in (*waiting, low):
            assert await dev.chain.process(block) is Verdict.ORPHAN
        await dev.chain.truncate(base[-1].hash)
        assert list(dev.writer.orphans) == [low]
