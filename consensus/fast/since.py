"""Since fields by integers alone; see consensus/fast/block.py. The rule is in consensus/rules/since.py."""

from __future__ import annotations

from collections.abc import Callable

from consensus.codec.layout import EPOCH_INDEX_SHIFT, EPOCH_LENGTH_SHIFT, EPOCH_NUMBER_MASK, EPOCH_PART_MASK
from consensus.context import HeaderProvider
from consensus.rules.since import METRIC_MASK, METRIC_SHIFT, RELATIVE_FLAG, RESERVED_MASK, VALUE_MASK, Metric
from consensus.tx_env import TxEnv
from consensus.types.core import CellMeta

__all__ = ["since_has_passed", "time_has_passed"]

_BLOCKS, _EPOCHS, _SECONDS = (metric.value for metric in (Metric.BLOCK_NUMBER, Metric.EPOCH, Metric.TIMESTAMP))


def since_has_passed(raw: int, cell: CellMeta, env: TxEnv) -> bool:
    """A since of a committed transaction that counts blocks or epochs is valid and has passed. False: the plain rule
    must decide."""
    metric, value, info = raw >> METRIC_SHIFT & METRIC_MASK, raw & VALUE_MASK, cell.info
    if raw & RESERVED_MASK or info is None:
        return False
    if metric == _BLOCKS:
        return env.number >= (value + info.block_number if raw & RELATIVE_FLAG else value)
    if metric != _EPOCHS:
        return False
    index, length = value >> EPOCH_INDEX_SHIFT & EPOCH_PART_MASK, value >> EPOCH_LENGTH_SHIFT & EPOCH_PART_MASK
    if index >= length and not index == length == 0:
        return False
    now, a = _fraction(*env.epoch)
    wanted, b = _fraction(value & EPOCH_NUMBER_MASK, index, length)
    if not raw & RELATIVE_FLAG:
        return now * b >= wanted * a
    begun, c = _unpacked(info.block_epoch)
    return now * b * c >= (wanted * c + begun * b) * a


def time_has_passed(raw: int, cell: CellMeta, now_ms: Callable[[], int], headers: HeaderProvider) -> bool:
    """Likewise of one that counts seconds, by the median time of the parent; with RFC 28."""
    info = cell.info
    if raw & RESERVED_MASK or raw >> METRIC_SHIFT & METRIC_MASK != _SECONDS or info is None:
        return False
    begun = headers.header(info.block_hash) if raw & RELATIVE_FLAG else None
    if raw & RELATIVE_FLAG and begun is None:
        return False
    return now_ms() >= (raw & VALUE_MASK) * 1000 + (0 if begun is None else begun.timestamp)


def _fraction(number: int, index: int, length: int) -> tuple[int, int]:
    """Numerator and denominator of `EpochFraction.to_rational`, not reduced."""
    return (number * length + index, length) if length else (number, 1)


def _unpacked(packed: int) -> tuple[int, int]:
    """Likewise of a packed epoch field."""
    index, length = packed >> EPOCH_INDEX_SHIFT & EPOCH_PART_MASK, packed >> EPOCH_LENGTH_SHIFT & EPOCH_PART_MASK
    return _fraction(packed & EPOCH_NUMBER_MASK, index, length)
