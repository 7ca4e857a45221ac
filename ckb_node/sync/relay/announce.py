"""New blocks are told to peers and to whoever else listens: at once, and each block once.

A block is told when all its rules and scripts have passed: who tells of a block that breaks one is banned. Different
from the reference, the disk is not waited for; a new tip is told whatever way it came, also by Sync: else those behind
us would not hear of it; and peers that told us of a block are not told of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import structlog

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.initial_download import InitialDownload
from ckb_node.runtime.bounded import BoundedMap
from ckb_node.sync.chain import SyncChain
from ckb_node.sync.relay.compact import compact_message
from consensus.types.blockchain import Block, Header
from network.limits import RELAY
from network.peer import Peer

__all__ = ["Announcer"]

log = structlog.get_logger("relay")

MAX_ANNOUNCED: Final = 1024
"""Hashes of blocks that were told, so that none is told twice."""
MAX_KNOWN_BY: Final = 256
"""Blocks of which it is remembered who told us."""
MAX_RECENT: Final = 4
"""Blocks that are kept whole for a while: peers ask for what they lack of them."""
MAX_RECENT_BYTES: Final = 4 << 20

OnAnnounced = Callable[[Block], None]


class Announcer:
    """All peers with Relay open."""

    def __init__(self, chain: SyncChain, ibd: InitialDownload) -> None:
        self._chain: Final = chain
        self._ibd: Final = ibd
        self._peers: Final[dict[int, Peer]] = {}
        self._listeners: Final[list[OnAnnounced]] = []
        self._announced: Final[BoundedMap[bytes, bool]] = BoundedMap(max_count=MAX_ANNOUNCED)
        self._known_by: Final[BoundedMap[bytes, set[int]]] = BoundedMap(max_count=MAX_KNOWN_BY)
        self._recent: Final[BoundedMap[bytes, Block]] = BoundedMap(
            max_count=MAX_RECENT, max_bytes=MAX_RECENT_BYTES, size_of=lambda block: block.raw_size
        )
        self.announced_count = 0
        chain.listen_verified(self._on_verified)
        chain.listen(self._on_change)

    def listen(self, listener: OnAnnounced) -> None:
        """Call `listener` with each block that is announced, after the peers were told."""
        self._listeners.append(listener)

    def opened(self, peer: Peer) -> None:
        self._peers[peer.session_id] = peer

    def closed(self, peer: Peer) -> None:
        self._peers.pop(peer.session_id, None)

    def peer(self, session_id: object) -> Peer | None:
        """A peer with Relay open."""
        return self._peers.get(session_id) if isinstance(session_id, int) else None

    def note_known(self, block_hash: bytes, session_id: int) -> None:
        """This peer has the block: it told us."""
        known_by = self._known_by.get(block_hash)
        if known_by is None:
            self._known_by.put(block_hash, {session_id})
        else:
            known_by.add(session_id)

    def tellers(self, block_hash: bytes) -> Collection[int]:
        """Sessions of those who told us of a block."""
        return self._known_by.get(block_hash) or ()

    def recent(self, block_hash: bytes) -> Block | None:
        """A block that was announced lately."""
        return self._recent.get(block_hash)

    def announce(self, block: Block, giver: int | None = None) -> None:
        """Tell of a verified block; nothing happens when that was done before. `giver` is the session that gave it."""
        if block.hash in self._announced:
            return
        self._announced.put(block.hash, value=True)
        self._recent.put(block.hash, block)
        self.announced_count += 1
        message, known_by = compact_message(block), self._known_by.get(block.hash) or ()
        for session_id, peer in list(self._peers.items()):
            if session_id != giver and session_id not in known_by:
                peer.send(RELAY, message)
        log.debug("block announced", number=block.number, hash=f"0x{block.hash.hex()}", peers=len(self._peers))
        for listener in self._listeners:
            listener(block)

    def _on_verified(self, block: Block) -> None:
        """It is the next tip."""
        if self._is_news(block.header):
            self.announce(block)

    def _on_change(self, event: ChainChanged) -> None:
        """What became the tip without being told before, in bulk, perhaps; who lacks the blocks below it will ask."""
        tip = event.new_tip
        if event.attached and not event.is_cut and tip.hash not in self._announced and self._is_news(tip):
            self.announce(event.attached[-1])

    def _is_news(self, tip: Header) -> bool:
        """Nobody told us of a better one: else this node is catching up with peers, who have these blocks."""
        is_in_ibd = self._ibd.is_on(tip.timestamp, self._chain.now_ms())
        return not is_in_ibd and self._chain.best_header().number <= tip.number
