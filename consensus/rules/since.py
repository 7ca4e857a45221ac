"""The since field of an input: a transaction may not be committed before it (RFC 17, with RFC 28 and RFC 30)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from consensus.context import HeaderProvider
from consensus.errors import TransactionError
from consensus.lookup import require
from consensus.params import Consensus
from consensus.rules.hardfork import since_counts_from_block_timestamp
from consensus.rules.header import median_time
from consensus.tx_env import TxEnv
from consensus.types.core import CellMeta, EpochFraction, ResolvedTransaction, TransactionInfo

RELATIVE_FLAG = 1 << 63
METRIC_SHIFT, METRIC_MASK = 61, 0b11
RESERVED_MASK = 0x1F << 56
VALUE_MASK = (1 << 56) - 1


class InvalidSinceError(TransactionError):
    """The since of an input has no meaning; it never gets one."""

    def __init__(self, index: int) -> None:
        super().__init__(f"InvalidSince(Inputs[{index}]): the since field is invalid")
        self.index = index


class ImmatureError(TransactionError):
    """The since of an input lies in the future; later the transaction may be valid."""

    def __init__(self, index: int) -> None:
        super().__init__(f"Immature(Inputs[{index}]): the transaction is immature because of the since requirement")
        self.index = index


class Metric(Enum):
    """What a since counts."""

    BLOCK_NUMBER = 0
    EPOCH = 1
    TIMESTAMP = 2


@dataclass(frozen=True, slots=True)
class Since:
    """A since that is not zero. `value` is a block number, a packed epoch fraction, or seconds."""

    is_relative: bool
    metric: Metric
    value: int

    @classmethod
    def parse(cls, raw: int) -> Since | None:
        """From the u64 of an input; None when reserved bits are set or the metric does not exist."""
        metric = raw >> METRIC_SHIFT & METRIC_MASK
        if raw & RESERVED_MASK or metric > Metric.TIMESTAMP.value:
            return None
        since = cls(raw & RELATIVE_FLAG != 0, Metric(metric), raw & VALUE_MASK)
        return since if metric != Metric.EPOCH.value or _is_since_epoch(since.epoch) else None

    @property
    def epoch(self) -> EpochFraction:
        """The value of an epoch since."""
        return EpochFraction.unpack(self.value)

    @property
    def milliseconds(self) -> int:
        """The value of a timestamp since; up to 66 bits, more than any timestamp."""
        return self.value * 1000


def _is_since_epoch(epoch: EpochFraction) -> bool:
    """RFC 30: the index is below the length, or both are zero, which is a whole epoch number."""
    return epoch.index < epoch.length or epoch.index == epoch.length == 0


def verify_since(consensus: Consensus, rtx: ResolvedTransaction, env: TxEnv, headers: HeaderProvider) -> None:
    """RFC 17 "How to Verify the Since Precondition", RFC 28, RFC 30: every input's since is valid and has passed.

    `headers` knows the ancestors and the blocks of all resolved inputs. Raises InvalidSinceError or ImmatureError for
    the first input that fails.
    """
    sinces = [cell_input.since for cell_input in rtx.transaction.body.inputs]
    require_sinces_passed(consensus, sinces, rtx.inputs, env, headers)


def require_sinces_passed(
    consensus: Consensus, sinces: Sequence[int], inputs: Sequence[CellMeta], env: TxEnv, headers: HeaderProvider
) -> None:
    """`verify_since`, from the since of each input and the cells."""
    for index, (raw, cell) in enumerate(zip(sinces, inputs, strict=False)):
        if raw == 0:
            continue
        since = Since.parse(raw)
        if since is None:
            raise InvalidSinceError(index)
        has_passed = relative_since_has_passed if since.is_relative else absolute_since_has_passed
        if not has_passed(consensus, since, cell, env, headers):
            raise ImmatureError(index)


def absolute_since_has_passed(
    consensus: Consensus, since: Since, cell: CellMeta | None, env: TxEnv, headers: HeaderProvider
) -> bool:
    """The chain has reached a height, an epoch or a median time. `cell` has no part in it."""
    match since.metric:
        case Metric.BLOCK_NUMBER:
            return env.block_number(consensus.proposal_window) >= since.value
        case Metric.EPOCH:
            return env.epoch.to_rational() >= since.epoch.to_rational()
        case Metric.TIMESTAMP:
            return _now(consensus, env, headers) >= since.milliseconds


def relative_since_has_passed(
    consensus: Consensus, since: Since, cell: CellMeta, env: TxEnv, headers: HeaderProvider
) -> bool:
    """So many blocks, epochs or seconds have passed since the cell was committed; never for a cell of the pool."""
    info = cell.info
    if info is None:
        return False
    match since.metric:
        case Metric.BLOCK_NUMBER:
            return env.block_number(consensus.proposal_window) >= info.block_number + since.value
        case Metric.EPOCH:
            committed = EpochFraction.unpack(info.block_epoch).to_rational()
            return env.epoch.to_rational() >= committed + since.epoch.to_rational()
        case Metric.TIMESTAMP:
            start = relative_time_start(consensus, info, env, headers)
            return start is not None and _now(consensus, env, headers) >= start + since.milliseconds


def relative_time_start(consensus: Consensus, info: TransactionInfo, env: TxEnv, headers: HeaderProvider) -> int | None:
    """RFC 28: when a relative time lock begins (ms): at the timestamp of the cell's block, once its parent's median.

    The proposal window counts here: a transaction of the pool is judged by the epoch that will commit it. None before
    RFC 28 for a cell of the genesis block, which has no parent: such a lock never opens. (The reference panics.)
    """
    header = require(headers.header(info.block_hash), "header", info.block_hash)
    if since_counts_from_block_timestamp(consensus, env.epoch_number(consensus.proposal_window)):
        return header.timestamp
    if info.is_genesis:
        return None
    return median_time(headers, header.parent_hash, consensus.median_time_block_count)


def _now(consensus: Consensus, env: TxEnv, headers: HeaderProvider) -> int:
    return median_time(headers, env.parent_hash, consensus.median_time_block_count)
