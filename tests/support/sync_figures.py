"""Figures of sync, with defaults that mean a node that has caught up."""

from __future__ import annotations

from typing import Any

from ckb_node.sync.chain import KnownTip
from ckb_node.sync.progress import SyncFigures
from consensus.types.blockchain import Header, RawHeader

ZERO = bytes(32)
GENESIS_MS = 1_573_852_190_812
NOW_MS = GENESIS_MS + 1000 * 86_400_000
BLOCK_MS = 8640
"""10,000 blocks a day: after a thousand days there are ten million."""


def tip_at(number: int) -> KnownTip:
    """The block of a height of a chain that has a block every BLOCK_MS."""
    body = RawHeader(
        version=0,
        compact_target=0x20010000,
        timestamp=GENESIS_MS + number * BLOCK_MS,
        number=number,
        epoch=0,
        parent_hash=ZERO,
        transactions_root=ZERO,
        proposals_hash=ZERO,
        extra_hash=ZERO,
        dao=ZERO,
    )
    return KnownTip(Header(body=body, nonce=0), number + 1)


HEIGHT = (NOW_MS - GENESIS_MS) // BLOCK_MS


def figures(*, tip: int = HEIGHT, best: int = HEIGHT, **values: Any) -> SyncFigures:
    """`tip` and `best` are heights."""
    peers: int = values.pop("peers", 8)
    return SyncFigures(tip=tip_at(tip), best_header=tip_at(best), peers=peers, **values)
