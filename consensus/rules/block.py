"""Rules of a block that need nothing but the block: commitments of the header, limits, cellbase, duplicates."""

from __future__ import annotations

from enum import Enum

from consensus.errors import BlockError, MoleculeError
from consensus.params import Consensus
from consensus.rules.hardfork import ENABLED_HASH_TYPES
from consensus.rules.transaction import first_duplicate
from consensus.rules.verify_transaction import verify_transaction_non_contextual
from consensus.types.blockchain import NULL_OUT_POINT, Block, CellbaseWitness, CellInput, Transaction, proposals_hash

MAX_EXTENSION_SIZE = 96
FIELDS_WITHOUT_EXTENSION = 4


class BodyMismatchError(BlockError):
    """The body is not the one that the header commits to: the body is wrong, the header may still be good.

    Never remember the block's hash as invalid for it: anybody can put a false body below a true header.
    """


class TransactionsRootError(BodyMismatchError):
    """The transactions are not the header's."""

    def __init__(self) -> None:
        super().__init__("Block(TransactionsRoot(No reason provided))")


class ProposalsHashError(BodyMismatchError):
    """The proposals are not the header's."""

    def __init__(self) -> None:
        super().__init__("Block(ProposalTransactionsHash(No reason provided))")


class ExtraHashError(BodyMismatchError):
    """The uncles or the extension are not the header's."""

    def __init__(self) -> None:
        super().__init__("Block(InvalidExtraHash(No reason provided))")


class UncleProposalsHashError(BodyMismatchError):
    """The proposals of an uncle are not those of the uncle's header."""

    def __init__(self, uncle_hash: bytes) -> None:
        super().__init__("Block(Uncles(ProposalsHash))")
        self.uncle_hash = uncle_hash


class UnknownFieldsError(BodyMismatchError):
    """The serialised block has more fields than an extension; no header commits to them."""

    def __init__(self, fields: int) -> None:
        super().__init__("Block(UnknownFields(No reason provided))")
        self.fields = fields


class TooManyProposalsError(BlockError):
    """More proposals than a block may have."""

    def __init__(self, limit: int, actual: int) -> None:
        super().__init__("Block(ExceededMaximumProposalsLimit(No reason provided))")
        self.limit, self.actual = limit, actual


class BlockSizeError(BlockError):
    """More bytes than a block may have."""

    def __init__(self, limit: int, actual: int) -> None:
        super().__init__("Block(ExceededMaximumBlockBytes(No reason provided))")
        self.limit, self.actual = limit, actual


class DuplicateTransactionError(BlockError):
    """A transaction stands twice in the block."""

    def __init__(self, tx_hash: bytes) -> None:
        super().__init__("Block(CommitTransactionDuplicate(No reason provided))")
        self.tx_hash = tx_hash


class DuplicateProposalError(BlockError):
    """A proposal stands twice in the block."""

    def __init__(self, short_id: bytes) -> None:
        super().__init__("Block(ProposalTransactionDuplicate(No reason provided))")
        self.short_id = short_id


class EmptyExtensionError(BlockError):
    """There is an extension of no bytes."""

    def __init__(self) -> None:
        super().__init__("Block(EmptyBlockExtension(No reason provided))")


class ExtensionSizeError(BlockError):
    """The extension has too many bytes."""

    def __init__(self, limit: int, actual: int) -> None:
        super().__init__("Block(ExceededMaximumBlockExtensionBytes(No reason provided))")
        self.limit, self.actual = limit, actual


class CellbaseFault(Enum):
    """What is wrong with a cellbase."""

    QUANTITY = "InvalidQuantity"
    POSITION = "InvalidPosition"
    OUTPUT_QUANTITY = "InvalidOutputQuantity"
    OUTPUT_DATA = "InvalidOutputData"
    WITNESS = "InvalidWitness"
    TYPE_SCRIPT = "InvalidTypeScript"
    OUTPUT_LOCK = "InvalidOutputLock"
    INPUT = "InvalidInput"
    REWARD_AMOUNT = "InvalidRewardAmount"
    REWARD_TARGET = "InvalidRewardTarget"


class CellbaseError(BlockError):
    """The block's cellbase breaks a rule."""

    def __init__(self, fault: CellbaseFault) -> None:
        super().__init__(f"Block(Cellbase({fault.value}))")
        self.fault = fault


def verify_block_body(consensus: Consensus, block: Block) -> None:
    """All rules of a block that need no chain, and those of its transactions. Raises a BlockError or TransactionError.

    The commitments come first: after them every other error is the fault of whoever made the header.
    """
    verify_commitments(block)
    verify_proposals_limit(block, consensus.max_block_proposals)
    verify_block_size(block, consensus.max_block_bytes)
    verify_cellbase(block)
    verify_no_duplicates(block)
    verify_extension_size(block)
    for transaction in block.transactions:
        verify_transaction_non_contextual(consensus, transaction)


def verify_commitments(block: Block) -> None:
    """RFC 27 "RawHeader", RFC 31 "Specification": the header's roots and hashes are those of the body.

    An uncle's proposals must hash to the `proposals_hash` of the uncle's header.
    """
    if block.field_count > FIELDS_WITHOUT_EXTENSION + 1:
        raise UnknownFieldsError(block.field_count)
    if block.header.transactions_root != block.transactions_root():
        raise TransactionsRootError
    if block.header.proposals_hash != block.proposals_hash():
        raise ProposalsHashError
    if block.header.extra_hash != block.extra_hash():
        raise ExtraHashError
    for uncle in block.uncles:
        if uncle.header.proposals_hash != proposals_hash(uncle.proposals):
            raise UncleProposalsHashError(uncle.hash)


def verify_proposals_limit(block: Block, limit: int) -> None:
    """RFC 20 "Block and Compact Block Structure": the block itself proposes no more than `limit` transactions."""
    if len(block.proposals) > limit:
        raise TooManyProposalsError(limit, len(block.proposals))


def verify_block_size(block: Block, limit: int) -> None:
    """RFC 20 "Block and Compact Block Structure": the block has no more than `limit` bytes without its uncles'
    proposals.

    The genesis block is exempt (ckb, no RFC).
    """
    if block.number == 0:
        return
    size = block.size_without_uncle_proposals()
    if size > limit:
        raise BlockSizeError(limit, size)


def verify_no_duplicates(block: Block) -> None:
    """ckb, no RFC: no transaction hash and no proposal occurs twice in the block."""
    tx_hash = first_duplicate(tx.hash for tx in block.transactions)
    if tx_hash is not None:
        raise DuplicateTransactionError(tx_hash)
    short_id = first_duplicate(block.proposals)
    if short_id is not None:
        raise DuplicateProposalError(short_id)


def verify_extension_size(block: Block) -> None:
    """RFC 31 "Specification": an extension has 1 to 96 bytes."""
    if block.extension is None:
        return
    if not block.extension:
        raise EmptyExtensionError
    if len(block.extension) > MAX_EXTENSION_SIZE:
        raise ExtensionSizeError(MAX_EXTENSION_SIZE, len(block.extension))


def verify_cellbase(block: Block) -> None:
    """RFC 22 "Exceptions", RFC 27 "Transactions": the first transaction, and no other, is a well-formed cellbase.

    The genesis block is exempt (ckb, no RFC).
    """
    if block.number == 0:
        return
    if sum(tx.is_cellbase for tx in block.transactions) != 1:
        raise CellbaseError(CellbaseFault.QUANTITY)
    cellbase = block.transactions[0]
    if not cellbase.is_cellbase:
        raise CellbaseError(CellbaseFault.POSITION)
    verify_cellbase_outputs(cellbase)
    verify_cellbase_input(cellbase, block.number)


def verify_cellbase_outputs(cellbase: Transaction) -> None:
    """ckb, no RFC: at most one output, no data, no type, an enabled lock; the witness names the miner's lock."""
    outputs, outputs_data = cellbase.body.outputs, cellbase.body.outputs_data
    if len(outputs) > 1 or len(outputs) != len(outputs_data):
        raise CellbaseError(CellbaseFault.OUTPUT_QUANTITY)
    if any(outputs_data):
        raise CellbaseError(CellbaseFault.OUTPUT_DATA)
    if not is_cellbase_witness(cellbase.witnesses[0]):
        raise CellbaseError(CellbaseFault.WITNESS)
    for output in outputs:
        if output.type_ is not None:
            raise CellbaseError(CellbaseFault.TYPE_SCRIPT)
        if output.lock.hash_type not in ENABLED_HASH_TYPES:
            raise CellbaseError(CellbaseFault.OUTPUT_LOCK)


def is_cellbase_witness(witness: bytes) -> bool:
    """A cellbase's one witness tells who is paid."""
    try:
        parsed = CellbaseWitness.parse(witness)
    except MoleculeError:
        return False
    return parsed.lock.hash_type in ENABLED_HASH_TYPES


def verify_cellbase_input(cellbase: Transaction, number: int) -> None:
    """RFC 22 "Exceptions": the only input is null, and its `since` is the block number.

    So no two cellbases have one hash.
    """
    if cellbase.body.inputs[0] != CellInput(since=number, previous_output=NULL_OUT_POINT):
        raise CellbaseError(CellbaseFault.INPUT)
