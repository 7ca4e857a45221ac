"""Fork choice and what is remembered of blocks: the first of equals, invalid branches, truncation, no rules."""

from __future__ import annotations

import pytest

from ckb_node.chain import writer
from ckb_node.chain.errors import (
    ForeignGenesisError,
    InvalidBranchError,
    InvalidParentError,
    KnownInvalidBlockError,
    TruncateError,
)
from ckb_node.chain.events import ChainChanged, Verdict
from consensus.errors import CkbError
from consensus.lookup import ChainDataError
from consensus.rules.epoch import EpochNumberMismatchError, epoch_statistics
from consensus.rules.header import BlockTimeTooNewError, NumberError, UnknownParentError
from consensus.types.blockchain import Block
from storage.chain_txn import ChainTxn
from storage.compare import state_differences
from tests.support.chains.branches import (
    adjusting_consensus,
    branch,
    branch_on_bad,
    is_stored,
    submit_all,
    tip_of,
    verified_flag,
    with_wrong_dao,
)
from tests.support.chains.devchain import DevChain, dev_chain


async def verdict_of(dev: DevChain, block: Block) -> Verdict:
    return await dev.chain.process(block)


async def test_the_first_seen_of_equals_stays() -> None:
    ours, theirs = await branch(b"ours", 2), await branch(b"theirs", 3)
    async with dev_chain() as dev:
        await submit_all(dev, ours)
        assert [await verdict_of(dev, block) for block in theirs] == [Verdict.SIDE, Verdict.SIDE, Verdict.BEST]
        assert tip_of(dev) == theirs[-1].hash
        assert [verified_flag(dev, block) for block in (*ours, *theirs)] == [True] * 5


async def test_side_blocks_are_not_verified_before_they_win() -> None:
    ours, theirs = await branch(b"ours", 2), await branch(b"theirs", 1)
    async with dev_chain() as dev:
        await submit_all(dev, ours)
        bad = with_wrong_dao(theirs[0])
        assert await verdict_of(dev, bad) is Verdict.SIDE
        assert verified_flag(dev, bad) is None


async def test_known_blocks() -> None:
    made = await branch(b"ours", 2)
    async with dev_chain() as dev:
        await submit_all(dev, made)
        heard: list[ChainChanged] = []
        dev.chain.listen(heard.append)
        for block in (*made, dev.consensus.genesis_block):
            assert await verdict_of(dev, block) is Verdict.KNOWN
        assert await dev.chain.submit_block(made[0]) == made[0].hash
        assert heard == []


async def test_another_genesis_block_is_refused() -> None:
    async with dev_chain() as dev:
        genesis = dev.consensus.genesis_block
        foreign = genesis.replace(header=genesis.header.with_fields(timestamp=1))
        with pytest.raises(ForeignGenesisError):
            await dev.chain.process(foreign)
        assert dev.chain.orphan_count == 0


async def test_an_unknown_parent_is_an_error_for_a_miner() -> None:
    made = await branch(b"ours", 2)
    async with dev_chain() as dev:
        with pytest.raises(UnknownParentError):
            await dev.chain.submit_block(made[1])
        assert dev.chain.orphan_count == 0


async def test_a_block_from_the_future_may_come_again() -> None:
    made = await branch(b"ours", 1)
    async with dev_chain() as dev:
        dev.clock.advance(-dev.consensus.ambient_time_skew_ms - 10)
        with pytest.raises(BlockTimeTooNewError):
            await dev.chain.process(made[0])
        assert not is_stored(dev, made[0])
        dev.clock.advance(20)
        assert await verdict_of(dev, made[0]) is Verdict.BEST


async def test_a_false_epoch_is_refused_even_on_a_side_branch() -> None:
    """Else anybody could fill the disk with easy blocks."""
    ours, theirs = await branch(b"ours", 2), await branch(b"theirs", 1)
    async with dev_chain() as dev:
        await submit_all(dev, ours)
        wrong = theirs[0].replace(header=theirs[0].header.with_fields(epoch=theirs[0].header.epoch + (1 << 40)))
        with pytest.raises(EpochNumberMismatchError):
            await dev.chain.process(wrong)
        assert not is_stored(dev, wrong)


async def test_an_invalid_block_is_remembered_and_changes_nothing() -> None:
    ours = await branch(b"ours", 3)
    async with dev_chain() as dev:
        await submit_all(dev, ours[:2])
        with dev.store.view() as before:
            bad = with_wrong_dao(ours[2])
            with pytest.raises(CkbError, match="InvalidDAO"):
                await dev.chain.process(bad)
            with dev.store.view() as after:
                assert state_differences(before, after) == []
        assert verified_flag(dev, bad) is False
        with pytest.raises(KnownInvalidBlockError):
            await dev.chain.process(bad)
        child = (await branch_on_bad(b"more", 1, [*ours[:2], bad]))[0]
        with pytest.raises(InvalidParentError):
            await dev.chain.process(child)
        await dev.chain.submit_block(ours[2])
        assert tip_of(dev) == ours[2].hash


async def test_all_that_stand_on_an_invalid_block_are_invalid() -> None:
    """An invalid block with children on two branches: the switch to one finds out, the other must not win either."""
    ours = await branch(b"ours", 3)
    root = with_wrong_dao((await branch(b"theirs", 1))[0])
    one, two = await branch_on_bad(b"one", 3, [root]), await branch_on_bad(b"two", 3, [root])
    async with dev_chain() as dev:
        await submit_all(dev, ours)
        for block in (root, *one[:2], *two[:2]):
            assert await verdict_of(dev, block) is Verdict.SIDE
        with pytest.raises(InvalidBranchError) as caught:
            await dev.chain.process(one[2])
        assert caught.value.block_hash == root.hash
        assert "InvalidDAO" in str(caught.value)
        for block in (root, *one, *two[:2]):
            assert verified_flag(dev, block) is False
        with pytest.raises(InvalidParentError):
            await dev.chain.submit_block(two[2])
        assert tip_of(dev) == ours[-1].hash
        assert all(verified_flag(dev, block) for block in ours)


async def test_an_invalid_block_in_the_middle_leaves_what_is_below_it() -> None:
    ours, theirs = await branch(b"ours", 3), await branch(b"theirs", 3)
    bad = with_wrong_dao(theirs[2])
    last = (await branch_on_bad(b"last", 1, [*theirs[:2], bad]))[0]
    async with dev_chain() as dev:
        await submit_all(dev, ours)
        for block in (*theirs[:2], bad):
            assert await verdict_of(dev, block) is Verdict.SIDE
        with pytest.raises(InvalidBranchError):
            await dev.chain.process(last)
        assert [verified_flag(dev, block) for block in (*theirs[:2], bad, last)] == [None, None, False, False]
        assert await verdict_of(dev, theirs[2]) is Verdict.SIDE
        good = (await branch(b"good", 1, theirs))[0]
        assert await verdict_of(dev, good) is Verdict.BEST
        assert tip_of(dev) == good.hash


async def test_a_broken_database_is_no_invalid_block(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await branch(b"ours", 1)
    async with dev_chain() as dev:
        monkeypatch.setattr(ChainTxn, "mmr_node", lambda self, position: None)
        with pytest.raises(ChainDataError):
            await dev.chain.process(made[0])
        monkeypatch.undo()
        assert not is_stored(dev, made[0])
        assert await verdict_of(dev, made[0]) is Verdict.BEST


async def test_uncles_are_counted_over_epochs() -> None:
    """With adjusting difficulty the count decides the next epoch, so a wrong one makes all later blocks invalid."""
    consensus = adjusting_consensus()
    async with dev_chain(consensus) as dev:
        expected: dict[int, int] = {}
        for number in range(1, 50):
            rival = await rival_on_tip(dev) if number % 3 == 0 else None
            block = await dev.mine()
            if rival is not None:
                dev.clock.advance(10)
                assert await verdict_of(dev, rival) is Verdict.SIDE
            epoch = dev.chain.view().tip_epoch().number
            expected[epoch] = expected.get(epoch, 0) + len(block.uncles)
        assert len(expected) >= 3
        assert min(expected.values()) > 0
        with dev.store.view() as view:
            for number in list(expected)[:-1]:
                epoch_ext = view.epoch_by_number(number)
                assert epoch_ext is not None
                tail_hash = view.main_hash(epoch_ext.start_number + epoch_ext.length - 1)
                tail = view.header(tail_hash or b"")
                assert tail is not None
                assert epoch_statistics(consensus, tail, epoch_ext, view).uncles == expected[number]
            ext = view.block_ext(view.tip_header().hash)
        assert ext is not None
        assert ext.total_uncles_count == sum(expected.values())


async def rival_on_tip(dev: DevChain) -> Block:
    """A block that another miner finds on the same tip."""
    block = (await dev.assembler.block_template()).to_block()
    return block.replace(header=block.header.with_fields(nonce=7))


# Truncation


async def test_truncate_forgets_all_that_came_after() -> None:
    base = await branch(b"base", 3)
    main, side = await branch(b"main", 3, base), await branch(b"side", 2, base)
    old_side = await branch(b"old side", 2, base[:1])
    async with dev_chain() as dev:
        await submit_all(dev, [*base, *main, *side, *old_side])
        changes: list[ChainChanged] = []
        dev.chain.listen(changes.append)
        await dev.chain.truncate(base[-1].hash)
        assert tip_of(dev) == base[-1].hash
        assert not any(is_stored(dev, block) for block in (*main, *side))
        assert all(is_stored(dev, block) for block in (*base, *old_side))
        assert [list(change.detached) for change in changes] == [main[::-1]]
        assert changes[0].new_tip == base[-1].header
        with dev.store.view() as view:
            async with dev_chain() as fresh:
                await submit_all(fresh, base)
                with fresh.store.view() as expected:
                    assert state_differences(view, expected) == []
        with pytest.raises(UnknownParentError):
            await dev.chain.submit_block(side[1])
        await submit_all(dev, main)
        assert tip_of(dev) == main[-1].hash


async def test_a_view_from_before_does_not_bring_back_what_was_cut_off() -> None:
    made = await branch(b"ours", 3)
    async with dev_chain() as dev:
        await submit_all(dev, made[:2])
        before = dev.chain.view()
        await dev.chain.truncate(made[0].hash)
        assert before.header(made[1].hash) == made[1].header
        assert not is_stored(dev, made[1])
        with pytest.raises(UnknownParentError):
            await dev.chain.submit_block(made[2])


async def test_truncate_to_the_tip_is_told_though_no_block_goes() -> None:
    """The pool is cleared, as in ckb."""
    made = await branch(b"ours", 2)
    async with dev_chain() as dev:
        await submit_all(dev, made)
        changes: list[ChainChanged] = []
        dev.chain.listen(changes.append)
        await dev.chain.truncate(made[-1].hash)
        assert [(change.is_cut, list(change.detached), change.attached) for change in changes] == [(True, [], [])]
        assert tip_of(dev) == made[-1].hash


async def test_truncate_to_the_genesis_block() -> None:
    made = await branch(b"ours", 12)
    async with dev_chain() as dev:
        await submit_all(dev, made)
        await dev.chain.truncate(dev.consensus.genesis_hash)
        await submit_all(dev, made)
        assert tip_of(dev) == made[-1].hash


async def test_truncate_is_refused_off_the_main_chain_and_too_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    made, side = await branch(b"ours", 3), await branch(b"side", 1)
    async with dev_chain() as dev:
        await submit_all(dev, [*made, *side])
        for block_hash in (side[0].hash, bytes(32)):
            with pytest.raises(TruncateError, match="not on the main chain"):
                await dev.chain.truncate(block_hash)
        monkeypatch.setattr(writer, "TRUNCATE_LIMIT", 2)
        with pytest.raises(TruncateError, match="more than 2"):
            await dev.chain.truncate(dev.consensus.genesis_hash)
        await dev.chain.truncate(made[0].hash)
        assert tip_of(dev) == made[0].hash


# Blocks without rules


async def test_unverified_blocks_join_the_chain() -> None:
    made = await branch(b"ours", 3)
    bad = with_wrong_dao(made[1])
    async with dev_chain() as dev:
        changes: list[ChainChanged] = []
        dev.chain.listen(changes.append)
        assert not await dev.chain.process_block_without_verify(made[1])
        for block in (made[0], bad, bad):
            assert await dev.chain.process_block_without_verify(block)
        assert tip_of(dev) == bad.hash
        assert len(changes) == 2
        assert verified_flag(dev, bad) is True
        assert (await dev.mine()).parent_hash == bad.hash


async def test_an_unverified_block_needs_its_place() -> None:
    made = await branch(b"ours", 1)
    async with dev_chain() as dev:
        wrong = made[0].replace(header=made[0].header.with_fields(number=7))
        with pytest.raises(NumberError):
            await dev.chain.process_block_without_verify(wrong)


async def test_an_unverified_block_can_lift_a_branch_that_breaks_rules() -> None:
    ours, theirs = await branch(b"ours", 1), await branch(b"theirs", 1)
    bad = with_wrong_dao(theirs[0])
    child = (await branch_on_bad(b"child", 1, [bad]))[0]
    async with dev_chain() as dev:
        await submit_all(dev, ours)
        assert await verdict_of(dev, bad) is Verdict.SIDE
        assert await dev.chain.process_block_without_verify(child)
        assert tip_of(dev) == child.hash
        assert verified_flag(dev, bad) is True


async def test_orphans_follow_an_unverified_block() -> None:
    made = await branch(b"ours", 2)
    async with dev_chain() as dev:
        await dev.chain.process(made[1])
        assert await dev.chain.process_block_without_verify(made[0])
        assert tip_of(dev) == made[1].hash
