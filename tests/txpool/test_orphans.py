"""Transactions of peers whose parents are not here yet."""

from __future__ import annotations

import pytest

from ckb_node.txpool.events import ParentsMissing, RemoteRefused, TransactionAccepted
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.rejects import (
    Invalidated,
    ResolveFailed,
)
from consensus.crypto.hashing import ckb_hash
from consensus.rules.resolve import UnknownOutPointError
from consensus.types.blockchain import OutPoint
from tests.support.chains.branches import submit_all
from tests.support.chains.funded_pool import FEE, blocks_of, cell_of, funded
from tests.txpool.kit_remote import (
    OTHER,
    PEER,
    reasons,
    remote,
)


async def test_a_child_waits_for_its_parent() -> None:
    async with remote() as made:
        parent = made.funds.spend()
        child = made.funds.spend(cell_of(parent))
        await made.learn(parent)
        assert await made.after(child) == [ParentsMissing(child.hash, PEER, [parent.hash])]
        assert await made.orphan_count() == 1
        assert made.access.holds(child.hash)
        assert await made.after(parent, giver=OTHER) == [
            TransactionAccepted(parent.hash, OTHER),
            TransactionAccepted(child.hash, PEER),
        ]
        assert await made.orphan_count() == 0


async def test_of_an_orphan_only_its_bytes_are_kept() -> None:
    """Objects of its parts, which rules have looked at, would be many times as much."""
    async with remote() as made:
        child = made.funds.spend(cell_of(made.funds.spend()))
        await made.after(child)
        kept = made.funds.pool.remote.orphans.find(child.hash)
        assert kept is not None
        assert "body" not in vars(kept.item.transaction)


async def test_a_long_line_comes_in_whatever_its_order() -> None:
    async with remote() as made:
        line = [made.funds.spend()]
        for _ in range(4):
            line.append(made.funds.spend(cell_of(line[-1])))
        await made.learn(*line)
        await made.after(*reversed(line))
        assert await made.funds.statuses(*line) == ["pending"] * 5
        assert await made.orphan_count() == 0


async def test_rpc_may_bring_the_parent() -> None:
    async with remote() as made:
        parent = made.funds.spend()
        child = made.funds.spend(cell_of(parent))
        await made.learn(parent)
        await made.after(child)
        await made.funds.submit(parent)
        assert await made.settle() == [TransactionAccepted(parent.hash, None), TransactionAccepted(child.hash, PEER)]


async def test_a_block_may_bring_the_parent() -> None:
    async with remote() as made, funded(count=12) as miner:
        parent = made.funds.spend()
        child = made.funds.spend(cell_of(parent))
        await miner.submit(parent)
        await miner.dev.mine(4)
        await made.learn(parent)
        await made.after(child)
        await submit_all(made.funds.dev, blocks_of(miner, made.funds.pool.pool.tip.number + 1))
        assert made.funds.is_committed(parent)
        assert await made.settle() == [TransactionAccepted(child.hash, PEER)]


async def test_a_cell_dep_may_lack_too() -> None:
    async with remote() as made:
        parent = made.funds.spend()
        reader = made.funds.spend(reads=[cell_of(parent)[0]])
        await made.learn(parent)
        assert await made.after(reader) == [ParentsMissing(reader.hash, PEER, [parent.hash])]
        await made.after(parent)
        assert await made.orphan_count() == 0


async def test_a_spent_cell_and_one_that_never_was_make_no_orphan() -> None:
    async with remote() as made:
        spender = made.funds.spend()
        late = made.funds.spend(made.funds.cells[-1])
        rival = made.funds.spend(made.funds.cells.pop(), fee=2 * FEE)
        await made.funds.submit(spender, rival)
        await made.funds.dev.mine(4)
        never = made.funds.spend((OutPoint(tx_hash=spender.hash, index=5), 10**11))
        await made.settle()
        for tx in (late, never):
            (refused,) = await made.after(tx)
            assert isinstance(refused, RemoteRefused)
            assert isinstance(refused.reason, ResolveFailed)
            assert isinstance(refused.reason.cause, UnknownOutPointError)
        assert await made.orphan_count() == 0


async def test_orphans_of_many_peers_do_not_push_each_other_out() -> None:
    async with remote() as made:
        spam = [made.funds.spend((OutPoint(tx_hash=bytes([each]) * 32, index=0), 10**11)) for each in range(1, 121)]
        parent = made.funds.spend()
        child = made.funds.spend(cell_of(parent))
        await made.learn(parent)
        await made.after(child, giver=OTHER)
        told = await made.after(*spam)
        assert reasons(told) == [Invalidated] * 21
        assert {each.tx_hash for each in told if isinstance(each, RemoteRefused)} == {each.hash for each in spam[:21]}
        assert await made.orphan_count() == 100
        await made.after(parent)
        assert await made.funds.status(child) == "pending"


async def test_of_many_parents_some_are_looked_for_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a look into the database, and a question to the peer."""
    looked: list[bytes] = []
    is_off_chain = TxPool.is_off_chain

    def look(pool: TxPool, tx_hash: bytes) -> bool:
        looked.append(tx_hash)
        return is_off_chain(pool, tx_hash)

    monkeypatch.setattr(TxPool, "is_off_chain", look)
    async with remote() as made:
        unknown = [OutPoint(tx_hash=ckb_hash(b"%d" % each), index=0) for each in range(250)]
        child = made.funds.spend(reads=unknown)
        (missing,) = await made.after(child)
        assert isinstance(missing, ParentsMissing)
        assert len(missing.parents) == len(set(missing.parents)) == 16
        assert len(looked) == 16 + 2, "those of its input and of its lock are on the chain"


async def test_all_of_many_parents_are_asked_for_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckb_node.txpool.remote.MAX_MISSING", 2)
    async with remote() as made:
        parents = [made.funds.spend() for _ in range(5)]
        child = made.funds.spend(reads=[cell_of(each)[0] for each in parents])
        await made.learn(*parents, child)
        asked, told = list[bytes](), await made.after(child)
        by_hash = {each.hash: each for each in parents}
        while news := [each for each in told if isinstance(each, ParentsMissing)]:
            new = [each for each in news[-1].parents if each not in asked]
            asked += new
            told = await made.after(*(by_hash[each] for each in new))
        assert sorted(asked) == sorted(by_hash)
        assert await made.funds.status(child) == "pending"
