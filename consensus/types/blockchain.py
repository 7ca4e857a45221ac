"""The chain's own types (`blockchain.mol`, RFC 19, RFC 22, RFC 27) with the hashes that belong to them.

Headers have a file of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from consensus.codec.block_layout import trusted_bounds
from consensus.codec.frame import ordinary_frame
from consensus.codec.layout import (
    BLOCK_ENTRY_SIZE,
    CELL_DEP_SIZE,
    HEADER_SIZE,
    INPUT_SIZE,
    NUMBER_SIZE,
    OUT_POINT_SIZE,
    OUTPUT_HEADERS,
    SCRIPT_CONTENT_SIZE,
    SCRIPT_HEADERS,
    SHORT_ID_SIZE,
    SINCE_SIZE,
    U32,
)
from consensus.codec.layout import SHANNONS_PER_BYTE as SHANNONS_PER_BYTE
from consensus.codec.molecule import (
    BYTE,
    BYTE32,
    BYTE32_VEC,
    BYTES,
    BYTES_OPT,
    BYTES_VEC,
    UINT32,
    UINT64,
    ByteArrayKind,
    DynVecKind,
    Field,
    Struct,
    Table,
    field,
    kind,
    optional,
    part_bounds,
    trailing,
    vector,
)
from consensus.codec.output_layout import OutputLayouts
from consensus.codec.tx_layout import TxLayout, TxLayouts, read_layout
from consensus.crypto.hashing import ZERO_HASH, ckb_hash, ckb_hash_concat
from consensus.crypto.merkle import merkle_root
from consensus.lazy import lazy
from consensus.types.header import Header as Header
from consensus.types.header import RawHeader as RawHeader
from consensus.types.tx_slice import TxSlice

NULL_INDEX = 0xFFFFFFFF

# hash_type of a script (RFC 22, RFC 32, RFC 49). Odd values other than 1 do not exist; larger even ones are future VMs.
HASH_TYPE_DATA = 0
HASH_TYPE_TYPE = 1
HASH_TYPE_DATA1 = 2
HASH_TYPE_DATA2 = 4

DEP_TYPE_CODE = 0
DEP_TYPE_DEP_GROUP = 1

PROPOSAL_SHORT_ID = ByteArrayKind("ProposalShortId", SHORT_ID_SIZE)
PROPOSAL_SHORT_ID_VEC = vector(PROPOSAL_SHORT_ID)


class Script(Table):
    """Which code guards a cell, and its arguments."""

    code_hash: Field[bytes] = field(BYTE32)
    hash_type: Field[int] = field(BYTE)
    args: Field[bytes] = field(BYTES)

    @lazy
    def hash(self) -> bytes:
        """Script hash: lock hash or type hash of a cell."""
        return ckb_hash(self.raw)

    @property
    def occupied_bytes(self) -> int:
        """Bytes of capacity that it takes: code hash, hash type and arguments."""
        return SCRIPT_CONTENT_SIZE + len(self.args)


class OutPoint(Struct):
    """Names an output: `raw` (36 bytes) is the key of a cell everywhere in the node."""

    tx_hash: Field[bytes] = field(BYTE32)
    index: Field[int] = field(UINT32)

    @property
    def is_null(self) -> bool:
        """The out point of a cellbase's input."""
        return self.index == NULL_INDEX and self.tx_hash == ZERO_HASH


def out_point_key(tx_hash: bytes, index: int) -> bytes:
    """The 36 bytes of OutPoint(tx_hash, index)."""
    return tx_hash + index.to_bytes(4, "little")


NULL_OUT_POINT = OutPoint(tx_hash=ZERO_HASH, index=NULL_INDEX)


class CellInput(Struct):
    """A cell that is spent, and since when that is allowed (RFC 17)."""

    since: Field[int] = field(UINT64)
    previous_output: Field[OutPoint] = field(kind(OutPoint))


class CellOutput(Table):
    """A cell without its data. Capacity in shannons."""

    capacity: Field[int] = field(UINT64)
    lock: Field[Script] = field(kind(Script))
    type_: Field[Script | None] = field(optional(kind(Script)))

    def occupied_capacity(self, data_size: int) -> int:
        """Shannons that this cell takes with `data_size` bytes of data: 8 for the capacity, lock, type and data.

        A strict serialisation holds these parts and its headers, nothing else, so its length tells; this runs for every
        cell of a block. The plain sum stands beside it as `occupied_capacity_by_parts`.
        """
        size = self.raw_size - OUTPUT_HEADERS + data_size
        if self.field_span(2)[0] != self.raw_size:
            size -= SCRIPT_HEADERS
        return size * SHANNONS_PER_BYTE

    def occupied_capacity_by_parts(self, data_size: int) -> int:
        """The same, as RFC 20 says it."""
        size = 8 + self.lock.occupied_bytes + data_size
        if self.type_ is not None:
            size += self.type_.occupied_bytes
        return size * SHANNONS_PER_BYTE


def bare_cell_capacity(lock: Script) -> int:
    """Shannons that a cell with this lock, no type and no data takes."""
    return (8 + lock.occupied_bytes) * SHANNONS_PER_BYTE


class CellDep(Struct):
    """A cell that scripts may read, or (dep_type 1) a cell whose data lists such cells."""

    out_point: Field[OutPoint] = field(kind(OutPoint))
    dep_type: Field[int] = field(BYTE)


OUTPUT_LAYOUTS = OutputLayouts(CellOutput.check)
"""Of all outputs that this process meets."""


class CellOutputVecKind(DynVecKind[CellOutput]):
    """vector <CellOutput>, checked by layout where one is known."""

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        if compatible:
            super().check(buf, start, end, compatible)
        else:
            OUTPUT_LAYOUTS.check_all(buf, part_bounds(self.name, buf, start, end))


class RawTransaction(Table):
    """A transaction without witnesses: what its hash covers."""

    version: Field[int] = field(UINT32)
    cell_deps: Field[Sequence[CellDep]] = field(vector(kind(CellDep)))
    header_deps: Field[Sequence[bytes]] = field(BYTE32_VEC)
    inputs: Field[Sequence[CellInput]] = field(vector(kind(CellInput)))
    outputs: Field[Sequence[CellOutput]] = field(CellOutputVecKind(kind(CellOutput)))
    outputs_data: Field[Sequence[bytes]] = field(BYTES_VEC)


_BODY_FIELDS = [each.name for each in RawTransaction.FIELDS]
_CELL_DEPS_AT, _INPUTS_AT = (NUMBER_SIZE * (1 + _BODY_FIELDS.index(name)) for name in ("cell_deps", "inputs"))
"""Where their offsets lie in a RawTransaction."""


# `Transaction.raw` would name both the molecule field and the serialised bytes; the field is `body` here.
class Transaction(Table):
    """A transaction: `body` is the schema's field `raw`."""

    body: Field[RawTransaction] = field(kind(RawTransaction))
    witnesses: Field[Sequence[bytes]] = field(BYTES_VEC)

    @lazy
    def hash(self) -> bytes:
        """Transaction hash (without witnesses): names the transaction."""
        return ckb_hash(self.body.raw)

    @lazy
    def witness_hash(self) -> bytes:
        """Hash with witnesses."""
        return ckb_hash(self.raw)

    @property
    def consumed(self) -> list[bytes]:
        """Out points (36 bytes) of its inputs, without an object for each: there may be thirteen thousand."""
        return self._out_points(_INPUTS_AT, SINCE_SIZE, INPUT_SIZE)

    @property
    def named_deps(self) -> list[bytes]:
        """Out points of its cell deps, likewise."""
        return self._out_points(_CELL_DEPS_AT, 0, CELL_DEP_SIZE)

    def _out_points(self, field_at: int, place: int, size: int) -> list[bytes]:
        """Of a vector of items of one size, which have it at one place."""
        raw = self.raw
        body: int = U32.unpack_from(raw, NUMBER_SIZE)[0]
        items = body + U32.unpack_from(raw, body + field_at)[0]
        first = items + NUMBER_SIZE + place
        end = first + U32.unpack_from(raw, items)[0] * size
        return [raw[at : at + OUT_POINT_SIZE] for at in range(first, end, size)]

    @property
    def short_id(self) -> bytes:
        """Proposal short id: first 10 bytes of the hash."""
        return self.hash[:SHORT_ID_SIZE]

    @property
    def size_in_block(self) -> int:
        """Bytes that it adds to a block: itself and its offset."""
        return self.raw_size + BLOCK_ENTRY_SIZE

    @lazy
    def is_cellbase(self) -> bool:
        """Has exactly one input, which is null, and exactly one witness."""
        inputs = self.body.inputs
        # Witnesses last: a peer's transaction may have a hundred thousand, and to count them finds each.
        return len(inputs) == 1 and inputs[0].previous_output.is_null and len(self.witnesses) == 1

    def output_keys(self) -> list[bytes]:
        """Out points (36 bytes) of its outputs."""
        return [out_point_key(self.hash, index) for index in range(len(self.body.outputs))]


TX_LAYOUTS = TxLayouts(Transaction.check)
"""Of all transactions that this process meets."""


CheckedTransaction = tuple[int, int, TxLayout | None]
"""Bounds of a transaction that passed the strict check, and its layout if it has one."""


class TransactionVecKind(DynVecKind[Transaction]):
    """vector <Transaction>, checked by layout where one is known."""

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        if compatible:
            super().check(buf, start, end, compatible)
        else:
            self.checked(buf, start, end)

    def checked(self, buf: bytes, start: int, end: int) -> list[CheckedTransaction]:
        """Bounds of each transaction and its layout, see `TxLayouts.check_all`; MoleculeError."""
        return TX_LAYOUTS.check_all(buf, part_bounds(self.name, buf, start, end))

    def found(self, buf: bytes, start: int) -> list[CheckedTransaction]:
        """The same of a vector that passed the strict check."""
        return TX_LAYOUTS.find_all(buf, trusted_bounds(buf, start))


TRANSACTION_VEC = TransactionVecKind(kind(Transaction))


def proposals_hash(proposals: Sequence[bytes]) -> bytes:
    """Hash of all short ids end to end; zero when there are none."""
    return ckb_hash(b"".join(proposals)) if proposals else ZERO_HASH


class UncleBlock(Table):
    """A stale block that a later one embeds."""

    header: Field[Header] = field(kind(Header))
    proposals: Field[Sequence[bytes]] = field(PROPOSAL_SHORT_ID_VEC)

    @property
    def hash(self) -> bytes:
        """Its block hash."""
        return self.header.hash


def uncles_hash(uncles: Sequence[UncleBlock]) -> bytes:
    """Hash of all uncles' block hashes end to end; zero when there are none."""
    return ckb_hash(b"".join(uncle.hash for uncle in uncles)) if uncles else ZERO_HASH


class Block(Table):
    """A block; without the extension it is the schema's `Block`, with it `BlockV1` (RFC 31)."""

    header: Field[Header] = field(kind(Header))
    uncles: Field[Sequence[UncleBlock]] = field(vector(kind(UncleBlock)))
    transactions: Field[Sequence[Transaction]] = field(TRANSACTION_VEC)
    proposals: Field[Sequence[bytes]] = field(PROPOSAL_SHORT_ID_VEC)
    extension: Field[bytes | None] = trailing(BYTES, default=None)

    @classmethod
    def parse(cls, data: bytes, *, compatible: bool = False) -> Self:
        """As Composite.parse; bounds and layouts found by a strict check are kept."""
        if compatible:
            return super().parse(data, compatible=compatible)
        frame = ordinary_frame(data)
        if frame is not None:
            return cls._of_parts(data, frame, TRANSACTION_VEC.checked(data, frame[2], frame[3]))
        bounds, transactions = cls.checked_bounds(data, 0, len(data), compatible), list[CheckedTransaction]()
        for declared, start, end in zip(cls.FIELDS, bounds, bounds[1:], strict=False):
            if declared is cls.transactions:
                transactions = TRANSACTION_VEC.checked(data, start, end)
            else:
                declared.kind.check(data, start, end, compatible)
        return cls._of_parts(data, bounds, transactions)

    @classmethod
    def passed(cls, data: bytes) -> Self:
        """As `parse`, of bytes that passed the strict check."""
        bounds = trusted_bounds(data, 0)
        return cls._of_parts(data, bounds, TRANSACTION_VEC.found(data, bounds[2]))

    @classmethod
    def _of_parts(cls, data: bytes, bounds: Sequence[int], transactions: Sequence[CheckedTransaction]) -> Self:
        self = cls.view(data, 0, len(data))
        header = Header.view(data[bounds[0] : bounds[1]], 0, HEADER_SIZE)
        self.__dict__.update(_raw=data, bounds=bounds, header=header, checked_transactions=transactions)
        return self

    @property
    def hash(self) -> bytes:
        return self.header.hash

    @property
    def number(self) -> int:
        return self.header.number

    @property
    def parent_hash(self) -> bytes:
        return self.header.parent_hash

    @lazy
    def checked_transactions(self) -> Sequence[CheckedTransaction]:
        """Bounds and layouts of its transactions, see `TxLayouts.check`. MoleculeError."""
        return TRANSACTION_VEC.checked(self.raw, self.bounds[2], self.bounds[3])

    @lazy
    def tx_slices(self) -> Sequence[TxSlice]:
        """Its transactions without objects for their parts. MoleculeError if one is not strictly well formed."""
        raw = self.raw
        return [
            TxSlice(raw, a, b, layout or read_layout(raw[a:b], OUTPUT_LAYOUTS))
            for a, b, layout in self.checked_transactions
        ]

    @lazy
    def bounds(self) -> Sequence[int]:
        """Where its fields lie in `raw`: field i from bounds[i] to bounds[i + 1]."""
        return part_bounds("Block", self.raw, 0, self.raw_size)

    @lazy
    def has_uncles(self) -> bool:
        """It embeds uncles; cheaper than `uncles`."""
        return self.bounds[2] - self.bounds[1] > 4

    @lazy
    def proposal_bytes(self) -> bytes:
        """Its own proposals end to end."""
        return self.raw[self.bounds[3] + 4 : self.bounds[4]]

    @lazy
    def own_proposal_ids(self) -> list[bytes]:
        """The same, cut into ids."""
        own = self.proposal_bytes
        return [own[at : at + SHORT_ID_SIZE] for at in range(0, len(own), SHORT_ID_SIZE)]

    @lazy
    def cellbase_witness(self) -> bytes:
        """The first witness of the first transaction."""
        if not self._has_tx_slices:
            return self.transactions[0].witnesses[0]
        cellbase = self.tx_slices[0]
        start, end = cellbase.layout.witnesses[0]
        return cellbase.raw[start:end]

    @lazy
    def committed_ids(self) -> Sequence[bytes]:
        """Short ids of its transactions but the cellbase."""
        transactions = self.tx_slices if self._has_tx_slices else self.transactions
        return [transaction.hash[:SHORT_ID_SIZE] for transaction in transactions[1:]]

    @property
    def _has_tx_slices(self) -> bool:
        """`tx_slices` exists. Of a stored block it may not be worth its cost, that of a strict check."""
        return "tx_slices" in self.__dict__

    def transactions_root(self) -> bytes:
        """Merkle root over the roots of transaction hashes and of witness hashes (RFC 6, RFC 27), from the body."""
        transactions = self.transactions
        raw_root = merkle_root([tx.hash for tx in transactions])
        witnesses_root = merkle_root([tx.witness_hash for tx in transactions])
        return merkle_root([raw_root, witnesses_root])

    def proposals_hash(self) -> bytes:
        """From the body."""
        return proposals_hash(self.proposals)

    def extra_hash(self) -> bytes:
        """Uncles hash, and the extension's hash when there is one (RFC 31), from the body."""
        uncles = uncles_hash(self.uncles) if self.has_uncles else ZERO_HASH
        if self.extension is None:
            return uncles
        return ckb_hash_concat(uncles, ckb_hash(self.extension))

    def size_without_uncle_proposals(self) -> int:
        """The size that the block limit counts: serialised bytes less the ids that uncles proposed."""
        return self.raw_size - sum(len(uncle.proposals) * SHORT_ID_SIZE for uncle in self.uncles)

    def union_proposal_ids(self) -> set[bytes]:
        """Short ids proposed by the block or by its uncles."""
        ids = set(self.own_proposal_ids)
        if self.has_uncles:
            for uncle in self.uncles:
                ids.update(uncle.proposals)
        return ids

    def with_roots(self) -> Block:
        """The block whose header commits to its body: how a block enters the node from a miner or peer."""
        header = self.header.with_fields(
            transactions_root=self.transactions_root(),
            proposals_hash=self.proposals_hash(),
            extra_hash=self.extra_hash(),
        )
        return self if header == self.header else self.replace(header=header)


class CellbaseWitness(Table):
    """First witness of a cellbase: who gets the reward 11 blocks later."""

    lock: Field[Script] = field(kind(Script))
    message: Field[bytes] = field(BYTES)


class WitnessArgs(Table):
    """How scripts share one witness."""

    lock: Field[bytes | None] = field(BYTES_OPT)
    input_type: Field[bytes | None] = field(BYTES_OPT)
    output_type: Field[bytes | None] = field(BYTES_OPT)


OUT_POINT_VEC = vector(kind(OutPoint))
