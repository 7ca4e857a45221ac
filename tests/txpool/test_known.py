"""What a large transaction names is looked up beside the event loop, and the pool's verdict is the same."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ckb_node.txpool import verifier
from ckb_node.txpool.known import KnownCells
from ckb_node.txpool.rejects import Reject, ResolveFailed
from consensus.types.blockchain import Transaction
from tests.support.builders.wallet import sighash_dep
from tests.support.chains.funded_pool import FEE, Funds, cell_of, funded


def watch_look_ups(funds: Funds, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Cells of the chain that are looked up on the event loop."""
    reader: Any = funds.pool.pool.reader
    plain, seen = reader.cell, list[bytes]()

    def cell(out_point: bytes) -> Any:
        if threading.current_thread() is threading.main_thread():
            seen.append(out_point)
        return plain(out_point)

    monkeypatch.setattr(reader, "cell", cell)
    return seen


async def test_large_ones_are_looked_up_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        small, large = funds.spend(), funds.spend(*funds.cells[:5])
        seen = watch_look_ups(funds, monkeypatch)
        await funds.pool.test_accept(small)
        assert len(seen) > 1
        monkeypatch.setattr(verifier, "CHECKED_AT_ONCE", 0)
        seen.clear()
        accepted = await funds.pool.test_accept(large)
        assert seen == []
        assert accepted.fee == FEE
        await funds.pool.submit(large)
        assert large.short_id in funds.pool.pool.graph


async def verdict(funds: Funds, tx: Transaction) -> str:
    try:
        return str(await funds.pool.test_accept(tx))
    except Reject as reason:
        return f"{type(reason).__name__} {reason}"


async def test_verdicts_are_those_of_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        cell, other = funds.cells[:2]
        parent = funds.spend(cell)
        await funds.pool.submit(parent)
        unknown = funds.spend(cell_of(parent), other, reads=[sighash_dep(funds.dev.consensus).out_point])
        cases = [
            funds.spend(cell_of(parent)),  # a cell of the pool
            funds.spend(cell, other, fee=100 * FEE),  # a replacement, or a conflict
            funds.spend(other, fee=0),
            funds.spend(other, header_deps=[bytes(32)]),
            funds.spend(other, reads=[unknown.body.inputs[0].previous_output.replace(index=77)]),
            funds.spend(other, other),
        ]
        before = [await verdict(funds, tx) for tx in cases]
        monkeypatch.setattr(verifier, "CHECKED_AT_ONCE", 0)
        assert [await verdict(funds, tx) for tx in cases] == before
        assert len(set(before)) >= 4


async def test_another_state_of_the_chain_is_looked_up_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        pool, tx, rounds = funds.pool.pool, funds.spend(), list[KnownCells]()
        monkeypatch.setattr(verifier, "CHECKED_AT_ONCE", 0)

        class Moving(KnownCells):
            def __init__(self, reader: Any, transaction: Transaction) -> None:
                super().__init__(reader, transaction)
                rounds.append(self)
                if len(rounds) == 1:
                    pool.reader = funds.dev.chain.view()

        monkeypatch.setattr(verifier, "KnownCells", Moving)
        await funds.pool.test_accept(tx)
        assert len(rounds) == 2


async def test_cells_are_those_of_the_chain() -> None:
    async with funded() as funds:
        reader, tx = funds.pool.pool.reader, funds.spend(*funds.cells[:3])
        known = KnownCells(reader, tx)
        for out_point in [*(each.previous_output.raw for each in tx.body.inputs), funds.cells[-1][0].raw, bytes(36)]:
            there, here = reader.cell(out_point), known.cell(out_point)
            assert (there is None) == (here is None)
            assert there is None or here is None or there.output == here.output
        with pytest.raises(ResolveFailed):
            await funds.pool.test_accept(funds.spend((funds.cells[0][0].replace(index=999), 10**11)))


async def test_large_ones_are_checked_in_a_thread_also_when_the_tip_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        pool, tx, threads = funds.pool.pool, funds.spend(), list[str]()
        monkeypatch.setattr(verifier, "CHECKED_AT_ONCE", 0)
        plain_check, plain_scripts = pool.check, funds.dev.scripts.run_short

        def check(*arguments: Any) -> Any:
            is_main = threading.current_thread() is threading.main_thread()
            threads.append("main" if is_main else "other")
            return plain_check(*arguments)

        def scripts(*arguments: Any) -> Any:
            """The tip moves meanwhile."""
            cycles = plain_scripts(*arguments)
            pool.tip = pool.tip.with_fields(nonce=1)
            return cycles

        monkeypatch.setattr(pool, "check", check)
        monkeypatch.setattr(funds.dev.scripts, "run_short", scripts)
        await funds.pool.submit(tx)
        assert threads == ["other", "other"]
        assert tx.short_id in pool.graph


async def test_a_child_finds_each_cell_of_its_pooled_parent() -> None:
    async with funded() as funds:
        parent = funds.spend()
        await funds.pool.submit(parent)
        cells = funds.pool.pool.cells()
        for index, output in enumerate(parent.body.outputs):
            found = cells.cell(parent.hash + index.to_bytes(4, "little"))
            assert found is not None
            assert (found.output, found.data) == (output, parent.body.outputs_data[index])
            assert found.info is None
        assert cells.cell(parent.hash + len(parent.body.outputs).to_bytes(4, "little")) is None
