"""What RPC, metrics and progress are told of sync, gathered from its parts."""

from __future__ import annotations

from typing import Final, Protocol

from ckb_node.chain.initial_download import InitialDownload, has_enough_work
from ckb_node.sync.blocks.waiting import Waiting
from ckb_node.sync.chain import KnownTip, SyncChain
from ckb_node.sync.headers.waiting import HeaderWait
from ckb_node.sync.peers import ChainSync, SyncPeers
from ckb_node.sync.progress import SyncFigures
from ckb_node.sync.state import SyncState
from ckb_node.sync.waiting_text import blocks_text, headers_text
from network.peer import Scheduler
from network.peer_info import PeerSyncState
from storage.chain_store import ChainView

__all__ = ["SyncFacts"]


class HeaderFacts(Protocol):
    """ckb_node.sync.headers.sync.HeaderSync."""

    @property
    def taken(self) -> int:
        """Valid headers that peers have sent."""

    def waits_for(self) -> HeaderWait: ...


class BlockFacts(Protocol):
    """ckb_node.sync.blocks.download.BlockDownload."""

    @property
    def in_flight_count(self) -> int: ...

    @property
    def buffered_count(self) -> int: ...

    @property
    def buffered_bytes(self) -> int: ...

    @property
    def blocks_taken(self) -> int: ...

    @property
    def fast_time(self) -> int: ...

    @property
    def normal_time(self) -> int: ...

    @property
    def low_time(self) -> int: ...

    def in_flight_of(self, session_id: int) -> int: ...

    def can_fetch_of(self, session_id: int) -> int: ...

    @property
    def unverified_tip(self) -> tuple[int, bytes] | None: ...

    def waits_for(self) -> Waiting: ...


class SyncFacts:
    """Of the network that runs. All calls on its thread; they cost little."""

    def __init__(
        self,
        chain: SyncChain,
        peers: SyncPeers,
        scheduler: Scheduler,
        ibd: InitialDownload,
        headers: HeaderFacts,
        blocks: BlockFacts,
    ) -> None:
        self._chain, self._peers, self._scheduler, self._ibd = chain, peers, scheduler, ibd
        self.headers: Final = headers
        self.blocks: Final = blocks

    # ------------------------------------------------------------ progress and metrics

    def figures(self, connecting: str) -> SyncFigures:
        """For progress. `connecting`: how it goes with finding peers."""
        return SyncFigures(
            tip=self._chain.tip(),
            best_header=self._best(),
            peers=len(self._peers),
            asked=self.peers_in(ChainSync.STARTED),
            in_flight=self.blocks.in_flight_count,
            buffered_bytes=self.blocks.buffered_bytes,
            headers_wait=headers_text(self.headers.waits_for()),
            blocks_wait=blocks_text(self.blocks.waits_for(), self._scheduler.now()),
            connecting=connecting,
        )

    def peers_in(self, state: ChainSync) -> int:
        """Peers with Sync open, by how far header sync is with them."""
        return sum(peer.chain_sync is state for peer in self._peers)

    def best_number(self) -> int:
        """Height of the best known header."""
        return self._best().number

    def _best(self) -> KnownTip:
        """The better of tip and best header: of a block that came otherwise there is no row."""
        tip, best = self._chain.tip(), self._chain.best_header()
        return tip if tip.total_difficulty >= best.total_difficulty else best

    # ------------------------------------------------------------ RPC

    def state(self, orphans: int) -> SyncState:
        """`orphans`: blocks in the chain whose parents are unknown. Those that wait here for others count, too."""
        chain, tip, best, blocks = self._chain, self._chain.tip(), self._best(), self.blocks
        unverified = blocks.unverified_tip or (tip.number, tip.hash)
        if unverified[0] < tip.number:
            unverified = tip.number, tip.hash
        return SyncState(
            ibd=self._ibd.is_on(tip.header.timestamp, chain.now_ms()),
            assume_valid_target_reached=chain.assume_valid.is_reached,
            assume_valid_target=chain.assume_valid.last,
            min_chain_work_reached=has_enough_work(best.total_difficulty, chain.consensus.min_chain_work),
            min_chain_work=chain.consensus.min_chain_work,
            best_known_block_number=best.number,
            best_known_block_timestamp=best.header.timestamp,
            orphan_blocks_count=orphans + blocks.buffered_count,
            inflight_blocks_count=blocks.in_flight_count,
            unverified_tip_number=unverified[0],
            unverified_tip_hash=unverified[1],
            tip_number=tip.number,
            tip_hash=tip.hash,
            fast_time=blocks.fast_time,
            normal_time=blocks.normal_time,
            low_time=blocks.low_time,
        )

    def peer_state(self, session_id: int) -> PeerSyncState | None:
        """How far a peer is; None when it does not speak Sync."""
        peer = self._peers.get(session_id)
        if peer is None:
            return None
        best = peer.best_known
        common = None if best is None else self._last_common(best)
        return PeerSyncState(
            best_known_header_hash=None if best is None else best.hash,
            best_known_header_number=None if best is None else best.number,
            last_common_header_hash=None if common is None else common[1],
            last_common_header_number=None if common is None else common[0],
            unknown_header_list_size=len(peer.hints),
            inflight_count=self.blocks.in_flight_of(session_id),
            can_fetch_count=self.blocks.can_fetch_of(session_id),
        )

    def _last_common(self, best: KnownTip) -> tuple[int, bytes] | None:
        """Height and hash of the highest block of the main chain that the peer has, too."""
        with self._chain.view() as view:
            return last_common(view, best)


def last_common(view: ChainView, best: KnownTip) -> tuple[int, bytes] | None:
    """The highest ancestor of a known header, or itself, on the main chain. Looks up two dozen hashes at most."""
    known = view.known_headers()

    def shared(height: int) -> bytes | None:
        main = view.main_hash(height)
        return main if main is not None and main == known.ancestor_hash(best.hash, height) else None

    low, high = 0, min(best.number, view.tip_header().number)
    if shared(high) is not None:
        low = high
    while low < high:
        middle = (low + high + 1) // 2
        if shared(middle) is not None:
            low = middle
        else:
            high = middle - 1
    found = shared(low)
    return None if found is None else (low, found)
