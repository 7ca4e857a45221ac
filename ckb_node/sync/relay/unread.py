"""Messages with many transactions, of which only so much is read at first as says where the transactions lie.

To decode a whole message keeps the event loop for up to a second, and compressed it is a few kilobytes on the wire. So
it is first asked whether anybody waits for it, then its items are read one after the other, some at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, Generic, TypeVar

from ckb_node.sync.relay.rounds import Rounds
from consensus.codec.layout import NUMBER_SIZE
from consensus.codec.molecule import Composite, Kind
from consensus.codec.molecule.kinds import part_bounds
from consensus.errors import MoleculeError
from network.limits import RELAY
from network.peer import Peer
from network.peers.penalties import Misbehaviour, apply_penalty

__all__ = ["MAX_CONTENT", "Reading", "Unread", "field_bounds"]

T = TypeVar("T", bound=Composite)

MAX_CONTENT: Final = 2 << 20
"""Bytes of a message of transactions; honest ones have a batch of a megabyte, or one transaction."""
MIN_ITEM: Final = 64
"""Bytes; no transaction is smaller. So few offsets need be looked at."""
ITEMS_AT_ONCE: Final = 16
BYTES_AT_ONCE: Final = 32 << 10
"""That are read, before the event loop may do something else; one item at least. A transaction takes up to a tenth of a
millisecond until it is in the pool's queue, and who asks RPC waits for four or five rounds of the loop."""


def field_bounds(name: str, payload: bytes, least: int, most: int) -> Sequence[int]:
    """Bounds of the fields of the table in a union's item; at least and at most so many. Raises MoleculeError."""
    bounds = part_bounds(name, payload, NUMBER_SIZE, len(payload), most)
    if len(bounds) <= least:
        raise MoleculeError(name, f"{len(bounds) - 1} fields")
    return bounds


class Unread(Generic[T]):
    """The items of a union's item that has one field, a vector of tables. None of them is checked yet."""

    def __init__(self, kind: Kind[T], payload: bytes) -> None:
        """Raises MoleculeError."""
        name = f"{kind.name}s"
        start, end = field_bounds(name, payload, 1, 1)
        self._kind: Final = kind
        self._payload: Final = payload
        most = (end - start) // MIN_ITEM
        self._spans: Final = list(pairwise(part_bounds(name, payload, start, end, most)))

    def __len__(self) -> int:
        return len(self._spans)

    def size(self, at: int) -> int:
        """Bytes of an item."""
        start, end = self._spans[at]
        return end - start

    def read(self, at: int) -> T:
        """An item, in bytes of its own. Raises MoleculeError."""
        start, end = self._spans[at]
        return self._kind.parse(self._payload[start:end])

    def end_of_slice(self, first: int) -> int:
        """Where the slice ends that begins there."""
        last, size = first, 0
        most = min(len(self), first + ITEMS_AT_ONCE)
        while last < most and (size == 0 or size + self.size(last) <= BYTES_AT_ONCE):
            size += self.size(last)
            last += 1
        return last


class Reading:
    """Hands on the items of messages in slices. While a message is read its peer has to wait: there is one of each peer
    at a time."""

    def __init__(self, rounds: Rounds, is_there: Callable[[Peer], bool]) -> None:
        """`is_there`: the peer is still connected."""
        self._rounds: Final = rounds
        self._is_there: Final = is_there

    def read(self, peer: Peer, items: Unread[T], take: Callable[[T], bool]) -> None:
        """Call `take` with each item, until it says that no more are to be looked at. Who sends an item that cannot be
        read is punished."""
        if self._read_slice(peer, items, 0, take):
            peer.hold(RELAY)
            self._later(peer, items, items.end_of_slice(0), take)

    def _later(self, peer: Peer, items: Unread[T], first: int, take: Callable[[T], bool]) -> None:
        def go_on() -> None:
            if self._is_there(peer) and self._read_slice(peer, items, first, take):
                self._later(peer, items, items.end_of_slice(first), take)
            else:
                peer.release(RELAY)

        self._rounds.later(go_on)

    def _read_slice(self, peer: Peer, items: Unread[T], first: int, take: Callable[[T], bool]) -> bool:
        """Whether more is to be read."""
        last = items.end_of_slice(first)
        for at in range(first, last):
            try:
                item = items.read(at)
            except MoleculeError as error:
                apply_penalty(peer, Misbehaviour.RELAY_UNDECODABLE, str(error))
                return False
            if not take(item):
                return False
        return last < len(items)
