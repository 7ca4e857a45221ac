"""The relay of transactions and proposals between fake peers and a fake pool, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.relay.known import KnownTransactions
from ckb_node.sync.relay.proposals import ProposalRelay
from ckb_node.sync.relay.transactions import TransactionRelay
from ckb_node.sync.upload import Upload
from consensus.codec.molecule import Composite
from consensus.types.blockchain import CellInput, CellOutput, OutPoint, RawTransaction, Script, Transaction
from network.limits import RELAY, SYNC
from network.messages.protocols import (
    RELAY_MESSAGE,
    GetRelayTransactions,
    RelayTransaction,
    RelayTransactionHashes,
    RelayTransactions,
)
from network.peer import Direction, SessionKind
from tests.support.chains.devchain import dev_consensus
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer
from tests.support.relay_pool import FakePool

MESSAGE = TypeVar("MESSAGE", bound=Composite)
CONSENSUS = dev_consensus()


def a_transaction(serial: int, *, size: int = 0, parent: bytes = bytes(32), outputs_data: int = 1) -> Transaction:
    """Well-formed; `size` bytes of data."""
    body = RawTransaction(
        version=0,
        cell_deps=[],
        header_deps=[],
        inputs=[CellInput(since=serial, previous_output=OutPoint(tx_hash=parent, index=0))],
        outputs=[CellOutput(capacity=10**9, lock=Script(code_hash=bytes(32), hash_type=0, args=b""), type_=None)],
        outputs_data=[bytes(size)] * outputs_data,
    )
    return Transaction(body=body, witnesses=[])


def some_hashes(count: int, seed: int = 0) -> list[bytes]:
    """Distinct, also in their short ids."""
    return [(seed * 10_000_000 + serial).to_bytes(10, "big") + bytes(22) for serial in range(count)]


def taken(peer: FakePeer, kind: type[MESSAGE]) -> list[MESSAGE]:
    """The messages of one kind that were sent to a peer; others are dropped."""
    messages = [RELAY_MESSAGE.parse(payload) for payload in peer.take(RELAY)]
    return [each for each in messages if isinstance(each, kind)]


@dataclass
class Relays:
    """Started."""

    pool: FakePool = field(default_factory=FakePool)
    clock: FakeScheduler = field(default_factory=FakeScheduler)
    peers: SyncPeers = field(default_factory=SyncPeers)
    is_downloading: bool = False
    tip_number: int = 100
    upload: Upload = field(default_factory=Upload)
    tellers: list[FakePeer] = field(default_factory=list)
    """Who has told of each block."""

    def __post_init__(self) -> None:
        self.known = KnownTransactions(self.clock)
        self.transactions = TransactionRelay(
            self.pool,
            self.peers,
            self.clock,
            self.known,
            CONSENSUS.max_block_cycles,
            lambda: self.is_downloading,
            self.upload,
        )
        tell = self.transactions.announce_to
        self.proposals = ProposalRelay(
            self.pool,
            self.peers,
            self.clock,
            self.known,
            CONSENSUS,
            lambda: self.tip_number,
            tell,
            self.upload,
            lambda _: [each.session_id for each in self.tellers],
        )
        self.transactions.start()
        self.proposals.start()

    def peer(self, *, kind: SessionKind = SessionKind.FULL, direction: Direction = Direction.INBOUND) -> FakePeer:
        peer = FakePeer(len(self.peers), kind=kind, direction=direction, protocols=(SYNC, RELAY))
        self.peers.add(peer)
        return peer

    def close(self, peer: FakePeer) -> None:
        self.peers.remove(peer.session_id)
        self.transactions.closed(peer)
        self.proposals.closed(peer)

    def announce(self, peer: FakePeer, *hashes: bytes) -> None:
        """And let time go on as far as a long message is looked at in slices."""
        self.transactions.received_hashes(peer, RelayTransactionHashes(tx_hashes=hashes))
        self.clock.advance(0.0)

    def ask(self, peer: FakePeer, *hashes: bytes) -> None:
        self.transactions.received_get_transactions(peer, GetRelayTransactions(tx_hashes=hashes))

    def ask_at_once(self, peer: FakePeer, *hashes: bytes) -> None:
        """And let time go on as far as the answer is made in slices."""
        self.ask(peer, *hashes)
        self.clock.advance(0.0)

    def deliver(self, peer: FakePeer, *transactions: Transaction, cycles: int = 1000) -> None:
        entries = [RelayTransaction(cycles=cycles, transaction=each) for each in transactions]
        self.transactions.received_transactions(peer, RELAY_MESSAGE.pack(RelayTransactions(transactions=entries)))

    def asked(self, peer: FakePeer) -> list[bytes]:
        """What a peer was asked for since the last look."""
        return [each for message in taken(peer, GetRelayTransactions) for each in message.tx_hashes]

    def told(self, peer: FakePeer) -> list[bytes]:
        """What a peer was told of since the last look."""
        return [each for message in taken(peer, RelayTransactionHashes) for each in message.tx_hashes]

    def wanted_from(self, *peers: FakePeer, serial: int = 1) -> Transaction:
        """A transaction that these announce and the first was asked for."""
        transaction = a_transaction(serial)
        for each in peers:
            self.announce(each, transaction.hash)
        self.clock.advance(0.1)
        assert self.asked(peers[0]) == [transaction.hash]
        return transaction

    def delivered_by(self, *peers: FakePeer, serial: int = 1) -> Transaction:
        """The same, and the first has sent it."""
        transaction = self.wanted_from(*peers, serial=serial)
        self.deliver(peers[0], transaction)
        assert self.pool.submitted[-1][2] == peers[0].session_id
        return transaction


def batches(messages: Sequence[RelayTransactions]) -> list[list[bytes]]:
    return [[each.transaction.hash for each in message.transactions] for message in messages]
