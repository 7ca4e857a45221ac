"""What the pool need not find out again for each transaction: rules that a known structure keeps, deps that many share.

Nothing here refuses anything: what is not as usual goes the plain way, which says what is wrong.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from ckb_node.runtime.bounded import BoundedMap
from consensus.context import CellProvider
from consensus.errors import MoleculeError
from consensus.fast.block import is_sound
from consensus.rules.resolve import ResolvedDeps, resolve_cell_deps
from consensus.types.blockchain import TX_LAYOUTS, Transaction
from consensus.types.tx_slice import TxSlice

MAX_BYTES: Final = 16 << 10
"""Larger transactions are few, and rarely like another."""
MAX_SHARED: Final = 256
MAX_SHARED_CELLS: Final = 16
MAX_SHARED_BYTES: Final = 32 << 20
"""Lists of deps that are kept while the tip is the same; cells of each, which hold their data once it was read, and
bytes of these data in all."""


def is_sound_alone(transaction: Transaction) -> bool:
    """It keeps the rules that need nothing but itself, and is no cellbase. Its hashes are known then."""
    raw = transaction.raw
    if len(raw) > MAX_BYTES:
        return False
    try:
        layout = TX_LAYOUTS.check(raw, 0, len(raw))
    except MoleculeError:
        return False
    if layout is None:
        return False
    tx_slice = TxSlice(raw, 0, len(raw), layout)
    transaction.__dict__.update(hash=tx_slice.hash, witness_hash=tx_slice.witness_hash)
    return is_sound(tx_slice)


class _Shared(NamedTuple):
    deps: ResolvedDeps
    out_points: Sequence[bytes]
    size: int


class SharedDeps:
    """Deps of one state of the chain by their bytes. Those that the pool's transactions create are not kept."""

    def __init__(self) -> None:
        self._known: Final[BoundedMap[bytes, _Shared]] = BoundedMap(
            max_count=MAX_SHARED, max_bytes=MAX_SHARED_BYTES, size_of=attrgetter("size")
        )

    def resolve(self, transaction: Transaction, cells: CellProvider, spent: Container[bytes]) -> ResolvedDeps:
        """As `resolve_cell_deps`."""
        key = b"".join(dep.raw for dep in transaction.body.cell_deps)
        found = self._known.use(key)
        if found is not None and not any(out_point in spent for out_point in found.out_points):
            return found.deps
        deps = resolve_cell_deps(transaction, cells, spent)
        used = (*deps[0], *deps[1])
        if found is None and len(used) <= MAX_SHARED_CELLS and all(cell.info is not None for cell in used):
            size = sum(cell.data_size for cell in used)
            self._known.put(key, _Shared(deps, [cell.out_point for cell in used], size))
        return deps
