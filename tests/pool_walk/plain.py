"""What a pool must be, worked out plainly from its transactions' bytes and the chain, without the pool's code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.pool import TxPool
from consensus.types.blockchain import Transaction, out_point_key
from storage.chain_store import ChainView
from tests.support.chains.forking import Program

BYTES_PER_CYCLE: Final = 0.000_170_571_4
ORDER: Final = (Status.PENDING, Status.GAP, Status.PROPOSED)


@dataclass(frozen=True)
class Plain:
    """A transaction by the names of the cells that it touches. Dep groups of the tests are of the genesis block."""

    tx: Transaction
    inputs: tuple[bytes, ...]
    deps: frozenset[bytes]
    outputs: Mapping[bytes, int]
    """Capacity of each."""
    program: Program | None = None
    """That guards the cells which it spends."""

    @classmethod
    def of(cls, tx: Transaction, program: Program | None = None) -> Plain:
        return cls(
            tx,
            tuple(each.previous_output.raw for each in tx.body.inputs),
            frozenset(each.out_point.raw for each in tx.body.cell_deps),
            {out_point_key(tx.hash, index): each.capacity for index, each in enumerate(tx.body.outputs)},
            program,
        )

    @property
    def size(self) -> int:
        """Bytes in a block."""
        return len(self.tx.raw) + 4


class PlainPool:
    """The pool's transactions at one moment, and what can be said of each by looking at all others."""

    def __init__(self, pool: TxPool, view: ChainView) -> None:
        self.view: Final = view
        self.pool: Final = pool
        self.entries: Final = {entry.hash: entry for entry in pool.graph}
        self.txs: Final = {entry.hash: Plain.of(Transaction.parse(entry.raw)) for entry in pool.graph}
        self.created: Final = {key: each.tx.hash for each in self.txs.values() for key in each.outputs}
        self.spent: Final = {key: each.tx.hash for each in self.txs.values() for key in each.inputs}

    def capacity(self, out_point: bytes) -> int | None:
        """Of a cell of the pool, or a live one of the chain."""
        if out_point in self.created:
            return self.txs[self.created[out_point]].outputs[out_point]
        cell = self.view.cell(out_point)
        return None if cell is None else cell.capacity

    def fee(self, tx: Plain) -> int:
        """All its inputs are known."""
        return sum(self.capacity(key) or 0 for key in tx.inputs) - sum(tx.outputs.values())

    @property
    def vm_version(self) -> int:
        """On which scripts of the next block run that are found by their type. Epochs have one length."""
        consensus = self.pool.consensus
        first = consensus.hardforks.rfc_0049 * consensus.genesis_epoch.length
        return 2 if self.view.tip_header().number + 1 >= first else 1

    def parents(self, tx: Plain) -> set[bytes]:
        """Creators of what it uses, and readers of what it spends."""
        creators = {self.created[key] for key in (*tx.inputs, *tx.deps) if key in self.created}
        readers = {each.tx.hash for each in self.txs.values() if not each.deps.isdisjoint(tx.inputs)}
        return (creators | readers) - {tx.tx.hash}

    def ancestry(self) -> dict[bytes, set[bytes]]:
        """The ancestors of each."""
        up = {tx_hash: self.parents(tx) for tx_hash, tx in self.txs.items()}
        return {tx_hash: closure(parents, up) for tx_hash, parents in up.items()}

    def descendants(self, tx_hashes: Iterable[bytes]) -> set[bytes]:
        """Those and all that stand on them."""
        roots = set(tx_hashes)
        return {each for each, up in self.ancestry().items() if each in roots or not up.isdisjoint(roots)}

    def window(self) -> tuple[set[bytes], set[bytes]]:
        """Short ids that the next block may commit, and those that are too young for that."""
        window, next_number = self.pool.consensus.proposal_window, self.view.tip_header().number + 1
        ripe, young = set[bytes](), set[bytes]()
        for number in range(max(0, next_number - window.farthest), next_number):
            block = self.view.block(self.view.main_hash(number) or b"")
            assert block is not None
            ids = {*block.proposals, *(each for uncle in block.uncles for each in uncle.proposals)}
            (ripe if next_number - number >= window.closest else young).update(ids)
        return ripe, young - ripe

    def status(self, short_id: bytes) -> Status:
        ripe, young = self.window()
        return Status.PROPOSED if short_id in ripe else Status.GAP if short_id in young else Status.PENDING


def closure(start: AbstractSet[bytes], links: Mapping[bytes, AbstractSet[bytes]]) -> set[bytes]:
    found, todo = set(start), list(start)
    while todo:
        for each in links[todo.pop()]:
            if each not in found:
                found.add(each)
                todo.append(each)
    return found


def faults(plain: PlainPool) -> Iterator[str]:
    """What is wrong with a pool that has followed the chain."""
    yield from _cell_faults(plain)
    yield from _sum_faults(plain)
    yield from _order_faults(plain)


def _cell_faults(plain: PlainPool) -> Iterator[str]:
    """No cell is spent twice, and all that is used is there."""
    spends = [key for tx in plain.txs.values() for key in tx.inputs]
    if len(spends) != len(set(spends)):
        yield "two transactions spend one cell"
    ancestry = plain.ancestry()
    for tx_hash, tx in plain.txs.items():
        if plain.view.transaction_info(tx_hash) is not None:
            yield f"{tx_hash.hex()} is on the chain and in the pool"
        if tx_hash in ancestry[tx_hash]:
            yield f"{tx_hash.hex()} needs itself"
        for key in (*tx.inputs, *tx.deps):
            if plain.capacity(key) is None:
                yield f"{tx_hash.hex()} uses {key.hex()}, which is not there"
        for block_hash in tx.tx.body.header_deps:
            if not plain.view.is_main(block_hash):
                yield f"{tx_hash.hex()} names a block that is off the main chain"
    yield from (
        f"{each.hex()} is in the pool and in conflict" for each in plain.pool.conflicted if each in plain.entries
    )


def _sum_faults(plain: PlainPool) -> Iterator[str]:
    """Fees, sizes and packages are what adding up gives."""
    ancestry, entries, graph = plain.ancestry(), plain.entries, plain.pool.graph
    ripe, young = plain.window()
    for tx_hash, tx in plain.txs.items():
        entry, up = entries[tx_hash], ancestry[tx_hash]
        down = {each for each, others in ancestry.items() if tx_hash in others}
        name = tx_hash.hex()
        if (entry.fee, entry.size) != (plain.fee(tx), tx.size):
            yield f"{name}: fee and size {entry.fee, entry.size}, not {plain.fee(tx), tx.size}"
        for kind, sums, others in (("ancestors", entry.ancestors, up), ("descendants", entry.descendants, down)):
            members = [entries[each] for each in {tx_hash, *others}]
            told = sums.count, sums.size, sums.fee, sums.cycles
            found = len(members), _sum(members, "size"), _sum(members, "fee"), _sum(members, "cycles")
            if told != found:
                yield f"{name}: {kind} {told}, not {found}"
        expected = Status.PROPOSED if entry.short_id in ripe else Status.GAP if entry.short_id in young else ORDER[0]
        if entry.status is not expected:
            yield f"{name} is {entry.status}, not {expected}"
    totals = sum(each.size for each in plain.txs.values()), _sum(entries.values(), "cycles")
    if (graph.total_size, graph.total_cycles) != totals:
        yield f"the pool's totals are {graph.total_size, graph.total_cycles}, not {totals}"
    if graph.total_size > plain.pool.limits.max_size:
        yield f"the pool holds {graph.total_size} bytes"


def _sum(entries: Iterable[PoolEntry], name: str) -> int:
    return sum(getattr(each, name) for each in entries)


def _weight(size: int, cycles: int) -> int:
    return max(size, int(cycles * BYTES_PER_CYCLE))


def _order_faults(plain: PlainPool) -> Iterator[str]:
    """Who pays best is first, and who pays least leaves first."""
    ancestry, entries, graph = plain.ancestry(), plain.entries, plain.pool.graph

    def rate(members: Iterable[bytes]) -> Fraction:
        found = [entries[each] for each in members]
        return Fraction(_sum(found, "fee"), _weight(_sum(found, "size"), _sum(found, "cycles")))

    scores = {each: min(rate([each]), rate({each, *ancestry[each]})) for each in entries}
    for status in ORDER:
        shown = [scores[entry.hash] for entry in graph.by_score((status,))]
        if shown != sorted(shown, reverse=True) or len(shown) != sum(each.status is status for each in graph):
            yield f"the {status.value} ones are not in the order of what they pay"

    def leaves(entry: PoolEntry) -> tuple[int, int, int, int]:
        down = [each for each, up in ancestry.items() if entry.hash in up]
        own, package = rate([entry.hash]), rate({entry.hash, *down})
        return ORDER.index(entry.status), max(int(own * 1000), int(package * 1000)), len(down) + 1, entry.timestamp

    first = graph.first_to_evict()
    if first is not None and leaves(first) != min(leaves(each) for each in entries.values()):
        yield "another one should be evicted first"
