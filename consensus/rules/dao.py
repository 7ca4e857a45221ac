"""NervosDAO arithmetic: the dao field of headers, interest, and fees of transactions that withdraw (RFC 23, RFC 15).

Amounts are u64 shannons. A sum, difference or quotient that does not fit raises DaoOverflowError, which makes the
block or transaction invalid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from consensus.codec.layout import DAO_FIELD, U64_MAX
from consensus.context import HeaderProvider, StoredBlocksReader
from consensus.errors import DaoError, MoleculeError
from consensus.lookup import require
from consensus.params import Consensus
from consensus.rules.epoch import next_epoch_ext, secondary_issuance
from consensus.rules.outputs import outputs_capacity
from consensus.types.blockchain import HASH_TYPE_TYPE, CellOutput, Header, Script, Transaction, WitnessArgs
from consensus.types.core import CellMeta, EpochExt, ResolvedTransaction

GENESIS_ACCUMULATE_RATE = 10**16
DAO_DATA_SIZE = 8
"""Bytes of a DAO cell's data: zero for a deposit, else the number of the deposit's block."""


class DaoOverflowError(DaoError):
    """An amount leaves the range of u64."""

    word = "Overflow"

    def __init__(self, what: str, value: int) -> None:
        super().__init__(f"Dao(Overflow({what}: {value}))")
        self.what = what
        self.value = value


class DaoHeaderError(DaoError):
    """A header that the calculation needs is not known."""

    word = "InvalidHeader"

    def __init__(self, block_hash: bytes) -> None:
        super().__init__(f"Dao(InvalidHeader(0x{block_hash.hex()}))")
        self.block_hash = block_hash


class DaoOutPointError(DaoError):
    """A withdrawing input does not prove from which block to which it earned interest."""

    word = "InvalidOutPoint"

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"Dao(InvalidOutPoint(input {index}: {reason}))")
        self.index = index
        self.reason = reason


class DaoFormatError(DaoError):
    """The witness of a withdrawing input does not hold the 8-byte index of its deposit header."""

    word = "InvalidDaoFormat"

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"Dao(InvalidDaoFormat(witness {index}: {reason}))")
        self.index = index
        self.reason = reason


class DaoZeroError(DaoError):
    """A total or rate that everything is divided by is zero."""

    word = "ZeroC"

    def __init__(self, what: str) -> None:
        super().__init__(f"Dao(ZeroC({what}))")
        self.what = what


def _u64(what: str, value: int) -> int:
    if not 0 <= value <= U64_MAX:
        raise DaoOverflowError(what, value)
    return value


def share(what: str, amount: int, ratio: Fraction) -> int:
    """⌊amount * ratio⌋, computed in u64: the product with the numerator must fit."""
    return _u64(what, amount * ratio.numerator) // ratio.denominator


def _divide(what: str, numerator: int, divisor: int) -> int:
    if divisor == 0:
        raise DaoZeroError(what)
    return numerator // divisor


class DaoField(NamedTuple):
    """The 32 bytes of a header's dao field: four little-endian u64."""

    total: int
    """C: shannons issued so far, secondary issuance included."""
    rate: int
    """AR: how much a deposit grew since genesis, times 10¹⁶."""
    savings: int
    """S: secondary issuance not yet paid: interest of deposits, and what the treasury would get."""
    occupied: int
    """U: shannons that live cells take as storage."""

    @classmethod
    def unpack(cls, raw: bytes) -> DaoField:
        """From the `dao` of a header, 32 bytes."""
        return cls(*DAO_FIELD.unpack(raw))

    def pack(self) -> bytes:
        """32 bytes, as in a header."""
        return DAO_FIELD.pack(self.total, self.rate, self.savings, self.occupied)


# Interest and fees


def is_dao_script(consensus: Consensus, script: Script | None) -> bool:
    """The type script is NervosDAO of this chain."""
    return script is not None and script.hash_type == HASH_TYPE_TYPE and script.code_hash == consensus.dao_type_hash


def dao_type_code(consensus: Consensus) -> bytes:
    """`CellMeta.type_code` of the cells whose type script `is_dao_script`; of no cell on a chain without NervosDAO."""
    return (consensus.dao_type_hash or b"") + bytes([HASH_TYPE_TYPE])


def is_withdrawing(consensus: Consensus, cell: CellMeta) -> bool:
    """A DAO cell in its second phase: exactly 8 bytes of data that are not all zero."""
    return (
        cell.data_size == DAO_DATA_SIZE
        and is_dao_script(consensus, cell.output.type_)
        and int.from_bytes(cell.data, "little") > 0
    )


def maximum_withdraw(output: CellOutput, data_size: int, deposit: Header, withdrawing: Header) -> int:
    """Shannons that a DAO cell is worth when deposited and withdrawn (phase 1) in these blocks.

    Only the capacity that the cell itself does not occupy earns interest (RFC 23).
    """
    occupied = _u64("occupied capacity", output.occupied_capacity(data_size))
    counted = _u64("capacity that earns interest", output.capacity - occupied)
    deposit_rate = DaoField.unpack(deposit.dao).rate
    grown = _divide("deposit rate", counted * DaoField.unpack(withdrawing.dao).rate, deposit_rate)
    # Truncated to u64, not checked: this is consensus.
    return _u64("maximum withdraw", (grown & U64_MAX) + occupied)


def transaction_fee(consensus: Consensus, rtx: ResolvedTransaction, reader: HeaderProvider) -> int:
    """RFC 22 "Value Storage", RFC 23 "Withdraw Phase 2": inputs, interest included, are worth at least the outputs.

    Returns the difference in shannons.
    """
    outputs = _u64("outputs capacity", outputs_capacity(rtx.transaction))
    return _u64("fee", transaction_maximum_withdraw(consensus, rtx, reader) - outputs)


def transaction_maximum_withdraw(consensus: Consensus, rtx: ResolvedTransaction, reader: HeaderProvider) -> int:
    """RFC 23 "Withdraw Phase 2": shannons that inputs are worth; withdrawing cells prove deposit and phase 1."""
    transaction = rtx.transaction  # its witnesses may be many, and are read only for who withdraws
    worth = (
        maximum_withdraw_of_input(index, cell, transaction.body.header_deps, transaction.witnesses, reader)
        if is_withdrawing(consensus, cell)
        else cell.capacity
        for index, cell in enumerate(rtx.inputs)
    )
    return _u64("inputs capacity", sum(worth))


def maximum_withdraw_of_input(
    index: int, cell: CellMeta, header_deps: Sequence[bytes], witnesses: Sequence[bytes], reader: HeaderProvider
) -> int:
    """RFC 23 "Withdraw Phase 2": shannons that the withdrawing cell at input `index` is worth; it proves deposit and
    phase 1 by the transaction's header deps and witnesses."""
    deposit, withdrawing = _interest_headers(index, cell, header_deps, witnesses, reader)
    return maximum_withdraw(cell.output, cell.data_size, deposit, withdrawing)


def _interest_headers(
    index: int, cell: CellMeta, header_deps: Sequence[bytes], witnesses: Sequence[bytes], reader: HeaderProvider
) -> tuple[Header, Header]:
    """Headers of the deposit and of the phase-1 withdrawal of input `index`; both must be header deps (RFC 23)."""
    if cell.info is None or cell.info.block_hash not in header_deps:
        raise DaoOutPointError(index, "the block that committed it is not a header dep")
    deposit_index = _deposit_header_index(index, witnesses)
    if deposit_index >= len(header_deps):
        raise DaoOutPointError(index, f"header dep {deposit_index} does not exist")
    deposit = _header(reader, header_deps[deposit_index])
    withdrawing = _header(reader, cell.info.block_hash)
    if deposit.number >= withdrawing.number:
        raise DaoOutPointError(index, f"block {deposit.number} of the deposit is not before {withdrawing.number}")
    return deposit, withdrawing


def _deposit_header_index(index: int, witnesses: Sequence[bytes]) -> int:
    """Position in header deps, from `input_type` of the WitnessArgs at the input's own position."""
    if index >= len(witnesses):
        raise DaoOutPointError(index, "it has no witness")
    try:
        packed = WitnessArgs.parse(witnesses[index]).input_type
    except MoleculeError as error:
        raise DaoFormatError(index, str(error)) from error
    if packed is None or len(packed) != DAO_DATA_SIZE:
        raise DaoFormatError(index, "input_type is not 8 bytes")
    return int.from_bytes(packed, "little")


def _header(reader: HeaderProvider, block_hash: bytes) -> Header:
    header = reader.header(block_hash)
    if header is None:
        raise DaoHeaderError(block_hash)
    return header


# The dao field of a block


def dao_field(
    consensus: Consensus, transactions: Sequence[ResolvedTransaction], parent: Header, reader: StoredBlocksReader
) -> bytes:
    """The 32 bytes that the header after `parent` must carry when its block holds these transactions."""
    parent_epoch = require(reader.block_epoch(parent.hash), "epoch", parent.hash)
    epoch = next_epoch_ext(consensus, parent, parent_epoch, reader)
    return dao_field_in_epoch(consensus, transactions, parent, epoch, reader)


def dao_field_in_epoch(
    consensus: Consensus,
    transactions: Sequence[ResolvedTransaction],
    parent: Header,
    epoch: EpochExt,
    reader: HeaderProvider,
) -> bytes:
    """As `dao_field`, when the epoch of the new block is known already."""
    return dao_field_after(consensus, parent, epoch, capacity_moves(consensus, transactions, reader))


class CapacityMoves(NamedTuple):
    """What the transactions of a block do to capacity, in shannons."""

    added: int
    """Occupied by new cells."""
    freed: int
    """Occupied by spent cells until now."""
    worth: int
    """Of all inputs, interest included."""
    capacity: int
    """Of all inputs."""

    @property
    def interest(self) -> int:
        """Shannons of interest that leave the savings."""
        return _u64("interest", _u64("worth of inputs", self.worth) - _u64("capacity of inputs", self.capacity))


def capacity_moves(
    consensus: Consensus, transactions: Sequence[ResolvedTransaction], reader: HeaderProvider
) -> CapacityMoves:
    """RFC 23 "Calculation": what these transactions do to capacity."""
    return CapacityMoves(
        added=sum(added_capacity(rtx.transaction) for rtx in transactions),
        freed=sum(freed_capacity(consensus, rtx) for rtx in transactions),
        worth=sum(transaction_maximum_withdraw(consensus, rtx, reader) for rtx in transactions),
        capacity=sum(rtx.inputs_capacity() for rtx in transactions),
    )


def dao_field_after(consensus: Consensus, parent: Header, epoch: EpochExt, moves: CapacityMoves) -> bytes:
    """RFC 23 "Calculation": the 32 bytes that the header after `parent` must carry; every amount fits 64 bits.

    `epoch` is the new block's.
    """
    freed, added = _u64("freed capacity", moves.freed), _u64("added capacity", moves.added)
    interest = moves.interest

    before = DaoField.unpack(parent.dao)
    number = parent.number + 1
    secondary = secondary_issuance(epoch, number, consensus.secondary_epoch_reward)
    issued = _u64("issuance", epoch.block_reward(number) + secondary)
    to_miner = _u64("miner's issuance", _divide("parent C", secondary * before.occupied, before.total))
    to_savings = _u64("issuance to savings", secondary - to_miner)
    growth = _divide("parent C", before.rate * secondary, before.total)

    return DaoField(
        total=_u64("C", before.total + issued),
        rate=_u64("AR", before.rate + growth),
        savings=_u64("S", _u64("S", before.savings + to_savings) - interest),
        occupied=_u64("U", _u64("U", before.occupied + added) - freed),
    ).pack()


def added_capacity(transaction: Transaction) -> int:
    """Shannons that the outputs occupy."""
    body = transaction.body
    pairs = zip(body.outputs, body.outputs_data, strict=False)
    return sum(output.occupied_capacity(len(data)) for output, data in pairs)


def freed_capacity(consensus: Consensus, rtx: ResolvedTransaction) -> int:
    """Shannons that the inputs occupied."""
    return sum(modified_occupied_capacity(consensus, cell) for cell in rtx.inputs)


def modified_occupied_capacity(consensus: Consensus, cell: CellMeta) -> int:
    """Shannons that a cell counts as occupied; of the Satoshi gift in the genesis cellbase a fixed share (RFC 15).

    The gift is recognised by its lock's arguments alone.
    """
    info = cell.info
    is_of_genesis = info is not None and info.is_genesis and info.is_cellbase
    if is_of_genesis and cell.output.lock.args == consensus.satoshi_pubkey_hash:
        return share("occupied share of the gift", cell.capacity, consensus.satoshi_cell_occupied_ratio)
    return cell.occupied_capacity()


def primary_block_reward(target: Header, reader: StoredBlocksReader) -> int:
    """Primary issuance of a stored block, shannons."""
    epoch = reader.block_epoch(target.hash)
    if epoch is None:
        raise DaoHeaderError(target.hash)
    return _u64("primary reward", epoch.block_reward(target.number))


def secondary_block_reward(consensus: Consensus, target: Header, reader: StoredBlocksReader) -> int:
    """The miner's part of a stored block's secondary issuance: the share of occupied capacity in the total (RFC 15)."""
    if target.number == 0:
        return 0
    parent = DaoField.unpack(_header(reader, target.parent_hash).dao)
    epoch = reader.block_epoch(target.hash)
    if epoch is None:
        raise DaoHeaderError(target.hash)
    issued = secondary_issuance(epoch, target.number, consensus.secondary_epoch_reward)
    return _u64("secondary reward", _divide("parent C", issued * parent.occupied, parent.total))


def genesis_dao_field(
    transactions: Iterable[Transaction],
    satoshi_pubkey_hash: bytes,
    satoshi_cell_occupied_ratio: Fraction,
    primary_issuance: int,
    secondary_issuance: int,
) -> bytes:
    """The dao field of a genesis block with these transactions. DaoZeroError when nothing is issued."""
    transactions = list(transactions)
    spent = {cell_input.previous_output.raw for tx in transactions for cell_input in tx.body.inputs}
    total, occupied = primary_issuance + secondary_issuance, 0
    for position, tx in enumerate(transactions):
        for key, output, data in zip(tx.output_keys(), tx.body.outputs, tx.body.outputs_data, strict=False):
            if key in spent:
                continue
            total += output.capacity
            if position == 0 and output.lock.args == satoshi_pubkey_hash:
                occupied += share("occupied share of the gift", output.capacity, satoshi_cell_occupied_ratio)
            else:
                occupied += output.occupied_capacity(len(data))
    if total == 0:
        raise DaoZeroError("C")
    field = DaoField(_u64("C", total), GENESIS_ACCUMULATE_RATE, secondary_issuance, _u64("U", occupied))
    return field.pack()
