"""Real transactions whose spent cells no source gives, but whose signature tells their lock.

The key that signed is recovered here, by libsecp256k1 and RFC 24's message; that it owns one of the outputs, the
change, shows that it was recovered from the right message. The default lock reads nothing of the cells that it guards,
so with just this lock the script runs as it ran on the chain.
"""

from __future__ import annotations

import coincurve
import pytest

from consensus.crypto.hashing import blake160, ckb_hash, data_hash
from consensus.script.errors import TransactionScriptError
from consensus.script.verifier import ScriptVerifier
from consensus.types.blockchain import HASH_TYPE_TYPE, CellOutput, Script, Transaction, WitnessArgs
from consensus.types.core import CellMeta
from tests.realchain.cells import KnownCells
from tests.realchain.cycles import OWNER_CYCLES
from tests.realchain.kinds import short
from tests.realchain.public import EPOCHS, LIMIT, PublicChain
from tests.realchain.vectors import all_transactions
from tests.support.builders.scripts import Env
from tests.support.builders.wallet import SIGHASH_TYPE_HASH

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REAL = {real.hash: real for real in all_transactions() if real.hash in OWNER_CYCLES}
SIGNATURE = slice(20, 85)
"""Where it stands in a witness that holds nothing else."""


def owner(transaction: Transaction) -> bytes:
    """Key hash of who signed, all inputs being one group."""
    first, *others = transaction.witnesses
    lock = WitnessArgs.parse(first).lock
    assert lock == first[SIGNATURE]
    message = transaction.hash
    for witness in (first[: SIGNATURE.start] + bytes(65), *others):
        message += len(witness).to_bytes(8, "little") + witness
    key = coincurve.PublicKey.from_signature_and_message(lock, ckb_hash(message), hasher=None)
    return blake160(key.format(compressed=True))


def spendable(chain: PublicChain, transaction: Transaction, key_hash: bytes) -> KnownCells:
    """The chain's cells, and those that the transaction spends, bare but for their lock."""
    lock = Script(code_hash=SIGHASH_TYPE_HASH, hash_type=HASH_TYPE_TYPE, args=key_hash)
    output = CellOutput(capacity=0, lock=lock, type_=None)
    cells = dict(chain.known.cells)
    for spend in transaction.body.inputs:
        key = spend.previous_output.raw
        cells[key] = CellMeta(key, output, 0, data_hash(b""), None, lambda: b"")
    return KnownCells(cells, chain.known.headers)


@pytest.mark.parametrize("tx_hash", REAL, ids=short)
def test_cycles(chains: dict[str, PublicChain], tx_hash: str) -> None:
    real = REAL[tx_hash]
    transaction, chain = real.transaction, chains[real.network]
    key_hash = owner(transaction)
    assert key_hash in [output.lock.args for output in transaction.body.outputs]
    known = spendable(chain, transaction, key_hash)
    verifier = ScriptVerifier(chain.consensus, known)
    for epoch, cycles in zip(EPOCHS[real.network], OWNER_CYCLES[tx_hash], strict=True):
        assert verifier.verify(known.resolve(transaction), Env(epoch), LIMIT) == cycles


@pytest.mark.parametrize("tx_hash", REAL, ids=short)
def test_others_could_not(chains: dict[str, PublicChain], tx_hash: str) -> None:
    """Neither may another owner's cells be spent, nor a bit of the signature differ."""
    real = REAL[tx_hash]
    transaction, chain = real.transaction, chains[real.network]
    key_hash = owner(transaction)
    first, *others = transaction.witnesses
    changed = bytearray(first)
    changed[SIGNATURE.start + 40] ^= 1
    forged = Transaction(body=transaction.body, witnesses=[bytes(changed), *others])
    for attempt, of in ((transaction, bytes([key_hash[0] ^ 1]) + key_hash[1:]), (forged, key_hash)):
        known = spendable(chain, attempt, of)
        with pytest.raises(TransactionScriptError, match="ValidationFailure"):
            ScriptVerifier(chain.consensus, known).verify(known.resolve(attempt), Env(EPOCHS[real.network][2]), LIMIT)
