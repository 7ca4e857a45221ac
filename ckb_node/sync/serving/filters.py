"""The block filter protocol, as its server (RFC 45): filters, their hashes, and check points, from a height on.

Lists end where the main chain or the built filters end; of a height beyond both nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final

from ckb_node.sync.serving.answers import Answers
from ckb_node.sync.serving.pace import SECONDS_PER_BYTE
from consensus.crypto.hashing import HASH_SIZE, ZERO_HASH
from consensus.errors import MoleculeError
from network.limits import FILTER, ProtocolSpec
from network.messages.protocols import (
    BLOCK_FILTER_MESSAGE,
    BlockFilterCheckPoints,
    BlockFilterHashes,
    BlockFilters,
    GetBlockFilterCheckPoints,
    GetBlockFilterHashes,
    GetBlockFilters,
)
from network.peer import Peer
from network.peers.penalties import Misbehaviour, apply_penalty
from storage.chain_state import ChainState
from storage.filters import BlockPlace, FilterStore

__all__ = ["FilterServer", "answer_check_points", "answer_filter_hashes", "answer_filters"]

MAX_FILTERS: Final = 1000
MAX_FILTERS_BYTES: Final = 1_887_436
"""Of a message's content; the filter that reaches it is left for the next question."""
MAX_HASHES: Final = 2000
INTERVAL: Final = 2000
"""Of check points."""
MAX_CHECK_POINTS: Final = 2000

QUESTIONS: Final = (GetBlockFilters, GetBlockFilterHashes, GetBlockFilterCheckPoints)

FILTER_PRICE: Final = 0.000_02 + SECONDS_PER_BYTE * MAX_FILTERS_BYTES / MAX_FILTERS
HASH_PRICE: Final = 0.000_01 + SECONDS_PER_BYTE * HASH_SIZE
CHECK_POINT_PRICE: Final = 0.000_05 + SECONDS_PER_BYTE * HASH_SIZE
"""Seconds for each, about: rows of a scan, of filters as large as fill a message; check points lie far from each other.
"""
_SIZE: Final = 4
"""Bytes of a size or an offset in molecule."""
_ROWS_BETWEEN_BREATHS: Final = 50

Answer = Generator[None, None, bytes | None]


class FilterServer:
    """Satisfies network.peer.Handler."""

    def __init__(self, filters: FilterStore, answers: Answers) -> None:
        self._filters, self._answers = filters, answers
        self._last: int | None = None
        """Height of the last filter, as far as an answer has seen; None before the first."""

    @property
    def protocol(self) -> ProtocolSpec:
        return FILTER

    def opened(self, peer: Peer) -> None:
        """Clients ask first."""

    def received(self, peer: Peer, payload: bytes) -> None:
        kind = BLOCK_FILTER_MESSAGE.item_class(payload)
        if kind is not None and kind not in QUESTIONS:
            return  # an answer that nobody asked for is left, as in the reference; not decoded: it may be large
        try:
            message = BLOCK_FILTER_MESSAGE.parse(payload, compatible=True)
        except MoleculeError:
            apply_penalty(peer, Misbehaviour.FILTER_UNDECODABLE)
            return
        match message:
            case GetBlockFilters():
                start = message.start_number
                self._ask(peer, answer_filters, start, FILTER_PRICE * self._count(start, MAX_FILTERS))
            case GetBlockFilterHashes():
                start = message.start_number
                self._ask(peer, answer_filter_hashes, start, HASH_PRICE * self._count(start, MAX_HASHES))
            case GetBlockFilterCheckPoints():
                start = message.start_number
                count = self._count(start, MAX_CHECK_POINTS, INTERVAL)
                self._ask(peer, answer_check_points, start, CHECK_POINT_PRICE * count)

    def _count(self, start: int, most: int, interval: int = 1) -> int:
        """How many an answer has, about: each costs."""
        return most if self._last is None else max(1, min(most, (self._last - start) // interval + 1))

    def _ask(
        self, peer: Peer, answer: Callable[[FilterStore, int, ChainState], Answer], start: int, price: float
    ) -> None:
        def work(state: ChainState) -> Answer:
            self._last = _last_built(self._filters, state)
            return (yield from answer(self._filters, start, state))

        self._answers.ask(peer, FILTER, work, price)

    def closed(self, peer: Peer) -> None:
        self._answers.closed(peer, FILTER)


def answer_filters(filters: FilterStore, start: int, state: ChainState) -> Answer:
    """Filters with the hashes of their blocks. Raises StorageError."""
    if start > _last_built(filters, state):
        return None
    yield
    hashes: list[bytes] = []
    found: list[bytes] = []
    size = 8 + 2 * _SIZE
    for place, data in filters.filters(state, start):
        added = HASH_SIZE + (_SIZE + len(data)) + _SIZE
        if size + added + _SIZE >= MAX_FILTERS_BYTES:
            break
        size += added
        hashes.append(place.block_hash)
        found.append(data)
        if len(found) == MAX_FILTERS:
            break
        if len(found) % _ROWS_BETWEEN_BREATHS == 0:
            yield
    return BLOCK_FILTER_MESSAGE.pack(BlockFilters(start_number=start, block_hashes=hashes, filters=found))


def answer_filter_hashes(filters: FilterStore, start: int, state: ChainState) -> Answer:
    """Filter hashes, and that of the block before the first. Raises StorageError."""
    if start > _last_built(filters, state):
        return None
    parent: bytes | None = ZERO_HASH
    if start:
        block_hash = state.main_hash(start - 1)
        parent = None if block_hash is None else filters.filter_hash(BlockPlace(start - 1, block_hash))
    if parent is None:
        return None
    yield
    hashes: list[bytes] = []
    for _, filter_hash in filters.filter_hashes(state, start):
        hashes.append(filter_hash)
        if len(hashes) == MAX_HASHES:
            break
        if len(hashes) % _ROWS_BETWEEN_BREATHS == 0:
            yield
    message = BlockFilterHashes(start_number=start, parent_block_filter_hash=parent, block_filter_hashes=hashes)
    return BLOCK_FILTER_MESSAGE.pack(message)


def answer_check_points(filters: FilterStore, start: int, state: ChainState) -> Answer:
    """Filter hashes at every 2000th height. Raises StorageError."""
    if start > _last_built(filters, state):
        return None
    yield
    hashes: list[bytes] = []
    for each in filters.check_points(state, start, INTERVAL, MAX_CHECK_POINTS):
        hashes.append(each)
        if len(hashes) % _ROWS_BETWEEN_BREATHS == 0:
            yield
    return BLOCK_FILTER_MESSAGE.pack(BlockFilterCheckPoints(start_number=start, block_filter_hashes=hashes))


def _last_built(filters: FilterStore, state: ChainState) -> int:
    """Height of the last filter; 0 without any, so that a question from there gets an empty list."""
    last = filters.last_built(state)
    return 0 if last is None else last.number
