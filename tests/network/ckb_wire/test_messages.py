"""Messages on a protocol's stream: any split, flag byte, limits, and what an unfinished one costs."""

from __future__ import annotations

import random

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.ckb_wire.events import ProtocolFault
from network.ckb_wire.messages import BrokenMessage, MessageReader, message_frame
from network.framing import frame
from network.limits import ALERT, DISCOVERY, FILTER, PING, RELAY, SYNC, TIME, ProtocolSpec
from network.peer import MessageTooLarge

COMPRESSIBLE = b"a block of transactions " * 4000
NOISE = random.Random(3).randbytes(100_000)


def encoded(protocol: ProtocolSpec, *payloads: bytes) -> bytes:
    return b"".join(part for payload in payloads for part in message_frame(protocol, payload))


def feed(reader: MessageReader, stream: bytes, step: int) -> None:
    for at in range(0, len(stream), step):
        reader.feed(stream, at, min(at + step, len(stream)))


def read(protocol: ProtocolSpec, stream: bytes, step: int) -> list[bytes]:
    found: list[bytes] = []
    reader = MessageReader(protocol, found.append)
    feed(reader, stream, step)
    assert not reader.is_inside
    assert reader.held_bytes == 0
    return found


# --- sending ---


def test_without_flag_byte_a_message_is_its_length_and_payload() -> None:
    assert encoded(PING, b"ping") == b"\0\0\0\4ping"


def test_with_flag_byte_a_short_message_has_a_zero_before_it() -> None:
    assert encoded(SYNC, b"sync") == b"\0\0\0\5\0sync"


def test_long_messages_are_compressed_where_that_helps() -> None:
    assert len(encoded(SYNC, COMPRESSIBLE)) < len(COMPRESSIBLE) // 5
    assert encoded(SYNC, COMPRESSIBLE)[4] == 0x80
    assert encoded(SYNC, NOISE) == (len(NOISE) + 1).to_bytes(4, "big") + b"\0" + NOISE


def test_filters_are_never_compressed() -> None:
    assert encoded(FILTER, COMPRESSIBLE)[4] == 0


def test_a_message_above_the_limit_is_not_sent() -> None:
    assert len(encoded(PING, bytes(1024))) == 1028
    with pytest.raises(MessageTooLarge) as caught:
        message_frame(PING, bytes(1025))
    assert caught.value.size == 1025
    noise = random.Random(4).randbytes(ALERT.max_frame)
    assert len(encoded(ALERT, noise[1:])) == ALERT.max_frame + 4
    with pytest.raises(MessageTooLarge):
        message_frame(ALERT, noise)
    assert message_frame(SYNC, bytes(SYNC.max_frame * 2)), "what counts is the size on the wire"


@pytest.mark.parametrize("protocol", [SYNC, TIME, ALERT, FILTER])
def test_what_becomes_too_large_by_decompression_is_neither_sent_nor_read(protocol: ProtocolSpec) -> None:
    """Where messages are decoded whole, they may not become twenty times as large as a frame."""
    for size, is_fine in ((protocol.max_unpacked, True), (protocol.max_unpacked + 1, False)):
        packed = bytes([0x80]) + bytes(cramjam.snappy.compress_raw(bytes(size)))
        reader = MessageReader(protocol, lambda _: None)
        stream = frame(packed)
        if is_fine:
            reader.feed(stream, 0, len(stream))
            continue
        with pytest.raises(BrokenMessage) as caught:
            reader.feed(stream, 0, len(stream))
        assert caught.value.fault is ProtocolFault.BAD_COMPRESSION
    with pytest.raises(MessageTooLarge):
        message_frame(protocol, bytes(protocol.max_unpacked + 1))


def test_an_empty_message_with_flag_byte_is_not_sent() -> None:
    with pytest.raises(ValueError, match="empty message"):
        message_frame(SYNC, b"")


# --- receiving ---


@settings(deadline=None)
@given(
    st.sampled_from([PING, DISCOVERY, SYNC, RELAY]),
    st.lists(st.binary(min_size=1, max_size=900), max_size=8),
    st.integers(1, 60),
)
def test_however_a_stream_is_cut_the_messages_are_the_same(
    protocol: ProtocolSpec, payloads: list[bytes], step: int
) -> None:
    assert read(protocol, encoded(protocol, *payloads), step) == payloads


@pytest.mark.parametrize("step", [1, 7, 4095, 4096, 65536, 10**7])
def test_long_messages_however_they_are_cut(step: int) -> None:
    payloads = [COMPRESSIBLE, b"short", NOISE, NOISE[:5000], COMPRESSIBLE]
    assert read(SYNC, encoded(SYNC, *payloads), step) == payloads


def test_an_empty_message_is_one_where_no_flag_byte_is() -> None:
    assert read(PING, frame(b"") * 2, 3) == [b"", b""]


def test_the_other_bits_of_the_flag_byte_are_ignored() -> None:
    assert read(SYNC, frame(b"\x7fpayload"), 100) == [b"payload"]
    compressed = b"".join(message_frame(SYNC, COMPRESSIBLE))
    assert read(SYNC, compressed[:4] + b"\xff" + compressed[5:], 5000) == [COMPRESSIBLE]


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    ("protocol", "stream", "fault"),
    [
        (PING, (1025).to_bytes(4, "big"), ProtocolFault.TOO_LARGE),
        (PING, b"\xff\xff\xff\xff", ProtocolFault.TOO_LARGE),
        (SYNC, (SYNC.max_frame + 1).to_bytes(4, "big") + b"\0", ProtocolFault.TOO_LARGE),
        (SYNC, frame(b"") + b"\0", ProtocolFault.TOO_SHORT),
        (SYNC, frame(b"\0"), ProtocolFault.TOO_SHORT),
        (SYNC, frame(b"\x80"), ProtocolFault.TOO_SHORT),
        (SYNC, frame(b"\x80\xff\xff\xff\x7f"), ProtocolFault.BAD_COMPRESSION),
        (SYNC, frame(b"\x80garbage"), ProtocolFault.BAD_COMPRESSION),
    ],
)
def test_broken_streams(protocol: ProtocolSpec, stream: bytes, fault: ProtocolFault, step: int) -> None:
    found: list[bytes] = []
    reader = MessageReader(protocol, found.append)
    whole = encoded(protocol, b"whole") + stream
    with pytest.raises(BrokenMessage) as caught:
        feed(reader, whole, step)
    assert (caught.value.fault, found) == (fault, [b"whole"])


def test_an_unfinished_message_takes_no_memory_that_has_not_come() -> None:
    reader = MessageReader(RELAY, lambda _: None)
    reader.feed((4 << 20).to_bytes(4, "big") + b"\0", 0, 5)
    assert (reader.is_inside, reader.held_bytes) == (True, 0)


def test_a_small_piece_does_not_keep_all_that_it_came_in() -> None:
    reader = MessageReader(RELAY, lambda _: None)
    large = (1 << 20).to_bytes(4, "big") + bytes(8 << 20)
    reader.feed(large, 0, 5000)
    reader.feed(large, 0, 5000)
    assert all(type(piece) is bytearray for piece in reader._pieces)
    assert len(reader._pieces) == 1


def test_a_message_of_single_bytes_is_kept_in_one_piece() -> None:
    found: list[bytes] = []
    reader = MessageReader(RELAY, found.append)
    stream = encoded(RELAY, NOISE)
    for at in range(len(stream) - 1):
        reader.feed(stream, at, at + 1)
    assert len(reader._pieces) == 1
    reader.feed(stream, len(stream) - 1, len(stream))
    assert found == [NOISE]
