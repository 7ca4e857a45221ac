"""What the pool finds out once: sound structures, and deps that transactions share."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

import pytest

from ckb_node.txpool.entry import Status
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.quick import MAX_BYTES, SharedDeps, UsualRules, sound_slice
from ckb_node.txpool.rejects import LowFeeRate, Reject, ResolveFailed, VerificationFailed
from consensus.errors import CkbError
from consensus.rules.dao import CapacityMoves, capacity_moves
from consensus.rules.resolve import DeadOutPointError, UnknownOutPointError, resolve_cell_deps, resolve_transaction
from consensus.rules.transaction import TransactionSizeError, verify_time_relative
from consensus.rules.verify_transaction import (
    after_scripts,
    verify_transaction_contextual,
    verify_transaction_non_contextual,
)
from consensus.tx_env import TxEnv
from consensus.types.blockchain import NULL_OUT_POINT, CellInput, OutPoint, Transaction
from consensus.types.core import ResolvedTransaction
from tests.support.builders.wallet import BOB_KEY, Wallet
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
            assert (sound_slice(Transaction.parse(tx.raw)) is not None) is is_good
        usual = Transaction.parse(found[0].raw)
        assert sound_slice(usual) is not None
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
        cells, deps = funds.pool.pool.cells(), SharedDeps(lambda _: True)
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


Verdict = tuple[int, list[bytes]]
"""Fee, and the out points of all cells that it uses."""


def verdict_of(rtx: ResolvedTransaction, fee: int) -> Verdict:
    return fee, [cell.out_point for cell in (*rtx.inputs, *rtx.cell_deps, *rtx.dep_groups)]


def plain_verdict(pool: TxPool, raw: bytes, monkeypatch: pytest.MonkeyPatch) -> Verdict | None:
    """By the plain rules, those of the context and those after scripts included; None when one is broken."""
    with monkeypatch.context() as patch:
        patch.setattr(pool, "_check_usual", lambda _: None)
        try:
            checked = pool.check(Transaction.parse(raw))
            verify_transaction_contextual(pool.consensus, checked.rtx, pool.env(checked.status), pool.reader)
            after_scripts(pool.consensus, checked.rtx)
        except (Reject, CkbError):
            return None
    return verdict_of(checked.rtx, checked.fee)


async def in_context(funds: Funds) -> dict[str, Transaction]:
    """Usual ones, those that the plain rules let pass all the same, and one for each rule that it may break."""
    await funds.dev.mine(14)  # there are rewards, and the deps are known
    reward = funds.dev.chain.view().block(funds.dev.chain.view().main_hash(16) or b"")
    assert reward is not None
    parent, spender, taken, target = (funds.cells.pop() for _ in range(4))
    pooled, reading_target = funds.spend(parent), funds.spend(reads=[target[0]])
    await funds.submit(pooled, funds.spend(spender), funds.spend(target), funds.spend())
    unknown = OutPoint(tx_hash=b"\7" * 32, index=0)
    genesis = funds.dev.consensus.genesis_block.hash
    return {
        "usual": funds.spend(),
        "usual with two inputs": funds.spend(funds.cells[0], funds.cells[1], outputs=3),
        "of the pool": funds.spend(cell_of(pooled)),
        "of a cellbase": funds.spend(cell_of(reward.transactions[0]), signer=Wallet(BOB_KEY)),
        "names a header": funds.spend(taken, header_deps=[genesis]),
        "waits": funds.spend(taken, since=10_000),
        "names a header that is unknown": funds.spend(taken, header_deps=[bytes(32)]),
        "creates capacity": funds.spend(taken, fee=-1),
        "too small outputs": funds.spend(taken, outputs=20),
        "spent in the pool": funds.spend(spender, fee=1),
        "unknown": funds.spend((unknown, taken[1])),
        "spends twice": funds.spend(taken, taken),
        "reads what is spent": reading_target,
        "reads what is unknown": funds.spend(taken, reads=[unknown]),
        "pooled": pooled,
    }


async def test_what_is_usual_keeps_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found by cheaper means is what the plain rules find; nothing that breaks one counts as usual."""
    async with funded(20) as funds:
        pool = funds.pool.pool
        usual, good = set(), set()
        for name, tx in (await in_context(funds)).items():
            found = pool._usual.judge(Transaction.parse(tx.raw), pool.graph)
            plain = plain_verdict(pool, tx.raw, monkeypatch)
            if plain is not None:
                good.add(name)
            if found is not None:
                usual.add(name)
                assert verdict_of(*found) == plain
        assert usual == {"usual", "usual with two inputs"}
        assert good == usual | {"of the pool", "of a cellbase", "names a header"}


def plain_moves(pool: TxPool, tx: Transaction, spent: Container[bytes]) -> CapacityMoves | None:
    """By the plain rules; None when the next block may not hold it."""
    env = TxEnv.committed(pool.tip)
    try:
        rtx = resolve_transaction(tx, pool.reader, pool.reader, spent)
        verify_time_relative(pool.consensus, rtx, env, pool.reader)
    except CkbError:
        return None
    return capacity_moves(pool.consensus, [rtx], pool.reader)


async def test_what_usual_ones_do_to_capacity() -> None:
    """The same as by the plain rules, or nothing is told."""
    async with funded(20) as funds:
        pool, told = funds.pool.pool, set()
        for name, tx in (await in_context(funds)).items():
            rules = UsualRules(pool.consensus, pool.reader, TxEnv.committed(pool.tip).epoch)
            sound_slice(Transaction.parse(tx.raw))  # its structure is known
            found = rules.moves(tx.raw, set())
            if found is not None:
                told.add(name)
                assert found == plain_moves(pool, tx, ())
            used = [*(each.previous_output.raw for each in tx.body.inputs), tx.body.cell_deps[0].out_point.raw]
            for out_point in used:
                assert rules.moves(tx.raw, {out_point}) is None
                assert (
                    UsualRules(pool.consensus, pool.reader, pool.env(Status.PENDING).epoch).moves(tx.raw, {out_point})
                    is None
                ), "nor when the deps are not known yet"
        assert {"usual", "usual with two inputs", "pooled"} <= told
        assert told.isdisjoint({"of the pool", "of a cellbase", "names a header", "waits", "unknown", "spends twice"})


async def test_a_usual_transaction_must_pay_too() -> None:
    async with funded() as funds:
        await funds.submit(funds.spend())
        assert funds.pool.pool.check(funds.spend()).is_usual
        assert isinstance(await funds.refusal(funds.spend(fee=1)), LowFeeRate)


async def test_immature_deps_are_not_usual() -> None:
    async with funded() as funds:
        cells, tx = funds.pool.pool.cells(), funds.spend()
        packed = b"".join(dep.raw for dep in tx.body.cell_deps)
        for are_mature in (True, False):
            deps = SharedDeps(lambda _, are_mature=are_mature: are_mature)  # type: ignore[misc]
            assert deps.mature(packed, ()) is None, "not known yet"
            found = deps.resolve(tx, cells, ())
            assert deps.mature(packed, ()) is (found if are_mature else None)
            assert deps.mature(packed, {found[1][0].out_point}) is None
