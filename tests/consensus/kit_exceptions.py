"""What the protocol leaves to whoever makes a block: the places that may change without making the block invalid.

A place that no line of `EXCEPTIONS` names must make the block invalid however it changes. One that a line does name
must leave it valid exactly when the line's condition says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from consensus.errors import MoleculeError
from consensus.rules.dao import is_withdrawing
from consensus.rules.header import median_time
from consensus.types.blockchain import Block, CellbaseWitness, Transaction, UncleBlock
from tests.consensus.kit_places import Change
from tests.simulator.rules import CHAIN_ROOT_EPOCH, NOW_MS, SIGNATURE_AT
from tests.simulator.state import State

Condition = Callable[[State, Block, Change], bool]
"""Of the state below the block, the changed and repaired block, and what was changed."""

HASH_TYPES = (0, 1, 2, 4)
EXTENSION_SIZES = range(1, 97)
EPOCH_NUMBER = (1 << 24) - 1


class ProtocolException(NamedTuple):
    pattern: str
    condition: Condition
    why: str

    def names(self, change: Change) -> bool:
        return re.fullmatch(self.pattern, change.place.name) is not None


def always(_: State, __: Block, ___: Change) -> bool:
    return True


def is_in_time(state: State, block: Block, _: Change) -> bool:
    median = median_time(state, state.hash, state.consensus.median_time_block_count)
    return median < block.header.timestamp <= NOW_MS + 15_000


def are_proposals(state: State, block: Block, _: Change) -> bool:
    return _is_set(block.proposals, state.consensus.max_block_proposals)


def is_extension(state: State, block: Block, _: Change) -> bool:
    old = state.next_block().extension
    assert old is not None
    extension = block.extension
    if state.epoch.number < CHAIN_ROOT_EPOCH:
        return extension is None or len(extension) in EXTENSION_SIZES
    return extension is not None and extension[:32] == old[:32] and len(extension) in EXTENSION_SIZES


def is_miner(_: State, block: Block, __: Change) -> bool:
    """The only witness of the cellbase names a lock."""
    witnesses = block.transactions[0].witnesses
    if len(witnesses) != 1:
        return False
    try:
        return CellbaseWitness.parse(witnesses[0]).lock.hash_type in HASH_TYPES
    except MoleculeError:
        return False


def are_uncles(state: State, block: Block, _: Change) -> bool:
    """Two or fewer, none twice, and each still stands on the chain or on another uncle before it."""
    hashes = [uncle.hash for uncle in block.uncles]
    if len(hashes) > 2 or len(set(hashes)) < len(hashes) or any(uncle.header.number == 0 for uncle in block.uncles):
        return False
    known = set(state.by_hash) | set(state.uncles)
    for uncle in block.uncles:
        if uncle.header.parent_hash not in known:
            return False
        known.add(uncle.hash)
    return True


def is_uncle_of_epoch(state: State, block: Block, change: Change) -> bool:
    """Only the number of its epoch is looked at, neither index nor length."""
    uncle: UncleBlock = block.uncles[_index(change)]
    return uncle.header.epoch & EPOCH_NUMBER == block.header.epoch & EPOCH_NUMBER and are_uncles(state, block, change)


def is_uncle_with_proposals(state: State, block: Block, change: Change) -> bool:
    uncle: UncleBlock = block.uncles[_index(change)]
    return _is_set(uncle.proposals, state.consensus.max_block_proposals) and are_uncles(state, block, change)


def are_committed(state: State, block: Block, _: Change) -> bool:
    """One cellbase, first; the others in an order in which each finds what it spends and reads."""
    first, rest = block.transactions[:1], block.transactions[1:]
    if not first or not first[0].is_cellbase or any(tx.is_cellbase for tx in rest):
        return False
    if len({tx.hash for tx in rest}) < len(rest) or any(not tx.body.inputs for tx in rest):
        return False
    live = set(state.cells)
    for transaction in rest:
        if not live.issuperset(_needed(transaction)):
            return False
        live -= {each.previous_output.raw for each in transaction.body.inputs}
        live |= set(transaction.output_keys())
    return True


def _needed(transaction: Transaction) -> Iterator[bytes]:
    yield from (each.previous_output.raw for each in transaction.body.inputs)
    yield from (each.out_point.raw for each in transaction.body.cell_deps)


def are_witnesses(state: State, block: Block, change: Change) -> bool:
    """The toy lock reads its group's first witness, there the 32 bytes of the hash; NervosDAO the witness of each
    input that withdraws. Nothing covers the rest."""
    index = _index(change)
    transaction = block.transactions[index]
    made = {
        key: output for tx in block.transactions for key, output in zip(tx.output_keys(), tx.body.outputs, strict=True)
    }
    seen = set()
    for position, cell_input in enumerate(transaction.body.inputs):
        key = cell_input.previous_output.raw
        cell = state.cells.get(key)
        lock = (made[key] if cell is None else cell.output).lock
        if lock not in seen:
            seen.add(lock)
            if transaction.witnesses[position : position + 1] == []:
                return False
            if transaction.witnesses[position][SIGNATURE_AT : SIGNATURE_AT + 32] != transaction.hash:
                return False
        if cell is not None and is_withdrawing(state.consensus, cell) and not _is_untouched(change, position):
            return False
    return True


def _is_untouched(change: Change, position: int) -> bool:
    """The witness at this position is what it was."""
    at = change.place.path.index("witnesses")
    if len(change.place.path) > at + 1:
        return change.place.path[at + 1] != position
    return list(change.value[position : position + 1]) == list(change.place.value[position : position + 1])


def _is_set(items: Sequence[bytes], limit: int) -> bool:
    return len(set(items)) == len(items) <= limit


def _index(change: Change) -> int:
    index = change.place.path[1]
    assert isinstance(index, int)
    return index


UNSEEN_OF_UNCLES = "version|timestamp|transactions_root|extra_hash|dao"

EXCEPTIONS = (
    ProtocolException(r"header\.nonce", always, "the proof of work of this chain is Dummy"),
    ProtocolException(r"header\.body\.version", always, "checked when headers are synced only (RFC 48)"),
    ProtocolException(r"header\.body\.timestamp", is_in_time, "after the median of its ancestors, not in the future"),
    ProtocolException(r"proposals(\[\d+\])?", are_proposals, "anybody may propose anything (RFC 20)"),
    ProtocolException(r"extension", is_extension, "free before RFC 44, behind the chain root since"),
    ProtocolException(r"uncles", are_uncles, "which uncles a block embeds is its miner's choice (RFC 20)"),
    ProtocolException(r"uncles\[\d+\]\.header\.nonce", are_uncles, "the proof of work of this chain is Dummy"),
    ProtocolException(rf"uncles\[\d+\]\.header\.body\.({UNSEEN_OF_UNCLES})", are_uncles, "not looked at in an uncle"),
    ProtocolException(r"uncles\[\d+\]\.header\.body\.epoch", is_uncle_of_epoch, "only its number counts in an uncle"),
    ProtocolException(r"uncles\[\d+\]\.proposals(\[\d+\])?", is_uncle_with_proposals, "an uncle's miner's choice"),
    ProtocolException(r"transactions", are_committed, "which transactions a block commits is its miner's choice"),
    ProtocolException(r"transactions\[0\]\.witnesses(\[0\])?", is_miner, "who is paid, and a message"),
    ProtocolException(r"transactions\[[1-9]\d*\]\.witnesses(\[\d+\])?", are_witnesses, "what no script reads"),
)
