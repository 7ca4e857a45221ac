"""What keeps a transaction from being committed for a time, and until when: since (RFC 17) and young cellbases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from ckb_node.txpool.limits import MAX_LOOKED_AT
from consensus.context import HeaderProvider
from consensus.params import Consensus
from consensus.rules.since import (
    Metric,
    Since,
    absolute_since_has_passed,
    relative_since_has_passed,
    relative_time_start,
)
from consensus.rules.transaction import is_mature
from consensus.tx_env import TxEnv
from consensus.types.blockchain import DEP_TYPE_DEP_GROUP, Transaction
from consensus.types.core import CellMeta, EpochFraction


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLock:
    """One part of a transaction that is not mature. Where all of the last three are None, the cell has to be committed
    first: only then its time begins to run, or the lock never opens.

    `part` is `Inputs` or `CellDeps`, `cause` is `since` or `cellbase`. The block that commits the transaction must have
    at least this height or epoch (in epochs), or its parent this median time (ms).
    """

    part: str
    index: int
    cause: str
    block_number: int | None = None
    epoch: Fraction | None = None
    median_time: int | None = None


def time_locks(
    consensus: Consensus,
    tx: Transaction,
    cell_of: Callable[[bytes], CellMeta | None],
    env: TxEnv,
    chain: HeaderProvider,
) -> Iterator[TimeLock]:
    """Those that have not passed. `cell_of` gives cells of the chain; one that is not there is passed over, unless its
    since is relative: its time has not begun. Dep groups are not expanded."""
    for index, each in enumerate(tx.body.inputs[:MAX_LOOKED_AT]):
        cell = cell_of(each.previous_output.raw)
        if cell is not None:
            yield from _young_cellbase(consensus, cell, env, "Inputs", index)
        since = Since.parse(each.since) if each.since else None
        if since is not None:
            yield from _not_passed(consensus, since, cell, env, chain, index)
    for index, dep in enumerate(tx.body.cell_deps[:MAX_LOOKED_AT]):
        cell = cell_of(dep.out_point.raw) if dep.dep_type != DEP_TYPE_DEP_GROUP else None
        if cell is not None:
            yield from _young_cellbase(consensus, cell, env, "CellDeps", index)


def _young_cellbase(consensus: Consensus, cell: CellMeta, env: TxEnv, part: str, index: int) -> Iterator[TimeLock]:
    info = cell.info
    if info is not None and not is_mature(cell, env.epoch, consensus.cellbase_maturity_epochs):
        epoch = EpochFraction.unpack(info.block_epoch).to_rational() + consensus.cellbase_maturity_epochs
        yield TimeLock(part=part, index=index, cause="cellbase", epoch=epoch)


def _not_passed(
    consensus: Consensus, since: Since, cell: CellMeta | None, env: TxEnv, chain: HeaderProvider, index: int
) -> Iterator[TimeLock]:
    if not since.is_relative:
        if not absolute_since_has_passed(consensus, since, None, env, chain):
            yield _at_least(
                since.metric, index, number=since.value, epoch=since.epoch.to_rational(), time_ms=since.milliseconds
            )
        return
    info = None if cell is None else cell.info
    if cell is None or info is None:
        yield TimeLock(part="Inputs", index=index, cause="since")
    elif not relative_since_has_passed(consensus, since, cell, env, chain):
        committed = EpochFraction.unpack(info.block_epoch).to_rational()
        start = relative_time_start(consensus, info, env, chain) if since.metric is Metric.TIMESTAMP else 0
        yield _at_least(
            since.metric,
            index,
            number=info.block_number + since.value,
            epoch=committed + since.epoch.to_rational(),
            time_ms=None if start is None else start + since.milliseconds,
        )


def _at_least(metric: Metric, index: int, *, number: int, epoch: Fraction, time_ms: int | None) -> TimeLock:
    """The since of an input, by what its metric counts."""
    return TimeLock(
        part="Inputs",
        index=index,
        cause="since",
        block_number=number if metric is Metric.BLOCK_NUMBER else None,
        epoch=epoch if metric is Metric.EPOCH else None,
        median_time=time_ms if metric is Metric.TIMESTAMP else None,
    )
