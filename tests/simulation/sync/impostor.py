"""A hostile peer: a real peer layer with what it likes behind the protocols of the chain.

By itself it serves a chain honestly, in the simplest way; an attack replaces some of its answers, or speaks unasked. It
knows nothing of the handlers that it is used against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from consensus.codec.molecule import Composite
from consensus.crypto.hashing import ZERO_HASH
from consensus.errors import MoleculeError
from consensus.types.blockchain import Block, Header, Transaction
from network.limits import FILTER, LIGHT_CLIENT, RELAY, SYNC, ProtocolSpec
from network.messages.protocols import (
    BLOCK_FILTER_MESSAGE,
    LIGHT_CLIENT_MESSAGE,
    RELAY_MESSAGE,
    SYNC_MESSAGE,
    BlockTransactions,
    CompactBlock,
    GetBlocks,
    GetBlockTransactions,
    GetHeaders,
    GetRelayTransactions,
    IndexTransaction,
    RelayTransaction,
    RelayTransactions,
    SendBlock,
    SendHeaders,
)
from network.peer import Handler, Peer
from tests.simulation.clock import Clock
from tests.simulation.sync.forge import Forge

Message = Composite
M = TypeVar("M", bound=Message)

MAX_HEADERS: Final = 2000
_UNIONS: Final = {
    SYNC: SYNC_MESSAGE,
    RELAY: RELAY_MESSAGE,
    LIGHT_CLIENT: LIGHT_CLIENT_MESSAGE,
    FILTER: BLOCK_FILTER_MESSAGE,
}
_SPOKEN_ON: Final = {kind: protocol for protocol, union in _UNIONS.items() for kind in union.classes.values()}


class Impostor:
    """Serves `forge`'s chain. `strike` is called with each peer that has all protocols open."""

    def __init__(
        self,
        clock: Clock,
        forge: Forge,
        strike: Callable[[Impostor, Peer], None] | None = None,
        protocols: Sequence[ProtocolSpec] = (SYNC, RELAY),
    ) -> None:
        self.clock: Final = clock
        self.forge = forge
        self.protocols: Final = protocols
        self.peers: Final[dict[int, Peer]] = {}
        self.got: Final[list[tuple[int, Message]]] = []
        """Session and message."""
        self.has_struck = False
        self.transactions: Final[dict[bytes, tuple[Transaction, int]]] = {}
        """What it answers when it is asked for transactions, with the cycles that it declares."""
        self._strike = strike
        self._open: Final[dict[int, set[ProtocolSpec]]] = {}
        self._acts: Final[dict[type[Message], Callable[[Peer, Message], None]]] = {}
        self._blocks: Final[dict[bytes, Block]] = {}
        self.main: list[Block] = []
        self.follow_forge()
        self.on(GetHeaders, self.answer_headers)
        self.on(GetBlocks, self.answer_blocks)
        self.on(GetBlockTransactions, self.answer_block_transactions)
        self.on(GetRelayTransactions, self.answer_transactions)

    def handlers(self) -> Iterable[Handler]:
        """For its peer layer."""
        return [_Mouth(self, protocol) for protocol in self.protocols]

    def follow_forge(self) -> None:
        """Serve the chain that the forge has now; blocks of earlier ones too."""
        self.main = self.forge.blocks()
        self._blocks.update((block.hash, block) for block in self.main)

    def on(self, kind: type[M], act: Callable[[Peer, M], None]) -> None:
        """What is done when such a message comes; in the place of what was done before."""
        self._acts[kind] = act  # type: ignore[assignment]

    # --- events ---

    def opened(self, peer: Peer, protocol: ProtocolSpec) -> None:
        self.peers[peer.session_id] = peer
        is_open = self._open.setdefault(peer.session_id, set())
        is_open.add(protocol)
        if len(is_open) == len(self.protocols) and self._strike is not None:
            self.has_struck = True
            self._strike(self, peer)

    def closed(self, peer: Peer, protocol: ProtocolSpec) -> None:
        self._open.get(peer.session_id, set()).discard(protocol)
        self.peers.pop(peer.session_id, None)

    def received(self, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
        try:
            message = _UNIONS[protocol].parse(payload, compatible=True)
        except MoleculeError:
            return
        self.got.append((peer.session_id, message))
        act = self._acts.get(type(message))
        if act is not None:
            act(peer, message)

    def count(self, kind: type[Message]) -> int:
        """Messages of a kind that have come."""
        return sum(isinstance(message, kind) for _, message in self.got)

    # --- saying ---

    def say(self, peer: Peer, message: Message) -> None:
        """Send a message on its protocol."""
        protocol = _SPOKEN_ON[type(message)]
        peer.send(protocol, _UNIONS[protocol].pack(message))

    def say_later(self, delay: float, peer: Peer, message: Message) -> None:
        self.clock.call_later(delay, lambda: self.say(peer, message))

    def announce(self, peer: Peer, block: Block) -> None:
        """A compact block with its cellbase."""
        self.say(peer, compact(block))

    # --- honest answers ---

    def headers_after(self, locator: Sequence[bytes]) -> list[Header]:
        """Up to 2,000 headers after the first hash of a locator that is in its chain."""
        heights = {block.hash: block.number for block in self.main}
        start = next((heights[each] for each in locator if each in heights), 0)
        return [block.header for block in self.main[start + 1 : start + 1 + MAX_HEADERS]]

    def answer_headers(self, peer: Peer, message: GetHeaders) -> None:
        self.say(peer, SendHeaders(headers=self.headers_after(message.block_locator_hashes)))

    def answer_blocks(self, peer: Peer, message: GetBlocks) -> None:
        for each in message.block_hashes:
            block = self._blocks.get(bytes(each))
            if block is not None:
                self.say(peer, SendBlock(block=block))

    def answer_block_transactions(self, peer: Peer, message: GetBlockTransactions) -> None:
        block = self._blocks.get(bytes(message.block_hash))
        if block is not None:
            self.say(
                peer,
                BlockTransactions(
                    block_hash=message.block_hash,
                    transactions=[block.transactions[index] for index in message.indexes],
                    uncles=[block.uncles[index] for index in message.uncle_indexes],
                ),
            )

    def answer_transactions(self, peer: Peer, message: GetRelayTransactions) -> None:
        known = (self.transactions.get(bytes(each)) for each in message.tx_hashes)
        entries = [RelayTransaction(cycles=each[1], transaction=each[0]) for each in known if each is not None]
        if entries:
            self.say(peer, RelayTransactions(transactions=entries))

    def know(self, block: Block) -> Block:
        """Answer questions for this block too."""
        self._blocks[block.hash] = block
        return block


class _Mouth:
    """One protocol of an impostor. Satisfies network.peer.Handler."""

    def __init__(self, impostor: Impostor, protocol: ProtocolSpec) -> None:
        self._impostor, self._protocol = impostor, protocol

    @property
    def protocol(self) -> ProtocolSpec:
        return self._protocol

    def opened(self, peer: Peer) -> None:
        self._impostor.opened(peer, self._protocol)

    def received(self, peer: Peer, payload: bytes) -> None:
        self._impostor.received(peer, self._protocol, payload)

    def closed(self, peer: Peer) -> None:
        self._impostor.closed(peer, self._protocol)


def compact(block: Block, prefilled: Sequence[int] = (0,)) -> CompactBlock:
    """The compact form, with some of its transactions whole."""
    return CompactBlock(
        header=block.header,
        short_ids=[each.short_id for at, each in enumerate(block.transactions) if at not in prefilled],
        prefilled_transactions=[IndexTransaction(index=at, transaction=block.transactions[at]) for at in prefilled],
        uncles=[uncle.hash for uncle in block.uncles],
        proposals=block.proposals,
        extension=block.extension,
    )


def locator(*hashes: bytes) -> GetHeaders:
    return GetHeaders(hash_stop=ZERO_HASH, block_locator_hashes=list(hashes))
