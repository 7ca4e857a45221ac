"""Replace-by-fee (RBF): when a transaction may replace pool entries that spend the same cells."""

from __future__ import annotations

from ckb_node.txpool.entry import PoolEntry
from ckb_node.txpool.graph import PoolGraph
from ckb_node.txpool.limits import MAX_REPLACED, PoolLimits, fee_at
from ckb_node.txpool.rejects import RbfRejected
from consensus.context import ChainReader


def min_replace_fee(replaced_fees: int, size: int, limits: PoolLimits) -> int:
    """Shannons that a replacement of `size` bytes must pay at least: the replaced fees + min_rbf_rate × size."""
    return replaced_fees + fee_at(limits.min_rbf_rate, size)


def verify_replacement(graph: PoolGraph, entry: PoolEntry, chain: ChainReader, limits: PoolLimits) -> set[bytes]:
    """Short ids of the entries that `entry` spends against; RbfRejected when it may not replace them."""
    conflicts = graph.conflicts(entry.input_keys)
    if not conflicts:
        return conflicts
    verify_no_new_unconfirmed_inputs(graph, entry, conflicts, chain)
    verify_replaced_count(sum(graph.entries[each].descendants.count for each in conflicts))
    replaced = conflicts.union(*(graph.descendants(each) for each in conflicts))
    verify_does_not_need(graph, entry, replaced)
    verify_fee(graph, entry, replaced, limits)
    return conflicts


def verify_no_new_unconfirmed_inputs(
    graph: PoolGraph, entry: PoolEntry, conflicts: set[bytes], chain: ChainReader
) -> None:
    """Inputs that no replaced transaction has must come from committed transactions."""
    old_inputs = {key for each in conflicts for key in graph.entries[each].input_keys}
    for key in entry.input_keys:
        if key not in old_inputs and chain.transaction_info(key[:32]) is None:
            raise RbfRejected("new Tx contains unconfirmed inputs")


def verify_replaced_count(count: int) -> None:
    """At most MAX_REPLACED entries are replaced, descendants included; one that stands on several conflicts counts for
    each of them, as in ckb."""
    if count > MAX_REPLACED:
        raise RbfRejected(f"Tx conflict with too many txs, conflict txs count: {count}, expect <= {MAX_REPLACED}")


def verify_does_not_need(graph: PoolGraph, entry: PoolEntry, replaced: set[bytes]) -> None:
    """A replacement must not spend or read outputs of what it replaces."""
    if graph.creators(entry.input_keys) & replaced:
        raise RbfRejected("new Tx contains inputs in descendants of to be replaced Tx")
    if graph.creators(entry.dep_keys) & replaced:
        raise RbfRejected("new Tx contains cell deps from conflicts")


def verify_fee(graph: PoolGraph, entry: PoolEntry, replaced: set[bytes], limits: PoolLimits) -> None:
    """Its fee is at least the replaced fees + min_rbf_rate × size."""
    least = min_replace_fee(sum(graph.entries[each].fee for each in replaced), entry.size, limits)
    if entry.fee < least:
        raise RbfRejected(f"Tx's current fee is {entry.fee}, expect it to >= {least} to replace old txs")
