"""Blocks and transactions by topics of libp2p: what is passed on, what becomes of it here, what this node publishes.

Gossip only tells sooner. A block is passed on when its header is valid on its parent, so that it has cost the work that
its epoch demands; a transaction when it is in the pool. What is missing then is asked for by relay and sync.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.sync.check_data import transaction_is_sound
from ckb_node.sync.relay.assembly import Relay
from ckb_node.sync.relay.compact import compact_message
from ckb_node.sync.relay.forwarder import Forwarder
from ckb_node.sync.relay.pool import PooledTransaction, RelayPool
from ckb_node.sync.relay.status import RelayFault, RelayStatus
from ckb_node.txpool.events import RelayNews, TransactionAccepted
from consensus.errors import MoleculeError
from consensus.lookup import ChainDataError
from consensus.types.blockchain import Block
from network.libp2p.messages import MAX_GOSSIP
from network.libp2p.topics import BLOCKS, TRANSACTIONS, TopicHandler
from network.limits import RELAY
from network.messages.protocols import RELAY_MESSAGE, CompactBlock, RelayTransaction
from network.peer import Peer
from network.peers.penalties import Misbehaviour, apply_penalty
from storage.errors import StorageError

__all__ = ["BlockTopic", "NodeGossip", "TransactionTopic"]

MAX_WAITING: Final = 256
"""Transactions of topics whose verdict is open."""

PASSED_ON: Final = (
    RelayStatus.OK,
    RelayStatus.ALREADY_PENDING,
    RelayStatus.ALREADY_STORED,
    RelayStatus.REQUIRES_TRANSACTIONS,
    RelayStatus.MEETS_COLLISION,
)
"""What may be found about a block whose header is valid."""
FORWARDERS_FAULT: Final = (Misbehaviour.RELAY_402_INVALID_HEADER, Misbehaviour.SYNC_400_MALFORMED)
"""What whoever passes a block on must have seen, whatever it knows otherwise."""

Publish = Callable[[int, bytes], None]
Verdict = Callable[[bool], None]


class BlockTopic:
    """Compact blocks, as relay tells them. Satisfies network.libp2p.topics.TopicHandler."""

    def __init__(self, relay: Relay) -> None:
        self._relay: Final = relay

    def received(self, peer: Peer, data: bytes, verdict: Verdict) -> None:
        verdict(self._is_good(peer, data))

    def _is_good(self, peer: Peer, data: bytes) -> bool:
        """Without relay the peer could not be asked for what the block lacks here."""
        if self._relay.protocol.is_in_ibd() or peer.version_of(RELAY) is None:
            return False
        try:
            return self._status(peer, data) in PASSED_ON
        except MoleculeError as error:
            apply_penalty(peer, Misbehaviour.RELAY_UNDECODABLE, str(error))
        except RelayFault as fault:
            if fault.misbehaviour in FORWARDERS_FAULT:
                apply_penalty(peer, fault.misbehaviour, fault.detail)
        except (ChainDataError, StorageError):  # nobody's fault but ours
            return False
        return False

    def _status(self, peer: Peer, data: bytes) -> RelayStatus:
        if RELAY_MESSAGE.item_class(data) is not CompactBlock:
            raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, "no compact block on the topic of blocks")
        return self._relay.blocks.received_compact(Forwarder(peer), data)


class TransactionTopic:
    """Transactions with their cycles, as relay gives them. Satisfies network.libp2p.topics.TopicHandler."""

    def __init__(self, relay: Relay, pool: RelayPool, max_cycles: int) -> None:
        self._relay, self._pool, self._max_cycles = relay, pool, max_cycles
        self._waiting: Final[BoundedMap[bytes, Verdict]] = BoundedMap(max_count=MAX_WAITING)

    def received(self, peer: Peer, data: bytes, verdict: Verdict) -> None:
        """The verdict comes with the pool's news where it has to verify, else at once."""
        entry = self._read(peer, data)
        if entry is None or self._pool.holds(entry.transaction.hash):
            verdict(entry is not None and self._is_pooled(entry))
            return
        self._waiting.put(entry.transaction.hash, verdict)
        self._pool.submit(entry.transaction, entry.cycles, peer.session_id)

    def _read(self, peer: Peer, data: bytes) -> RelayTransaction | None:
        """None when it is of no use here."""
        if self._relay.protocol.is_in_ibd() or self._pool.room_for(peer.session_id) <= 0:
            return None
        try:
            entry = RelayTransaction.parse(data)
        except MoleculeError as error:
            apply_penalty(peer, Misbehaviour.RELAY_UNDECODABLE, str(error))
            return None
        transaction = entry.transaction
        if not transaction_is_sound(transaction.raw, 0, transaction.raw_size) or entry.cycles > self._max_cycles:
            apply_penalty(peer, Misbehaviour.SYNC_400_MALFORMED, "a transaction whose content makes no sense")
            return None
        return entry

    def _is_pooled(self, entry: RelayTransaction) -> bool:
        """With the same witnesses and cycles: of others with its hash nothing is known. One that is still verified, or
        waits for its parents, is published by this node once it is in the pool."""
        return self._pool.pooled(entry.transaction.hash) == PooledTransaction(entry.transaction, entry.cycles)

    def on_news(self, news: RelayNews) -> None:
        """What became of one that waits."""
        verdict = self._waiting.pop(news.tx_hash)
        if verdict is not None:
            verdict(isinstance(news, TransactionAccepted))


class NodeGossip:
    """Both topics of one node, while its network runs."""

    def __init__(self, relay: Relay, pool: RelayPool, max_cycles: int, publish: Publish) -> None:
        """`publish` drops what was gossiped before."""
        self._pool, self._publish = pool, publish
        self._transactions: Final = TransactionTopic(relay, pool, max_cycles)
        self.topics: Final[Mapping[int, TopicHandler]] = {
            BLOCKS: BlockTopic(relay),
            TRANSACTIONS: self._transactions,
        }
        relay.announcer.listen(self._on_block)
        self.stop: Final = pool.listen(self._on_news)

    def _on_block(self, block: Block) -> None:
        self._tell(BLOCKS, compact_message(block))

    def _on_news(self, news: RelayNews) -> None:
        self._transactions.on_news(news)
        if isinstance(news, TransactionAccepted):
            found = self._pool.pooled(news.tx_hash)
            if found is not None:
                self._tell(TRANSACTIONS, RelayTransaction(cycles=found.cycles, transaction=found.transaction).raw)

    def _tell(self, topic: int, data: bytes) -> None:
        if len(data) <= MAX_GOSSIP:
            self._publish(topic, data)
