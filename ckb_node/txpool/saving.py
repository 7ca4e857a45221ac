"""The order in which the pool is saved: parents before their children, as loading needs them."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import TopologicalSorter

from ckb_node.txpool.entry import PoolEntry
from ckb_node.txpool.readmission import ReadmissionEntry
from consensus.types.blockchain import Transaction


def parents_first(entries: Iterable[PoolEntry], readmission: Iterable[ReadmissionEntry]) -> list[Transaction]:
    """All transactions. Those of a file that was not loaded to the end are many, and stay in its order, behind what was
    loaded of it; a node that stops has no time to look into each."""
    from_file: list[Transaction] = []
    others: list[Transaction] = []
    for each in readmission:
        (from_file if each.is_from_file else others).append(each.transaction)
    if others:
        return _sorted(entries, others) + from_file
    return [entry.tx for entry in sorted(entries, key=lambda entry: entry.ancestors.count)] + from_file


def _sorted(entries: Iterable[PoolEntry], others: Iterable[Transaction]) -> list[Transaction]:
    """Entries may need what is to return after a reorganisation, and the other way round."""
    transactions = {tx.hash: tx for tx in others}
    needs = {tx_hash: _parents(tx) for tx_hash, tx in transactions.items()}
    for entry in entries:
        transactions[entry.hash] = entry.tx
        needs[entry.hash] = {key[:32] for key in (*entry.input_keys, *entry.dep_keys)}
    in_order = (transactions.get(tx_hash) for tx_hash in TopologicalSorter(needs).static_order())
    return [tx for tx in in_order if tx is not None]


def _parents(tx: Transaction) -> set[bytes]:
    """Hashes of the transactions whose cells it names."""
    named = (*(each.previous_output for each in tx.body.inputs), *(each.out_point for each in tx.body.cell_deps))
    return {out_point.tx_hash for out_point in named}
