"""The same blocks in any order, with forks, duplicates and bad ones mixed in, end in the same tip and state.

`make fuzz-chain SECONDS=… [SEED=…]` goes on from here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ckb_node.chain import reorg
from ckb_node.chain.writer import ChainWriter
from ckb_node.verification.scripts import VerifiedTransactions
from consensus.types.blockchain import Block
from consensus.types.core import BlockExt
from storage.chain_txn import ChainTxn
from storage.errors import StorageError
from storage.schema import UNCLE
from tests.simulator.__main__ import read_seeds
from tests.simulator.run import run_seed
from tests.support.fuzz import examples

SEEDS_IN_SUITE = 6
SEEDS_OF_A_SABOTAGE = 6


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", [*range(examples(SEEDS_IN_SUITE)), *read_seeds()])
def test_any_order_ends_in_the_same_chain(seed: int) -> None:
    counts = run_seed(seed)
    assert counts["answer BEST"]
    assert counts["answer ORPHAN"]


Sabotage = Callable[[pytest.MonkeyPatch], None]


def cells_stay_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChainTxn, "_move_cells_back", lambda *_: None)


def uncles_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detached blocks leave their uncles behind."""
    detach = ChainTxn.detach_block

    def forgetful(txn: ChainTxn, block: Block) -> None:
        rows = list(txn.rows(UNCLE))
        detach(txn, block)
        for key, value in rows:
            txn._overlay.put(key, value)

    monkeypatch.setattr(ChainTxn, "detach_block", forgetful)


def last_of_equals_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    is_heavier = reorg.is_heavier

    def eager(txn: ChainTxn, ext: BlockExt) -> bool:
        return is_heavier(txn, ext.replace(total_difficulty=ext.total_difficulty + 1))

    monkeypatch.setattr("ckb_node.chain.writer.is_heavier", eager)


def false_bodies_poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who drops orphans for a false body lets anybody drop them."""

    def forget(self: ChainWriter, block: Block, *_: object) -> None:
        self.orphans.drop_descendants(block.hash)

    monkeypatch.setattr(ChainWriter, "publish_refusal", forget)


def scripts_keep_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory of verified transactions that forgets the VM, as the reference has it."""
    get, put = VerifiedTransactions.get, VerifiedTransactions.put
    monkeypatch.setattr(VerifiedTransactions, "get", lambda self, key: get(self, (key[0], 0)))
    monkeypatch.setattr(VerifiedTransactions, "put", lambda self, key, cycles: put(self, (key[0], 0), cycles))


def descendants_stay_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckb_node.chain.attach.stored_descendants", lambda *_: [])


@pytest.mark.parametrize(
    "sabotage",
    [
        cells_stay_spent,
        uncles_stay,
        last_of_equals_wins,
        false_bodies_poison,
        scripts_keep_their_version,
        descendants_stay_valid,
    ],
)
def test_faults_are_found(monkeypatch: pytest.MonkeyPatch, sabotage: Sabotage) -> None:
    sabotage(monkeypatch)
    with pytest.raises((AssertionError, StorageError, ValueError), match=r"seed|creator|main chain"):
        run_seeds(SEEDS_OF_A_SABOTAGE)


def run_seeds(count: int) -> None:
    for seed in range(count):
        run_seed(seed)
