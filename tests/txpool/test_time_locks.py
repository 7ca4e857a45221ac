"""What is told of immature parts is what the rules say: none is told of what passes, and each ends when it says."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from ckb_node.txpool.entry import Status
from ckb_node.txpool.rejects import VerificationFailed
from ckb_node.txpool.time_locks import TimeLock, time_locks
from consensus.rules.since import ImmatureError
from consensus.types.core import EpochFraction
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.funded_pool import BOB, FEE, Funds, cell_of, funded

RELATIVE, EPOCH, TIMESTAMP = 1 << 63, 1 << 61, 2 << 61


def locks_of(funds: Funds, since: int) -> list[TimeLock]:
    view = funds.dev.chain.view()
    tx = funds.spend(funds.cells[-1], since=since)
    return list(time_locks(funds.dev.consensus, tx, view.cell, funds.pool.pool.env(Status.PENDING), view))


async def is_taken(funds: Funds, since: int) -> bool:
    tx = funds.spend(funds.cells[-1], since=since)
    try:
        await funds.pool.test_accept(tx)
    except VerificationFailed as refused:
        return not isinstance(refused.cause, ImmatureError)
    return True


def at_least(**what: object) -> list[TimeLock]:
    return [TimeLock(part="Inputs", index=0, cause="since", **what)]  # type: ignore[arg-type]


async def test_heights_end_when_they_say() -> None:
    async with funded() as funds:
        view = funds.dev.chain.view()
        cell = view.cell(funds.cells[-1][0].raw)
        assert cell is not None
        assert cell.info is not None
        earliest = view.tip_header().number + 1 + funds.dev.consensus.proposal_window.closest
        for since, until in ((earliest, None), (earliest + 1, earliest + 1)):
            assert locks_of(funds, since) == ([] if until is None else at_least(block_number=until))
            assert await is_taken(funds, since) is (until is None)
        lasts = earliest - cell.info.block_number
        assert locks_of(funds, RELATIVE | lasts) == []
        assert await is_taken(funds, RELATIVE | lasts)
        assert locks_of(funds, RELATIVE | lasts + 1) == at_least(block_number=earliest + 1)
        assert not await is_taken(funds, RELATIVE | lasts + 1)


async def test_epochs_end_when_they_say() -> None:
    async with funded() as funds:
        now = EpochFraction.unpack(funds.dev.chain.view().tip_header().epoch)
        for more in (0, 1):
            since = EPOCH | EpochFraction(now.number, now.index + more, now.length).pack()
            expected = at_least(epoch=now.number + Fraction(now.index + 1, now.length)) if more else []
            assert locks_of(funds, since) == expected
            assert await is_taken(funds, since) is not bool(more)
        cell = funds.dev.chain.view().cell(funds.cells[-1][0].raw)
        assert cell is not None
        assert cell.info is not None
        committed = EpochFraction.unpack(cell.info.block_epoch).to_rational()
        assert locks_of(funds, RELATIVE | EPOCH | EpochFraction(2, 1, 3).pack()) == at_least(
            epoch=committed + 2 + Fraction(1, 3)
        )


async def test_times_end_when_they_say() -> None:
    async with funded() as funds:
        far = funds.dev.clock.now_ms() // 1000 + 100
        assert locks_of(funds, TIMESTAMP | far) == at_least(median_time=far * 1000)
        assert not await is_taken(funds, TIMESTAMP | far)
        cell = funds.dev.chain.view().cell(funds.cells[-1][0].raw)
        assert cell is not None
        assert cell.info is not None
        header = funds.dev.chain.view().header(cell.info.block_hash)
        assert header is not None
        assert locks_of(funds, RELATIVE | TIMESTAMP | 100) == at_least(median_time=header.timestamp + 100_000)
        funds.dev.clock.advance(200_000)
        await funds.dev.mine(funds.dev.consensus.median_time_block_count)
        assert locks_of(funds, TIMESTAMP | far) == locks_of(funds, RELATIVE | TIMESTAMP | 100) == []


async def test_a_relative_one_waits_for_the_cell_to_be_committed() -> None:
    async with funded() as funds:
        parent = funds.spend()
        child = funds.spend(cell_of(parent), since=RELATIVE | 1)
        view = funds.dev.chain.view()
        found = list(time_locks(funds.dev.consensus, child, view.cell, funds.pool.pool.env(Status.PENDING), view))
        assert found == at_least()


@pytest.mark.parametrize("maturity", [0, 3])
async def test_young_cellbases(maturity: int) -> None:
    consensus = replace(dev_consensus(), cellbase_maturity_epochs=maturity)
    async with funded(consensus=consensus) as funds:
        block = await funds.dev.mine(10)
        reward = cell_of(block.transactions[0])
        tx = funds.spend(reward, signer=BOB, fee=FEE, reads=[reward[0]])
        view = funds.dev.chain.view()
        found = list(time_locks(consensus, tx, view.cell, funds.pool.pool.env(Status.PENDING), view))
        epoch = EpochFraction.unpack(block.header.epoch).to_rational() + maturity
        expected = [
            TimeLock(part=part, index=index, cause="cellbase", epoch=epoch)
            for part, index in (("Inputs", 0), ("CellDeps", 1))
        ]
        assert found == (expected if maturity else [])
