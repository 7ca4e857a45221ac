"""Transactions of Alice's on the dev chain."""

from __future__ import annotations

from functools import cache

from consensus.crypto.hashing import data_hash
from consensus.params import Consensus
from consensus.rules.resolve import BlockCells, resolve_transaction
from consensus.types.blockchain import (
    HASH_TYPE_DATA1,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
)
from consensus.types.core import CellMeta, ResolvedTransaction
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell, sighash_dep
from tests.support.chains.devchain import dev_consensus

ALICE = Wallet(ALICE_KEY)


class Nowhere:
    """No cells and no blocks but those of genesis."""

    def cell(self, out_point: bytes) -> CellMeta | None:
        return None

    def is_main(self, block_hash: bytes) -> bool:
        return False


@cache
def payment(key: bytes = ALICE_KEY) -> ResolvedTransaction:
    """Alice pays Bob from her genesis cell on the dev chain, signed by a key."""
    consensus = dev_consensus()
    cell = issued_cell(consensus, ALICE)
    unsigned = ALICE.transfer(consensus, [cell], [(Wallet(BOB_KEY).lock, 100 * CKB)])
    signed = Wallet(key).sign(unsigned.body)
    return resolve_transaction(signed, BlockCells(consensus.genesis_block, Nowhere()), Nowhere(), ())


def with_code(consensus: Consensus, cell: tuple[OutPoint, int], code: bytes) -> tuple[Transaction, Transaction]:
    """A transaction that stores a program, and one whose type script runs it."""
    deps = [sighash_dep(consensus)]
    storing = ALICE.sign(
        RawTransaction(
            version=0,
            cell_deps=deps,
            header_deps=[],
            inputs=[CellInput(since=0, previous_output=cell[0])],
            outputs=[
                CellOutput(capacity=50_000 * CKB, lock=ALICE.lock, type_=None),
                CellOutput(capacity=cell[1] - 50_001 * CKB, lock=ALICE.lock, type_=None),
            ],
            outputs_data=[code, b""],
        )
    )
    script = Script(code_hash=data_hash(code), hash_type=HASH_TYPE_DATA1, args=b"")
    running = ALICE.sign(
        RawTransaction(
            version=0,
            cell_deps=[*deps, CellDep(out_point=OutPoint(tx_hash=storing.hash, index=0), dep_type=0)],
            header_deps=[],
            inputs=[CellInput(since=0, previous_output=OutPoint(tx_hash=storing.hash, index=1))],
            outputs=[CellOutput(capacity=cell[1] - 50_002 * CKB, lock=ALICE.lock, type_=script)],
            outputs_data=[b""],
        )
    )
    return storing, running
