"""Compares stored block filters with those computed from the stored blocks."""

from __future__ import annotations

from dataclasses import dataclass

from ckb_node.filters.builder import FilterMaker, RecentCells
from consensus.crypto.golomb import golomb_coded_set
from consensus.crypto.hashing import ZERO_HASH
from consensus.rules.block_filter import filter_hash
from storage.chain_state import ChainState
from storage.filters import FilterStore

MAX_FAULTS = 20


@dataclass(frozen=True, slots=True)
class FilterReport:
    """How many filters were recomputed, and the faults of the stored ones."""

    filters: int
    faults: list[str]


def check_filters(state: ChainState, filters: FilterStore) -> FilterReport:
    """Compare up to the last block whose filter is built; later ones are not missing yet. Raises StorageError.

    Computes with the plain rules, so filters made by a kernel are checked against them.
    """
    last = filters.last_built(state)
    if last is None:
        return FilterReport(0, [])
    maker = FilterMaker(state, RecentCells(), golomb_coded_set)
    data, hashes = filters.filters(state, 0), filters.filter_hashes(state, 0)
    faults: list[str] = []
    parent = ZERO_HASH
    for number, block_hash in state.main_hashes(0):
        name = f"block {number} (0x{block_hash.hex()})"
        found, found_hash = next(data, None), next(hashes, None)
        if found is None or found_hash is None:
            faults.append(f"the filter of {name} is missing, though block {last.number} has one")
            break
        expected = maker.filter_data(block_hash)
        parent = filter_hash(parent, expected)
        if found[1] != expected:
            faults.append(f"the filter of {name} differs")
        if found_hash[1] != parent:
            faults.append(f"the filter hash of {name} differs")
        if number == last.number or len(faults) >= MAX_FAULTS:
            break
    return FilterReport(number + 1, faults)
