"""Block download: from which peers' branches blocks are taken, and how they come to the writer.

What comes waits in the feeder until the writer can have it; what is asked of whom is in `ckb_node.sync.blocks.asking`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.initial_download import FetchGate, InitialDownload, MinWorkNotReached, TargetNotFound
from ckb_node.sync.blocks import limits
from ckb_node.sync.blocks.asking import Asking
from ckb_node.sync.blocks.branch import Branch
from ckb_node.sync.blocks.branches import Branches, heads_above, read_gate
from ckb_node.sync.blocks.feeder import Feeder, Received
from ckb_node.sync.blocks.in_flight import Request
from ckb_node.sync.blocks.waiting import AfterFault, ForBlock, ForHeaders, ForNothing, ForPeers, ForWriter, Waiting
from ckb_node.sync.chain import KnownTip, SyncChain
from ckb_node.sync.check_data import max_block_size
from ckb_node.sync.peers import SyncPeer, SyncPeers
from consensus.types.blockchain import Block
from network.peer import Scheduler, Timer
from network.peers.penalties import Misbehaviour, apply_penalty

__all__ = ["BlockDownload"]

_HOLDER: Final = "blocks"


class BlockDownload:
    """Belongs to the network's thread. `is_pending_compact`: seconds since a compact block of that hash waits for
    transactions, None when none does. While `are_headers_rushing_in`, far behind, no blocks are asked for or taken:
    the headers show what is worth taking, and come three times as fast alone."""

    def __init__(
        self,
        chain: SyncChain,
        peers: SyncPeers,
        scheduler: Scheduler,
        ibd: InitialDownload,
        *,
        is_pending_compact: Callable[[bytes], float | None],
        are_headers_rushing_in: Callable[[], bool],
    ) -> None:
        self._chain: Final = chain
        self._peers: Final = peers
        self._scheduler: Final = scheduler
        self._ibd: Final = ibd
        self._is_pending_compact: Final = is_pending_compact
        self._are_headers_rushing_in: Final = are_headers_rushing_in
        self._feeder: Final = Feeder(chain, scheduler, self)
        self._branches: Final = Branches(scheduler)
        self._asking: Final = Asking(
            chain,
            peers,
            scheduler,
            self._branches,
            self._feeder,
            is_ibd=self._is_ibd,
            is_put_off=self._is_rebuilt_soon,
            on_loaded=self._work,
        )
        self._gate: FetchGate | None = None
        self._is_stale = True
        """Branches must be chosen again."""
        self._is_woken = False
        self._is_holding = False
        self._seconds_at = self._ticked_at = 0.0
        self._timer: Timer | None = None
        chain.listen(self._on_change)

    # --- figures ---

    @property
    def in_flight_count(self) -> int:
        """Blocks that were asked for and have not come."""
        return len(self._asking.in_flight)

    @property
    def buffered_count(self) -> int:
        """Blocks that have come and are not taken yet."""
        return len(self._feeder)

    @property
    def buffered_bytes(self) -> int:
        """Their bytes."""
        return self._feeder.bytes

    @property
    def blocks_taken(self) -> int:
        """In this run."""
        return self._feeder.taken

    @property
    def fast_time(self) -> int:
        """Milliseconds within which a peer counts as fast."""
        return int(self._asking.classes.fast)

    @property
    def normal_time(self) -> int:
        return int(self._asking.classes.normal)

    @property
    def low_time(self) -> int:
        return int(self._asking.classes.low)

    def in_flight_of(self, session_id: int) -> int:
        """Blocks that a peer was asked for and has not given."""
        return self._asking.in_flight.count_of(session_id)

    def can_fetch_of(self, session_id: int) -> int:
        """Blocks that a peer may be asked for besides."""
        return self._asking.room_of(session_id)

    @property
    def unverified_tip(self) -> tuple[int, bytes] | None:
        """Height and hash of the last block of the best branch that was given to the writer; None when it has none."""
        best = self._branches.best
        block_hash = None if best is None else best.hash_at(best.to_write - 1)
        return None if best is None or block_hash is None else (best.to_write - 1, block_hash)

    @property
    def target(self) -> KnownTip | None:
        """Where the blocks that are asked for lead to."""
        best = self._branches.best
        return None if best is None else best.target

    def waits_for(self) -> Waiting:
        """Why the next block is not taken at this moment."""
        feeder, best = self._feeder, self._branches.best
        if feeder.fault is not None:
            return AfterFault(feeder.fault, feeder.retry_at)
        if isinstance(self._gate, (MinWorkNotReached, TargetNotFound)):
            return ForHeaders(self._gate)
        if feeder.is_busy:
            return ForWriter(len(feeder), feeder.bytes)
        block_hash = None if best is None else best.hash_at(best.first)
        if best is None or block_hash is None:
            return ForNothing()
        request = self._asking.in_flight.get(block_hash)
        if request is None:
            return ForPeers(best.first, block_hash)
        return ForBlock(best.first, block_hash, tuple(request.asked), request.since)

    # --- life ---

    def start(self) -> None:
        self._seconds_at = self._ticked_at = self._scheduler.now()
        self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wake(self) -> None:
        """There are new headers, a new peer, or a peer has told of a better header."""
        self._is_stale = True
        if not self._is_woken:
            self._is_woken = True
            self._scheduler.call_later(0.0, self._woken)

    def _woken(self) -> None:
        self._is_woken = False
        if self._timer is not None:
            self._work()

    def _on_change(self, change: ChainChanged) -> None:
        """Blocks may have come another way."""
        if not self._feeder.is_busy or change.detached:
            self.wake()

    def _is_ibd(self) -> bool:
        return self._ibd.is_on(self._chain.tip().header.timestamp, self._chain.now_ms())

    def _is_rebuilt_soon(self, block_hash: bytes) -> bool:
        """Relay has a compact block of it, and may need no more than transactions that were asked for."""
        pending = self._is_pending_compact(block_hash)
        return pending is not None and pending < limits.PENDING_COMPACT_SECONDS

    def _arm(self) -> None:
        delay = limits.TICK_IBD_SECONDS if self._is_ibd() else limits.TICK_SECONDS
        self._timer = self._scheduler.call_later(delay, self._tick)

    def _tick(self) -> None:
        now = self._scheduler.now()
        if self._is_holding or now - self._ticked_at > limits.STANDSTILL_SECONDS:
            self._asking.excuse_all()
        self._ticked_at = now
        if now >= self._seconds_at:
            self._seconds_at = now + limits.LOOK_SECONDS
            self._is_stale = True
            self._drop_useless()
        self._asking.look_after(now)
        self._work()
        self._arm()

    def _work(self) -> None:
        """Do all that can be done now."""
        if self._is_stale:
            self._choose()
        if not self._is_put_off:
            self._pump()
            self._asking.fill_all()
        self._press()

    # --- what comes ---

    @property
    def max_size(self) -> int:
        """Bytes that no valid block exceeds."""
        return max_block_size(self._chain.consensus)

    def awaits(self, peer: SyncPeer, block_hash: bytes) -> bool:
        """The peer was asked for this block, and has not given it yet."""
        return block_hash in self._asking.in_flight.of_peer(peer.session_id)

    def received_block(self, peer: SyncPeer, block: Block, size: int) -> None:
        """A peer has sent a block. One that it was not asked for is ignored, without a penalty."""
        block_hash, session_id = block.hash, peer.session_id
        was_asked = self._asking.received(session_id, block_hash)
        if not was_asked or block_hash in self._feeder or not self._is_wanted(block.number, block_hash):
            return
        self._asking.note_size(size)
        self._feeder.put(block, size, session_id)
        if not self._is_put_off:
            for branch in self._branches:
                if branch.hash_at(branch.to_write) == block_hash:
                    self._pump()
                    break
            self._asking.fill_again(session_id)
        self._press()

    def closed(self, peer: SyncPeer) -> None:
        """Sync is closed: what the peer owes is asked of others."""
        self._asking.drop_peer(peer.session_id)
        self.wake()

    def _is_wanted(self, number: int, block_hash: bytes) -> bool:
        return any(branch.wants(number, block_hash) for branch in self._branches)

    def find_received(self, block_hash: bytes) -> Block | None:
        """A block that has come and is not taken yet."""
        return self._feeder.find(block_hash)

    # --- what the feeder tells ---

    def taken(self, branch: Branch, last: int) -> None:
        """The writer has taken blocks of a branch; others may share them."""
        branch.advance_to(last + 1)
        if len(self._branches) > 1 or branch.is_done or branch is not self._branches.best:
            self._is_stale = True
        self._work()

    def misfit(self, received: Received) -> None:
        """Another block than the one asked for: this peer is not asked for it again. Unless it is on the whitelist, it
        is banned."""
        self._asking.note_false(received.giver, received.block.hash)

    def stopped(self) -> None:
        """Begin from what is stored now; blocks of a branch that has been cut are of no use any more."""
        self._branches.clear()
        self._is_stale = True
        self._work()
        self._prune()

    # --- which branches ---

    def _choose(self) -> None:
        self._is_stale = False
        with self._chain.view() as view:
            self._asking.note_peers(view)
            self._gate = read_gate(self._chain, view)
            work = self._chain.tip().total_difficulty
            heads = heads_above(self._asking.heads(), work) or heads_above(self._branches.targets, work)
            most = 1 if self._in_bulk and not self._is_withheld else limits.MAX_BRANCHES
            self._branches.choose(view, heads[: limits.MAX_HEADS], self._gate, most)
        if self._feeder.bytes > limits.HOLD_BYTES and not self._feeder.is_busy:
            self._prune()

    def _prune(self) -> None:
        """Forget blocks that lie on none of the branches."""
        for received in self._feeder.waiting():
            if not self._is_wanted(received.block.number, received.block.hash):
                self._feeder.drop(received.block.hash)

    @property
    def _in_bulk(self) -> bool:
        """The node is so far behind that blocks are written in bulk."""
        if self._is_ibd():
            return True
        best = self._branches.best
        return best is not None and best.target.number - self._chain.tip().number > limits.FAR_BEHIND

    @property
    def _is_put_off(self) -> bool:
        """Headers come first."""
        return self._are_headers_rushing_in() and self._in_bulk

    @property
    def _is_withheld(self) -> bool:
        """The writer waits for the next block of the best branch, and nobody gives it."""
        best, feeder = self._branches.best, self._feeder
        block_hash = None if best is None else best.hash_at(best.to_write)
        if best is None or block_hash is None or block_hash in feeder or feeder.is_busy:
            return False
        return self._scheduler.now() - max(best.moved_at, feeder.idle_since) > limits.WITHHELD_SECONDS

    def _pump(self) -> None:
        in_bulk = self._in_bulk
        for branch in self._branches:
            self._feeder.pump(branch, in_bulk=in_bulk)

    def _drop_useless(self) -> None:
        """In the initial download a peer that we have dialled, and that has less than we have, makes room for another
        (the reference drops those that have dialled us, too, which gains nothing)."""
        if not self._is_ibd():
            return
        number = self._chain.tip().number
        for peer in self._peers:
            best = peer.best_known
            is_behind = best is not None and best.number < number and not peer.hints
            if is_behind and peer.is_outbound and not peer.peer.is_whitelisted:
                apply_penalty(peer.peer, Misbehaviour.SYNC_NO_BLOCKS, "it has less than we have")

    # --- back-pressure ---

    def _press(self) -> None:
        """When the writer is behind, peers are not read; when too much is here all the same, the highest blocks go."""
        stored, is_busy = self._feeder.bytes, self._feeder.is_busy
        if not self._is_holding and stored >= limits.HOLD_BYTES and is_busy:
            self._is_holding = True
            for peer in self._asking.owing():
                peer.hold(_HOLDER)
        elif self._is_holding and (stored <= limits.RELEASE_BYTES or not is_busy):
            self._is_holding = False
            self._asking.excuse_all()
            for peer in self._peers:
                peer.release(_HOLDER)
        if stored > limits.HARD_BUFFER_BYTES:
            self._give_up_highest()

    def _give_up_highest(self) -> None:
        highest = sorted(self._feeder.waiting(), key=lambda each: each.block.number, reverse=True)
        for received in highest:
            if self._feeder.bytes <= limits.MAX_BUFFER_BYTES:
                return
            number, block_hash = received.block.number, received.block.hash
            self._feeder.drop(block_hash)
            self._asking.want_again([Request(block_hash, number)])
