"""The epochs of a branch of headers: each header has the target of its epoch, and no epoch is easier than it can be.

The header that follows a stored block is held against the rule itself. Of those above, whose blocks are not there, only
headers are known: consensus.rules.epoch_floor says what these show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import ne
from typing import Final

from ckb_node.runtime.bounded import BoundedMap
from consensus.codec.layout import EPOCH_NUMBER_MASK
from consensus.context import HeaderProvider
from consensus.errors import CkbError
from consensus.lookup import require
from consensus.params import Consensus
from consensus.rules.epoch import EpochTargetMismatchError, next_epoch_ext, verify_block_epoch
from consensus.rules.epoch_floor import EpochFacts, facts_of, verify_next_epoch
from consensus.types.blockchain import Header
from consensus.types.core import EpochExt, EpochFraction, epoch_length, epoch_number
from consensus.types.header_run import HeaderRun
from storage.chain_state import ChainState

__all__ = ["BranchEpochs", "EpochPlace"]

MAX_EPOCHS: Final = 20_000
"""Epochs of which more is known than the last headers show: twice those of the public chains, 4 MB. Of others a little
less is asked."""
MAX_ENDS: Final = 4096


@dataclass(frozen=True, slots=True)
class EpochPlace:
    """The epoch of a header. `begun_ms`: time of the last block before it; in epoch 0 of genesis."""

    facts: EpochFacts
    begun_ms: int


class BranchEpochs:
    """What is known of the epochs of all branches. One thread."""

    def __init__(self, consensus: Consensus) -> None:
        self._consensus: Final = consensus
        self._places: Final[BoundedMap[bytes, EpochPlace]] = BoundedMap(max_count=MAX_EPOCHS)
        """By hash of the epoch's first header."""
        self._ends: Final[BoundedMap[bytes, EpochPlace]] = BoundedMap(max_count=MAX_ENDS)
        """Of the last headers of batches: the next batch goes on there."""

    def verify(
        self, state: ChainState, known: HeaderProvider, headers: Sequence[Header]
    ) -> tuple[int, CkbError | None]:
        """How many of the headers pass, and what the next one breaks. Each stands on the one before, the first on one
        that is known, and their epoch fields follow each other."""
        run = HeaderRun.of(headers)
        parent = require(known.header(run.parent_hashes[0]), "header", run.parent_hashes[0])
        try:
            place = self._first_place(state, known, parent, run[0])
        except CkbError as error:
            return 0, error
        for index in _changes(run):
            try:
                place = self._next_place(place, run, index)
            except CkbError as error:
                return index, error
        self._ends.put(run.hashes[-1], place)
        return len(run), None

    def _first_place(self, state: ChainState, known: HeaderProvider, parent: Header, header: Header) -> EpochPlace:
        """Of a header on a known one. Raises EpochError."""
        epoch = state.block_epoch(parent.hash)
        if epoch is not None:
            epoch = next_epoch_ext(self._consensus, parent, epoch, state)
            verify_block_epoch(epoch, header)
            return self._place_in(state, epoch)
        return self._next_place(self._place_of(state, known, parent), HeaderRun.of([parent, header]), 1)

    def _next_place(self, place: EpochPlace, run: HeaderRun, at: int) -> EpochPlace:
        """Of the header at `at`, by that of the one before it. Raises EpochError."""
        facts, target = place.facts, run.compact_targets[at]
        if epoch_number(run.epochs[at]) == epoch_number(run.epochs[at - 1]):
            if target != facts.compact_target:
                raise EpochTargetMismatchError(facts.compact_target, target)
            return place
        ended_ms, length = run.timestamps[at - 1], epoch_length(run.epochs[at])
        facts = verify_next_epoch(self._consensus, facts, ended_ms - place.begun_ms, length, target)
        place = EpochPlace(facts, ended_ms)
        self._places.put(run.hashes[at], place)
        return place

    def _place_in(self, state: ChainState, epoch: EpochExt) -> EpochPlace:
        """Of a block whose epoch is known."""
        before = epoch.last_block_hash_in_previous_epoch if epoch.number else self._consensus.genesis_hash
        begun = require(state.header(before), "header", before).timestamp
        return EpochPlace(EpochFacts(epoch.length, epoch.compact_target, epoch.previous_epoch_hash_rate), begun)

    def _place_of(self, state: ChainState, known: HeaderProvider, header: Header) -> EpochPlace:
        """Of a known header whose block is not stored: its epoch's first header is looked for."""
        place = self._ends.get(header.hash)
        if place is not None:
            return place
        fraction = EpochFraction.unpack(header.epoch)
        for _ in range(fraction.index):
            header = require(known.header(header.parent_hash), "header", header.parent_hash)
            if (epoch := state.block_epoch(header.hash)) is not None:
                return self._place_in(state, epoch)
        place = self._places.use(header.hash)
        if place is None:
            before = require(known.header(header.parent_hash), "header", header.parent_hash)
            facts = facts_of(self._consensus, fraction.length, header.compact_target)
            place = EpochPlace(facts, before.timestamp)
            self._places.put(header.hash, place)
        return place


def _changes(run: HeaderRun) -> list[int]:
    """Indices of headers whose epoch or target is not that of the header before. Of all others the epoch's place is the
    same, and has the same target."""
    epochs = [each & EPOCH_NUMBER_MASK for each in run.epochs]
    return sorted({*_edges(epochs), *_edges(run.compact_targets)})


def _edges(column: Sequence[int]) -> list[int]:
    return [at for at, is_other in enumerate(map(ne, column[1:], column), start=1) if is_other]
