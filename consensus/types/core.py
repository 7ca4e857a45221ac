"""Values that the rules pass around: epochs, block facts, cells. Plain frozen data, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from struct import Struct as ByteStruct
from typing import NamedTuple

from consensus.codec.layout import (
    EPOCH_INDEX_SHIFT,
    EPOCH_LENGTH_SHIFT,
    EPOCH_NUMBER_MASK,
    EPOCH_PART_MASK,
    SCRIPT_ARGS_AT,
    SCRIPT_CODE_HASH_AT,
)
from consensus.codec.molecule import (
    BOOL,
    BYTE32,
    UINT32,
    UINT64,
    UINT64_VEC,
    UINT256,
    Field,
    Struct,
    Table,
    optional,
    trailing,
)
from consensus.codec.molecule import (
    field as molecule_field,
)
from consensus.types.blockchain import CellOutput, OutPoint, Transaction


class EpochFraction(NamedTuple):
    """Epoch number with fraction `number + index/length`: 24, 16 and 16 bits of a header's epoch field (RFC 20)."""

    number: int
    index: int  # type: ignore[assignment]  # the field, not the method of tuples
    length: int

    @classmethod
    def unpack(cls, packed: int) -> EpochFraction:
        """From the u64 of a header or since; the top 8 bits are not looked at."""
        return cls(
            packed & EPOCH_NUMBER_MASK,
            packed >> EPOCH_INDEX_SHIFT & EPOCH_PART_MASK,
            packed >> EPOCH_LENGTH_SHIFT & EPOCH_PART_MASK,
        )

    def pack(self) -> int:
        return self.number | self.index << EPOCH_INDEX_SHIFT | self.length << EPOCH_LENGTH_SHIFT

    @property
    def is_well_formed(self) -> bool:
        """A header's epoch other than the genesis': the length is positive and the index below it."""
        return self.length > 0 and self.index < self.length

    def is_successor_of(self, parent: EpochFraction) -> bool:
        """This is the epoch field of the block right after one with `parent`'s."""
        if parent.index + 1 < parent.length:
            return self == EpochFraction(parent.number, parent.index + 1, parent.length)
        return self.number == parent.number + 1 and self.index == 0

    def to_rational(self) -> Fraction:
        """As a number of epochs; 0/0 counts as a whole epoch number (RFC 30)."""
        return Fraction(self.number) if self.length == 0 else self.number + Fraction(self.index, self.length)

    def __str__(self) -> str:
        return f"{self.number}({self.index}/{self.length})"


def epoch_number(packed: int) -> int:
    """The number of a packed epoch field, without the rest."""
    return packed & EPOCH_NUMBER_MASK


def epoch_length(packed: int) -> int:
    """The length of a packed epoch field, without the rest."""
    return packed >> EPOCH_LENGTH_SHIFT & EPOCH_PART_MASK


EPOCH_STEP = 1 << EPOCH_INDEX_SHIFT
"""From a packed epoch field to that of the next block, within the same epoch."""


def is_next_in_epoch(packed: int, parent: int) -> bool:
    """The packed field is that of the block after `parent`, within the same epoch."""
    is_inside = (parent >> EPOCH_INDEX_SHIFT & EPOCH_PART_MASK) + 1 < parent >> EPOCH_LENGTH_SHIFT & EPOCH_PART_MASK
    return is_inside and packed - parent == EPOCH_STEP


GENESIS_EPOCH = EpochFraction(0, 0, 0)
"""The epoch field of a genesis header. Any epoch may follow it."""


class EpochExt(Struct):
    """What the chain knows of an epoch: 108 bytes, as the database keeps it (`EpochExt` of extensions.mol)."""

    previous_epoch_hash_rate: Field[int] = molecule_field(UINT256)
    last_block_hash_in_previous_epoch: Field[bytes] = molecule_field(BYTE32)
    compact_target: Field[int] = molecule_field(UINT32)
    number: Field[int] = molecule_field(UINT64)
    base_block_reward: Field[int] = molecule_field(UINT64)
    remainder_reward: Field[int] = molecule_field(UINT64)
    start_number: Field[int] = molecule_field(UINT64)
    length: Field[int] = molecule_field(UINT64)

    def block_reward(self, number: int) -> int:
        """Primary reward of block `number` of this epoch: the first `remainder_reward` blocks get one shannon more."""
        return self.base_block_reward + (self.start_number <= number < self.start_number + self.remainder_reward)

    @property
    def primary_reward(self) -> int:
        """Primary reward of the whole epoch in shannons."""
        return self.base_block_reward * self.length + self.remainder_reward

    def is_head(self, number: int) -> bool:
        """Block `number` is the first of the epoch."""
        return number == self.start_number

    def fraction_at(self, number: int) -> EpochFraction:
        """The epoch field of block `number` of this epoch."""
        return EpochFraction(self.number, number - self.start_number, self.length)

    def packed_field_at(self, number: int) -> int:
        """`fraction_at`, packed."""
        return self.number | (number - self.start_number) << EPOCH_INDEX_SHIFT | self.length << EPOCH_LENGTH_SHIFT


class BlockExt(Table):
    """What the node learnt of a block (`BlockExt`, `BlockExtV1` of extensions.mol). `verified`: None until scripts ran.

    `txs_fees`, `cycles` and `txs_sizes` leave the cellbase out.
    """

    total_difficulty: Field[int] = molecule_field(UINT256)
    total_uncles_count: Field[int] = molecule_field(UINT64)
    received_at: Field[int] = molecule_field(UINT64)
    txs_fees: Field[Sequence[int]] = molecule_field(UINT64_VEC)
    verified_flag: Field[bytes | None] = molecule_field(optional(BOOL))
    cycles: Field[Sequence[int] | None] = trailing(optional(UINT64_VEC), default=None)
    txs_sizes: Field[Sequence[int] | None] = trailing(optional(UINT64_VEC), default=None)

    @property
    def verified(self) -> bool | None:
        return None if self.verified_flag is None else self.verified_flag != b"\0"


VALID, INVALID = b"\1", b"\0"
_EXT_HEAD = ByteStruct("<8I32sQQ")
_NO_NUMBERS = UINT64_VEC.pack([])


def _packed_numbers(numbers: Sequence[int]) -> bytes:
    return UINT64_VEC.pack(numbers) if numbers else _NO_NUMBERS


def valid_block_ext(
    total_difficulty: int,
    total_uncles_count: int,
    received_at: int,
    txs_fees: Sequence[int],
    cycles: Sequence[int],
    txs_sizes: Sequence[int],
) -> BlockExt:
    """The BlockExt of a valid block, packed at once: import makes one for each block."""
    fees, packed_cycles, sizes = map(_packed_numbers, (txs_fees, cycles, txs_sizes))
    fees_at = _EXT_HEAD.size
    flag_at = fees_at + len(fees)
    cycles_at = flag_at + 1
    sizes_at = cycles_at + len(packed_cycles)
    total = sizes_at + len(sizes)
    head = _EXT_HEAD.pack(
        total, 32, 64, 72, fees_at, flag_at, cycles_at, sizes_at,
        total_difficulty.to_bytes(32, "little"), total_uncles_count, received_at,
    )  # fmt: skip
    ext = BlockExt.trusted(b"".join((head, fees, VALID, packed_cycles, sizes)))
    ext.__dict__.update(
        total_difficulty=total_difficulty, total_uncles_count=total_uncles_count, txs_fees=list(txs_fees)
    )
    return ext


class HeaderDigest(Struct):
    """A node of the chain-root MMR, 120 bytes (RFC 44)."""

    children_hash: Field[bytes] = molecule_field(BYTE32)
    total_difficulty: Field[int] = molecule_field(UINT256)
    start_number: Field[int] = molecule_field(UINT64)
    end_number: Field[int] = molecule_field(UINT64)
    start_epoch: Field[int] = molecule_field(UINT64)
    end_epoch: Field[int] = molecule_field(UINT64)
    start_timestamp: Field[int] = molecule_field(UINT64)
    end_timestamp: Field[int] = molecule_field(UINT64)
    start_compact_target: Field[int] = molecule_field(UINT32)
    end_compact_target: Field[int] = molecule_field(UINT32)


class TransactionInfo(NamedTuple):
    """Where a transaction was committed. `block_epoch` is the packed epoch field; `tx_index` 0 is the cellbase."""

    block_hash: bytes
    block_number: int
    block_epoch: int
    tx_index: int

    @property
    def is_cellbase(self) -> bool:
        return self.tx_index == 0

    @property
    def is_genesis(self) -> bool:
        return self.block_number == 0


class CellMeta:
    """A live cell with what verification reads. The data itself is loaded when a script asks for it.

    `out_point` is the 36-byte key; `info` is None for a cell whose transaction waits in the pool. Never changed; plain
    slots because import makes several of them per transaction.
    """

    __slots__ = ("_data", "_load_data", "data_hash", "data_size", "info", "out_point", "output")

    def __init__(
        self,
        out_point: bytes,
        output: CellOutput,
        data_size: int,
        data_hash: bytes,
        info: TransactionInfo | None,
        load_data: Callable[[], bytes],
    ) -> None:
        self.out_point, self.output, self.data_size, self.data_hash = out_point, output, data_size, data_hash
        self.info, self._load_data = info, load_data
        self._data: bytes | None = None

    @property
    def data(self) -> bytes:
        """The cell's data, read once."""
        if self._data is None:
            self._data = self._load_data()
        return self._data

    @property
    def tx_hash(self) -> bytes:
        return self.out_point[:32]

    @property
    def index(self) -> int:
        return int.from_bytes(self.out_point[32:], "little")

    @property
    def capacity(self) -> int:
        """Shannons."""
        return self.output.capacity

    @property
    def is_of_cellbase(self) -> bool:
        """A cellbase created it."""
        return self.info is not None and self.info.is_cellbase

    @property
    def has_type(self) -> bool:
        """It has a type script."""
        return self.output.type_ is not None

    @property
    def type_code(self) -> bytes:
        """Code hash and hash type of its type script, 33 bytes; empty without one."""
        type_ = self.output.type_
        return b"" if type_ is None else type_.raw[SCRIPT_CODE_HASH_AT:SCRIPT_ARGS_AT]

    @property
    def lock_size(self) -> int:
        """Bytes of its serialised lock script."""
        return self.output.lock.raw_size

    def occupied_capacity(self) -> int:
        """Shannons that the cell takes."""
        return self.output.occupied_capacity(self.data_size)

    def as_out_point(self) -> OutPoint:
        return OutPoint.trusted(self.out_point)


@dataclass(frozen=True, eq=False)
class ResolvedTransaction:
    """A transaction with the cells that its out points name.

    `cell_deps` are the code cells after dep groups were expanded, in order; `dep_groups` the group cells themselves.
    """

    transaction: Transaction
    inputs: Sequence[CellMeta]
    cell_deps: Sequence[CellMeta]
    dep_groups: Sequence[CellMeta]

    @property
    def hash(self) -> bytes:
        return self.transaction.hash

    @property
    def is_cellbase(self) -> bool:
        return self.transaction.is_cellbase

    def inputs_capacity(self) -> int:
        """Shannons."""
        return sum(cell.capacity for cell in self.inputs)
