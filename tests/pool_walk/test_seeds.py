"""Random transactions, blocks, reorganisations and restarts leave a pool that plain rules confirm.

`make fuzz-pool SECONDS=… [SEED=…]` goes on from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ckb_node.txpool import rbf, returning, saving
from ckb_node.txpool.entry import PackageTotals, PoolEntry
from ckb_node.txpool.following import Following
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.proposal_window import ProposalTable
from ckb_node.txpool.reverification import Reverification
from ckb_node.verification.scripts import ScriptService
from consensus.types.tx_slice import TxSlice
from tests.pool_walk.__main__ import STEPS, read_seeds
from tests.pool_walk.walk import PoolFaultError, run_seed
from tests.support.fuzz import examples

SEEDS_IN_SUITE = 6
SEEDS_OF_A_SABOTAGE = 10


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", sorted({*range(examples(SEEDS_IN_SUITE)), *read_seeds()}))
def test_the_pool_is_what_plain_rules_say(seed: int, tmp_path: Path) -> None:
    counts = run_seed(seed, STEPS, tmp_path)
    assert counts["answer taken"]


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(examples(SEEDS_IN_SUITE)))
def test_the_same_across_a_hardfork(seed: int, tmp_path: Path) -> None:
    counts = run_seed(seed, STEPS, tmp_path, has_fork=True)
    assert counts["answer taken"]


Sabotage = Callable[[pytest.MonkeyPatch], None]


def statuses_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries keep the status that they came with."""
    monkeypatch.setattr(ProposalTable, "changed_since", lambda *_: frozenset())


def sums_forget_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    def subtract(sums: PackageTotals, other: PackageTotals) -> None:
        sums.count, sums.size, sums.fee = sums.count - other.count, sums.size - other.size, sums.fee - other.fee

    monkeypatch.setattr(PackageTotals, "subtract", subtract)


def nothing_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reorganisation forgets what it detached."""
    monkeypatch.setattr(Following, "_take_back", lambda *_: 0)


def headers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TxPool, "take_detached", lambda *_: ())


def any_fee_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rbf, "verify_fee", lambda *_: None)


def children_are_saved_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "parents_first", lambda *parts: saving.parents_first(*parts)[::-1])


def rivals_of_blocks_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a block spends may be spent in the pool."""

    def remove_committed(pool: TxPool, transactions: Sequence[TxSlice]) -> Sequence[None]:
        pool.graph.remove_committed(tx.hash for tx in transactions)
        return ()

    monkeypatch.setattr(TxPool, "remove_committed", remove_committed)


def forks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reverification, "verify_all", lambda _: None)


def forks_change_no_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    """What still passes keeps the cycles that it had."""

    def refresh(pool: TxPool, entry: PoolEntry, cycles: int) -> None:
        entry.needs_reverification = False

    monkeypatch.setattr(TxPool, "refresh", refresh)


def verdicts_outlive_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts' cycles are known by the transaction alone."""
    monkeypatch.setattr(ScriptService, "cache_key", lambda _, rtx, env: (rtx.transaction.witness_hash, 0))


@pytest.mark.parametrize("sabotage", [forks_change_nothing, forks_change_no_cycles, verdicts_outlive_forks])
def test_faults_at_a_hardfork_are_found(sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sabotage(monkeypatch)
    with pytest.raises(PoolFaultError):
        _walk_seeds(SEEDS_OF_A_SABOTAGE, tmp_path, has_fork=True)


@pytest.mark.parametrize(
    "sabotage",
    [
        statuses_stay,
        sums_forget_cycles,
        nothing_returns,
        headers_stay,
        any_fee_replaces,
        children_are_saved_first,
        rivals_of_blocks_stay,
    ],
)
def test_faults_are_found(sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sabotage(monkeypatch)
    with pytest.raises(PoolFaultError):
        _walk_seeds(SEEDS_OF_A_SABOTAGE, tmp_path)


def _walk_seeds(count: int, directory: Path, *, has_fork: bool = False) -> None:
    for seed in range(count):
        run_seed(seed, STEPS, directory, has_fork=has_fork)
