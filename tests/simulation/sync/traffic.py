"""What nodes say to each other about the chain: noted where it arrives, so that no node can hide what it asks for."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from consensus.errors import MoleculeError
from network.limits import RELAY, SYNC, ProtocolSpec
from network.messages.protocols import (
    RELAY_MESSAGE,
    SYNC_MESSAGE,
    BlockTransactions,
    CompactBlock,
    GetBlocks,
    GetBlockTransactions,
    GetHeaders,
    GetRelayTransactions,
    RelayTransactions,
    SendBlock,
    SendHeaders,
)
from network.peer import Handler, Peer
from network.traffic import Cause

_UNIONS: Final = {SYNC: SYNC_MESSAGE, RELAY: RELAY_MESSAGE}


@dataclass(frozen=True, slots=True)
class Departure:
    """A session has ended, as one of its ends sees it."""

    at: float
    node: str
    peer_ip: str
    cause: Cause
    reason: str


class Traffic:
    """Counts by who asked or got something (a peer id, and which of its lives) and the hash of what it was."""

    def __init__(self) -> None:
        self.lives: Final[Counter[str]] = Counter()
        """By peer id: how often the node was started."""
        self.asked_headers: Final[Counter[tuple[str, bytes]]] = Counter()
        """By the first hash of the locator."""
        self.asked_blocks: Final[Counter[tuple[str, bytes]]] = Counter()
        self.asked_block_transactions: Final[Counter[tuple[str, bytes]]] = Counter()
        self.asked_transactions: Final[Counter[tuple[str, bytes]]] = Counter()
        self.got_headers: Final[Counter[tuple[str, bytes]]] = Counter()
        self.got_blocks: Final[Counter[tuple[str, bytes]]] = Counter()
        self.got_compact: Final[Counter[tuple[str, bytes]]] = Counter()
        self.got_transactions: Final[Counter[tuple[str, bytes]]] = Counter()
        self.messages: Final[Counter[str]] = Counter()
        """By their names."""
        self.departures: Final[list[Departure]] = []
        """Of sessions between nodes, and of liars from nodes."""
        self.faults: Final[list[str]] = []
        """Of handlers: exceptions that they should not raise."""

    def note(self, receiver: str, sender: str, protocol: ProtocolSpec, payload: bytes) -> None:
        """A message has arrived."""
        union = _UNIONS.get(protocol)
        if union is None:
            return
        receiver, sender = f"{receiver} {self.lives[receiver]}", f"{sender} {self.lives[sender]}"
        try:
            message = union.parse(payload, compatible=True)
        except MoleculeError:
            self.messages["undecodable"] += 1
            return
        self.messages[type(message).__name__] += 1
        match message:
            case GetHeaders():
                _count(self.asked_headers, sender, message.block_locator_hashes[:1])
            case SendHeaders():
                _count(self.got_headers, receiver, [header.hash for header in message.headers])
            case GetBlocks():
                _count(self.asked_blocks, sender, message.block_hashes)
            case SendBlock():
                _count(self.got_blocks, receiver, [message.block.hash])
            case CompactBlock():
                _count(self.got_compact, receiver, [message.header.hash])
            case GetBlockTransactions():
                _count(self.asked_block_transactions, sender, [message.block_hash])
            case BlockTransactions():
                pass
            case GetRelayTransactions():
                _count(self.asked_transactions, sender, message.tx_hashes)
            case RelayTransactions():
                _count(self.got_transactions, receiver, [each.transaction.hash for each in message.transactions])

    def forget(self) -> None:
        """Begin to count anew."""
        for counter in vars(self).values():
            if isinstance(counter, Counter) and counter is not self.lives:
                counter.clear()


def _count(counter: Counter[tuple[str, bytes]], name: str, hashes: Sequence[bytes]) -> None:
    for each in hashes:
        counter[name, bytes(each)] += 1


class Tapped:
    """A handler whose messages are noted first. Satisfies network.peer.Handler."""

    def __init__(self, handler: Handler, receiver: str, traffic: Traffic) -> None:
        self._handler, self._receiver, self._traffic = handler, receiver, traffic

    @property
    def protocol(self) -> ProtocolSpec:
        return self._handler.protocol

    def opened(self, peer: Peer) -> None:
        with self._watched():
            self._handler.opened(peer)

    def received(self, peer: Peer, payload: bytes) -> None:
        self._traffic.note(self._receiver, peer.peer_id, self.protocol, payload)
        with self._watched():
            self._handler.received(peer, payload)

    def closed(self, peer: Peer) -> None:
        with self._watched():
            self._handler.closed(peer)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._traffic.faults.append(traceback.format_exc())
            raise


def tapped(handlers: Iterable[Handler], receiver: str, traffic: Traffic) -> list[Handler]:
    """`receiver`: the peer id of the node whose handlers they are."""
    return [Tapped(handler, receiver, traffic) for handler in handlers]
