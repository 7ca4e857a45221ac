"""Signatures for the two system locks (RFC 24): any inputs of a transaction, several groups, WitnessArgs kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from consensus.crypto.hashing import blake160, ckb_hash_concat
from consensus.params import Consensus
from consensus.types.blockchain import (
    DEP_TYPE_DEP_GROUP,
    HASH_TYPE_TYPE,
    CellDep,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
    WitnessArgs,
)
from tests.support.builders.wallet import SIGNATURE_SIZE, Wallet

MULTISIG_GROUP_INDEX = 1
"""Of the multisig dep group among the outputs of the second genesis transaction."""


class Signer(Protocol):
    """Who opens a lock."""

    @property
    def placeholder(self) -> bytes:
        """The witness' lock field while the signature is made."""

    def lock_field(self, digest: bytes) -> bytes:
        """The same with signatures."""


@dataclass(frozen=True)
class Single:
    """One key for the standard lock."""

    wallet: Wallet

    @property
    def placeholder(self) -> bytes:
        return bytes(SIGNATURE_SIZE)

    def lock_field(self, digest: bytes) -> bytes:
        signature: bytes = self.wallet.key.sign_recoverable(digest, hasher=None)
        return signature


@dataclass(frozen=True)
class Multisig:
    """`threshold` of these wallets must sign, among them the first `required`; `signing` are those who do."""

    wallets: tuple[Wallet, ...]
    threshold: int
    signing: tuple[int, ...]
    required: int = 0

    @property
    def script_bytes(self) -> bytes:
        hashes = b"".join(wallet.lock.args for wallet in self.wallets)
        return bytes([0, self.required, self.threshold, len(self.wallets)]) + hashes

    def lock(self, consensus: Consensus, since: int | None = None) -> Script:
        code_hash = consensus.secp256k1_blake160_multisig_all_type_hash
        assert code_hash is not None
        tail = b"" if since is None else since.to_bytes(8, "little")
        return Script(code_hash=code_hash, hash_type=HASH_TYPE_TYPE, args=blake160(self.script_bytes) + tail)

    @property
    def placeholder(self) -> bytes:
        return self.script_bytes + bytes(SIGNATURE_SIZE * len(self.signing))

    def lock_field(self, digest: bytes) -> bytes:
        signatures = (self.wallets[index].key.sign_recoverable(digest, hasher=None) for index in self.signing)
        return self.script_bytes + b"".join(signatures)


def multisig_dep(consensus: Consensus) -> CellDep:
    group = OutPoint(tx_hash=consensus.genesis_block.transactions[1].hash, index=MULTISIG_GROUP_INDEX)
    return CellDep(out_point=group, dep_type=DEP_TYPE_DEP_GROUP)


def signed(
    body: RawTransaction,
    groups: Sequence[tuple[Signer, Sequence[int]]],
    input_types: Mapping[int, bytes] | None = None,
) -> Transaction:
    """Sign each group of inputs (their indices, ascending). `input_types`: type script witnesses by input."""
    types = input_types or {}
    leaders = {indices[0]: signer for signer, indices in groups}
    witnesses = []
    for index in range(len(body.inputs)):
        lock = leaders[index].placeholder if index in leaders else None
        if lock is None and index not in types:
            witnesses.append(b"")
        else:
            witnesses.append(WitnessArgs(lock=lock, input_type=types.get(index), output_type=None).raw)
    done = list(witnesses)
    tx_hash = Transaction(body=body, witnesses=[]).hash
    for signer, indices in groups:
        parts = [tx_hash]
        for index in indices:
            parts += [len(witnesses[index]).to_bytes(8, "little"), witnesses[index]]
        lock = signer.lock_field(ckb_hash_concat(*parts))
        done[indices[0]] = WitnessArgs(lock=lock, input_type=types.get(indices[0]), output_type=None).raw
    return Transaction(body=body, witnesses=done)
