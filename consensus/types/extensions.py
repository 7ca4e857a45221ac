"""Types of `extensions.mol` that are no messages: what databases of the reference hold, and proofs for light clients.

`HeaderDigest`, `EpochExt` and `BlockExt` are in consensus.types.core.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.codec.molecule import (
    BE_UINT32,
    BYTE32,
    BYTE32_VEC,
    BYTES,
    BYTES_OPT,
    UINT32,
    UINT32_VEC,
    UINT64,
    Field,
    Struct,
    Table,
    field,
    kind,
    vector,
)
from consensus.types.blockchain import TRANSACTION_VEC, CellOutput, Header, Transaction, UncleBlock
from consensus.types.core import HeaderDigest

HEADER_VEC = vector(kind(Header))
UNCLE_BLOCK_VEC = vector(kind(UncleBlock))
HEADER_DIGEST_VEC = vector(kind(HeaderDigest))


class HeaderView(Struct):
    """A header with its hash."""

    hash: Field[bytes] = field(BYTE32)
    data: Field[Header] = field(kind(Header))


class UncleBlockVecView(Table):
    """Uncles with their hashes."""

    hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)
    data: Field[Sequence[UncleBlock]] = field(UNCLE_BLOCK_VEC)


class TransactionView(Table):
    """A transaction with its hashes."""

    hash: Field[bytes] = field(BYTE32)
    witness_hash: Field[bytes] = field(BYTE32)
    data: Field[Transaction] = field(kind(Transaction))


class TransactionKey(Struct):
    """Place of a transaction; the index is big-endian so that keys sort by it."""

    block_hash: Field[bytes] = field(BYTE32)
    index: Field[int] = field(BE_UINT32)


class NumberHash(Struct):
    """A block by height and hash."""

    number: Field[int] = field(UINT64)
    block_hash: Field[bytes] = field(BYTE32)


class StoredTransactionInfo(Struct):
    """Where a transaction was committed: `TransactionInfo` of the schema; consensus.types.core has the node's own."""

    block_number: Field[int] = field(UINT64)
    block_epoch: Field[int] = field(UINT64)
    key: Field[TransactionKey] = field(kind(TransactionKey))


class CellEntry(Table):
    """A live cell without its data."""

    output: Field[CellOutput] = field(kind(CellOutput))
    block_hash: Field[bytes] = field(BYTE32)
    block_number: Field[int] = field(UINT64)
    block_epoch: Field[int] = field(UINT64)
    index: Field[int] = field(UINT32)
    data_size: Field[int] = field(UINT64)


class CellDataEntry(Table):
    """A live cell's data."""

    output_data: Field[bytes] = field(BYTES)
    output_data_hash: Field[bytes] = field(BYTE32)


class MerkleProof(Table):
    """A proof of consensus.crypto.merkle on the wire."""

    indices: Field[Sequence[int]] = field(UINT32_VEC)
    lemmas: Field[Sequence[bytes]] = field(BYTE32_VEC)


class FilteredBlock(Table):
    """Some transactions of a block, with the proof that they are in it."""

    header: Field[Header] = field(kind(Header))
    witnesses_root: Field[bytes] = field(BYTE32)
    transactions: Field[Sequence[Transaction]] = field(TRANSACTION_VEC)
    proof: Field[MerkleProof] = field(kind(MerkleProof))


class VerifiableHeader(Table):
    """A header with what its extra hash commits to, and the MMR root of the chain before it (RFC 44)."""

    header: Field[Header] = field(kind(Header))
    uncles_hash: Field[bytes] = field(BYTE32)
    extension: Field[bytes | None] = field(BYTES_OPT)
    parent_chain_root: Field[HeaderDigest] = field(kind(HeaderDigest))


VERIFIABLE_HEADER_VEC = vector(kind(VerifiableHeader))
FILTERED_BLOCK_VEC = vector(kind(FilteredBlock))
