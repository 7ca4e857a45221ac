"""Real transactions: hash, and that each byte of body and witnesses belongs to one of the two hashes."""

from __future__ import annotations

import pytest

from consensus.crypto.hashing import ckb_hash
from consensus.rules.verify_transaction import verify_transaction_non_contextual
from consensus.types.blockchain import RawTransaction, Transaction
from tests.realchain.kinds import RealTransaction
from tests.realchain.vectors import all_transactions
from tests.support.chains.unchecked import make_consensus

TRANSACTIONS = all_transactions()
CONSENSUS = make_consensus()


def named(real: RealTransaction) -> str:
    return f"{real.network}-{real.hash[:8]}"


@pytest.mark.parametrize("real", TRANSACTIONS, ids=named)
def test_hashes_and_size(real: RealTransaction) -> None:
    transaction = real.transaction
    assert transaction.hash.hex() == real.hash
    assert transaction.witness_hash == ckb_hash(bytes.fromhex(real.raw))
    assert transaction.raw_size == len(real.raw) // 2
    assert transaction.size_in_block == transaction.raw_size + 4
    assert not transaction.is_cellbase
    verify_transaction_non_contextual(CONSENSUS, transaction)


@pytest.mark.parametrize("real", TRANSACTIONS, ids=named)
def test_rebuilt_from_its_parts(real: RealTransaction) -> None:
    """What the sources give are the parts: serialised by us they have the hash that the source names."""
    body = real.transaction.body
    parts = RawTransaction(
        version=body.version,
        cell_deps=list(body.cell_deps),
        header_deps=list(body.header_deps),
        inputs=list(body.inputs),
        outputs=list(body.outputs),
        outputs_data=list(body.outputs_data),
    )
    rebuilt = Transaction(body=parts, witnesses=list(real.transaction.witnesses))
    assert rebuilt.raw.hex() == real.raw


@pytest.mark.parametrize("real", TRANSACTIONS, ids=named)
def test_a_witness_is_in_the_witness_hash_only(real: RealTransaction) -> None:
    transaction = real.transaction
    more = Transaction(body=transaction.body, witnesses=[*transaction.witnesses, b""])
    assert more.hash == transaction.hash
    assert more.witness_hash != transaction.witness_hash
    other = Transaction(body=transaction.body.replace(version=1), witnesses=transaction.witnesses)
    assert other.hash != transaction.hash
