"""Relay of transactions: announce, ask, answer, and what wrong ones cost whoever gave them.

| message | what happens |
|---|---|
| RelayTransactionHashes | those that are not known become wanted; the first announcer is asked at once, then the next |
| GetRelayTransactions | those of the pool are sent with their cycles, in batches, parents before children |
| RelayTransactions | what this peer was asked for goes to the pool; the rest is dropped |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.sync.check_data import transaction_is_sound
from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.relay.announcements import MAX_HASHES, Announcements
from ckb_node.sync.relay.answers import PacedAnswers
from ckb_node.sync.relay.compact import fixed_items
from ckb_node.sync.relay.known import KnownTransactions
from ckb_node.sync.relay.pool import RelayPool
from ckb_node.sync.relay.rounds import Rounds
from ckb_node.sync.relay.unread import MAX_CONTENT, Reading, Unread
from ckb_node.sync.relay.wanted import WantedTransactions
from ckb_node.sync.upload import Upload, UploadKind
from ckb_node.txpool.blame import is_final, is_malformed, is_of_copy
from ckb_node.txpool.events import ParentsMissing, RelayNews, RemoteRefused, TransactionAccepted
from ckb_node.txpool.rejects import DeclaredWrongCycles, Duplicated
from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import SHORT_ID_SIZE
from consensus.crypto.hashing import HASH_SIZE
from network.budget import Allowances
from network.limits import RELAY
from network.messages.protocols import (
    RELAY_MESSAGE,
    RELAY_TRANSACTION,
    GetRelayTransactions,
    RelayTransaction,
    RelayTransactionHashes,
    RelayTransactions,
)
from network.peer import Peer, Scheduler, SessionKind, Timer
from network.peers.penalties import Misbehaviour, apply_penalty

__all__ = ["TransactionRelay"]

log = structlog.get_logger("relay")

ASK_EVERY: Final = 0.1
ASK_PAUSE: Final = 0.05
"""Between two rounds of questions, if there is news: peers drop more than 30 messages a second."""
ANNOUNCE_EVERY: Final = 0.3
"""Seconds."""

MAX_WANTED: Final = 50_000
MAX_WANTED_OF_PEER: Final = 32_767
"""With so many wanted hashes in all, or this many for each peer, a peer that announced so many of them is banned."""

HASHES_PER_S: Final = 5000
HASHES_AT_ONCE: Final = 4 * MAX_HASHES
"""Hashes of a peer's messages that are looked at; more are dropped with their message."""
MAX_PACED: Final = 1024
"""Peers whose pace is remembered."""

ASKED_BYTES: Final = 8 << 20
"""About so much may be on its way from one peer: it sends in messages of a megabyte, and we drop more than 30 a
second."""
MIN_ASKED, MAX_ASKED = 64, 4096
FIRST_SIZE: Final = 2048
"""Bytes that a transaction is thought to have before any came."""
SIZE_WEIGHT: Final = 1 / 64

LOOKED_UP_AT_ONCE: Final = 1024
WANTED_AT_ONCE: Final = 128
FORGOTTEN_AT_ONCE: Final = 1024
"""Hashes of messages, and of a peer that has gone, before the event loop may do something else."""

MAX_HELD: Final = 50_000
"""Transactions that came and are not judged yet, whose other announcers are remembered."""
MAX_OTHERS: Final = 8


class TransactionRelay:
    """The pool's transactions to peers, and theirs to the pool."""

    def __init__(
        self,
        pool: RelayPool,
        peers: SyncPeers,
        scheduler: Scheduler,
        known: KnownTransactions,
        max_block_cycles: int,
        is_downloading: Callable[[], bool],
        upload: Upload | None = None,
    ) -> None:
        """`is_downloading`: this node is in its initial download, and relays nothing."""
        self._pool, self._peers, self._scheduler = pool, peers, scheduler
        self._known: Final = known
        self._max_block_cycles, self._is_downloading = max_block_cycles, is_downloading
        self._wanted: Final = WantedTransactions()
        self._announcements: Final = Announcements(scheduler)
        upload = upload or Upload()
        self._served: Final = upload.served[UploadKind.TRANSACTIONS]
        self._answers: Final = PacedAnswers(scheduler, self._find, _pack, upload, UploadKind.TRANSACTIONS)
        self._paces: Final[Allowances[int]] = Allowances(HASHES_PER_S, HASHES_AT_ONCE, max_keys=MAX_PACED)
        self._others: Final[BoundedMap[bytes, tuple[int, ...]]] = BoundedMap(max_count=MAX_HELD)
        self._rounds: Final = Rounds(scheduler)
        self._reading: Final = Reading(self._rounds, lambda peer: self._relaying(peer.session_id) is peer)
        self._size = float(FIRST_SIZE)
        self._asked_at = 0.0
        self._timers: Final[dict[Callable[[], None], Timer]] = {}
        self._unlisten: Callable[[], None] | None = None

    def __len__(self) -> int:
        """Transactions that are wanted and have not come."""
        return len(self._wanted)

    # ------------------------------------------------------------ time

    def start(self) -> None:
        self._unlisten = self._pool.listen(self._on_news)
        self._again(ASK_EVERY, self._tick_ask)
        self._again(ANNOUNCE_EVERY, self._tick_announce)

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None

    def _again(self, interval: float, call: Callable[[], None]) -> None:
        def tick() -> None:
            self._again(interval, call)
            call()

        self._timers[call] = self._scheduler.call_later(interval, tick)

    def _tick_ask(self) -> None:
        self._answers.tick()
        self._ask()

    def _ask_soon(self) -> None:
        """There is something new to ask for: a transaction should not wait for a tick at each node that it comes to."""
        if self._scheduler.now() - self._asked_at >= ASK_PAUSE:
            self._rounds.later(self._ask)

    def _ask(self) -> None:
        if self._is_downloading() or not self._timers:  # it has ended
            return
        self._asked_at = self._scheduler.now()
        for session, tx_hashes in self._wanted.ask(self._scheduler.now(), self._room_of).items():
            peer = self._relaying(session)
            if peer is not None:
                peer.send(RELAY, RELAY_MESSAGE.pack(GetRelayTransactions(tx_hashes=tx_hashes)))

    def _room_of(self, session: int) -> int:
        """How many more transactions a peer may be asked for now."""
        if self._relaying(session) is None:
            return 0
        most = min(MAX_ASKED, max(MIN_ASKED, int(ASKED_BYTES / self._size)), self._pool.room_for(session))
        return most - self._wanted.outstanding(session)

    def _tick_announce(self) -> None:
        if self._is_downloading():
            return
        peers = {each.session_id: each.peer for each in self._peers if _is_told(each.peer)}
        for session, tx_hashes in self._announcements.take(peers.keys()).items():
            message = RelayTransactionHashes(tx_hashes=tx_hashes)
            peers[session].send(RELAY, RELAY_MESSAGE.pack(message))

    # ------------------------------------------------------------ messages

    def received_hashes(self, peer: Peer, message: RelayTransactionHashes) -> None:
        tx_hashes = message.tx_hashes
        if len(tx_hashes) > MAX_HASHES:
            apply_penalty(peer, Misbehaviour.SYNC_400_MALFORMED, f"{len(tx_hashes)} transaction hashes")
            return
        if not self._is_paced(peer, len(tx_hashes)):
            return
        self._want_some(peer, tx_hashes, 0)

    def _want_some(self, peer: Peer, tx_hashes: Sequence[bytes], first: int) -> None:
        """So many as do not keep the event loop long; the others later, if the peer is still there."""
        last = first + WANTED_AT_ONCE
        self._want(peer.session_id, tx_hashes[first:last])
        if self._has_announced_too_many(peer.session_id):
            detail = f"{self._wanted.count(peer.session_id)} of {len(self._wanted)}"
            apply_penalty(peer, Misbehaviour.RELAY_416_TOO_MANY_UNKNOWN_TRANSACTIONS, detail)
        elif last < len(tx_hashes):
            self._later(peer, lambda: self._want_some(peer, tx_hashes, last))
        else:
            self._ask_soon()

    def _later(self, peer: Peer, call: Callable[[], None]) -> None:
        """When the event loop has done something else."""

        def call_if_there() -> None:
            if self._relaying(peer.session_id) is peer:
                call()

        self._rounds.later(call_if_there)

    def _want(self, session: int, tx_hashes: Sequence[bytes]) -> None:
        """Those that are not here; of those that are being verified, note who else has them. Nothing is wanted of
        a peer that has left, or closed Relay, meanwhile: nobody else would be asked for it."""
        if self._relaying(session) is None:
            return
        wanted = []
        for tx_hash in tx_hashes:
            if tx_hash in self._known or self._pool.holds(tx_hash):
                self._note_other(tx_hash, session)
            else:
                wanted.append(tx_hash)
        self._wanted.announce(session, wanted)

    def _note_other(self, tx_hash: bytes, session: int) -> None:
        """Who has one that is being judged, however it came: as a proposal, by gossip."""
        others = self._others.get(tx_hash)
        if others is None:
            if self._pool.holds(tx_hash) and self._pool.pooled(tx_hash) is None:
                self._others.put(tx_hash, (session,))
        elif len(others) < MAX_OTHERS and session not in others:
            self._others.replace(tx_hash, (*others, session))

    def _has_announced_too_many(self, session: int) -> bool:
        total = len(self._wanted)
        is_full = total >= MAX_WANTED or total >= MAX_WANTED_OF_PEER * len(self._peers)
        return is_full and self._wanted.count(session) >= MAX_WANTED_OF_PEER

    def received_get_transactions(self, peer: Peer, message: GetRelayTransactions) -> None:
        count = len(message.tx_hashes)
        self._served.asked += 1
        if count > MAX_HASHES:
            apply_penalty(peer, Misbehaviour.SYNC_400_MALFORMED, f"{count} transaction hashes")
        elif self._is_paced(peer, count):
            self._look_up(peer, message, 0, set(), [])
            return
        self._served.refused += 1

    def _look_up(
        self, peer: Peer, message: GetRelayTransactions, first: int, distinct: set[bytes], found: list[bytes]
    ) -> None:
        """So many hashes as do not keep the event loop long; the others later. `distinct` are short ids of those
        before, `found` hashes that are in the pool."""
        last = first + LOOKED_UP_AT_ONCE
        some = fixed_items(message.raw, trusted_bounds(message.raw, 0)[0], HASH_SIZE, first, last)
        before = len(distinct)
        distinct.update([each[:SHORT_ID_SIZE] for each in some])
        if len(distinct) < before + len(some):
            self._served.refused += 1
            apply_penalty(peer, Misbehaviour.SYNC_418_ASKED_TWICE, "a transaction")
            return
        found += [each for each in some if self._pool.pooled(each) is not None]
        if last < len(message.tx_hashes):
            self._later(peer, lambda: self._look_up(peer, message, last, distinct, found))
        else:
            self._answers.ask(peer, self._pool.parents_first(found))

    def received_transactions(self, peer: Peer, payload: bytes) -> None:
        """A RelayTransactions that is not decoded yet; nobody looks at it if the peer was asked for nothing. Checks its
        content, too. Raises MoleculeError."""
        if self._wanted.outstanding(peer.session_id) and len(payload) <= MAX_CONTENT:
            self._reading.read(peer, Unread(RELAY_TRANSACTION, payload), partial(self._take, peer))

    def _take(self, peer: Peer, entry: RelayTransaction) -> bool:
        """Give one to the pool, if this peer was asked for it; False when the peer is banned."""
        transaction, session = entry.transaction, peer.session_id
        if not transaction_is_sound(transaction.raw, 0, transaction.raw_size):
            apply_penalty(peer, Misbehaviour.SYNC_400_MALFORMED, "a transaction whose content makes no sense")
            return False
        tx_hash = transaction.hash
        if tx_hash in self._known or not self._wanted.is_asked_of(tx_hash, session):
            return True
        if entry.cycles > self._max_block_cycles:
            self._ban(session, Misbehaviour.TRANSACTION_CYCLES_ABOVE_LIMIT, f"{entry.cycles} cycles")
            return False
        self._size += (transaction.raw_size - self._size) * SIZE_WEIGHT
        self._others.put(tx_hash, tuple(self._wanted.take(tx_hash)[:MAX_OTHERS]))
        self._known.add(tx_hash)
        self._pool.submit(transaction, entry.cycles, session)
        return True

    def announce_to(self, peer: Peer, tx_hashes: Sequence[bytes]) -> None:
        """Tell a peer that has missed them of transactions of the pool."""
        if tx_hashes and _is_told(peer):
            self._announcements.add_for(peer.session_id, tx_hashes)

    def closed(self, peer: Peer) -> None:
        """Relay is closed, or the connection has ended."""
        session = peer.session_id
        self._forget(session)
        self._announcements.closed(session)
        self._answers.closed(session)
        self._pool.closed(session)

    def _forget(self, session: int) -> None:
        if self._wanted.forget(session, FORGOTTEN_AT_ONCE):
            self._rounds.later(lambda: self._forget(session))

    def _is_paced(self, peer: Peer, count: int) -> bool:
        """Looking at so many hashes is worth while."""
        now = self._scheduler.now()
        if self._paces.left(peer.session_id, now) <= 0:
            return False
        self._paces.spend(peer.session_id, count, now)
        return True

    # ------------------------------------------------------------ what became of transactions

    def _on_news(self, news: RelayNews) -> None:
        if isinstance(news, TransactionAccepted):
            others = self._others.pop(news.tx_hash) or ()
            self._known.add(news.tx_hash)
            self._announcements.add(news.tx_hash, others if news.giver is None else (news.giver, *others))
        elif isinstance(news, RemoteRefused):
            self._on_refused(news)
        elif isinstance(news, ParentsMissing):
            self._want(news.giver, news.parents)
            self._ask_soon()

    def _on_refused(self, news: RemoteRefused) -> None:
        others = self._others.pop(news.tx_hash) or ()
        if isinstance(news.reason, Duplicated):
            return
        if news.is_of_size or not is_final(news.reason):
            self._known.discard(news.tx_hash)
            if news.is_of_size or is_of_copy(news.reason):
                self._ask_others(news.tx_hash, others)
        if news.giver is not None and is_malformed(news.reason):
            kind = Misbehaviour.TRANSACTION_INVALID
            if isinstance(news.reason, DeclaredWrongCycles):
                kind = Misbehaviour.TRANSACTION_WRONG_CYCLES
            self._ban(news.giver, kind, str(news.reason))

    def _ask_others(self, tx_hash: bytes, sessions: Sequence[int]) -> None:
        for session in sessions:
            if self._relaying(session) is not None:
                self._wanted.announce(session, [tx_hash])

    def _ban(self, session: int, kind: Misbehaviour, detail: str) -> None:
        """What the peer gave and nobody has looked at yet is not looked at any more."""
        self._pool.drop_from(session)
        peer = self._peer(session)
        if peer is not None:
            apply_penalty(peer, kind, detail)

    def _peer(self, session: int) -> Peer | None:
        found = self._peers.get(session)
        return None if found is None else found.peer

    def _relaying(self, session: int) -> Peer | None:
        """A peer whose Relay is open: it may be closed while Sync goes on."""
        peer = self._peer(session)
        return peer if peer is not None and peer.version_of(RELAY) is not None else None

    # ------------------------------------------------------------ answers

    def _find(self, tx_hash: bytes) -> RelayTransaction | None:
        found = self._pool.pooled(tx_hash)
        return None if found is None else RelayTransaction(cycles=found.cycles, transaction=found.transaction)


def _pack(transactions: Sequence[RelayTransaction]) -> bytes:
    return RELAY_MESSAGE.pack(RelayTransactions(transactions=transactions))


def _is_told(peer: Peer) -> bool:
    """It wants to hear of transactions."""
    return peer.kind is SessionKind.FULL and peer.version_of(RELAY) is not None
