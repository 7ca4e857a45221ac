"""The relay protocol: decodes what peers send, holds them to their rates, and hands it to those who know.

While the node downloads the chain nothing is looked at: blocks and transactions of the tip mean nothing to it yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog

from ckb_node.chain.initial_download import InitialDownload
from ckb_node.sync.chain import SyncChain
from ckb_node.sync.relay.announce import Announcer
from ckb_node.sync.relay.blocks import BlockRelay
from ckb_node.sync.relay.status import RelayFault, RelayStatus
from consensus.codec.layout import NUMBER_SIZE, U32
from consensus.codec.molecule import Composite
from consensus.errors import MoleculeError
from consensus.lookup import ChainDataError
from network.budget import Allowance
from network.limits import RELAY, ProtocolSpec
from network.messages.protocols import (
    RELAY_MESSAGE,
    BlockProposal,
    BlockTransactions,
    CompactBlock,
    GetBlockProposal,
    GetBlockTransactions,
    GetRelayTransactions,
    RelayTransactionHashes,
    RelayTransactions,
)
from network.peer import Peer, Scheduler
from network.peers.penalties import Misbehaviour, apply_penalty
from storage.errors import StorageError

__all__ = ["RelayProposals", "RelayProtocol", "RelayTransactionsOfPeers"]

log = structlog.get_logger("relay")

MESSAGES_PER_SECOND: Final = 30.0
MESSAGES_AT_ONCE: Final = 30.0
"""Of one kind, from one peer. Compact blocks are not counted: each costs its miner work."""

TOO_MANY: Final = "TooMany"
UNDECODABLE: Final = "Undecodable"

COMPACT_BLOCK: Final = 0
"""Its item id."""


class RelayTransactionsOfPeers(Protocol):
    """What is done with transactions and their hashes; see ckb_node.sync.relay.transactions."""

    def received_hashes(self, peer: Peer, message: RelayTransactionHashes) -> None: ...

    def received_get_transactions(self, peer: Peer, message: GetRelayTransactions) -> None: ...

    def received_transactions(self, peer: Peer, payload: bytes) -> None:
        """A message that is not decoded yet. Raises MoleculeError."""

    def closed(self, peer: Peer) -> None: ...


class RelayProposals(Protocol):
    """What is done with proposed transactions; see ckb_node.sync.relay.proposals."""

    def received_get_block_proposal(self, peer: Peer, message: GetBlockProposal) -> None: ...

    def received_block_proposal(self, peer: Peer, payload: bytes) -> None:
        """A message that is not decoded yet. Raises MoleculeError."""

    def closed(self, peer: Peer) -> None: ...


class RelayProtocol:
    """Satisfies network.peer.Handler."""

    def __init__(
        self,
        chain: SyncChain,
        scheduler: Scheduler,
        ibd: InitialDownload,
        announcer: Announcer,
        blocks: BlockRelay,
        transactions: RelayTransactionsOfPeers,
        proposals: RelayProposals,
    ) -> None:
        self._chain: Final = chain
        self._scheduler: Final = scheduler
        self._ibd: Final = ibd
        self._announcer: Final = announcer
        self._blocks: Final = blocks
        self._transactions: Final = transactions
        self._proposals: Final = proposals
        self._heavy: Final[Mapping[type[Composite] | None, Callable[[Peer, bytes], RelayStatus | None]]] = {
            CompactBlock: blocks.received_compact,
            RelayTransactions: transactions.received_transactions,
            BlockTransactions: blocks.received_block_transactions,
            BlockProposal: proposals.received_block_proposal,
        }
        """Messages that hold transactions are decoded by who knows whether they are wanted."""
        self._allowances: Final[dict[int, dict[int, Allowance]]] = {}
        """By session and kind of message."""
        self.counts: Final[Counter[str]] = Counter()
        """Messages by kind; those that were too many, and those that cannot be read."""

    @property
    def protocol(self) -> ProtocolSpec:
        return RELAY

    def opened(self, peer: Peer) -> None:
        self._allowances[peer.session_id] = {}
        self._announcer.opened(peer)

    def closed(self, peer: Peer) -> None:
        self._allowances.pop(peer.session_id, None)
        self._announcer.closed(peer)
        self._blocks.closed(peer)
        self._transactions.closed(peer)
        self._proposals.closed(peer)

    def received(self, peer: Peer, payload: bytes) -> None:
        if not self.is_in_ibd():
            self.process(peer, payload)

    def process(self, peer: Peer, payload: bytes) -> RelayStatus | None:
        """What becomes of a message; None when it was punished. A message that is too much is not even decoded."""
        if not self._may_send(peer, payload):
            self.counts[TOO_MANY] += 1
            return RelayStatus.TOO_MANY_REQUESTS
        try:
            return self._dispatch(peer, payload)
        except MoleculeError as error:
            self.counts[UNDECODABLE] += 1
            apply_penalty(peer, Misbehaviour.RELAY_UNDECODABLE, str(error))
        except RelayFault as fault:
            apply_penalty(peer, fault.misbehaviour, fault.detail)
        except (ChainDataError, StorageError) as error:  # nobody's fault but ours
            log.warning("a message cannot be looked into", peer=peer.peer_id, reason=str(error))
            return RelayStatus.IGNORED
        return None

    def is_in_ibd(self) -> bool:
        """In initial block download nothing that peers relay is of use."""
        return self._ibd.is_on(self._chain.tip().header.timestamp, self._chain.now_ms())

    def _may_send(self, peer: Peer, payload: bytes) -> bool:
        """The peer has not sent too much of this kind."""
        if len(payload) < NUMBER_SIZE:
            return True
        kind: int = U32.unpack_from(payload)[0]
        allowances = self._allowances.get(peer.session_id)
        if allowances is None or kind == COMPACT_BLOCK or kind not in RELAY_MESSAGE.classes:
            return True
        now = self._scheduler.now()
        allowance = allowances.get(kind)
        if allowance is None:
            allowance = allowances[kind] = Allowance(MESSAGES_PER_SECOND, MESSAGES_AT_ONCE, now)
        if allowance.left(now) < 1.0:
            return False
        allowance.spend(1.0, now)
        return True

    def _dispatch(self, peer: Peer, payload: bytes) -> RelayStatus:
        kind = RELAY_MESSAGE.item_class(payload)
        heavy = self._heavy.get(kind)
        if kind is not None and heavy is not None:
            self.counts[kind.__name__] += 1
            return heavy(peer, payload) or RelayStatus.OK
        message = RELAY_MESSAGE.parse(payload)
        self.counts[type(message).__name__] += 1
        match message:
            case GetBlockTransactions():
                return self._blocks.received_get_block_transactions(peer, message)
            case RelayTransactionHashes():
                self._transactions.received_hashes(peer, message)
            case GetRelayTransactions():
                self._transactions.received_get_transactions(peer, message)
            case GetBlockProposal():
                self._proposals.received_get_block_proposal(peer, message)
        return RelayStatus.OK
