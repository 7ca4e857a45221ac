"""What templates keep of transactions from tip to tip, and when they may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckb_node.mining import committable
from ckb_node.mining.settled import SettledMoves
from ckb_node.txpool.entry import PoolEntry
from ckb_node.txpool.selector import Proposed
from consensus.rules.dao import CapacityMoves
from consensus.rules.resolve import resolve_transaction
from consensus.types.core import ResolvedTransaction
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.funded_pool import Funds, cell_of, funded

MOVES = CapacityMoves(1, 2, 3, 4)


async def mine_empty(funds: Funds) -> None:
    """A block that neither proposes nor commits."""
    assembler = funds.dev.assembler
    inputs = replace(assembler._inputs(), pending=(), candidates=Proposed(), uncles=())
    await funds.dev.chain.submit_block(assembler._build(inputs, assembler._settled).template.to_block())


def count_found(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Transactions that were looked at for a template."""
    found: list[bytes] = []
    plain = committable._Choice._found

    def counted(choice: committable._Choice, entry: PoolEntry) -> CapacityMoves | None:
        found.append(entry.hash)
        return plain(choice, entry)

    monkeypatch.setattr(committable._Choice, "_found", counted)
    return found


def resolved(funds: Funds, **how: int) -> ResolvedTransaction:
    view = funds.dev.chain.view()
    return resolve_transaction(funds.spend(**how), view, view, ())  # type: ignore[arg-type]


async def test_only_what_stays_so_is_kept() -> None:
    async with funded() as funds:
        settled, block = SettledMoves(), bytes(32)
        settled.move_to(funds.dev.chain.view())
        simple, timed = resolved(funds), resolved(funds, since=1)
        for rtx in (simple, timed):
            settled.note(rtx, MOVES, block)
        assert settled.get(simple.transaction.raw) == MOVES
        assert settled.get(timed.transaction.raw) is None, "time passes"
        info = simple.inputs[0].info
        assert info is not None
        of_block = resolved(funds)
        settled.note(of_block, MOVES, info.block_hash)
        assert settled.get(of_block.transaction.raw) is None, "its cell is of the block that is being made"


async def test_kept_while_the_chain_grows_and_forgotten_when_it_turns() -> None:
    async with funded() as funds:
        settled = SettledMoves()
        rtx = resolved(funds)
        await funds.dev.mine()
        settled.move_to(funds.dev.chain.view())
        settled.note(rtx, MOVES, bytes(32))
        await funds.dev.mine()
        settled.move_to(view := funds.dev.chain.view())
        settled_at = view.tip_header().number
        assert settled.get(rtx.transaction.raw) == MOVES
        await submit_all(funds.dev, await branch(b"other", settled_at + 2))
        settled.move_to(funds.dev.chain.view())
        assert settled.get(rtx.transaction.raw) is None


async def test_templates_look_at_a_transaction_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        parent = funds.spend(outputs=2)
        child = funds.spend(cell_of(parent))
        await funds.submit(parent, child)
        await funds.dev.mine()
        await mine_empty(funds)
        found = count_found(monkeypatch)
        first = await funds.dev.assembler.block_template()
        assert [each.transaction.hash for each in first.transactions] == [parent.hash, child.hash]
        await mine_empty(funds)
        second = await funds.dev.assembler.block_template()
        assert [each.transaction.hash for each in second.transactions] == [parent.hash, child.hash]
        assert found.count(parent.hash) == 1
        assert found.count(child.hash) == 2, "its cell is not on the chain yet"
        await funds.dev.mine()
        assert funds.is_committed(child)
