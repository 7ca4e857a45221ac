"""Transactions of peers: verified in their turn, orphans wait, and every one is told about."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ckb_node.runtime.client import CLIENT
from ckb_node.runtime.tasks import Tasks
from ckb_node.sync.pool_access import PoolAccess
from ckb_node.txpool.blame import is_final, is_malformed
from ckb_node.txpool.events import ParentsMissing, RelayNews, RemoteRefused, TransactionAccepted
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.rejects import (
    DeclaredWrongCycles,
    Duplicated,
    Invalidated,
    LowFeeRate,
    PeerDropped,
    Reject,
    ResolveFailed,
    VerificationFailed,
)
from ckb_node.txpool.remote import MAX_REASONS
from ckb_node.txpool.views import RejectedTransaction
from ckb_node.verification.scripts import SHORT_RUN_CYCLES
from consensus.rules.resolve import UnknownOutPointError
from consensus.types.blockchain import OutPoint, Transaction
from storage.errors import StorageCorrupt
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.funded_pool import FEE, Funds, HeldExecutor, blocks_of, cell_of, funded, hold_scripts

PEER, OTHER = 7, 8


@dataclass
class Remote:
    """A running pool, and the news that it told. What transactions cost is found out on a chain of its own."""

    funds: Funds
    elsewhere: Funds
    news: list[RelayNews] = field(default_factory=list)
    cycles: dict[bytes, int] = field(default_factory=dict)

    @property
    def access(self) -> PoolAccess:
        return PoolAccess(self.funds.pool)

    async def learn(self, *transactions: Transaction) -> None:
        """The cycles of those that are valid, parents first."""
        for each in transactions:
            with contextlib.suppress(Reject):
                await self.elsewhere.pool.submit(each)
            entry = self.elsewhere.pool.pool.graph.by_hash(each.hash)
            if entry is not None:
                self.cycles[each.hash] = entry.cycles

    def submit(self, *transactions: Transaction, giver: int = PEER) -> None:
        for each in transactions:
            self.access.submit(each, self.cycles.get(each.hash, 1000), giver)

    async def settle(self) -> list[RelayNews]:
        """What was told since the last look, when nothing waits any more."""
        async with asyncio.timeout(60):
            await self.funds.pool.settled()
        told, self.news[:] = list(self.news), []
        return told

    async def after(self, *transactions: Transaction, giver: int = PEER) -> list[RelayNews]:
        await self.learn(*transactions)
        self.submit(*transactions, giver=giver)
        return await self.settle()

    async def orphan_count(self) -> int:
        return self.funds.pool.info().orphan


@asynccontextmanager
async def resting() -> AsyncIterator[Remote]:
    """The pool's tasks do not run."""
    async with funded(count=12) as funds, funded(count=12) as elsewhere:
        yield Remote(funds, elsewhere)


@asynccontextmanager
async def remote() -> AsyncIterator[Remote]:
    async with resting() as made, running(made):
        yield made


@asynccontextmanager
async def held() -> AsyncIterator[tuple[Remote, HeldExecutor]]:
    """Scripts run when the executor is released."""
    async with resting() as made:
        worker = hold_scripts(made.funds)
        async with running(made):
            yield made, worker


@asynccontextmanager
async def running(made: Remote) -> AsyncIterator[None]:
    async with Tasks(made.funds.dev.clock.now_ms) as tasks:
        for name, run in made.funds.pool.tasks().items():
            tasks.start_restartable(name, run)
        made.access.listen(made.news.append)
        yield


async def until_held(worker: HeldExecutor, count: int) -> None:
    async with asyncio.timeout(60):
        while len(worker.held) < count:  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0)


async def release_until(made: Remote, worker: HeldExecutor, count: int) -> None:
    """Let scripts run until so much was told."""
    async with asyncio.timeout(60):
        while len(made.news) < count:
            worker.release()
            await asyncio.sleep(0)


def reasons(news: list[RelayNews]) -> list[type]:
    return [type(each.reason) for each in news if isinstance(each, RemoteRefused)]


# --------------------------------------------------------------------- verdicts


async def test_a_valid_one_is_accepted() -> None:
    async with remote() as made:
        tx = made.funds.spend()
        assert await made.after(tx) == [TransactionAccepted(tx.hash, PEER)]
        assert await made.funds.status(tx) == "pending"
        pooled = made.access.pooled(tx.hash)
        assert pooled is not None
        assert (pooled.transaction, pooled.cycles) == (tx, made.cycles[tx.hash])


@pytest.mark.parametrize(("more", "kind"), [(1_000_000, DeclaredWrongCycles), (-1, VerificationFailed)])
async def test_declared_cycles_must_be_exact(more: int, kind: type) -> None:
    async with remote() as made:
        tx = made.funds.spend()
        await made.learn(tx)
        made.access.submit(tx, made.cycles[tx.hash] + more, PEER)
        assert reasons(await made.settle()) == [kind]
        assert isinstance(await made.funds.pool.transaction(tx.hash), RejectedTransaction)
        assert await made.after(tx) == [TransactionAccepted(tx.hash, PEER)]


async def test_cheap_rules_come_first() -> None:
    async with remote() as made:
        (refused,) = await made.after(made.funds.spend(fee=1))
        assert isinstance(refused, RemoteRefused)
        assert isinstance(refused.reason, LowFeeRate)
        assert refused.giver == PEER


async def test_one_that_is_here_is_a_duplicate() -> None:
    async with remote() as made:
        tx = made.funds.spend()
        await made.after(tx)
        assert reasons(await made.after(tx, giver=OTHER)) == [Duplicated]


async def test_one_that_a_block_proposes_needs_no_cycles_and_nobody_answers_for_it() -> None:
    async with remote() as made:
        good, bad = made.funds.spend(), made.funds.spend().replace(witnesses=[b""])
        made.access.submit_proposed(good, PEER)
        made.access.submit_proposed(bad, PEER)
        told = {each.tx_hash: each for each in await made.settle()}
        assert told[good.hash] == TransactionAccepted(good.hash, PEER)
        refused = told[bad.hash]
        assert isinstance(refused, RemoteRefused)
        assert refused.giver is None


async def test_a_disk_that_fails_is_not_the_givers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async with remote() as made:
        broken, fine = made.funds.spend(), made.funds.spend()
        await made.learn(fine)
        check = TxPool.check

        def failing(pool: TxPool, tx: Transaction, known: object = None) -> object:
            if tx.hash == broken.hash:
                raise StorageCorrupt(Path("chain.db"), "damaged")
            return check(pool, tx)

        monkeypatch.setattr(TxPool, "check", failing)
        made.submit(broken, fine)
        told = {each.tx_hash: each for each in await made.settle()}
        assert told[fine.hash] == TransactionAccepted(fine.hash, PEER)
        refused = told[broken.hash]
        assert isinstance(refused, RemoteRefused)
        assert not is_malformed(refused.reason)
        assert not is_final(refused.reason)


async def test_refusals_that_rpc_tells_are_bounded() -> None:
    async with remote() as made:
        entry = made.funds.pool.remote
        for serial in range(3):
            assert reasons(await made.after(made.funds.spend(fee=serial))) == [LowFeeRate]
        entry._reasons.spend(MAX_REASONS, 1e18)  # a flood came
        tx = made.funds.spend(fee=9)
        await made.after(tx)
        assert await made.funds.pool.transaction(tx.hash) is None


# --------------------------------------------------------------------- orphans


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


# --------------------------------------------------------------------- who is banned, who goes, who asks


async def test_what_a_banned_peer_gave_leaves() -> None:
    async with held() as (made, worker):
        orphan = made.funds.spend((OutPoint(tx_hash=b"o" * 32, index=0), 10**11))
        mine, other = [orphan, *(made.funds.spend() for _ in range(4))], made.funds.spend()
        await made.learn(*mine, other)
        made.submit(*mine)
        made.submit(other, giver=OTHER)
        await until_held(worker, 2)
        made.access.drop_from(PEER)
        await release_until(made, worker, 7)
        told = {each.tx_hash: each for each in await made.settle()}
        for each in mine:
            refused = told[each.hash]
            assert isinstance(refused, RemoteRefused)
            assert isinstance(refused.reason, PeerDropped)
        assert told[other.hash] == TransactionAccepted(other.hash, OTHER)
        assert await made.orphan_count() == 0
        assert not any(made.access.holds(each.hash) for each in mine)


async def test_thousands_that_leave_are_told_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckb_node.txpool.remote.TOLD_AT_ONCE", 2)
    async with resting() as made:
        made.access.listen(made.news.append)
        mine = [made.funds.spend() for _ in range(5)]
        made.submit(*mine)
        made.access.drop_from(PEER)
        counts = [len(made.news)]
        for _ in range(4):
            await asyncio.sleep(0)
            counts.append(len(made.news))
        assert counts == [0, 2, 4, 5, 5]
        await made.funds.pool.remote.settled()
        assert [each.tx_hash for each in made.news] == [each.hash for each in mine]


async def test_a_peers_flood_does_not_delay_rpc() -> None:
    async with held() as (made, worker):
        flood, own = [made.funds.spend() for _ in range(9)], made.funds.spend()
        await made.learn(*flood)
        made.submit(*flood)
        await until_held(worker, 2)
        CLIENT.set("somebody")
        async with asyncio.TaskGroup() as group:
            group.create_task(made.funds.submit(own))
            await asyncio.sleep(0)
            worker.release()
            await until_held(worker, 2)
            worker.release()
        accepted = [each.tx_hash for each in made.news]
        assert own.hash in accepted
        assert len(accepted) <= 4, "not behind the flood"
        await release_until(made, worker, 10)


async def test_a_peers_long_scripts_make_way_for_rpcs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with held() as (made, worker):
        monkeypatch.setattr(made.funds.dev.scripts, "run_short", lambda *_, **__: None)
        long, own = made.funds.spend(), made.funds.spend()
        await made.learn(long)
        made.submit(long)
        await until_held(worker, 1)
        worker.release()
        await until_held(worker, 1)  # it takes long
        CLIENT.set("somebody")
        async with asyncio.TaskGroup() as group:
            group.create_task(made.funds.submit(own))
            for _ in ("short", "long"):
                await until_held(worker, 2)
                worker.held.pop()()  # while the peer's is not done
        assert made.news == [TransactionAccepted(own.hash, None)], "the peer's stands still"
        await release_until(made, worker, 2)
        assert made.news[1:] == [TransactionAccepted(long.hash, PEER)]


@pytest.mark.parametrize("more", [0, 1])
async def test_what_is_declared_to_take_long_has_no_short_run_first(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """Short runs of endless scripts took both processors from the long run that has their giver banned."""
    async with remote() as made:
        scripts, short_runs = made.funds.dev.scripts, list[object]()
        run = scripts.run_short

        def run_short(*args: Any, **named: Any) -> int | None:
            short_runs.append(args)
            return run(*args, **named)

        monkeypatch.setattr(scripts, "run_short", run_short)
        made.access.submit(made.funds.spend(), SHORT_RUN_CYCLES + more, PEER)
        assert reasons(await made.settle()) == [DeclaredWrongCycles]
    assert len(short_runs) == (0 if more else 1)


async def test_rpc_may_submit_what_waits_in_a_peers_queue() -> None:
    async with resting() as made:
        tx = made.funds.spend()
        made.submit(tx)
        assert made.funds.pool.info().verify_queue_size == 1
        assert await made.funds.pool.submit(tx) == tx.hash
        async with running(made):
            assert reasons(await made.settle()) == [Duplicated]


async def test_removing_and_clearing() -> None:
    async with resting() as made:
        pool = made.funds.pool
        made.access.listen(made.news.append)
        removed, cleared, forgotten = (made.funds.spend() for _ in range(3))
        made.submit(removed, cleared)
        assert await pool.remove(removed.hash)
        assert not await pool.remove(removed.hash)
        await pool.clear_verify_queue()
        made.submit(forgotten)
        await pool.clear()
        assert pool.info().verify_queue_size == 0
        await pool.remote.settled()
        assert [each.tx_hash for each in made.news] == [removed.hash, cleared.hash, forgotten.hash]
        assert set(reasons(made.news)) == {Invalidated}


async def test_what_a_peer_gave_before_it_went_is_verified() -> None:
    async with remote() as made:
        tx, orphan = made.funds.spend(), made.funds.spend((OutPoint(tx_hash=b"o" * 32, index=0), 10**11))
        await made.learn(tx)
        made.submit(orphan, tx)
        made.access.closed(PEER)
        assert TransactionAccepted(tx.hash, PEER) in await made.settle()
        assert await made.orphan_count() == 1


# --------------------------------------------------------------------- telling peers


async def test_what_rpc_submits_is_told_and_told_again() -> None:
    async with remote() as made:
        tx = made.funds.spend()
        await made.funds.submit(tx)
        assert await made.settle() == [TransactionAccepted(tx.hash, None)]
        with pytest.raises(Duplicated):
            await made.funds.submit(tx)
        assert await made.settle() == [TransactionAccepted(tx.hash, None)]


async def test_a_former_runs_are_told_and_those_of_detached_blocks_are_not(tmp_path: Path) -> None:
    path = tmp_path / "pool"
    async with remote() as made:
        saved, committed = made.funds.spend(), made.funds.spend()
        await made.funds.submit(saved)
        made.funds.pool.save(path)
        await made.funds.pool.clear()
        await made.settle()
        await made.funds.pool.load(path)
        assert await made.settle() == [TransactionAccepted(saved.hash, None)]
        fork = made.funds.pool.pool.tip.number
        common = blocks_of(made.funds, 1)
        await made.funds.submit(committed)
        await made.funds.dev.mine(4)
        assert made.funds.is_committed(committed)
        await made.settle()
        await submit_all(made.funds.dev, await branch(b"other", fork + 6, common))
        assert await made.settle() == []
        assert await made.funds.status(committed) == "pending"


async def test_what_leaves_the_pool_is_told() -> None:
    async with remote() as made:
        old = made.funds.spend(made.funds.cells[-1])
        new = made.funds.spend(made.funds.cells.pop(), fee=10 * FEE)
        await made.after(old)
        refused, accepted = await made.after(new)
        assert isinstance(refused, RemoteRefused)
        assert (refused.tx_hash, refused.giver) == (old.hash, None)
        assert accepted == TransactionAccepted(new.hash, PEER)


# --------------------------------------------------------------------- at hand for compact blocks


async def test_transactions_are_found_wherever_they_are() -> None:
    async with remote() as made:
        funds = made.funds
        committed, replaced = funds.spend(), funds.spend(funds.cells[-1])
        replacing = funds.spend(funds.cells.pop(), fee=10 * FEE)
        await funds.submit(committed)
        await funds.dev.mine(4)
        await funds.submit(replaced, replacing)
        cheap = funds.spend(fee=1)
        orphan = funds.spend((OutPoint(tx_hash=b"o" * 32, index=0), 10**11))
        await made.after(cheap, orphan)
        everywhere = [committed, replaced, replacing, cheap, orphan]
        found = made.access.by_short_ids([bytes(10), *(each.short_id for each in everywhere)])
        assert found == {each.short_id: each for each in everywhere}
        assert all(each.hash == Transaction.parse(each.raw).hash for each in found.values())
        unknown = made.access.unknown_of([each.short_id for each in everywhere] * 2)
        assert unknown == [committed.short_id, replaced.short_id, cheap.short_id]
        assert [made.access.holds(each.hash) for each in everywhere] == [False, False, True, False, True]


async def test_what_waits_or_is_verified_is_found_too() -> None:
    async with held() as (made, worker):
        txs = [made.funds.spend() for _ in range(4)]
        made.submit(*txs)
        await until_held(worker, 2)
        assert set(made.access.by_short_ids([each.short_id for each in txs]).values()) == set(txs)
        assert all(made.access.holds(each.hash) for each in txs)
        await release_until(made, worker, 4)
