"""Messages of the chain's own protocols: sync, relay, block filter, light client, time and alert (`extensions.mol`).

Each protocol's messages are a union: `SYNC_MESSAGE.parse(frame)` gives one of the classes, `SYNC_MESSAGE.pack(message)`
the frame. Messages of peers about peers are in network.messages.peers.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.codec.molecule import (
    BOOL,
    BYTE32,
    BYTE32_VEC,
    BYTES,
    BYTES_OPT,
    BYTES_OPT_VEC,
    BYTES_VEC,
    UINT32,
    UINT32_VEC,
    UINT64,
    UINT256,
    UINT256_VEC,
    CompositeKind,
    DynVecKind,
    Field,
    Kind,
    Struct,
    Table,
    UnionKind,
    field,
    kind,
    trailing,
    vector,
)
from consensus.codec.molecule.kinds import Check, T
from consensus.crypto.hashing import ckb_hash
from consensus.kernels.strict import LARGE, Strict, verify_strict
from consensus.types.blockchain import (
    PROPOSAL_SHORT_ID_VEC,
    TRANSACTION_VEC,
    TX_LAYOUTS,
    Block,
    Header,
    Transaction,
    UncleBlock,
)
from consensus.types.core import HeaderDigest
from consensus.types.extensions import (
    FILTERED_BLOCK_VEC,
    HEADER_DIGEST_VEC,
    HEADER_VEC,
    UNCLE_BLOCK_VEC,
    VERIFIABLE_HEADER_VEC,
    FilteredBlock,
    VerifiableHeader,
)

# --- sync ---


class GetHeaders(Table):
    """Asks for headers after the latest common one; hashes from the asker's best header back to genesis."""

    hash_stop: Field[bytes] = field(BYTE32)
    block_locator_hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)


class SendHeaders(Table):
    """Headers of one branch, in order."""

    headers: Field[Sequence[Header]] = field(HEADER_VEC)


class GetBlocks(Table):
    """Asks for whole blocks."""

    block_hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)


class SendBlock(Table):
    """A whole block, with or without extension."""

    block: Field[Block] = field(kind(Block))


class InIBD(Table):
    """The peer is still catching up itself and answers no headers."""


# The ids that are missing belonged to messages that no longer exist.
SYNC_MESSAGE = UnionKind("SyncMessage", {0: GetHeaders, 1: SendHeaders, 2: GetBlocks, 3: SendBlock, 8: InIBD})

# --- relay ---


class _PeersTransaction(CompositeKind[Transaction]):
    """A transaction, checked by its layout where one is known: it costs a tenth."""

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        if compatible:
            super().check(buf, start, end, compatible)
        elif end - start > LARGE:
            verify_strict(Strict.TRANSACTION, buf, start, end)
        else:
            TX_LAYOUTS.check(buf, start, end)

    @property
    def checker(self) -> Check:
        return self.check


class _StrictVec(DynVecKind[T]):
    """A vector that is checked as a whole."""

    def __init__(self, item: Kind[T], what: Strict) -> None:
        super().__init__(item)
        self._what = what

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        if compatible:
            super().check(buf, start, end, compatible)
        else:
            verify_strict(self._what, buf, start, end)


PEERS_TRANSACTION = _PeersTransaction(Transaction)


class IndexTransaction(Table):
    """A transaction with its place in its block."""

    index: Field[int] = field(UINT32)
    transaction: Field[Transaction] = field(PEERS_TRANSACTION)


class CompactBlock(Table):
    """A block by the short ids of its transactions; with the extension it is the schema's `CompactBlockV1`."""

    header: Field[Header] = field(kind(Header))
    short_ids: Field[Sequence[bytes]] = field(PROPOSAL_SHORT_ID_VEC)
    prefilled_transactions: Field[Sequence[IndexTransaction]] = field(
        _StrictVec(kind(IndexTransaction), Strict.PREFILLED)
    )
    uncles: Field[Sequence[bytes]] = field(BYTE32_VEC)
    proposals: Field[Sequence[bytes]] = field(PROPOSAL_SHORT_ID_VEC)
    extension: Field[bytes | None] = trailing(BYTES, default=None)


class RelayTransaction(Table):
    """A transaction with the cycles that its sender counted."""

    cycles: Field[int] = field(UINT64)
    transaction: Field[Transaction] = field(PEERS_TRANSACTION)


RELAY_TRANSACTION = kind(RelayTransaction)


class RelayTransactions(Table):
    """Transactions that were asked for."""

    transactions: Field[Sequence[RelayTransaction]] = field(vector(kind(RelayTransaction)))


class RelayTransactionHashes(Table):
    """Announces transactions of the pool."""

    tx_hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)


class GetRelayTransactions(Table):
    """Asks for announced transactions."""

    tx_hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)


class GetBlockTransactions(Table):
    """Asks for what a compact block lacks, by place."""

    block_hash: Field[bytes] = field(BYTE32)
    indexes: Field[Sequence[int]] = field(UINT32_VEC)
    uncle_indexes: Field[Sequence[int]] = field(UINT32_VEC)


class BlockTransactions(Table):
    """What a compact block lacked, in the order of the question."""

    block_hash: Field[bytes] = field(BYTE32)
    transactions: Field[Sequence[Transaction]] = field(_StrictVec(kind(Transaction), Strict.TRANSACTIONS))
    uncles: Field[Sequence[UncleBlock]] = field(UNCLE_BLOCK_VEC)


class GetBlockProposal(Table):
    """Asks for transactions that a block proposes."""

    block_hash: Field[bytes] = field(BYTE32)
    proposals: Field[Sequence[bytes]] = field(PROPOSAL_SHORT_ID_VEC)


class BlockProposal(Table):
    """Proposed transactions."""

    transactions: Field[Sequence[Transaction]] = field(TRANSACTION_VEC)


RELAY_MESSAGE = UnionKind(
    "RelayMessage",
    dict(
        enumerate(
            (
                CompactBlock,
                RelayTransactions,
                RelayTransactionHashes,
                GetRelayTransactions,
                GetBlockTransactions,
                BlockTransactions,
                GetBlockProposal,
                BlockProposal,
            )
        )
    ),
)

# --- block filter (RFC 45) ---


class GetBlockFilters(Struct):
    """Asks for filters from a height on."""

    start_number: Field[int] = field(UINT64)


class BlockFilters(Table):
    """Filters of consecutive blocks."""

    start_number: Field[int] = field(UINT64)
    block_hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)
    filters: Field[Sequence[bytes]] = field(BYTES_VEC)


class GetBlockFilterHashes(Struct):
    """Asks for filter hashes from a height on."""

    start_number: Field[int] = field(UINT64)


class BlockFilterHashes(Table):
    """Filter hashes of consecutive blocks, and the one before them."""

    start_number: Field[int] = field(UINT64)
    parent_block_filter_hash: Field[bytes] = field(BYTE32)
    block_filter_hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)


class GetBlockFilterCheckPoints(Struct):
    """Asks for every 2000th filter hash from a height on."""

    start_number: Field[int] = field(UINT64)


class BlockFilterCheckPoints(Table):
    """Every 2000th filter hash."""

    start_number: Field[int] = field(UINT64)
    block_filter_hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)


BLOCK_FILTER_MESSAGE = UnionKind(
    "BlockFilterMessage",
    dict(
        enumerate(
            (
                GetBlockFilters,
                BlockFilters,
                GetBlockFilterHashes,
                BlockFilterHashes,
                GetBlockFilterCheckPoints,
                BlockFilterCheckPoints,
            )
        )
    ),
)

# --- light client (RFC 44) ---


class GetLastState(Table):
    """Asks for the tip; `subscribe` 1: and for each new one."""

    subscribe: Field[bytes] = field(BOOL)


class SendLastState(Table):
    """The server's tip."""

    last_header: Field[VerifiableHeader] = field(kind(VerifiableHeader))


class GetLastStateProof(Table):
    """Asks for a proof that leads from a proved block to a tip: the last `last_n_blocks` and samples by difficulty."""

    last_hash: Field[bytes] = field(BYTE32)
    start_hash: Field[bytes] = field(BYTE32)
    start_number: Field[int] = field(UINT64)
    last_n_blocks: Field[int] = field(UINT64)
    difficulty_boundary: Field[int] = field(UINT256)
    difficulties: Field[Sequence[int]] = field(UINT256_VEC)


class SendLastStateProof(Table):
    """The sampled headers with their MMR proof; without them when the asked tip is not on the server's chain."""

    last_header: Field[VerifiableHeader] = field(kind(VerifiableHeader))
    proof: Field[Sequence[HeaderDigest]] = field(HEADER_DIGEST_VEC)
    headers: Field[Sequence[VerifiableHeader]] = field(VERIFIABLE_HEADER_VEC)


class GetBlocksProof(Table):
    """Asks whether blocks are on the chain of a tip."""

    last_hash: Field[bytes] = field(BYTE32)
    block_hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)


class SendBlocksProof(Table):
    """Headers with their MMR proof; with the last two fields it is the schema's `SendBlocksProofV1`."""

    last_header: Field[VerifiableHeader] = field(kind(VerifiableHeader))
    proof: Field[Sequence[HeaderDigest]] = field(HEADER_DIGEST_VEC)
    headers: Field[Sequence[Header]] = field(HEADER_VEC)
    missing_block_hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)
    blocks_uncles_hash: Field[Sequence[bytes] | None] = trailing(BYTE32_VEC, default=None)
    blocks_extension: Field[Sequence[bytes | None] | None] = trailing(BYTES_OPT_VEC, default=None)


class GetTransactionsProof(Table):
    """Asks whether transactions are on the chain of a tip."""

    last_hash: Field[bytes] = field(BYTE32)
    tx_hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)


class SendTransactionsProof(Table):
    """Transactions with their proofs; with the last two fields it is the schema's `SendTransactionsProofV1`."""

    last_header: Field[VerifiableHeader] = field(kind(VerifiableHeader))
    proof: Field[Sequence[HeaderDigest]] = field(HEADER_DIGEST_VEC)
    filtered_blocks: Field[Sequence[FilteredBlock]] = field(FILTERED_BLOCK_VEC)
    missing_tx_hashes: Field[Sequence[bytes]] = field(BYTE32_VEC)
    blocks_uncles_hash: Field[Sequence[bytes] | None] = trailing(BYTE32_VEC, default=None)
    blocks_extension: Field[Sequence[bytes | None] | None] = trailing(BYTES_OPT_VEC, default=None)


LIGHT_CLIENT_MESSAGE = UnionKind(
    "LightClientMessage",
    dict(
        enumerate(
            (
                GetLastState,
                SendLastState,
                GetLastStateProof,
                SendLastStateProof,
                GetBlocksProof,
                SendBlocksProof,
                GetTransactionsProof,
                SendTransactionsProof,
            )
        )
    ),
)

# --- time and alert ---


class Time(Table):
    """The peer's clock, in milliseconds since 1970."""

    timestamp: Field[int] = field(UINT64)


class RawAlert(Table):
    """What an alert says; shown until `notice_until` (ms) by versions in the range. `cancel`: the id that it ends."""

    notice_until: Field[int] = field(UINT64)
    id: Field[int] = field(UINT32)
    cancel: Field[int] = field(UINT32)
    priority: Field[int] = field(UINT32)
    message: Field[bytes] = field(BYTES)
    min_version: Field[bytes | None] = field(BYTES_OPT)
    max_version: Field[bytes | None] = field(BYTES_OPT)

    @property
    def hash(self) -> bytes:
        """What the signatures sign."""
        return ckb_hash(self.raw)


class Alert(Table):
    """A signed alert: `body` is the schema's field `raw`."""

    body: Field[RawAlert] = field(kind(RawAlert))
    signatures: Field[Sequence[bytes]] = field(BYTES_VEC)
