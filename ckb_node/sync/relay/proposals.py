"""Relay of proposals: transactions that a new block proposes and that are not here are asked for, and given.

A transaction that needs another one of the pool is not given but announced by its hash. The reference verifies proposed
transactions first, before those that were relayed and side by side with each other, and refuses one for good whose
parent it has not verified yet; one that it was told of and has asked for waits for its parents instead.

What comes is taken of those who were asked for it. The hash of a transaction does not cover its witnesses, so anybody
can make a false copy: then, and when nothing comes, another peer that has told of the block is asked. The reference
takes the first copy, whoever sends it, and asks nobody else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.relay.answers import PacedAnswers
from ckb_node.sync.relay.compact import fixed_items
from ckb_node.sync.relay.known import KnownTransactions
from ckb_node.sync.relay.pool import RelayPool
from ckb_node.sync.relay.rounds import Rounds
from ckb_node.sync.relay.unread import MAX_CONTENT, Reading, Unread
from ckb_node.sync.upload import Upload, UploadKind
from ckb_node.txpool.at_hand import Proposed
from ckb_node.txpool.blame import is_of_copy
from ckb_node.txpool.events import RelayNews, RemoteRefused, TransactionAccepted
from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.params import Consensus
from consensus.types.blockchain import Transaction
from network.budget import Allowances
from network.limits import RELAY
from network.messages.protocols import PEERS_TRANSACTION, RELAY_MESSAGE, BlockProposal, GetBlockProposal
from network.peer import Direction, Peer, Scheduler, Timer
from network.peers.penalties import Misbehaviour, apply_penalty

__all__ = ["ProposalRelay"]

LOOK_AGAIN_AFTER: Final = 0.1
"""Seconds: a transaction may come with the block that proposes it."""
MAX_ASKED: Final = 50_000
"""Ids that were asked for and have not come."""
MAX_PEERS_ASKED: Final = 4
"""For one id."""
PATIENCE: Final = 2.0
"""Seconds that a peer has to give what it was asked for before another is asked."""
AGAIN_AT_ONCE: Final = 1024
"""Ids that others are asked for in a tick."""
IDS_PER_S: Final = 5000
IDS_AT_ONCE: Final = 30_000
"""Ids of a peer's questions that are looked up; more are dropped with their message."""
LOOKED_UP_AT_ONCE: Final = 256
"""Before the event loop may do something else: each id is looked for in several places."""
MAX_PACED: Final = 1024
"""Peers whose pace is remembered."""


class _Asked(NamedTuple):
    """Of an id: the height of the tip and the block when it was asked for, and of whom; the last one lately."""

    height: int
    block_hash: bytes
    sessions: tuple[int, ...]


class ProposalRelay:
    """Asks for what blocks propose, and answers."""

    def __init__(
        self,
        pool: RelayPool,
        peers: SyncPeers,
        scheduler: Scheduler,
        known: KnownTransactions,
        consensus: Consensus,
        tip_number: Callable[[], int],
        announce_to: Callable[[Peer, Sequence[bytes]], None],
        upload: Upload | None = None,
        tellers: Callable[[bytes], Iterable[int]] = lambda _: (),
    ) -> None:
        """`announce_to` tells a peer of transactions by their hashes; `tellers` are sessions that told of a block."""
        self._tellers: Final = tellers
        self._announce_to: Final = announce_to
        self._pool, self._peers, self._scheduler, self._tip_number = pool, peers, scheduler, tip_number
        self._known: Final = known
        self._max_ids: Final = consensus.max_block_proposals * consensus.max_uncles
        self._waits_for: Final = consensus.proposal_window.farthest
        self._asked: Final[BoundedMap[bytes, _Asked]] = BoundedMap(max_count=MAX_ASKED)
        """By id, what has not come."""
        self._judged: Final[BoundedMap[bytes, _Asked]] = BoundedMap(max_count=MAX_ASKED)
        """By hash, what has come and is not judged yet."""
        self._asked_of: Final[dict[int, int]] = {}
        """By session, the height when it was asked for anything."""
        self._patient: Final[deque[tuple[float, int, Sequence[bytes]]]] = deque()
        """Until when a session may take for these ids."""
        self._again: Final[dict[bytes, bool]] = {}
        """Ids to be asked for again; True: also of whom was asked last, as its answer was not looked at."""
        self._missing: Final[dict[int, dict[bytes, None]]] = {}
        """By session: what a peer asked for and was not there."""
        upload = upload or Upload()
        self._served: Final = upload.served[UploadKind.PROPOSALS]
        self._answers: Final = PacedAnswers(scheduler, self._find, _pack, upload, UploadKind.PROPOSALS)
        self._paces: Final[Allowances[int]] = Allowances(IDS_PER_S, IDS_AT_ONCE, max_keys=MAX_PACED)
        self._rounds: Final = Rounds(scheduler)
        self._reading: Final = Reading(self._rounds, self._is_there)
        self._timer: Timer | None = None
        self._unlisten: Callable[[], None] | None = None

    def _is_there(self, peer: Peer) -> bool:
        known = self._peers.get(peer.session_id)
        return known is not None and known.peer is peer and peer.version_of(RELAY) is not None

    # ------------------------------------------------------------ time

    def start(self) -> None:
        self._unlisten = self._pool.listen(self._on_news)
        self._timer = self._scheduler.call_later(LOOK_AGAIN_AFTER, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None

    def _tick(self) -> None:
        self._timer = self._scheduler.call_later(LOOK_AGAIN_AFTER, self._tick)
        self._ask_others()
        missing = dict(self._missing)
        self._missing.clear()
        for session, ids in missing.items():
            peer = self._peers.get(session)
            if peer is not None:
                self._later(peer.peer, list(ids), self._look_again)
        self._answers.tick()

    def _in_slices(self, peer: Peer, ids: Sequence[bytes], look: Callable[[Peer, Sequence[bytes]], None]) -> None:
        """So many as do not keep the event loop long; the others later, if the peer is still there."""
        look(peer, ids[:LOOKED_UP_AT_ONCE])
        if len(ids) > LOOKED_UP_AT_ONCE:
            self._later(peer, ids[LOOKED_UP_AT_ONCE:], look)

    def _later(self, peer: Peer, ids: Sequence[bytes], look: Callable[[Peer, Sequence[bytes]], None]) -> None:
        """When the event loop has done something else."""

        def look_if_there() -> None:
            if self._is_there(peer):
                self._in_slices(peer, ids, look)

        self._rounds.later(look_if_there)

    # ------------------------------------------------------------ asking

    def ask(self, peer: Peer, block_hash: bytes, short_ids: Sequence[bytes]) -> None:
        """A peer told of this block, with these proposals: ask it for those that are not here. Each is asked for once
        at each height."""
        height = self._tip_number()
        fresh = [each for each in self._pool.unknown_of(short_ids) if self._asked_at(each) < height]
        self._ask(peer, block_hash, fresh, height)

    def _ask(self, peer: Peer, block_hash: bytes, short_ids: Sequence[bytes], height: int) -> None:
        for first in range(0, len(short_ids), self._max_ids):
            some = short_ids[first : first + self._max_ids]
            message = RELAY_MESSAGE.pack(GetBlockProposal(block_hash=block_hash, proposals=some))
            if not peer.send(RELAY, message):
                return
            session = peer.session_id
            for short_id in some:
                before = self._asked.get(short_id)
                others = () if before is None else tuple(each for each in before.sessions if each != session)
                self._asked.put(short_id, _Asked(height, block_hash, (*others[1 - MAX_PEERS_ASKED :], session)))
            self._asked_of[session] = self._tip_number()
            self._patient.append((self._scheduler.now() + PATIENCE, session, some))

    def _asked_at(self, short_id: bytes) -> int:
        asked = self._asked.get(short_id)
        return -1 if asked is None else asked.height

    def _ask_others(self) -> None:
        """For what was given falsely, or not at all."""
        now = self._scheduler.now()
        while self._patient and self._patient[0][0] <= now:
            _, session, short_ids = self._patient.popleft()
            for short_id in short_ids:
                asked = self._asked.get(short_id)
                if asked is not None and asked.sessions[-1] == session:
                    self._again.setdefault(short_id, False)
        again = {each: self._again.pop(each) for each in list(islice(self._again, AGAIN_AT_ONCE))}
        lines = dict[_Asked, list[bytes]]()
        for short_id in self._pool.unknown_of(again) if again else ():
            asked = self._asked.get(short_id)
            if asked is not None:
                before = asked.sessions[:-1] if again[short_id] else asked.sessions
                lines.setdefault(asked._replace(sessions=before), []).append(short_id)
        for asked, ids in lines.items():
            peer = self._next_of(asked)
            if peer is not None:
                self._ask(peer, asked.block_hash, ids, asked.height)

    def _next_of(self, asked: _Asked) -> Peer | None:
        """A peer that has told of the block and was not asked yet; those that we have dialled first: anybody may dial
        us."""
        if len(asked.sessions) >= MAX_PEERS_ASKED:
            return None
        found = [self._peers.get(each) for each in self._tellers(asked.block_hash) if each not in asked.sessions]
        peers = [each.peer for each in found if each is not None and self._is_there(each.peer)]
        return min(peers, key=lambda each: (each.direction is Direction.INBOUND, each.session_id), default=None)

    def _on_news(self, news: RelayNews) -> None:
        if isinstance(news, TransactionAccepted):
            self._judged.pop(news.tx_hash)
            self._asked.pop(news.tx_hash[:SHORT_ID_SIZE])
        elif isinstance(news, RemoteRefused):
            self._on_refused(news)

    def _on_refused(self, news: RemoteRefused) -> None:
        """Of a false copy there may be a true one: that of whom was asked last, if another's was being judged when it
        came."""
        short_id, given = news.tx_hash[:SHORT_ID_SIZE], self._judged.pop(news.tx_hash)
        if not (news.is_of_size or is_of_copy(news.reason)):
            return
        if given is not None:
            self._asked.put(short_id, given)
        if short_id in self._asked:
            self._again[short_id] = given is None

    def received_block_proposal(self, peer: Peer, payload: bytes) -> None:
        """A BlockProposal that is not decoded yet. What this peer was asked for goes to the pool; the rest is dropped.
        Nobody looks at it when it was asked for nothing. Raises MoleculeError."""
        if len(payload) > MAX_CONTENT:
            return
        transactions = Unread(PEERS_TRANSACTION, payload)
        if len(transactions) > self._max_ids:
            detail = f"{len(transactions)} proposed transactions"
            apply_penalty(peer, Misbehaviour.SYNC_400_MALFORMED, detail)
            return
        self._forget_old()
        if self._asked_of.get(peer.session_id, -1) >= self._tip_number() - self._waits_for:
            self._reading.read(peer, transactions, partial(self._take, peer))

    def _take(self, peer: Peer, transaction: Transaction) -> bool:
        asked = self._asked.get(transaction.short_id)
        if asked is None or peer.session_id not in asked.sessions or transaction.hash in self._known:
            return True
        self._asked.pop(transaction.short_id)
        self._judged.put(transaction.hash, asked)
        self._known.add(transaction.hash)
        self._pool.submit_proposed(transaction, peer.session_id)
        return True

    def _forget_old(self) -> None:
        """The blocks that proposed them are so far back that nobody can commit them any more."""
        oldest = self._tip_number() - self._waits_for
        while (first := next(iter(self._asked.items()), None)) is not None and first[1].height < oldest:
            self._asked.pop(first[0])

    # ------------------------------------------------------------ answering

    def received_get_block_proposal(self, peer: Peer, message: GetBlockProposal) -> None:
        count = len(message.proposals)
        self._served.asked += 1
        if count > self._max_ids:
            apply_penalty(peer, Misbehaviour.SYNC_400_MALFORMED, f"{count} proposals asked for")
        elif self._is_paced(peer, count):
            ids = fixed_items(message.raw, trusted_bounds(message.raw, 0)[1], SHORT_ID_SIZE)
            if len(set(ids)) == count:
                self._in_slices(peer, ids, self._answer)
                return
            apply_penalty(peer, Misbehaviour.SYNC_418_ASKED_TWICE, "a proposal")
        self._served.refused += 1

    def _look_again(self, peer: Peer, ids: Sequence[bytes]) -> None:
        self._give(peer, self._pool.proposed(ids))

    def _answer(self, peer: Peer, ids: Sequence[bytes]) -> None:
        proposed = self._pool.proposed(ids)
        self._give(peer, proposed)
        dependent = {each[:SHORT_ID_SIZE] for each in proposed.dependent}
        missing = self._missing.setdefault(peer.session_id, {})
        for short_id in ids:
            if short_id not in proposed.alone and short_id not in dependent and len(missing) < self._max_ids:
                missing[short_id] = None

    def _give(self, peer: Peer, proposed: Proposed) -> None:
        if proposed.alone:
            self._answers.ask(peer, list(proposed.alone))
        self._announce_to(peer, proposed.dependent)

    def _is_paced(self, peer: Peer, count: int) -> bool:
        """Looking up so many ids is worth while."""
        now = self._scheduler.now()
        if self._paces.left(peer.session_id, now) <= 0:
            return False
        self._paces.spend(peer.session_id, count, now)
        return True

    def closed(self, peer: Peer) -> None:
        """Relay is closed, or the connection has ended."""
        self._missing.pop(peer.session_id, None)
        self._asked_of.pop(peer.session_id, None)
        self._answers.closed(peer.session_id)

    def _find(self, short_id: bytes) -> Transaction | None:
        return self._pool.by_short_ids((short_id,)).get(short_id)


def _pack(transactions: Sequence[Transaction]) -> bytes:
    return RELAY_MESSAGE.pack(BlockProposal(transactions=transactions))
