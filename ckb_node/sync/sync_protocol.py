"""The protocol Sync (100): messages are decoded, strictly, and handed to who answers them.

Of a block no more than its header is read before it is clear that it was asked for, and could be one: a few kilobytes
on the wire become eight megabytes, which take seconds to decode.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final, Protocol

from ckb_node.sync.check_data import block_is_sound
from ckb_node.sync.headers.limits import MAX_HEADERS
from ckb_node.sync.peers import SyncPeer, SyncPeers
from consensus.codec.layout import HEADER_SIZE, U32
from consensus.crypto.hashing import ckb_hash
from consensus.errors import MoleculeError
from consensus.kernels.strict import parse_block
from consensus.types.blockchain import Block, Header
from consensus.types.header_run import HeaderRun
from network.limits import SYNC, ProtocolSpec
from network.messages.protocols import SYNC_MESSAGE, GetBlocks, GetHeaders, InIBD
from network.peer import Peer
from network.peers.penalties import Misbehaviour, apply_penalty

__all__ = ["BlockAnswers", "Blocks", "Headers", "SyncProtocol"]

_SINGLE: Final = Struct("<III")
"""Of a message with one field: id of the item in the union, then of its table the size and where the field begins."""
_FIELD_AT: Final = 8
_BLOCK_AT: Final = _SINGLE.size
_HEADER_OFFSET_AT: Final = _BLOCK_AT + U32.size
"""In a SendBlock."""
_SEND_HEADERS_ID: Final = 1
_SEND_BLOCK_ID: Final = 3


class Headers(Protocol):
    """ckb_node.sync.headers.sync.HeaderSync."""

    def opened(self, peer: SyncPeer) -> None: ...

    def closed(self, peer: SyncPeer) -> None: ...

    def received_get_headers(self, peer: SyncPeer, message: GetHeaders) -> None: ...

    def received_headers(self, peer: SyncPeer, headers: Sequence[Header]) -> None: ...

    def received_in_ibd(self, peer: SyncPeer) -> None: ...


class Blocks(Protocol):
    """Who asked for the blocks that come."""

    @property
    def max_size(self) -> int:
        """Bytes that no valid block exceeds."""

    def awaits(self, peer: SyncPeer, block_hash: bytes) -> bool:
        """The peer was asked for this block, and has not given it yet."""

    def received_block(self, peer: SyncPeer, block: Block, size: int) -> None:
        """`size` in bytes, as it came."""

    def closed(self, peer: SyncPeer) -> None: ...


class BlockAnswers(Protocol):
    """Who gives blocks to peers."""

    def received_get_blocks(self, peer: SyncPeer, message: GetBlocks) -> None: ...

    def closed(self, peer: SyncPeer) -> None: ...


class SyncProtocol:
    """Satisfies network.peer.Handler."""

    def __init__(self, peers: SyncPeers, headers: Headers, blocks: Blocks, answers: BlockAnswers) -> None:
        self._peers: Final = peers
        self._headers: Final = headers
        self._blocks: Final = blocks
        self._answers: Final = answers

    @property
    def protocol(self) -> ProtocolSpec:
        return SYNC

    def opened(self, peer: Peer) -> None:
        self._headers.opened(self._peers.add(peer))

    def closed(self, peer: Peer) -> None:
        known = self._peers.get(peer.session_id)
        if known is None:
            return
        self._peers.remove(peer.session_id)
        for each in (self._headers, self._blocks, self._answers):
            each.closed(known)

    def received(self, peer: Peer, payload: bytes) -> None:
        known = self._peers.get(peer.session_id)
        if known is None:
            return
        header = header_of_block(payload)
        if header is not None and not self._is_welcome(known, header, len(payload)):
            return
        try:
            message = decode(payload)
        except MoleculeError as error:
            apply_penalty(peer, Misbehaviour.SYNC_UNDECODABLE, str(error))
            return
        match message:
            case HeaderRun():
                self._headers.received_headers(known, message)
            case Block():
                self._take_block(known, message, len(payload))
            case GetHeaders():
                self._headers.received_get_headers(known, message)
            case GetBlocks():
                self._answers.received_get_blocks(known, message)
            case InIBD():
                self._headers.received_in_ibd(known)

    def _is_welcome(self, peer: SyncPeer, header: bytes, size: int) -> bool:
        """A block that was asked for, and not too large for one."""
        if not self._blocks.awaits(peer, ckb_hash(header)):
            return False
        if size > self._blocks.max_size + _BLOCK_AT:
            apply_penalty(peer.peer, Misbehaviour.SYNC_400_MALFORMED, f"a block of {size} bytes")
            return False
        return True

    def _take_block(self, peer: SyncPeer, block: Block, size: int) -> None:
        if block_is_sound(block):
            self._blocks.received_block(peer, block, size)
        else:
            apply_penalty(peer.peer, Misbehaviour.SYNC_400_MALFORMED, "a block whose transactions are no transactions")


def header_of_block(payload: bytes) -> bytes | None:
    """The header in a SendBlock, of which nothing is checked yet; None in other messages, and where there is none."""
    if len(payload) < _HEADER_OFFSET_AT + U32.size or U32.unpack_from(payload)[0] != _SEND_BLOCK_ID:
        return None
    at = _BLOCK_AT + U32.unpack_from(payload, _HEADER_OFFSET_AT)[0]
    header = payload[at : at + HEADER_SIZE]
    return header if len(header) == HEADER_SIZE else None


def decode(payload: bytes) -> object:
    """A message of Sync; of SendBlock the block, of SendHeaders the headers, both in bytes of their own: the
    message is not kept in memory. Of too many headers one more than there may be is shown. Unknown fields are allowed
    nowhere, though the reference lets a block have them inside its parts. Raises MoleculeError."""
    if len(payload) >= _SINGLE.size:
        item_id, size, at = _SINGLE.unpack_from(payload)
        if size == len(payload) - 4 and at == _FIELD_AT:
            if item_id == _SEND_BLOCK_ID:
                return parse_block(payload[_SINGLE.size :])
            if item_id == _SEND_HEADERS_ID:
                return HeaderRun.parse(_vector_content(payload[_SINGLE.size :]))
    message: object = SYNC_MESSAGE.parse(payload)
    return message


def _vector_content(raw: bytes) -> bytes:
    """Of a strict HeaderVec. Raises MoleculeError."""
    if len(raw) < U32.size or len(raw) - U32.size != U32.unpack_from(raw)[0] * HEADER_SIZE:
        raise MoleculeError("HeaderVec", f"{len(raw)} bytes are no headers")
    return raw[U32.size : U32.size + (MAX_HEADERS + 1) * HEADER_SIZE]
