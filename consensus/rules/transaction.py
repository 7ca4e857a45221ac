"""Rules of one transaction (RFC 22): those of the bytes alone, and those of the cells that it spends and creates.

Their order, which matters where a transaction breaks several, is in consensus/rules/verify_transaction.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from consensus.codec.layout import U64_MAX
from consensus.context import HeaderProvider
from consensus.errors import CkbError, TransactionError
from consensus.params import TX_VERSION, Consensus
from consensus.rules.dao import is_dao_script
from consensus.rules.hardfork import ENABLED_HASH_TYPES, is_hash_type
from consensus.rules.outputs import facts_of_large, outputs_capacity
from consensus.rules.since import verify_since
from consensus.tx_env import TxEnv
from consensus.types.blockchain import DEP_TYPE_DEP_GROUP, CellOutput, OutPoint, Transaction
from consensus.types.core import CellMeta, EpochFraction, ResolvedTransaction


class Source(Enum):
    """Parts of a transaction that errors point at."""

    CELL_DEPS = "CellDeps"
    HEADER_DEPS = "HeaderDeps"
    INPUTS = "Inputs"
    OUTPUTS = "Outputs"

    def __str__(self) -> str:
        return self.value


class TransactionVersionError(TransactionError):
    """Its version is not 0."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"MismatchedVersion: expected {expected}, got {actual}")
        self.expected, self.actual = expected, actual


class TransactionSizeError(TransactionError):
    """It does not fit into any block. Sizes in bytes."""

    def __init__(self, limit: int, actual: int) -> None:
        super().__init__(
            f"ExceededMaximumBlockBytes: expected transaction serialized size ({actual}) < block size limit ({limit})"
        )
        self.limit, self.actual = limit, actual


class EmptyTransactionError(TransactionError):
    """It has no inputs, or no outputs."""

    def __init__(self, source: Source) -> None:
        super().__init__(f"Empty({source})")
        self.source = source


class DuplicateCellDepsError(TransactionError):
    """The same out point with the same dep type twice."""

    def __init__(self, out_point: OutPoint) -> None:
        index = out_point.index.to_bytes(4, "little").hex()
        super().__init__(
            f"DuplicateCellDeps(OutPoint {{ tx_hash: Byte32(0x{out_point.tx_hash.hex()}), index: Uint32(0x{index}) }})"
        )
        self.out_point = out_point


class DuplicateHeaderDepsError(TransactionError):
    """The same block hash twice."""

    def __init__(self, block_hash: bytes) -> None:
        super().__init__(f"DuplicateHeaderDeps(Byte32(0x{block_hash.hex()}))")
        self.block_hash = block_hash


class OutputsDataLengthError(TransactionError):
    """Not one data for each output."""

    def __init__(self, outputs: int, outputs_data: int) -> None:
        super().__init__(
            f"OutputsDataLengthMismatch: expected outputs data length ({outputs_data}) = outputs length ({outputs})"
        )
        self.outputs, self.outputs_data = outputs, outputs_data


class LockHashTypeNotPermittedError(TransactionError):
    """The lock of an output names a hash type that no hardfork has brought yet."""

    def __init__(self, hash_type: int) -> None:
        super().__init__(f"The lock script hash type {hash_type} is not permitted by the current consensus rules.")
        self.hash_type = hash_type


class InvalidLockHashTypeError(TransactionError):
    """The lock of an output has a byte for hash type that never can be one."""

    def __init__(self, hash_type: int) -> None:
        super().__init__("InvalidScriptHashType: the lock Script hash_type field is invalid")
        self.hash_type = hash_type


class InvalidDepTypeError(TransactionError):
    """A cell dep is neither code nor a dep group."""

    def __init__(self, dep_type: int) -> None:
        super().__init__(f"InvalidDepType: {dep_type}")
        self.dep_type = dep_type


class InvalidTypeHashTypeError(TransactionError):
    """The type script of an output has a hash type that no VM version can ever have."""

    def __init__(self, hash_type: int) -> None:
        super().__init__(f"InvalidScriptHashType: {hash_type}")
        self.hash_type = hash_type


class CellbaseImmatureError(TransactionError):
    """A cell of a cellbase is used too early; later the transaction may be valid."""

    def __init__(self, source: Source, index: int) -> None:
        super().__init__(f"CellbaseImmaturity({source}[{index}])")
        self.source, self.index = source, index


class OutputsSumOverflowError(TransactionError):
    """It creates more capacity than it spends. In shannons."""

    def __init__(self, inputs_sum: int, outputs_sum: int) -> None:
        super().__init__(
            f"OutputsSumOverflow: expected outputs capacity ({outputs_sum:#x}) <= inputs capacity ({inputs_sum:#x})"
        )
        self.inputs_sum, self.outputs_sum = inputs_sum, outputs_sum


class CapacityOverflowError(CkbError):
    """A sum of capacities exceeds 64 bits."""

    kind = "Internal"

    def __init__(self) -> None:
        super().__init__("CapacityOverflow(OccupiedCapacity: overflow)")


class InsufficientCellCapacityError(TransactionError):
    """An output takes more than its capacity. In shannons."""

    def __init__(self, index: int, occupied_capacity: int, capacity: int) -> None:
        super().__init__(
            f"InsufficientCellCapacity({Source.OUTPUTS}[{index}]): "
            f"expected occupied capacity ({occupied_capacity:#x}) <= capacity ({capacity:#x})"
        )
        self.index, self.occupied_capacity, self.capacity = index, occupied_capacity, capacity


class DaoLockSizeError(TransactionError):
    """A DAO withdrawal changes the size of the lock script."""

    def __init__(self, index: int) -> None:
        super().__init__(
            f"The lock script size of deposit cell at index {index} "
            "does not match the withdrawing cell at the same index"
        )
        self.index = index


def verify_version(transaction: Transaction) -> None:
    """RFC 22 "Other Fields": the version is 0."""
    if transaction.body.version != TX_VERSION:
        raise TransactionVersionError(TX_VERSION, transaction.body.version)


def verify_size(transaction: Transaction, max_block_bytes: int) -> None:
    """ckb, no RFC: with its offset in the block it is not larger than a block may be."""
    if transaction.size_in_block > max_block_bytes:
        raise TransactionSizeError(max_block_bytes, transaction.size_in_block)


def verify_not_empty(transaction: Transaction) -> None:
    """ckb, no RFC: it has inputs, and outputs unless it is a cellbase."""
    if not transaction.body.inputs:
        raise EmptyTransactionError(Source.INPUTS)
    if not transaction.body.outputs and not transaction.is_cellbase:
        raise EmptyTransactionError(Source.OUTPUTS)


def verify_no_duplicate_deps(transaction: Transaction) -> None:
    """ckb, no RFC: no cell dep (out point with dep type) and no header dep occurs twice."""
    duplicate_dep = first_duplicate(dep.raw for dep in transaction.body.cell_deps)
    if duplicate_dep is not None:
        raise DuplicateCellDepsError(OutPoint.trusted(duplicate_dep[: OutPoint.SIZE]))
    duplicate_header = first_duplicate(transaction.body.header_deps)
    if duplicate_header is not None:
        raise DuplicateHeaderDepsError(duplicate_header)


def first_duplicate(items: Iterable[bytes]) -> bytes | None:
    """The first item that equals an earlier one."""
    seen: set[bytes] = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None


def verify_outputs_data(transaction: Transaction) -> None:
    """RFC 22 "Cell Data": there is one data for each output."""
    outputs, outputs_data = len(transaction.body.outputs), len(transaction.body.outputs_data)
    if outputs != outputs_data:
        raise OutputsDataLengthError(outputs, outputs_data)


def verify_lock_hash_types(transaction: Transaction) -> None:
    """RFC 32 "Specification", RFC 49 "Specification": every output lock has a hash type that some VM runs.

    Type scripts are not checked: an unknown hash type fails when the script runs.
    """
    for output in transaction.body.outputs:
        hash_type = output.lock.hash_type
        if hash_type in ENABLED_HASH_TYPES:
            continue
        if is_hash_type(hash_type):
            raise LockHashTypeNotPermittedError(hash_type)
        raise InvalidLockHashTypeError(hash_type)


def verify_enumerations(transaction: Transaction) -> None:
    """RFC 22 "Dep Group", RFC 32 "Specification": dep types and hash types are values that exist, now or in a future
    VM.

    No JSON can express another value, and peers drop a message that has one.
    """
    for dep in transaction.body.cell_deps:
        if dep.dep_type > DEP_TYPE_DEP_GROUP:
            raise InvalidDepTypeError(dep.dep_type)
    for output in transaction.body.outputs:
        if output.type_ is not None and not is_hash_type(output.type_.hash_type):
            raise InvalidTypeHashTypeError(output.type_.hash_type)


def verify_time_relative(consensus: Consensus, rtx: ResolvedTransaction, env: TxEnv, headers: HeaderProvider) -> None:
    """The rules whose answer changes as the chain grows: cellbase maturity and since."""
    verify_maturity(consensus, rtx, env)
    verify_since(consensus, rtx, env, headers)


def verify_maturity(consensus: Consensus, rtx: ResolvedTransaction, env: TxEnv) -> None:
    """RFC 20 "Protocol Parameters": inputs and cell deps that a cellbase created are `cellbase_maturity_epochs` old.

    Exempt are cells of the genesis block and dep group cells themselves (ckb, no RFC), and header deps (RFC 36).
    """
    for source, cells in ((Source.INPUTS, rtx.inputs), (Source.CELL_DEPS, rtx.cell_deps)):
        for index, cell in enumerate(cells):
            if not is_mature(cell, env.epoch, consensus.cellbase_maturity_epochs):
                raise CellbaseImmatureError(source, index)


def is_mature(cell: CellMeta, now: EpochFraction, maturity_epochs: int) -> bool:
    """A cell may be used in epoch `now`: it is of no cellbase, of genesis, or old enough."""
    info = cell.info
    if info is None or not info.is_cellbase or info.is_genesis:
        return True
    committed = EpochFraction.unpack(info.block_epoch)
    return now.to_rational() >= committed.to_rational() + maturity_epochs


def verify_capacity(consensus: Consensus, rtx: ResolvedTransaction) -> None:
    """No capacity comes from nothing, and each output pays for its bytes."""
    verify_capacity_sum(consensus, rtx)
    verify_occupied_capacity(rtx.transaction)


def verify_capacity_sum(consensus: Consensus, rtx: ResolvedTransaction) -> None:
    """RFC 22 "Value Storage": outputs have no more capacity than inputs.

    Not checked with a NervosDAO input (RFC 22 "Exceptions"): interest is created there, and the fee rule checks the
    sum.
    """
    if any(is_dao_script(consensus, cell.output.type_) for cell in rtx.inputs):
        return
    inputs_sum, outputs_sum = rtx.inputs_capacity(), outputs_capacity(rtx.transaction)
    if max(inputs_sum, outputs_sum) > U64_MAX:
        raise CapacityOverflowError
    if inputs_sum < outputs_sum:
        raise OutputsSumOverflowError(inputs_sum, outputs_sum)


def verify_occupied_capacity(transaction: Transaction) -> None:
    """RFC 22 "Cell Data": an output occupies no more bytes than its capacity in CKBytes."""
    facts = facts_of_large(transaction)
    if facts is not None and facts.pays_for_bytes:
        return
    body = transaction.body
    for index, (output, data) in enumerate(zip(body.outputs, body.outputs_data, strict=True)):
        occupied = output.occupied_capacity(len(data))
        if occupied > output.capacity:
            raise InsufficientCellCapacityError(index, occupied, output.capacity)


def verify_dao_lock_sizes(consensus: Consensus, rtx: ResolvedTransaction) -> None:
    """ckb, no RFC: a phase-1 withdrawal from NervosDAO does not change the size of the deposit's lock script.

    Input i and output i form a pair when both are DAO cells and the deposit's data are all zero. Deposits older than
    `starting_block_limiting_dao_withdrawing_lock` are exempt. Another lock size would yield interest on the difference.
    """
    for index, (cell, output) in enumerate(zip(rtx.inputs, rtx.transaction.body.outputs, strict=False)):
        require_same_lock_size(consensus, index, cell, output)


def require_same_lock_size(consensus: Consensus, index: int, cell: CellMeta, output: CellOutput) -> None:
    """`verify_dao_lock_sizes` for the input and the output at `index`."""
    if not is_dao_script(consensus, cell.output.type_) or not is_dao_script(consensus, output.type_):
        return
    if any(cell.data):
        return
    if cell.info is not None and cell.info.block_number < consensus.starting_block_limiting_dao_withdrawing_lock:
        return
    if cell.output.lock.raw_size != output.lock.raw_size:
        raise DaoLockSizeError(index)
