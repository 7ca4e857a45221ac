"""Replace-by-fee: when a transaction may push out those that spend the same cells."""

from __future__ import annotations

from ckb_node.rpc.rejects import RbfRejected
from ckb_node.txpool.entry import PoolEntry
from ckb_node.txpool.graph import PoolGraph
from ckb_node.txpool.limits import MAX_REPLACED, PoolLimits, fee_at
from consensus.context import ChainReader
from consensus.types.blockchain import Transaction


def min_replace_fee(graph: PoolGraph, replaced: set[bytes], size: int, limits: PoolLimits) -> int:
    """Shannons that a replacement of `size` bytes must pay at least: all replaced fees and its own way."""
    return sum(graph.entries[each].fee for each in replaced) + fee_at(limits.min_rbf_rate, size)


def verify_replacement(
    graph: PoolGraph, tx: Transaction, fee: int, chain: ChainReader, limits: PoolLimits
) -> set[bytes]:
    """Short ids of the entries that `tx` spends against; RbfRejected when it may not replace them."""
    conflicts = graph.conflicts(tx)
    if not conflicts:
        return conflicts
    _verify_no_new_unconfirmed_inputs(graph, tx, conflicts, chain)
    replaced = set(conflicts)
    for each in conflicts:
        replaced |= graph.descendants(each)
    if len(replaced) > MAX_REPLACED:
        raise RbfRejected(
            f"Tx conflict with too many txs, conflict txs count: {len(replaced)}, expect <= {MAX_REPLACED}"
        )
    _verify_does_not_need(graph, tx, conflicts, replaced)
    least = min_replace_fee(graph, replaced, tx.size_in_block, limits)
    if fee < least:
        raise RbfRejected(f"Tx's current fee is {fee}, expect it to >= {least} to replace old txs")
    return conflicts


def _verify_no_new_unconfirmed_inputs(
    graph: PoolGraph, tx: Transaction, conflicts: set[bytes], chain: ChainReader
) -> None:
    """Inputs that no replaced transaction has must come from committed transactions."""
    old_inputs = {key for each in conflicts for key in graph.entries[each].input_keys()}
    for cell_input in tx.body.inputs:
        out_point = cell_input.previous_output
        if out_point.raw not in old_inputs and chain.transaction_info(out_point.tx_hash) is None:
            raise RbfRejected("new Tx contains unconfirmed inputs")


def _verify_does_not_need(graph: PoolGraph, tx: Transaction, conflicts: set[bytes], replaced: set[bytes]) -> None:
    """It cannot stand on what it pushes out."""
    parents = {cell_input.previous_output.tx_hash[:10] for cell_input in tx.body.inputs}
    parents |= {dep.out_point.tx_hash[:10] for dep in tx.body.cell_deps}
    parents = {each for each in parents if each in graph}
    for parent in parents:
        if parent in conflicts or parent in replaced:
            what = "inputs in descendants of to be replaced Tx" if _spends(tx, parent) else "cell deps from conflicts"
            raise RbfRejected(f"new Tx contains {what}")
        if graph.ancestors(parent) & replaced:
            raise RbfRejected("Tx ancestors have common with conflict Tx descendants")


def _spends(tx: Transaction, parent: bytes) -> bool:
    return any(cell_input.previous_output.tx_hash[:10] == parent for cell_input in tx.body.inputs)


def removed_by(graph: PoolGraph, conflicts: set[bytes]) -> list[PoolEntry]:
    """Take the conflicting entries and their descendants out of the graph."""
    return [entry for each in conflicts for entry in graph.remove_with_descendants(each)]
