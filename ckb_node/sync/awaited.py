"""Protocols of the chain that are open and not served yet: what comes is counted and left, but for one question.

Peers keep a session only when Sync is open in it, and a peer that gets no answer about headers leaves. So we say what
is true of this node today: it has no headers to give.
"""

from __future__ import annotations

from collections.abc import Sequence

from ckb_node.sync.peers import SyncPeer
from consensus.errors import MoleculeError
from consensus.types.blockchain import Block
from network.limits import FILTER, LIGHT_CLIENT, RELAY, SYNC, ProtocolSpec
from network.messages.protocols import SYNC_MESSAGE, GetBlocks, GetHeaders, SendHeaders
from network.peer import Handler, Peer
from network.peers.penalties import Misbehaviour, apply_penalty


class AwaitedProtocol:
    """Satisfies network.peer.Handler. Open, and that is all."""

    def __init__(self, protocol: ProtocolSpec) -> None:
        self._protocol = protocol

    @property
    def protocol(self) -> ProtocolSpec:
        return self._protocol

    def opened(self, peer: Peer) -> None:
        """Nothing is said."""

    def received(self, peer: Peer, payload: bytes) -> None:
        """Nobody reads it yet."""

    def closed(self, peer: Peer) -> None:
        """Nothing is kept."""


class AwaitedSync(AwaitedProtocol):
    """Sync, as far as peers want an answer to stay."""

    def __init__(self) -> None:
        super().__init__(SYNC)

    def received(self, peer: Peer, payload: bytes) -> None:
        try:
            message = SYNC_MESSAGE.parse(payload, compatible=True)
        except MoleculeError:
            apply_penalty(peer, Misbehaviour.SYNC_UNDECODABLE)
            return
        if isinstance(message, GetHeaders):
            peer.send(SYNC, SYNC_MESSAGE.pack(SendHeaders(headers=[])))


class AwaitedBlocks:
    """Satisfies Blocks and BlockAnswers of ckb_node.sync.sync_protocol."""

    def received_block(self, peer: SyncPeer, block: Block, size: int) -> None:
        """Nobody asked for it."""

    def received_get_blocks(self, peer: SyncPeer, message: GetBlocks) -> None:
        """Nobody answers yet."""

    def closed(self, peer: SyncPeer) -> None:
        """Nothing is kept."""


def awaited_protocols() -> Sequence[Handler]:
    """Those that nobody serves yet."""
    return [AwaitedSync(), *(AwaitedProtocol(each) for each in (RELAY, LIGHT_CLIENT, FILTER))]
