"""A wallet for the standard lock: builds and signs transfers as SDKs do (RFC 24), independent of the node's scripts."""

from __future__ import annotations

from collections.abc import Sequence

from coincurve import PrivateKey

from consensus.crypto.hashing import blake160, ckb_hash_concat
from consensus.params import Consensus
from consensus.types.blockchain import (
    DEP_TYPE_DEP_GROUP,
    HASH_TYPE_TYPE,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
    WitnessArgs,
)

# The two funded accounts of every dev chain, as the reference's dev spec has them.
ALICE_KEY = bytes.fromhex("d00c06bfd800d27397002dca6fb0993d5ba6399b4238b2f29ee9deb97593d2bc")
BOB_KEY = bytes.fromhex("63d86723e08f0f813a36ce6aa123bb2289d90680ae1e99d4de8cdb334553f24d")

SIGHASH_TYPE_HASH = bytes.fromhex("9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8")
SIGNATURE_SIZE = 65
CKB = 100_000_000


class Wallet:
    """One key."""

    def __init__(self, secret: bytes) -> None:
        self.key = PrivateKey(secret)
        self.public_key = self.key.public_key.format(compressed=True)
        self.lock = Script(code_hash=SIGHASH_TYPE_HASH, hash_type=HASH_TYPE_TYPE, args=blake160(self.public_key))

    def transfer(
        self,
        consensus: Consensus,
        cells: Sequence[tuple[OutPoint, int]],
        outputs: Sequence[tuple[Script, int]],
        *,
        since: int = 0,
    ) -> Transaction:
        """Spend `cells` (out point, capacity) into `outputs` (lock, capacity), signed. The rest is fee."""
        body = RawTransaction(
            version=0,
            cell_deps=[sighash_dep(consensus)],
            header_deps=[],
            inputs=[CellInput(since=since, previous_output=out_point) for out_point, _ in cells],
            outputs=[CellOutput(capacity=capacity, lock=lock, type_=None) for lock, capacity in outputs],
            outputs_data=[b""] * len(outputs),
        )
        return self.sign(body)

    def sign(self, body: RawTransaction, input_type: bytes | None = None) -> Transaction:
        """Sign all inputs as one group of this wallet; `input_type` is for the type script of the first."""
        empty = WitnessArgs(lock=bytes(SIGNATURE_SIZE), input_type=input_type, output_type=None).raw
        rest = [b""] * (len(body.inputs) - 1)
        unsigned = Transaction(body=body, witnesses=[empty, *rest])
        parts = [unsigned.hash, len(empty).to_bytes(8, "little"), empty]
        for witness in rest:
            parts += [len(witness).to_bytes(8, "little"), witness]
        signature = self.key.sign_recoverable(ckb_hash_concat(*parts), hasher=None)
        witness = WitnessArgs(lock=signature, input_type=input_type, output_type=None).raw
        return Transaction(body=body, witnesses=[witness, *rest])


def sighash_dep(consensus: Consensus) -> CellDep:
    """The dep group of the standard lock: output 0 of the second genesis transaction on every chain."""
    group = OutPoint(tx_hash=consensus.genesis_block.transactions[1].hash, index=0)
    return CellDep(out_point=group, dep_type=DEP_TYPE_DEP_GROUP)


def issued_cell(consensus: Consensus, wallet: Wallet) -> tuple[OutPoint, int]:
    """The genesis cell that funds a wallet."""
    cellbase = consensus.genesis_block.transactions[0]
    for index, output in enumerate(cellbase.body.outputs):
        if output.lock == wallet.lock:
            return OutPoint(tx_hash=cellbase.hash, index=index), output.capacity
    raise LookupError("the wallet has no genesis cell")
