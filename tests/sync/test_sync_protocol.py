"""The protocol Sync: what is decoded, what is not, and who gets it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ckb_node.sync.peers import SyncPeer, SyncPeers
from ckb_node.sync.sync_protocol import SyncProtocol
from consensus.codec.molecule import pack_parts
from consensus.types.blockchain import Block, Header
from network.limits import SYNC
from network.messages.protocols import SYNC_MESSAGE, GetBlocks, GetHeaders, InIBD, SendBlock, SendHeaders
from network.peer import Direction
from tests.support.chains.unchecked import block, cellbase, header, output, transaction
from tests.support.network.peers import FakePeer

HEADER = header(number=7)
BLOCK = block(HEADER, [cellbase(7)])


class Notes:
    """All that a protocol can hand on to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.sizes: list[int] = []
        self.peers: set[int] = set()
        self.max_size = 10_000
        self.is_waiting = True
        self.awaited: list[bytes] = []

    def opened(self, peer: SyncPeer) -> None:
        self.calls.append(("opened", peer.session_id))
        self.peers.add(peer.session_id)

    def closed(self, peer: SyncPeer) -> None:
        self.calls.append(("closed", peer.session_id))

    def received_get_headers(self, peer: SyncPeer, message: GetHeaders) -> None:
        self.calls.append(("get headers", list(message.block_locator_hashes)))

    def received_headers(self, peer: SyncPeer, headers: Sequence[Header]) -> None:
        self.calls.append(("headers", list(headers)))

    def received_in_ibd(self, peer: SyncPeer) -> None:
        self.calls.append(("in ibd", None))

    def awaits(self, peer: SyncPeer, block_hash: bytes) -> bool:
        self.awaited.append(block_hash)
        return self.is_waiting

    def received_block(self, peer: SyncPeer, block: Block, size: int) -> None:
        self.calls.append(("block", block.raw))
        self.sizes.append(size)

    def received_get_blocks(self, peer: SyncPeer, message: GetBlocks) -> None:
        self.calls.append(("get blocks", list(message.block_hashes)))


class Case:
    def __init__(self) -> None:
        self.notes, self.peers = Notes(), SyncPeers()
        self.protocol = SyncProtocol(self.peers, self.notes, self.notes, self.notes)
        self.peer = FakePeer(1, direction=Direction.OUTBOUND).connect(self.protocol)
        self.notes.calls.clear()

    def receive(self, payload: bytes) -> list[tuple[str, object]]:
        self.protocol.received(self.peer, payload)
        taken, self.notes.calls = self.notes.calls, []
        return taken


GENESIS_HASH = bytes(range(32))


@pytest.mark.parametrize(
    ("payload", "call"),
    [
        # PROTOCOL vectors, without the length and the flag byte
        (bytes.fromhex("0800000004000000"), ("in ibd", None)),
        (bytes.fromhex("010000000c0000000800000000000000"), ("headers", [])),
        (
            bytes.fromhex("00000000500000000c0000002c000000") + bytes(32) + bytes.fromhex("01000000") + GENESIS_HASH,
            ("get headers", [GENESIS_HASH]),
        ),
        (
            bytes.fromhex("020000002c0000000800000001000000") + b"\x11" * 32,
            ("get blocks", [b"\x11" * 32]),
        ),
        (SYNC_MESSAGE.pack(SendHeaders(headers=[HEADER])), ("headers", [HEADER])),
        (SYNC_MESSAGE.pack(SendBlock(block=BLOCK)), ("block", BLOCK.raw)),
        (
            SYNC_MESSAGE.pack(SendBlock(block=BLOCK.replace(extension=b"e"))),
            ("block", BLOCK.replace(extension=b"e").raw),
        ),
    ],
)
def test_messages_reach_who_answers_them(payload: bytes, call: tuple[str, object]) -> None:
    case = Case()
    assert case.receive(payload) == [call]
    assert not case.peer.has_ended


def test_a_block_is_not_kept_with_its_message() -> None:
    case = Case()
    payload = SYNC_MESSAGE.pack(SendBlock(block=BLOCK))
    case.receive(payload)
    assert case.notes.sizes == [len(payload)]


def test_of_a_block_that_nobody_asked_for_only_the_header_is_read() -> None:
    case = Case()
    case.notes.is_waiting = False
    for payload in (SYNC_MESSAGE.pack(SendBlock(block=BLOCK)), send_block(BLOCK.raw[:-1])):
        assert case.receive(payload) == []
    assert case.notes.awaited == [BLOCK.hash] * 2
    assert not case.peer.has_ended


def test_a_block_that_is_too_large_is_not_read() -> None:
    case = Case()
    payload = SYNC_MESSAGE.pack(SendBlock(block=BLOCK))
    case.notes.max_size = len(payload) - 13
    assert case.receive(payload) == []
    assert case.peer.banned is not None
    assert case.peer.banned[1].startswith("400")


def test_of_too_many_headers_one_more_than_allowed_is_read() -> None:
    case = Case()
    (call,) = case.receive(SYNC_MESSAGE.pack(SendHeaders(headers=[HEADER] * 5000)))
    assert call == ("headers", [HEADER] * 2001)


def with_more_fields(raw: bytes, *fields: bytes) -> bytes:
    """A table with fields that nobody knows."""
    starts = [int.from_bytes(raw[at : at + 4], "little") for at in range(4, int.from_bytes(raw[4:8], "little"), 4)]
    parts = [raw[a:b] for a, b in zip(starts, [*starts[1:], len(raw)], strict=True)]
    return pack_parts([*parts, *fields])


def send_block(raw: bytes, *fields: bytes) -> bytes:
    return (3).to_bytes(4, "little") + pack_parts([raw, *fields])


@pytest.mark.parametrize(
    "payload",
    [
        b"\x00",
        bytes.fromhex("04000000") + InIBD().raw,  # ids that are no more
        bytes.fromhex("09000000") + InIBD().raw,
        bytes.fromhex("08000000") + with_more_fields(SendHeaders(headers=[]).raw),
        bytes.fromhex("01000000") + with_more_fields(SendHeaders(headers=[]).raw, b"more"),
        SYNC_MESSAGE.pack(SendHeaders(headers=[HEADER]))[:-1],
        send_block(BLOCK.raw, b"more"),
        send_block(with_more_fields(BLOCK.raw, b"\x01\x00\x00\x00e", b"more")),
        send_block(with_more_fields(BLOCK.raw, b"\x02\x00\x00\x00e")),  # an extension that is no Bytes
        send_block(BLOCK.raw[:-1]),
        send_block(b""),
    ],
)
def test_what_cannot_be_decoded_is_banned_for(payload: bytes) -> None:
    case = Case()
    assert case.receive(payload) == []
    assert case.peer.banned is not None
    assert case.peer.banned[0] == 300
    assert case.peer.banned[1].startswith("sync: undecodable message")


def test_a_block_with_an_output_without_data_is_malformed() -> None:
    case = Case()
    bad = block(HEADER, [cellbase(7), transaction(outputs=[output(1)], outputs_data=[])])
    assert case.receive(SYNC_MESSAGE.pack(SendBlock(block=bad))) == []
    assert case.peer.banned is not None
    assert case.peer.banned[1].startswith("400")


def test_peers_come_and_go() -> None:
    case = Case()
    other = FakePeer(2).connect(case.protocol)
    assert case.notes.calls == [("opened", other.session_id)]
    case.notes.calls.clear()
    case.protocol.closed(other)
    assert case.notes.calls == [("closed", other.session_id)] * 3  # each of the three
    assert len(case.peers) == 1
    case.protocol.closed(other)
    case.notes.calls.clear()
    case.protocol.received(other, SYNC_MESSAGE.pack(InIBD()))
    assert case.notes.calls == []
    assert case.protocol.protocol is SYNC


@pytest.mark.parametrize(
    "tail", [b"", b"\x01\x00\x00", b"\x01\x00\x00\x00", b"\x01\x00\x00\x00" + bytes(207), bytes(5)]
)
def test_headers_that_are_no_whole_headers(tail: bytes) -> None:
    case = Case()
    payload = b"".join(each.to_bytes(4, "little") for each in (1, 8 + len(tail), 8)) + tail
    assert case.receive(payload) == []
    assert case.peer.banned is not None
