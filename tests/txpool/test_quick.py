"""What the pool finds out once: sound structures, and deps that transactions share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckb_node.txpool.quick import MAX_BYTES, SharedDeps, is_sound_alone
from ckb_node.txpool.rejects import ResolveFailed, VerificationFailed
from consensus.errors import CkbError
from consensus.rules.resolve import DeadOutPointError, UnknownOutPointError, resolve_cell_deps
from consensus.rules.transaction import TransactionSizeError
from consensus.rules.verify_transaction import verify_transaction_non_contextual
from consensus.types.blockchain import NULL_OUT_POINT, CellInput, OutPoint, Transaction
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.funded_pool import Funds, cell_of, funded


def variants(tx: Transaction) -> list[Transaction]:
    """One that is good, and one for each rule that it may break by itself."""
    body = tx.body
    bodies = [
        body,
        body.replace(version=1),
        body.replace(inputs=[]),
        body.replace(outputs=[], outputs_data=[]),
        body.replace(outputs_data=[]),
        body.replace(cell_deps=[*body.cell_deps, body.cell_deps[0]]),
        body.replace(header_deps=[bytes(32)] * 2),
        body.replace(cell_deps=[body.cell_deps[0].replace(dep_type=2)]),
        body.replace(outputs=[body.outputs[0].replace(lock=body.outputs[0].lock.replace(hash_type=3))]),
        body.replace(outputs=[body.outputs[0].replace(type_=body.outputs[0].lock.replace(hash_type=9))]),
        body.replace(inputs=[CellInput(since=0, previous_output=NULL_OUT_POINT)]),
        body.replace(outputs_data=[bytes(MAX_BYTES)]),
    ]
    return [Transaction(body=each, witnesses=tx.witnesses) for each in bodies]


async def test_what_is_sound_keeps_the_rules() -> None:
    """Nothing that breaks a rule counts as sound; a usual transaction does."""
    async with funded() as funds:
        found = variants(funds.spend())
        for tx in found:
            plain = Transaction.parse(tx.raw)
            try:
                verify_transaction_non_contextual(dev_consensus(), plain)
                is_good = not plain.is_cellbase and len(plain.raw) <= MAX_BYTES
            except CkbError:
                is_good = False
            assert is_sound_alone(Transaction.parse(tx.raw)) is is_good
        usual = Transaction.parse(found[0].raw)
        assert is_sound_alone(usual)
        assert (usual.hash, usual.witness_hash) == (found[0].hash, found[0].witness_hash)


async def test_the_largest_block_is_the_chains_own() -> None:
    """A spec may have blocks that are smaller than what counts as small."""
    async with funded() as funds:
        tx = funds.spend()
        pool = funds.pool.pool
        pool.consensus = replace(pool.consensus, max_block_bytes=tx.size_in_block)
        pool.verify_non_contextual(Transaction.parse(tx.raw))
        pool.consensus = replace(pool.consensus, max_block_bytes=tx.size_in_block - 1)
        with pytest.raises(VerificationFailed) as refused:
            pool.verify_non_contextual(Transaction.parse(tx.raw))
        assert isinstance(refused.value.cause, TransactionSizeError)


def reading(funds: Funds, out_point: OutPoint) -> Transaction:
    return funds.spend(reads=[out_point])


async def test_shared_deps_are_looked_up_once() -> None:
    async with funded() as funds:
        cells, deps = funds.pool.pool.cells(), SharedDeps()
        first, second = funds.spend(), funds.spend()
        resolved = deps.resolve(first, cells, ())
        assert [cell.out_point for cell in resolved[0]] == [
            cell.out_point for cell in resolve_cell_deps(first, cells, ())[0]
        ]
        assert deps.resolve(second, cells, ()) is resolved


async def test_a_shared_dep_that_is_spent_is_dead() -> None:
    """The first reader is taken, then the cell is spent by another of the pool: the next reader is refused."""
    async with funded() as funds:
        target = funds.cells.pop(0)
        await funds.submit(reading(funds, target[0]))
        late = reading(funds, target[0])
        await funds.submit(funds.spend(target))
        refused = await funds.refusal(late)
        assert isinstance(refused, ResolveFailed)
        assert isinstance(refused.cause, DeadOutPointError)


async def test_a_shared_dep_that_a_block_spent_is_unknown() -> None:
    async with funded() as funds:
        target = funds.cells.pop(0)
        spender = funds.spend(target)
        await funds.submit(spender, funds.spend())
        await funds.dev.mine(2)
        await funds.submit(funds.spend())
        await funds.dev.mine(1)
        assert funds.is_committed(spender)
        refused = await funds.refusal(reading(funds, target[0]))
        assert isinstance(refused, ResolveFailed)
        assert isinstance(refused.cause, UnknownOutPointError)


async def test_deps_of_the_pools_own_cells_are_not_shared() -> None:
    """Their creator may leave."""
    async with funded() as funds:
        parent = funds.spend()
        await funds.submit(parent)
        out_point = cell_of(parent)[0]
        await funds.submit(reading(funds, out_point))
        assert await funds.pool.remove(parent.hash)
        assert isinstance(await funds.refusal(reading(funds, out_point)), ResolveFailed)
