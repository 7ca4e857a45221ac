"""Who is asked for which blocks, and when others are asked instead.

Blocks are asked for in the order of their branch, of all peers that have them, each as much as it can give in about a
second. What does not come in time is asked of others, of the next block first. So a slow peer costs its own speed and
no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import structlog

from ckb_node.sync.blocks import limits
from ckb_node.sync.blocks.branch import Ask, Branch, Load
from ckb_node.sync.blocks.branches import Branches
from ckb_node.sync.blocks.budget import TimeClasses
from ckb_node.sync.blocks.downloaders import Downloader, Lead
from ckb_node.sync.blocks.feeder import Feeder
from ckb_node.sync.blocks.in_flight import InFlight, Request
from ckb_node.sync.chain import KnownTip, SyncChain
from ckb_node.sync.peers import SyncPeer, SyncPeers
from network.limits import SYNC
from network.messages.protocols import SYNC_MESSAGE, GetBlocks
from network.peer import Scheduler
from network.peers.penalties import Misbehaviour, apply_penalty
from storage.chain_store import ChainView

__all__ = ["Asking"]

log = structlog.get_logger("sync")


class Asking:
    """The requests of block download."""

    def __init__(
        self,
        chain: SyncChain,
        peers: SyncPeers,
        scheduler: Scheduler,
        branches: Branches,
        feeder: Feeder,
        *,
        is_ibd: Callable[[], bool],
        is_put_off: Callable[[bytes], bool],
        on_loaded: Callable[[], None],
    ) -> None:
        """A block that `is_put_off` is not asked for yet, but in the initial download. `on_loaded`: more of a branch is
        known."""
        self._chain: Final = chain
        self._peers: Final = peers
        self._scheduler: Final = scheduler
        self._branches: Final = branches
        self._feeder: Final = feeder
        self._is_ibd: Final = is_ibd
        self._is_put_off: Final = is_put_off
        self._on_loaded: Final = on_loaded
        self.classes: Final = TimeClasses()
        self.in_flight: Final = InFlight()
        self.downloaders: Final[dict[int, Downloader]] = {}
        self.block_size = float(limits.FIRST_BLOCK_SIZE)
        """Bytes that a block is expected to have."""

    def note_peers(self, view: ChainView) -> None:
        """Who is there, and what is known by now of what they say to have."""
        known = view.known_headers()
        for session_id in [each for each in self.downloaders if self._peers.get(each) is None]:
            self.drop_peer(session_id)
        for peer in self._peers:
            if peer.session_id not in self.downloaders:
                self.downloaders[peer.session_id] = Downloader(peer)
            if peer.best_known is not None and known.total_difficulty(peer.best_known.hash) is None:
                peer.best_known = None  # it stood on an invalid block
            while peer.hints:  # the highest comes first
                header, work = known.header(peer.hints[-1]), known.total_difficulty(peer.hints[-1])
                if header is None or work is None:
                    break
                peer.note_known(KnownTip(header, work))
                peer.hints = peer.hints[:-1]

    # --- what comes ---

    def received(self, session_id: int, block_hash: bytes) -> bool:
        """A peer has given a block; whether it was asked for it. Nobody need give it any more then."""
        downloader = self.downloaders.get(session_id)
        if downloader is None or not self._credit(downloader, block_hash):
            return False
        self.in_flight.done(block_hash)
        return True

    def _credit(self, downloader: Downloader, block_hash: bytes) -> bool:
        now = self._scheduler.now()
        session_id = downloader.session_id
        head = next(iter(self.in_flight.of_peer(session_id)), None)
        asked_at = self.in_flight.answered(session_id, block_hash)
        if asked_at is None:
            return False
        downloader.last_block_at = now
        if head == block_hash:
            downloader.head_since = now
        budget = downloader.budget
        budget.received(now)
        step = self.classes.step((now - asked_at) * 1000)
        if self._is_ibd():
            budget.step(step, may_fall=len(self.downloaders) > limits.PUNISHED_ABOVE)
        return True

    def note_false(self, session_id: int, block_hash: bytes) -> None:
        """A peer gave another block under this hash: it is not asked for it again."""
        downloader = self.downloaders.get(session_id)
        if downloader is not None:
            downloader.declined.put(block_hash, None)
            downloader.budget.halve()

    def room_of(self, session_id: int) -> int:
        """Blocks that a peer may be asked for, besides those in flight."""
        downloader = self.downloaders.get(session_id)
        limit = limits.FIRST_BUDGET if downloader is None else downloader.budget.limit(self.block_size)
        return max(0, limit - self.in_flight.count_of(session_id))

    def heads(self) -> Iterator[KnownTip]:
        """The best header that each peer has."""
        for downloader in self.downloaders.values():
            if downloader.peer.best_known is not None:
                yield downloader.peer.best_known

    def owing(self) -> Iterator[SyncPeer]:
        """Peers that were asked for blocks and have not given all."""
        return (each.peer for each in self.downloaders.values() if self.in_flight.count_of(each.session_id))

    def note_size(self, size: int) -> None:
        """A wanted block had so many bytes."""
        self.block_size += (size - self.block_size) / 16

    def excuse_all(self) -> None:
        """What did not come meanwhile is not the peers' doing: this process stood still, or did not read."""
        now = self._scheduler.now()
        for downloader in self.downloaders.values():
            downloader.last_block_at = downloader.head_since = now

    def want_again(self, requests: Sequence[Request]) -> None:
        """Those that are still on a branch."""
        for request in requests:
            for branch in self._branches:
                if branch.wants(request.number, request.block_hash):
                    branch.want_again(request.number)

    def drop_peer(self, session_id: int) -> None:
        """What a peer owes is asked of others."""
        self.downloaders.pop(session_id, None)
        self.want_again(self.in_flight.drop_peer(session_id))

    # --- asking ---

    def fill_all(self) -> None:
        """The fastest first: what comes next should come soon."""
        for downloader in sorted(self.downloaders.values(), key=lambda each: -each.budget.rate):
            self.fill(downloader)

    def fill_again(self, session_id: int) -> None:
        """A peer has given a block."""
        owed = self.in_flight.count_of(session_id)
        if owed > limits.FILL_EVERY and owed % limits.FILL_EVERY:
            return
        downloader = self.downloaders.get(session_id)
        if downloader is not None:
            self.fill(downloader)

    def fill(self, downloader: Downloader) -> None:
        """Ask a peer for as much as it may be asked for, if that is enough for a message."""
        owed = self.in_flight.count_of(downloader.session_id)
        if owed and downloader.silent_for(self._scheduler.now()) >= limits.STALL_SECONDS:
            return
        limit = downloader.budget.limit(self.block_size)
        room = limit - owed
        if room < min(limits.MESSAGE_HASHES, max(1, limit // 4)):
            return
        room = min(room, self._room())
        for branch in self._branches:
            if room > 0:
                room -= self._ask(downloader, branch, room)

    def _room(self) -> int:
        """Blocks that may be asked for without more coming than may be here; always the one that comes next."""
        in_flight, received = len(self.in_flight), len(self._feeder)
        expected = self._feeder.bytes + in_flight * self.block_size
        room = int((limits.MAX_BUFFER_BYTES - expected) / self.block_size)
        ahead = received / limits.MAX_BUFFER_BLOCKS
        room = min(room, int(limits.MAX_IN_FLIGHT * (1 - ahead)) - in_flight)
        best = self._branches.best
        if room <= 0 and best is not None:
            block_hash = best.hash_at(best.to_write)
            return int(block_hash is not None and block_hash not in self._feeder)
        return room

    def _ask(self, downloader: Downloader, branch: Branch, most: int) -> int:
        """How many blocks of a branch the peer was asked for."""
        if branch.wants_more and not branch.is_loading:
            branch.is_loading = True
            load = branch.next_load
            self._chain.read(load.read, partial(self._loaded, branch, load))
        if not branch.has_wanted or (lead := self._lead(downloader, branch)) < branch.first:
            return 0
        is_ibd = self._is_ibd()

        def may_ask(block_hash: bytes) -> Ask:
            if block_hash in self.in_flight or block_hash in self._feeder:
                return Ask.NO_NEED
            if block_hash in downloader.declined or (not is_ibd and self._is_put_off(block_hash)):
                return Ask.NOT_NOW
            return Ask.YES

        return self._send(downloader, branch.take_wanted(most, lead, may_ask))

    def _loaded(self, branch: Branch, load: Load, found: list[bytes] | Exception | None) -> None:
        branch.is_loading = False
        if isinstance(found, Exception):
            log.warning("hashes of headers could not be read", reason=str(found))
            return
        with self._chain.view() as view:
            is_good = branch.note_loaded(load, found, view)
        if is_good:
            self._on_loaded()

    def _lead(self, downloader: Downloader, branch: Branch) -> int:
        tip = downloader.peer.best_known
        if tip is None:
            return -1
        key = tip.hash, branch.top_hash
        lead = downloader.leads.get(branch.id)
        if lead is None or lead.key != key:
            with self._chain.view() as view:
                lead = Lead(key, branch.lead_of(tip, view))
            downloader.keep_lead(branch.id, lead, {each.id for each in self._branches})
        return lead.number

    def _send(self, downloader: Downloader, wanted: Sequence[tuple[int, bytes]]) -> int:
        now, session_id = self._scheduler.now(), downloader.session_id
        if wanted and not self.in_flight.count_of(session_id):
            downloader.asked_at = downloader.head_since = now
            downloader.budget.asked(now)
        for number, block_hash in wanted:
            self.in_flight.add(session_id, number, block_hash, now)
        for at in range(0, len(wanted), limits.MESSAGE_HASHES):
            hashes = [block_hash for _, block_hash in wanted[at : at + limits.MESSAGE_HASHES]]
            downloader.peer.peer.send(SYNC, SYNC_MESSAGE.pack(GetBlocks(block_hashes=hashes)))
        return len(wanted)

    # --- peers that keep others waiting ---

    def look_after(self, now: float) -> None:
        for downloader in list(self.downloaders.values()):
            if self.in_flight.count_of(downloader.session_id):
                self._look_at(downloader, now)
        for branch in self._branches:
            self._hedge(branch, now)

    def _look_at(self, downloader: Downloader, now: float) -> None:
        """A peer that gives nothing: others are asked; after a long time it leaves."""
        self._expire(downloader, now)
        silent = downloader.silent_for(now)
        if silent < limits.STALL_SECONDS:
            return
        session_id = downloader.session_id
        if len(self.downloaders) > 1:
            self.want_again(self.in_flight.release(session_id, list(self.in_flight.of_peer(session_id))))
        if silent >= limits.SILENT_SECONDS:
            self.want_again(self.in_flight.release(session_id, list(self.in_flight.of_peer(session_id))))
            self.in_flight.forget_debts(session_id)
            if not downloader.peer.peer.is_whitelisted:
                apply_penalty(downloader.peer.peer, Misbehaviour.SYNC_NO_BLOCKS)

    def _expire(self, downloader: Downloader, now: float) -> None:
        """What a peer has left out comes no more."""
        session_id = downloader.session_id
        while (asked_at := self.in_flight.oldest_of(session_id)) is not None and now - asked_at > limits.DEBT_SECONDS:
            block_hash = next(iter(self.in_flight.of_peer(session_id)))
            self.want_again(self.in_flight.release(session_id, [block_hash]))
            self.in_flight.answered(session_id, block_hash)

    def _hedge(self, branch: Branch, now: float) -> None:
        """When the writer has to wait for a block that somebody is late with, a second peer is asked for it, and for
        some that come after it."""
        block_hash = branch.hash_at(branch.to_write)
        request = None if block_hash is None or self._feeder.is_busy else self.in_flight.get(block_hash)
        if request is None:
            return
        other = self._other_for(branch, request)
        if other is None:
            self._ask_again(request, now)
            return
        if not all(self._is_late(each, request, other, now) for each in request.asked):
            return
        late = set(request.asked)
        for session_id in late:
            self._halve(session_id, now)
        wanted = [
            (number, each.block_hash)
            for number in range(branch.to_write, branch.to_write + limits.HEDGE_BLOCKS)
            if (each := self._request_at(branch, number)) is not None and late.issuperset(each.asked)
        ]
        lead = self._lead(other, branch)
        self._send(other, [(number, each) for number, each in wanted if number <= lead])

    def _ask_again(self, request: Request, now: float) -> None:
        """Nobody else has it: ask the same peer once more, after a while."""
        downloader = self.downloaders.get(next(iter(request.asked)))
        if downloader is not None and now - request.since > limits.REPEAT_SECONDS:
            self._send(downloader, [(request.number, request.block_hash)])

    def _request_at(self, branch: Branch, number: int) -> Request | None:
        block_hash = branch.hash_at(number)
        return None if block_hash is None else self.in_flight.get(block_hash)

    def _other_for(self, branch: Branch, request: Request) -> Downloader | None:
        """Who would give a block soonest of those who were not asked."""
        others = (
            each
            for each in self.downloaders.values()
            if each.session_id not in request.asked
            and request.block_hash not in each.declined
            and self._lead(each, branch) >= request.number
            and not (self.in_flight.count_of(each.session_id) and self._is_quiet(each))
        )
        return min(others, key=lambda each: each.budget.seconds_for(limits.HEDGE_BLOCKS), default=None)

    def _is_quiet(self, downloader: Downloader) -> bool:
        return downloader.silent_for(self._scheduler.now()) >= downloader.patience

    def _is_late(self, session_id: int, request: Request, other: Downloader, now: float) -> bool:
        downloader = self.downloaders.get(session_id)
        return downloader is None or downloader.is_overdue(request, self.in_flight, other.budget, now)

    def _halve(self, session_id: int, now: float) -> None:
        downloader = self.downloaders.get(session_id)
        if downloader is not None and now - downloader.halved_at >= 1.0:
            downloader.halved_at = now
            downloader.budget.halve()
