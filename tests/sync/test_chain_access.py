"""The chain beside the event loop: results come by callbacks on the loop, tip and best header are those of the last
commit that was told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.events import BlockDecided, ChainChanged, Verdict
from ckb_node.sync.chain import BlockTaken, BulkTaken, HeadersTaken
from ckb_node.sync.chain_access import ChainAccess
from consensus.rules.header import BlockVersionError, UnknownParentError
from consensus.types.blockchain import Block, Header
from storage.chain_store import ChainView
from storage.errors import StorageError
from tests.support.chains.branches import branch, branch_on_bad, submit_all, with_wrong_dao
from tests.support.chains.devchain import DevChain, dev_chain

T = TypeVar("T")


def access_to(dev: DevChain) -> ChainAccess:
    return ChainAccess(dev.chain, dev.clock.now_ms)


async def answer(call: Callable[[Callable[[T], None]], None]) -> T:
    """What a call tells by its callback, which it must not make at once."""
    told: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    call(told.set_result)
    assert not told.done()
    async with asyncio.timeout(30):
        return await told


async def headers_of(access: ChainAccess, headers: Sequence[Header]) -> HeadersTaken:
    def call(done: Callable[[HeadersTaken], None]) -> None:
        access.take_headers(headers, done)

    return await answer(call)


async def bulk_of(access: ChainAccess, blocks: Sequence[Block], sources: Sequence[int] = ()) -> BulkTaken:
    def call(done: Callable[[BulkTaken], None]) -> None:
        access.take_in_bulk(blocks, done, sources)

    return await answer(call)


async def block_of(access: ChainAccess, block: Block, source: int) -> BlockTaken:
    def call(done: Callable[[BlockTaken], None]) -> None:
        access.take_block(block, source, done)

    return await answer(call)


async def read_of(access: ChainAccess, work: Callable[[ChainView], int]) -> int | Exception:
    def call(done: Callable[[int | Exception], None]) -> None:
        access.read(work, done)

    return await answer(call)


async def test_headers_become_the_best_ones_and_blocks_the_tip() -> None:
    made = await branch(b"ours", 30)
    headers = [block.header for block in made]
    async with dev_chain() as dev:
        access = access_to(dev)
        assert access.tip() == access.best_header()
        both = await asyncio.gather(headers_of(access, headers[:10]), headers_of(access, headers[10:]))
        assert [taken.judged.valid for taken in both] == [10, 20]
        assert both[1].last == access.best_header()
        assert access.best_header().hash == made[-1].hash
        assert access.tip().number == 0
        taken = await bulk_of(access, made[:20], [7] * 20)
        assert taken == BulkTaken(20)
        assert access.tip().hash == made[19].hash
        one = await block_of(access, made[20], 7)
        assert one == BlockTaken(made[20], Verdict.BEST)
        await bulk_of(access, made[21:])
        assert access.tip() == access.best_header()
        assert access_to(dev).tip() == access.tip()


async def test_listeners_are_told_before_the_caller() -> None:
    made = await branch(b"ours", 3)
    async with dev_chain() as dev:
        access, told = access_to(dev), list[str]()
        access.listen(lambda _: told.append("change"))

        def call(done: Callable[[BulkTaken], None]) -> None:
            def taken(outcome: BulkTaken) -> None:
                told.append("taken")
                done(outcome)

            access.take_in_bulk(made, taken)

        await answer(call)
        assert told == ["change", "taken"]


@pytest.mark.parametrize("in_bulk", [True, False])
async def test_a_bad_block_is_told_with_its_giver_and_its_branch_is_cut(in_bulk: bool) -> None:
    made = await branch(b"ours", 4)
    bad = with_wrong_dao(made[2])
    above = await branch_on_bad(b"above", 3, [*made[:2], bad])
    async with dev_chain() as dev:
        access, decided = access_to(dev), list[BlockDecided]()
        access.listen_decided(decided.append)
        headers = [each.header for each in (*made[:2], bad, *above)]
        await headers_of(access, headers)
        assert access.best_header().number == 6
        if in_bulk:
            blocks = [*made[:2], bad, *above]
            taken = await bulk_of(access, blocks, [1, 2, 3, 4, 5, 6])
            assert (taken.taken, taken.refused) == (2, bad)
            assert taken.error is not None
        else:
            for number, block in enumerate(made[:2], start=1):
                await block_of(access, block, number)
            one = await block_of(access, bad, 3)
            assert (one.verdict, one.fault) == (Verdict.REFUSED, None)
            assert one.error is not None
        assert [(each.block, tuple(each.sources)) for each in decided] == [(bad, (3,))]
        assert access.best_header() == access.tip()
        assert access.tip().hash == made[1].hash
        again = await headers_of(access, [bad.header])
        assert again.judged.is_sender_at_fault
        await headers_of(access, [each.header for each in made])
        assert access.best_header().hash == made[-1].hash


async def test_a_gap_and_a_fault_are_told_apart_from_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await branch(b"ours", 4)
    async with dev_chain() as dev:
        access = access_to(dev)
        taken = await bulk_of(access, made[2:])
        assert taken.taken == 0
        assert isinstance(taken.error, UnknownParentError)

        def fail(*_: object) -> None:
            raise StorageError(dev.store.path, "the disk is gone")

        monkeypatch.setattr(dev.store, "begin", fail)
        bulk = await bulk_of(access, made)
        one = await block_of(access, made[0], 1)
        batch = await headers_of(access, [made[0].header])
        for fault in (bulk.fault, one.fault, batch.fault):
            assert isinstance(fault, StorageError)
        assert (bulk.taken, one.verdict, batch.judged.valid, batch.last) == (0, None, 0, None)


async def test_batches_are_told_in_order() -> None:
    """The second stands on a header of the first that was refused: who sent both is told why, not that it is lost."""
    headers = [block.header for block in await branch(b"ours", 6)]
    bad = headers[3].with_fields(version=1)
    async with dev_chain() as dev:
        told: list[HeadersTaken] = []
        access = access_to(dev)
        access.take_headers([*headers[:3], bad], told.append)
        access.take_headers(headers[4:], told.append)
        async with asyncio.timeout(30):
            while len(told) < 2:  # noqa: ASYNC110 - callbacks of the chain
                await asyncio.sleep(0)
        assert [each.judged.valid for each in told] == [3, 0]
        assert [type(each.judged.error) for each in told] == [BlockVersionError, UnknownParentError]


async def test_reads_have_a_view_and_tell_their_errors() -> None:
    async with dev_chain() as dev:
        access = access_to(dev)
        assert await read_of(access, lambda view: view.tip_header().number) == 0

        def fail(_: ChainView) -> int:
            raise OSError("no")

        assert isinstance(await read_of(access, fail), OSError)


async def test_a_cut_by_hand_moves_both_back() -> None:
    made = await branch(b"ours", 5)
    async with dev_chain() as dev:
        access, changes = access_to(dev), list[ChainChanged]()
        access.listen(changes.append)
        await submit_all(dev, made)
        await dev.chain.truncate(made[1].hash)
        assert changes[-1].is_cut
        assert access.tip().hash == access.best_header().hash == made[1].hash


async def test_the_targets_of_assume_valid_are_looked_for_among_new_headers() -> None:
    made = await branch(b"ours", 5)
    targets = AssumeValid([made[3].hash])
    async with dev_chain(assume_valid=targets) as dev:
        dev.clock.advance(1 << 40)  # the chain is history
        access = access_to(dev)
        assert not targets.trusts(made[2].header)
        await headers_of(access, [block.header for block in made])
        assert targets.trusts(made[2].header)
        assert not targets.trusts(made[4].header)
        await bulk_of(access, made)
        assert targets.is_reached


async def test_after_the_end_nothing_is_told() -> None:
    made = await branch(b"ours", 1)
    async with dev_chain() as dev:
        access, told = access_to(dev), list[object]()
    access.take_block(made[0], 1, told.append)
    access.take_in_bulk(made, told.append)
    access.take_headers([made[0].header], told.append)
    access.read(lambda view: view.tip_header(), told.append)
    await asyncio.sleep(0)
    assert told == []
