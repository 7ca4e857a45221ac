"""Blocks that peers announce as compact blocks: what is asked of each before anything is fetched, how it is put
together from what this node has and from the peers' answers, and what follows from its verdict.

The order of the checks is the reference's. Stricter than it: a header must have its epoch's target, so that what waits
here costs real work; each peer's compact block is judged by itself (see ckb_node.sync.relay.pending); the number of
uncles in an answer is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from ckb_node.chain.events import BlockDecided, ChainChanged, Verdict
from ckb_node.runtime.bounded import BoundedMap
from ckb_node.sync.blame import is_senders_fault
from ckb_node.sync.chain import BlockTaken, HeadersTaken, KnownTip, SyncChain
from ckb_node.sync.check_data import max_block_size
from ckb_node.sync.peers import SyncPeer, SyncPeers
from ckb_node.sync.relay.announce import Announcer
from ckb_node.sync.relay.answered import Asked, block_of_answer, read_answer, verify_data
from ckb_node.sync.relay.block_answers import BlockAnswers
from ckb_node.sync.relay.compact import (
    MORE_THAN_A_BLOCK,
    Sketch,
    is_stale,
    read_compact,
    read_header,
    verify_counts,
)
from ckb_node.sync.relay.forwarder import Forwarder
from ckb_node.sync.relay.headers import parent_of, verify_announced
from ckb_node.sync.relay.pending import Offer, PendingBlock, PendingBlocks
from ckb_node.sync.relay.reconstruct import FoundUncles, Places, TransactionsAtHand, build_block, find_uncles
from ckb_node.sync.relay.status import RelayFault, RelayStatus
from ckb_node.sync.suspects import Suspects
from ckb_node.sync.upload import Upload
from consensus.codec.layout import NUMBER_SIZE, SHORT_ID_SIZE
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.errors import CkbError, HeaderError
from consensus.rules.header import TemporaryHeaderError
from consensus.rules.pow import verify_pow
from consensus.types.blockchain import Block, Header
from consensus.types.core import BlockExt, epoch_number
from network.budget import Allowances
from network.limits import RELAY
from network.messages.protocols import RELAY_MESSAGE, BlockTransactions, CompactBlock, GetBlockTransactions
from network.peer import Peer, Scheduler
from network.peers.penalties import Misbehaviour
from storage.chain_store import ChainView

__all__ = ["BlockRelay", "RelayFigures", "RelayNeighbours"]

log = structlog.get_logger("relay")

PATIENCE: Final = 0.5
"""Seconds that peers have to answer before another one is asked as well."""
MAX_AHEAD: Final = 32
"""Blocks that are this much higher than the tip are not put together: Sync fetches those before them first."""
BLOCKS_PER_S: Final = 10
BLOCKS_AT_ONCE: Final = 50
"""Compact blocks with sound headers that are looked at, of one peer; others are left to Sync."""
IDS_OF_ONE: Final = 500
"""So many transactions, or proposals, count for one more: to look for those that nobody has takes milliseconds."""
MAX_VERIFYING: Final = 4
"""Blocks of one peer that wait for their verdict."""
MAX_PACED: Final = 1024
"""Peers whose pace is remembered."""
FORWARDED: Final = "forwarded"
"""The source of a block that peers pass on before they verify it: nobody is to blame."""
MAX_GIVEN: Final = 128
MAX_GIVEN_BYTES: Final = 64 << 20
"""Blocks that wait for their verdict, or in the chain for their parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayNeighbours:
    """What the relay of blocks asks of other parts of sync."""

    ask_headers: Callable[[SyncPeer], None]
    """The peer has a block whose parent is unknown."""
    ask_proposals: Callable[[Peer, bytes, Sequence[bytes]], None]
    """A block of this hash proposes transactions by these ids: ask the peer for those that the pool lacks."""
    headers_known: Callable[[], None] = lambda: None
    """A header was stored whose block is to be fetched, should its peers not give what it lacks."""
    find_received: Callable[[bytes], Block | None] = lambda _: None
    """A block that came by Sync and has no verdict yet."""


@dataclass(slots=True)
class RelayFigures:
    """Of compact blocks: put together from what this node had, lacking something, and completed by answers of peers.
    `collisions`: short ids that meant another transaction here."""

    rebuilt: int = 0
    incomplete: int = 0
    completed: int = 0
    collisions: int = 0


@dataclass(frozen=True, slots=True)
class _Given:
    """A block that was put together, and who announced it."""

    block: Block
    known: KnownTip
    giver: Peer


class BlockRelay:
    """All compact blocks of all peers."""

    def __init__(
        self,
        chain: SyncChain,
        peers: SyncPeers,
        scheduler: Scheduler,
        transactions: TransactionsAtHand,
        announcer: Announcer,
        neighbours: RelayNeighbours,
        suspects: Suspects,
        figures: RelayFigures | None = None,
        upload: Upload | None = None,
    ) -> None:
        """`figures` of the whole run, should the network have been started before."""
        self._chain: Final = chain
        self._peers: Final = peers
        self._scheduler: Final = scheduler
        self._transactions: Final = transactions
        self._announcer: Final = announcer
        self._neighbours: Final = neighbours
        self._suspects: Final = suspects
        self._answers: Final = BlockAnswers(chain, announcer, scheduler, upload)
        self._pending: Final = PendingBlocks()
        self._paces: Final[Allowances[int]] = Allowances(BLOCKS_PER_S, BLOCKS_AT_ONCE, max_keys=MAX_PACED)
        self._verifying: Final = _given_blocks()
        self._orphans: Final = _given_blocks()
        self.figures: Final = figures or RelayFigures()
        chain.listen(self._on_change)
        chain.listen_side(self._on_side)
        chain.listen_decided(self._on_decided)

    @property
    def pending_count(self) -> int:
        """Blocks that wait for what their peers were asked for."""
        return len(self._pending)

    def pending_since(self, block_hash: bytes) -> float | None:
        """Seconds since a block waits for what its peers were asked for; 0 while it waits for its verdict or, in the
        chain, for its parent; None when it is not here."""
        pending = self._pending.get(block_hash)
        if pending is not None:
            return self._scheduler.now() - pending.since
        if self._verifying.get(block_hash) is not None:
            return 0.0
        orphan = self._orphans.get(block_hash)
        return None if orphan is None or self._is_stored(orphan.block.parent_hash) else 0.0

    def _is_stored(self, block_hash: bytes) -> bool:
        """An orphan whose parent is stored was not decided then, for a fault of ours: nobody comes back to it."""
        with self._chain.view() as view:
            return view.block_ext(block_hash) is not None

    def announce(self, block: Block, giver: int | None) -> None:
        """Tell of a verified block; nothing happens when that was done before."""
        self._announcer.announce(block, giver)

    def closed(self, peer: Peer) -> None:
        """Relay is closed, or the connection has ended."""
        self._answers.closed(peer)
        for pending in self._pending:
            self._withdraw(pending, peer)

    # ------------------------------------------------------------ a compact block

    def received_compact(self, peer: Peer, payload: bytes) -> RelayStatus:
        """Only the header is looked at until it is known to be worth more.

        Raises RelayFault, MoleculeError, ChainDataError, StorageError."""
        header = read_header(self._chain.consensus, payload)
        tip = self._chain.tip().header
        if is_stale(tip, header):
            return RelayStatus.STALE
        with self._chain.view() as view:
            status = self._look_up(peer, header, view)
            if status is not None:
                return status
            parent = parent_of(header, view, self._at_hand)
            if parent is None:
                return self._ask_headers(peer)
            if self._is_offered_by(header.hash, peer):
                return RelayStatus.ALREADY_PENDING
            if not self._is_valid(header, parent.header, view):
                return RelayStatus.IGNORED
            known = KnownTip(header, parent.total_difficulty + compact_to_difficulty(header.compact_target))
            if self._has_given_too_many(peer):
                return self._leave_to_sync(peer, known)
            message = CompactBlock.parse(payload[NUMBER_SIZE:])
            verify_counts(self._chain.consensus, message)
            sketch = read_compact(message, header)
            named = len(sketch.ids) + len(sketch.proposals) // SHORT_ID_SIZE
            self._paces.spend(peer.session_id, named // IDS_OF_ONE, self._scheduler.now())
            self._note_known(peer, known)
            if header.number > tip.number + MAX_AHEAD:
                self._keep_header(header)
                return RelayStatus.IGNORED
            status = self._reconstruct(peer, sketch, known, view)
        self._ask_proposals(peer, header.hash, sketch.proposal_ids())
        return status

    def _look_up(self, peer: Peer, header: Header, view: ChainView) -> RelayStatus | None:
        """What is known of it, and whether its parent is invalid; None when it is new. Raises RelayFault 402."""
        ext = view.block_ext(header.hash)
        if _is_invalid(ext):
            self._accuse(peer, header, "it was found invalid before")
            return RelayStatus.IGNORED
        if ext is None and _is_invalid(view.block_ext(header.parent_hash)):
            self._verify_work(header)
            self._accuse(peer, header, "its parent is invalid")
            return RelayStatus.IGNORED
        if ext is not None:
            self._note_known(peer, KnownTip(header, ext.total_difficulty))
            return RelayStatus.ALREADY_STORED
        if self._body_at_hand(header.hash) is not None:
            self._announcer.note_known(header.hash, peer.session_id)
            return RelayStatus.IGNORED
        return None

    def _verify_work(self, header: Header) -> None:
        """Of one whose parent's header is not kept. Raises RelayFault 402."""
        try:
            verify_pow(self._chain.consensus, header)
        except HeaderError as error:
            raise RelayFault(Misbehaviour.RELAY_402_INVALID_HEADER, f"0x{header.hash.hex()}: {error}") from error

    def _is_offered_by(self, block_hash: bytes, peer: Peer) -> bool:
        pending = self._pending.get(block_hash)
        return pending is not None and peer.session_id in pending.offers

    def _is_valid(self, header: Header, parent: Header, view: ChainView) -> bool:
        """False when the header may be valid later. Raises RelayFault 402."""
        try:
            verify_announced(self._chain.consensus, header, parent, view, self._at_hand, self._chain.now_ms())
        except TemporaryHeaderError:
            return False
        except HeaderError as error:
            raise RelayFault(Misbehaviour.RELAY_402_INVALID_HEADER, f"0x{header.hash.hex()}: {error}") from error
        return True

    def _ask_headers(self, peer: Peer) -> RelayStatus:
        sync_peer = self._peers.get(peer.session_id)
        if sync_peer is not None:
            self._neighbours.ask_headers(sync_peer)
        return RelayStatus.REQUIRES_PARENT

    def _ask_proposals(self, peer: Peer, block_hash: bytes, ids: Sequence[bytes]) -> None:
        if ids:
            self._neighbours.ask_proposals(peer, block_hash, ids)

    def _note_known(self, peer: Peer, known: KnownTip) -> None:
        """The peer has this block."""
        self._announcer.note_known(known.hash, peer.session_id)
        sync_peer = self._peers.get(peer.session_id)
        if sync_peer is not None:
            sync_peer.note_known(known)

    def _has_given_too_many(self, peer: Peer) -> bool:
        """Putting a block together, and its verdict, take milliseconds: each peer has its pace, though each block costs
        its miner work."""
        now, session = self._scheduler.now(), peer.session_id
        verifying = sum(given.giver.session_id == session for _, given in self._verifying.items())
        if verifying >= MAX_VERIFYING or self._paces.left(session, now) < 1.0:
            return True
        self._paces.spend(session, 1.0, now)
        return False

    def _leave_to_sync(self, peer: Peer, known: KnownTip) -> RelayStatus:
        """If it is worth while. The peer may be the only one that has it."""
        if known.total_difficulty > self._chain.best_header().total_difficulty:
            self._note_known(peer, known)
            self._keep_header(known.header)
        return RelayStatus.TOO_MANY_REQUESTS

    def _keep_header(self, header: Header) -> None:
        """So that Sync can fetch the block."""
        self._chain.take_headers([header], self._header_kept)

    def _header_kept(self, taken: HeadersTaken) -> None:
        if taken.last is not None:
            self._neighbours.headers_known()

    # ------------------------------------------------------------ putting it together

    def _reconstruct(self, peer: Peer, sketch: Sketch, known: KnownTip, view: ChainView) -> RelayStatus:
        """With what this node has. Raises RelayFault 409."""
        pending = self._pending.get(sketch.hash)
        like = None if pending is None else pending.like(sketch)
        sketch, places = (sketch, Places(sketch)) if like is None else (like.sketch, like.places.copy())
        places.fill(sketch.ids, self._transactions, self._chain.consensus.max_block_bytes)
        uncles = find_uncles(sketch.uncles, view, self._body_at_hand)
        lacks = Asked(places.missing(), uncles.missing())
        if any(lacks):
            self.figures.incomplete += 1
            return self._wait(known, Offer(peer, sketch, places, lacks), RelayStatus.REQUIRES_TRANSACTIONS)
        if places.transactions_root() == known.header.transactions_root:
            self.figures.rebuilt += 1
            return self._take(peer, known, build_block(sketch, places, uncles))
        if len(sketch.prefilled) == len(sketch.ids):
            raise RelayFault(Misbehaviour.RELAY_409_WRONG_TRANSACTIONS_ROOT)
        self.figures.collisions += 1
        lacks = Asked(sketch.id_places(), ())
        return self._wait(known, Offer(peer, sketch, Places(sketch), lacks), RelayStatus.MEETS_COLLISION)

    def _wait(self, known: KnownTip, offer: Offer, status: RelayStatus) -> RelayStatus:
        """Ask the peer for what the block lacks, unless enough others are asked already."""
        if self._pending.get(known.hash) is None:
            self._keep_header(known.header)
        pending = self._pending.add(known, offer, self._scheduler.now())
        if pending is None:
            return RelayStatus.IGNORED
        if pending.may_ask(offer):
            self._ask(offer)
        self._watch(pending)
        return status

    def _ask(self, offer: Offer) -> None:
        offer.is_asked = True
        places, uncles = offer.lacks
        message = GetBlockTransactions(block_hash=offer.sketch.hash, indexes=places, uncle_indexes=uncles)
        offer.peer.send(RELAY, RELAY_MESSAGE.pack(message))

    def _watch(self, pending: PendingBlock) -> None:
        """Somebody else is asked when those who are asked do not answer soon."""
        if pending.timer is None and pending.next_to_ask() is not None:
            pending.timer = self._scheduler.call_later(PATIENCE, lambda: self._ask_another(pending))

    def _ask_another(self, pending: PendingBlock) -> None:
        pending.timer = None
        offer = pending.next_to_ask()
        if offer is not None:
            self._ask(offer)
            self._watch(pending)

    def _withdraw(self, pending: PendingBlock, peer: Peer) -> None:
        """A peer is gone, or has answered something else than it was asked for; another takes its place."""
        offer = pending.offers.get(peer.session_id)
        if offer is None:
            return
        self._pending.remove_offer(pending, peer.session_id)
        another = pending.next_to_ask()
        if offer.is_asked and another is not None and pending.may_ask(another):
            self._ask(another)

    # ------------------------------------------------------------ answers

    def received_block_transactions(self, peer: Peer, payload: bytes) -> RelayStatus:
        """What nobody asked for is not even decoded. Raises RelayFault, MoleculeError, ChainDataError, StorageError."""
        most = max_block_size(self._chain.consensus) + MORE_THAN_A_BLOCK
        if len(payload) > most:
            raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, f"transactions of a block in {len(payload)} bytes")
        pending = self._pending.get(block_of_answer(payload))
        offer = None if pending is None else pending.offers.get(peer.session_id)
        if pending is None or offer is None or not offer.is_asked:
            return RelayStatus.IGNORED
        message = BlockTransactions.parse(payload[NUMBER_SIZE:])
        verify_data(message)
        try:
            answer = read_answer(message, offer.sketch, offer.lacks)
            places = offer.places.copy()
            for place, transaction in zip(offer.lacks.places, answer.transactions, strict=True):
                places.put(place, *transaction)
            with self._chain.view() as view:
                uncles = find_uncles(offer.sketch.uncles, view, self._body_at_hand)
            for place, uncle in zip(offer.lacks.uncles, answer.uncles, strict=True):
                uncles.raws[place] = uncle
            status = self._complete(pending, offer, places, uncles)
        except RelayFault:
            self._withdraw(pending, peer)
            raise
        self._ask_proposals(peer, message.block_hash, answer.proposals)
        return status

    def _complete(self, pending: PendingBlock, offer: Offer, places: Places, uncles: FoundUncles) -> RelayStatus:
        """With a peer's answer. Raises RelayFault 409."""
        sketch, known = offer.sketch, pending.known
        lacks = Asked(places.missing(), uncles.missing())
        if any(lacks):
            # What this node had of the block is gone meanwhile: everything that it lacked so far is asked for at once.
            places_of_both = sorted({*lacks.places, *offer.lacks.places})
            offer.lacks = Asked(places_of_both, sorted({*lacks.uncles, *offer.lacks.uncles}))
            self._ask(offer)
            return RelayStatus.REQUIRES_TRANSACTIONS
        if places.transactions_root() == known.header.transactions_root:
            self.figures.completed += 1
            return self._take(offer.peer, known, build_block(sketch, places, uncles))
        all_places = sketch.id_places()
        if len(offer.lacks.places) == len(all_places):
            raise RelayFault(Misbehaviour.RELAY_409_WRONG_TRANSACTIONS_ROOT)
        self.figures.collisions += 1
        self._pending.replace_places(pending, offer, Places(sketch))
        offer.lacks = Asked(all_places, offer.lacks.uncles)
        self._ask(offer)
        return RelayStatus.MEETS_COLLISION

    def received_get_block_transactions(self, peer: Peer, message: GetBlockTransactions) -> RelayStatus:
        """Raises RelayFault 400."""
        return self._answers.received(peer, message)

    # ------------------------------------------------------------ its verdict

    def _take(self, peer: Peer, known: KnownTip, block: Block) -> RelayStatus:
        self._pending.remove(known.hash)
        self._pending.drop_before_epoch(epoch_number(known.header.epoch))
        given = _Given(block, known, peer)
        self._verifying.put(known.hash, given)
        source = FORWARDED if isinstance(peer, Forwarder) else peer.session_id
        self._chain.take_block(block, source, lambda taken: self._decided(given, taken))
        return RelayStatus.OK

    def _decided(self, given: _Given, taken: BlockTaken) -> None:
        """A fault of ours is not the peer's: the block may be asked for again."""
        self._verifying.pop(given.known.hash)
        if taken.error is not None:
            self._refused(given, taken.error)
        elif taken.verdict is Verdict.ORPHAN:
            self._orphans.put(given.known.hash, given)
        elif taken.verdict in (Verdict.BEST, Verdict.SIDE):
            self._announcer.announce(given.block, given.giver.session_id)

    def _on_change(self, event: ChainChanged) -> None:
        """The new tip is complete, whatever way it came."""
        self._pending.remove(event.new_tip.hash)

    def _on_side(self, block: Block) -> None:
        """It may become an uncle. What Sync fetches of a branch is not told block by block."""
        self._pending.remove(block.hash)
        given = self._given(block.hash)
        if given is not None:
            self._announcer.announce(block, given.giver.session_id)

    def _on_decided(self, event: BlockDecided) -> None:
        """Of a block that waited for its parent in the chain."""
        given = self._orphans.pop(event.block.hash)
        if given is not None and event.error is not None:
            self._refused(given, event.error)

    def _refused(self, given: _Given, error: CkbError) -> None:
        if is_senders_fault(error):
            self._accuse(given.giver, given.block.header, str(error))

    def _accuse(self, peer: Peer, header: Header, detail: str) -> None:
        if not isinstance(peer, Forwarder):
            self._suspects.accuse(peer, header, detail)

    # ------------------------------------------------------------ blocks in memory

    def _given(self, block_hash: bytes) -> _Given | None:
        return self._verifying.get(block_hash) or self._orphans.get(block_hash)

    def _at_hand(self, block_hash: bytes) -> KnownTip | None:
        """Of a block that is not stored yet."""
        waiting = self._pending.get(block_hash) or self._given(block_hash)
        return None if waiting is None else waiting.known

    def _body_at_hand(self, block_hash: bytes) -> Block | None:
        given = self._given(block_hash)
        return self._neighbours.find_received(block_hash) if given is None else given.block


def _given_blocks() -> BoundedMap[bytes, _Given]:
    return BoundedMap(max_count=MAX_GIVEN, max_bytes=MAX_GIVEN_BYTES, size_of=lambda given: given.block.raw_size)


def _is_invalid(ext: BlockExt | None) -> bool:
    return ext is not None and ext.verified is False
