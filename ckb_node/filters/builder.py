"""Builds the missing filters of the main chain, a batch at a time, from stored blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from consensus.codec.block_layout import created_output
from consensus.crypto.hashing import ZERO_HASH
from consensus.kernels.golomb import golomb_coded_set
from consensus.lookup import require
from consensus.rules.block_filter import (
    BlockScripts,
    ScriptHashes,
    block_scripts,
    filter_elements,
    filter_hash,
    script_hashes,
)
from storage.chain_state import ChainState
from storage.filters import BlockFilter, BlockPlace, BuiltFilter, FilterStore

RECENT_CELLS = 1 << 16
"""Recently created cells whose script hashes are cached, since most are spent soon; about 300 bytes each."""


Encode = Callable[[Sequence[bytes]], bytes]
"""Makes the filter of distinct elements: the plain function of consensus.rules.block_filter, or its kernel."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is written when one of these is reached."""

    blocks: int = 1024
    seconds: float = 0.5


class FilterMaker:
    """Makes filters of consecutive blocks of one state's main chain, each from what is stored of the chain."""

    def __init__(self, state: ChainState, recent: RecentCells, encode: Encode = golomb_coded_set) -> None:
        """`recent` may have been used for other states."""
        self._state: Final = state
        self._recent: Final = recent
        self._encode: Final = encode
        self._creators: Final = _Creators(state)

    def filter_data(self, block_hash: bytes) -> bytes:
        """The filter of a stored block. Raises StorageError, ChainDataError."""
        scripts = block_scripts(require(self._state.block(block_hash), "block", block_hash))
        elements = filter_elements(scripts, self._scripts_of)
        self._recent.add(scripts)
        return self._encode(elements)

    def _scripts_of(self, out_point: bytes) -> ScriptHashes | None:
        return self._recent.take(out_point) or self._creators.scripts_of(out_point)


class FilterBuilder:
    """Appends the missing filters of the main chain to a FilterStore."""

    def __init__(self, filters: FilterStore, limits: BatchLimits | None = None) -> None:
        self._filters: Final = filters
        self._limits: Final = limits or BatchLimits()
        self._recent: Final = RecentCells()
        self.last_number = -1
        """Height that the last step reached."""

    def step(self, state: ChainState) -> bool:
        """Build and write one batch; True when the filters have reached the tip of `state`. Raises StorageError."""
        last = self._filters.last_built(state)
        first = 0 if last is None else last.number + 1
        parent = ZERO_HASH if last is None else require(self._filters.filter_hash(last), "filter hash", last.number)
        until = time.monotonic() + self._limits.seconds
        maker = FilterMaker(state, self._recent)
        built: list[BuiltFilter] = []
        for number, block_hash in islice(state.main_hashes(first), self._limits.blocks):
            data = maker.filter_data(block_hash)
            parent = filter_hash(parent, data)
            built.append(BuiltFilter(BlockPlace(number, block_hash), BlockFilter(data, parent)))
            if time.monotonic() >= until:
                break
        self._filters.append(built)
        self.last_number = first + len(built) - 1
        return self.last_number >= state.tip_header().number


class RecentCells:
    """Script hashes of recently created, unspent cells; the oldest quarter is dropped when there are too many.

    They depend on transactions alone, so no reorganisation makes them wrong. A plain dict, not a BoundedMap: a block's
    cells are added by one `update`.
    """

    def __init__(self) -> None:
        self._cells: Final[dict[bytes, ScriptHashes]] = {}

    def add(self, scripts: BlockScripts) -> None:
        self._cells.update(scripts.created)
        if len(self._cells) > RECENT_CELLS:
            for old in list(islice(self._cells, len(self._cells) - RECENT_CELLS * 3 // 4)):
                del self._cells[old]

    def take(self, out_point: bytes) -> ScriptHashes | None:
        """Remove and return: a chain spends a cell once. For another branch its creating transaction is read again."""
        return self._cells.pop(out_point, None)


class _Creators:
    """Reads cells from the main-chain transactions that made them.

    Caches the last one, since neighbouring inputs often share it; only one, since each may be large.
    """

    def __init__(self, state: ChainState) -> None:
        self._state: Final = state
        self._last: tuple[bytes, bytes | None] = b"", None

    def scripts_of(self, out_point: bytes) -> ScriptHashes | None:
        """None when the main chain has no such transaction or output."""
        tx_hash, index = out_point[:32], int.from_bytes(out_point[32:], "little")
        if self._last[0] != tx_hash:
            found = self._state.raw_transaction(tx_hash)
            self._last = tx_hash, None if found is None else found[1]
        raw = self._last[1]
        output = None if raw is None else created_output(raw, index)
        return None if output is None else script_hashes(output)
