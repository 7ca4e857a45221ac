"""Two branches of 30 blocks with transactions: the chain reorganises both ways, and pool and cells follow."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ckb_node.chain.errors import KnownInvalidBlockError
from consensus.errors import CkbError
from consensus.types.blockchain import Block, OutPoint, Transaction
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import DevChain, assert_equals_replay, committed, dev_chain, pool_hashes

ALICE, BOB = Wallet(ALICE_KEY), Wallet(BOB_KEY)
FEE = 100_000


class Spender:
    """Alice's chain of payments to Bob: each spends the change of the one before."""

    def __init__(self, dev: DevChain) -> None:
        self.consensus = dev.consensus
        self.cell = issued_cell(dev.consensus, ALICE)

    def pay(self, amount: int) -> Transaction:
        _, capacity = self.cell
        change = capacity - amount - FEE
        tx = ALICE.transfer(self.consensus, [self.cell], [(BOB.lock, amount), (ALICE.lock, change)])
        self.cell = OutPoint(tx_hash=tx.hash, index=1), change
        return tx


async def mine_with_payments(dev: DevChain, count: int, amount: int) -> tuple[list[Block], list[Transaction]]:
    """Mine `count` blocks while Alice pays once per block."""
    spender = Spender(dev)
    blocks, payments = [], []
    for _ in range(count):
        payment = spender.pay(amount)
        await dev.pool.submit(payment)
        payments.append(payment)
        blocks.append(await dev.mine())
    return blocks, payments


async def test_reorganises_both_ways_with_transactions() -> None:
    async with dev_chain(message=b"branch b") as other:
        branch_b, payments_b = await mine_with_payments(other, 31, 2000 * CKB)
        async with dev_chain(message=b"branch a") as dev:
            branch_a, payments_a = await mine_with_payments(dev, 30, 1000 * CKB)
            assert dev.chain.view().tip_header() == branch_a[-1].header
            assert committed(branch_a)

            for block in branch_b[:30]:
                await dev.chain.submit_block(block)
            assert dev.chain.view().tip_header() == branch_a[-1].header, "the first seen of equals stays"

            await run_reorg(dev, branch_b[30:])
            assert dev.chain.view().tip_header() == branch_b[-1].header
            # Both branches spend Alice's only cell: nothing of branch a can come back.
            assert await pool_hashes(dev) == set()
            assert_equals_replay(dev)
            spent = payments_b[0]
            assert spent.hash in committed(branch_b)
            assert dev.chain.view().transaction_info(payments_a[0].hash) is None
            assert dev.chain.view().transaction_info(spent.hash) is not None

            async with dev_chain(message=b"branch a") as copy:
                for block in branch_a:
                    await copy.chain.submit_block(block)
                longer = [await copy.mine() for _ in range(2)]
            await run_reorg(dev, longer)
            assert dev.chain.view().tip_header() == longer[-1].header
            assert_equals_replay(dev)
            assert dev.chain.view().transaction_info(payments_a[0].hash) is not None


async def run_reorg(dev: DevChain, blocks: Sequence[Block]) -> None:
    """Submit blocks with the pool's own task running, as in a node."""
    for block in blocks:
        await dev.chain.submit_block(block)
    await dev.settle_pool()


async def test_detached_transactions_wait_again() -> None:
    async with dev_chain(message=b"empty") as other:
        empty_branch = [await other.mine() for _ in range(9)]
    async with dev_chain(message=b"full") as dev:
        full_branch, payments = await mine_with_payments(dev, 8, 1000 * CKB)
        were_committed = committed(full_branch)
        assert were_committed
        assert len(were_committed) < len(payments)
        await run_reorg(dev, empty_branch)
        assert dev.chain.view().tip_header() == empty_branch[-1].header
        assert await pool_hashes(dev) == {tx.hash for tx in payments}
        await dev.mine(4)
        assert await pool_hashes(dev) == set()
        assert_equals_replay(dev)


async def test_a_bad_branch_changes_nothing_and_is_remembered() -> None:
    async with dev_chain(message=b"bad") as other:
        good = [await other.mine() for _ in range(5)]
    async with dev_chain(message=b"ours") as dev:
        ours = [await dev.mine() for _ in range(2)]
        for block in good[:2]:
            await dev.chain.submit_block(block)
        wrong_dao = good[2].replace(header=good[2].header.with_fields(dao=bytes(32)))
        with pytest.raises(CkbError, match="InvalidDAO"):
            await dev.chain.submit_block(wrong_dao)
        assert dev.chain.view().tip_header() == ours[-1].header
        with pytest.raises(KnownInvalidBlockError):
            await dev.chain.submit_block(wrong_dao)
        assert_equals_replay(dev)


async def test_blocks_in_any_order_end_in_the_same_tip() -> None:
    async with dev_chain(message=b"orphans") as other:
        blocks = [await other.mine() for _ in range(6)]
    async with dev_chain() as dev:
        for block in reversed(blocks):
            await dev.chain.process(block)
        assert dev.chain.view().tip_header() == blocks[-1].header
        assert dev.chain.orphan_count == 0
