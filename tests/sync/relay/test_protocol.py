"""The relay protocol: what is read at all, how fast, and what is punished."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ckb_node.chain.initial_download import InitialDownload
from ckb_node.sync.relay.status import RelayStatus
from consensus.codec.layout import U32
from consensus.codec.molecule import Composite, pack_parts
from network.limits import RELAY
from network.messages.protocols import (
    RELAY_MESSAGE,
    BlockProposal,
    BlockTransactions,
    GetBlockProposal,
    GetBlockTransactions,
    GetRelayTransactions,
    RelayTransactionHashes,
    RelayTransactions,
)
from storage.errors import StorageClosed
from tests.sync.relay.kit import Case, ban_of, compact, messages, story

HASH = b"\x11" * 32

OF_TRANSACTIONS: list[Composite] = [
    RelayTransactions(transactions=[]),
    RelayTransactionHashes(tx_hashes=[HASH]),
    GetRelayTransactions(tx_hashes=[HASH]),
    GetBlockProposal(block_hash=HASH, proposals=[]),
    BlockProposal(transactions=[]),
]
COUNTED = [
    *OF_TRANSACTIONS,
    GetBlockTransactions(block_hash=HASH, indexes=[], uncle_indexes=[]),
    BlockTransactions(block_hash=HASH, transactions=[], uncles=[]),
]


def test_it_is_the_relay_protocol() -> None:
    assert Case().protocol.protocol is RELAY


@pytest.mark.parametrize("message", OF_TRANSACTIONS, ids=lambda message: type(message).__name__)
def test_messages_of_transactions_are_handed_on(message: Composite) -> None:
    case = Case()
    case.protocol.received(case.peer(), RELAY_MESSAGE.pack(message))
    assert case.transactions.received == [message]
    assert case.protocol.counts == {type(message).__name__: 1}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff" * 3,
        b"\xff" * 40,
        U32.pack(8) + pack_parts([]),
        U32.pack(2) + pack_parts([U32.pack(0), b"more"]),
        RELAY_MESSAGE.pack(RelayTransactionHashes(tx_hashes=[HASH])) + b"\0",
        RELAY_MESSAGE.pack(RelayTransactionHashes(tx_hashes=[HASH]))[:-1],
    ],
)
def test_what_cannot_be_decoded_is_punished(payload: bytes) -> None:
    case = Case()
    peer = case.peer()
    case.protocol.received(peer, payload)
    assert ban_of(peer) == "relay"
    assert case.protocol.counts == {"Undecodable": 1}


def parts_of(message: Composite) -> list[bytes]:
    """The fields of a table."""
    raw = message.raw
    head = U32.unpack_from(raw, 4)[0] // 4 - 1
    bounds = [*(U32.unpack_from(raw, 4 * (index + 1))[0] for index in range(head)), len(raw)]
    return [raw[start:end] for start, end in pairwise(bounds)]


def test_a_compact_block_may_have_one_more_field_and_no_second() -> None:
    case, block = Case(story().transfers), story().block
    base = parts_of(compact(block))
    assert len(base) == 6
    without = compact(block.replace(extension=None))
    assert len(parts_of(without)) == 5
    peer = case.peer()
    assert case.protocol.process(peer, U32.pack(0) + pack_parts(base)) is RelayStatus.OK
    other = Case(story().transfers)
    peer = other.peer()
    other.protocol.process(peer, U32.pack(0) + pack_parts([*base, U32.pack(0)]))
    assert ban_of(peer) == "relay"


def test_of_a_compact_block_that_is_here_only_the_header_is_read() -> None:
    """Eight megabytes of transactions take seconds to decode, and compressed they are a few kilobytes."""
    case, block = Case(), story().base[-1]
    peer = case.peer()
    fields = parts_of(compact(block))
    fields[2] = b"what nobody reads"
    assert case.protocol.process(peer, U32.pack(0) + pack_parts(fields)) is RelayStatus.ALREADY_STORED
    assert not peer.has_ended


@pytest.mark.parametrize("kind", [0, 5])
def test_what_is_larger_than_a_block_can_be_is_malformed_before_it_is_read(kind: int) -> None:
    case = Case()
    peer = case.peer()
    case.protocol.process(peer, U32.pack(kind) + bytes(800_000))
    assert ban_of(peer) == "400"


def test_transactions_of_a_block_that_nobody_asked_for_are_not_read() -> None:
    case = Case()
    peer = case.peer()
    payload = U32.pack(5) + pack_parts([story().block.hash, b"what nobody reads", b""])
    assert case.protocol.process(peer, payload) is RelayStatus.IGNORED
    assert not peer.has_ended


def test_the_extension_of_a_compact_block_must_be_bytes() -> None:
    """The reference panics over it (2.14, 2.18)."""
    case, block = Case(), story().block
    peer = case.peer()
    broken = [*parts_of(compact(block))[:5], U32.pack(5) + b"less"]
    case.protocol.received(peer, U32.pack(0) + pack_parts(broken))
    assert ban_of(peer) == "relay"


def test_what_is_nested_in_a_compact_block_is_decoded_strictly() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    fields = parts_of(compact(block))
    cellbase = block.transactions[0]
    more = pack_parts([cellbase.body.raw, *[parts_of(cellbase)[1]], b"more"])
    fields[2] = pack_parts([pack_parts([U32.pack(0), more])])
    case.protocol.received(peer, U32.pack(0) + pack_parts(fields))
    assert ban_of(peer) == "relay"


# ---------------------------------------------------------------- initial download


def test_nothing_is_read_during_the_initial_download() -> None:
    case, block = Case(story().transfers), story().block
    case.protocol._ibd = InitialDownload()  # type: ignore[misc]
    peer = case.peer()
    for payload in (b"\xff" * 40, RELAY_MESSAGE.pack(compact(block)), RELAY_MESSAGE.pack(OF_TRANSACTIONS[1])):
        case.protocol.received(peer, payload)
    case.run()
    assert not peer.has_ended
    assert case.transactions.received == []
    assert case.chain.taken == []


def test_a_flood_of_compact_blocks_during_the_initial_download_leaves_nothing() -> None:
    """It filled the reference's memory once (ckb 729)."""
    case, block = Case(), story().block
    case.protocol._ibd = InitialDownload()  # type: ignore[misc]
    peer = case.peer()
    for number in range(300):
        header = block.header.with_fields(nonce=number)
        case.protocol.received(peer, RELAY_MESSAGE.pack(compact(block).replace(header=header)))
    assert case.relay.pending_count == 0
    assert case.scheduler.waiting == 0


# ---------------------------------------------------------------- rates


@pytest.mark.parametrize("message", COUNTED, ids=lambda message: type(message).__name__)
def test_thirty_of_a_kind_at_once_and_thirty_a_second(message: Composite) -> None:
    case = Case()
    peer = case.peer()
    statuses = [case.say(peer, message) for _ in range(32)]
    assert statuses[30:] == [RelayStatus.TOO_MANY_REQUESTS] * 2
    assert RelayStatus.TOO_MANY_REQUESTS not in statuses[:30]
    assert case.protocol.counts["TooMany"] == 2
    case.scheduler.advance(1 / 30 + 0.001)
    assert case.say(peer, message) is not RelayStatus.TOO_MANY_REQUESTS
    assert case.say(peer, message) is RelayStatus.TOO_MANY_REQUESTS
    assert not peer.has_ended


def test_each_kind_and_each_peer_has_a_rate_of_its_own() -> None:
    case = Case()
    first, second = case.peer(1), case.peer(2)
    for _ in range(31):
        case.say(first, OF_TRANSACTIONS[1])
    assert case.say(first, OF_TRANSACTIONS[2]) is RelayStatus.OK
    assert case.say(second, OF_TRANSACTIONS[1]) is RelayStatus.OK


def test_what_is_too_much_is_not_decoded() -> None:
    case = Case()
    peer = case.peer()
    for _ in range(30):
        case.say(peer, OF_TRANSACTIONS[1])
    assert case.protocol.process(peer, U32.pack(2) + b"nothing") is RelayStatus.TOO_MANY_REQUESTS
    assert not peer.has_ended


def test_compact_blocks_are_not_counted() -> None:
    case, block = Case(), story().base[-1]
    peer = case.peer()
    assert {case.say(peer, compact(block)) for _ in range(100)} == {RelayStatus.ALREADY_STORED}


# ---------------------------------------------------------------- faults


def test_a_fault_of_the_store_costs_the_peer_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case()
    peer = case.peer()

    def broken() -> None:
        raise StorageClosed("chain", "it is closed")

    monkeypatch.setattr(case.chain, "view", broken)
    assert case.say(peer, compact(story().block)) is RelayStatus.IGNORED
    assert not peer.has_ended


def test_nothing_is_kept_of_a_peer_that_has_left() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    case.say(peer, compact(block))
    case.say(peer, OF_TRANSACTIONS[1])
    messages(peer)
    case.protocol.closed(peer)
    assert case.protocol._allowances == {}
    assert case.relay.pending_count == 0
    assert case.transactions.left == [peer.session_id] * 2, "of transactions and of proposals"
    case.chain.process(block)
    assert messages(peer) == []
