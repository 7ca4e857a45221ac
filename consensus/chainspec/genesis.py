"""Rules of a genesis block, which has no parent. Its body must pass the rules of any block as well,
except the limit of size; its transactions are not run.
"""

from __future__ import annotations

from consensus.crypto.hashing import ZERO_HASH
from consensus.errors import BlockError
from consensus.params import Consensus
from consensus.rules.dao import genesis_dao_field
from consensus.rules.epoch import EpochNumberMismatchError, genesis_block_issuance
from consensus.rules.header import NumberError, UnknownParentError
from consensus.types.blockchain import NULL_OUT_POINT, Block, CellInput
from consensus.types.core import EpochFraction


class GenesisCellbaseError(BlockError):
    """The genesis block does not begin with its one cellbase; `reason` is the name that the rule has everywhere."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Block(Cellbase({reason}))")
        self.reason = reason


class GenesisUnclesError(BlockError):
    """The genesis block has uncles."""

    def __init__(self, count: int) -> None:
        super().__init__(f"Block(Uncles(OverCount(max: 0, actual: {count})))")
        self.count = count


class GenesisDaoError(BlockError):
    """The dao field is not the one that the transactions make."""

    def __init__(self, expected: bytes, actual: bytes) -> None:
        super().__init__(f"Block(InvalidDAO(expected: 0x{expected.hex()}, actual: 0x{actual.hex()}))")
        self.expected = expected
        self.actual = actual


def verify_genesis(consensus: Consensus) -> None:
    """The rules that only the genesis block has; the rules of any block's body are checked besides."""
    block = consensus.genesis_block
    verify_number_is_zero(block)
    verify_epoch_is_zero(block)
    verify_no_parent(block)
    verify_cellbase(block)
    verify_no_uncles(block)
    verify_dao(consensus, block)


def verify_number_is_zero(block: Block) -> None:
    """RFC 27 "number": the number is 0."""
    if block.number != 0:
        raise NumberError(0, block.number)


def verify_epoch_is_zero(block: Block) -> None:
    """RFC 27 "epoch": the epoch number is 0. Index and length are not looked at."""
    number = EpochFraction.unpack(block.header.epoch).number
    if number != 0:
        raise EpochNumberMismatchError(0, number)


def verify_no_parent(block: Block) -> None:
    """ckb, no RFC: the parent hash is zero."""
    if block.parent_hash != ZERO_HASH:
        raise UnknownParentError(block.parent_hash)


def verify_cellbase(block: Block) -> None:
    """ckb, no RFC: exactly one cellbase, in front, with the input of block 0 and a data for each output."""
    transactions = block.transactions
    if sum(tx.is_cellbase for tx in transactions) != 1:
        raise GenesisCellbaseError("InvalidQuantity")
    cellbase = transactions[0]
    if not cellbase.is_cellbase:
        raise GenesisCellbaseError("InvalidPosition")
    if len(cellbase.body.outputs) != len(cellbase.body.outputs_data):
        raise GenesisCellbaseError("InvalidOutputQuantity")
    if cellbase.body.inputs[0] != CellInput(since=block.number, previous_output=NULL_OUT_POINT):
        raise GenesisCellbaseError("InvalidInput")


def verify_no_uncles(block: Block) -> None:
    """ckb, no RFC: the genesis block has no uncles."""
    if block.uncles:
        raise GenesisUnclesError(len(block.uncles))


def verify_dao(consensus: Consensus, block: Block) -> None:
    """RFC 23 "Calculation": the DAO field follows from outputs and block 0's share of the first epoch's issuance."""
    length = consensus.genesis_epoch.length
    expected = genesis_dao_field(
        block.transactions,
        consensus.satoshi_pubkey_hash,
        consensus.satoshi_cell_occupied_ratio,
        genesis_block_issuance(consensus.initial_primary_epoch_reward, length),
        genesis_block_issuance(consensus.secondary_epoch_reward, length),
    )
    if block.header.dao != expected:
        raise GenesisDaoError(expected, block.header.dao)
