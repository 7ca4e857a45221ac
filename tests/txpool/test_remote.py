"""Transactions of peers: verified in their turn, and every one is told about."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ckb_node.runtime.client import CLIENT
from ckb_node.txpool.blame import is_final, is_malformed
from ckb_node.txpool.events import RemoteRefused, TransactionAccepted
from ckb_node.txpool.limits import MAX_REASONS
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.rejects import (
    DeclaredWrongCycles,
    Duplicated,
    Invalidated,
    LowFeeRate,
    PeerDropped,
    VerificationFailed,
)
from ckb_node.txpool.views import RejectedTransaction
from ckb_node.verification.scripts import SHORT_RUN_CYCLES
from consensus.types.blockchain import OutPoint, Transaction
from storage.errors import StorageCorrupt
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.funded_pool import FEE, blocks_of
from tests.txpool.kit_remote import (
    OTHER,
    PEER,
    held,
    reasons,
    release_until,
    remote,
    resting,
    running,
    until_held,
)

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


async def test_a_copy_with_larger_witnesses_says_nothing_of_the_true_one() -> None:
    async with remote() as made:
        tx = made.funds.spend(fee=10_000)
        for padding in (100_000, 520_000, 700_000):
            larger = tx.replace(witnesses=[*tx.witnesses, bytes(padding)])
            assert larger.hash == tx.hash
            made.access.submit(larger, 1000, OTHER)
            (refused,) = await made.settle()
            assert isinstance(refused, RemoteRefused)
            assert refused.is_of_size
        (poor,) = await made.after(made.funds.spend(fee=1))
        assert isinstance(poor, RemoteRefused)
        assert not poor.is_of_size
        assert await made.after(tx) == [TransactionAccepted(tx.hash, PEER)]


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
