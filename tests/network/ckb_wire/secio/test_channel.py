"""Sealed frames: what one side seals only the other opens, once, whole and in order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.ckb_wire.secio import FRAME_OVERHEAD, MAX_FRAME, MAX_PLAINTEXT, BadFrame, SecureChannel
from network.ckb_wire.secio.suites import CIPHERS
from tests.support.fuzz import examples

KEY_A, KEY_B = b"a" * 32, b"b" * 32
REMOTE = b"\x02" + bytes(32)
SIZES = [0, 1, 15, 16, 17, 1000, 65536, 300_000]

Open = Callable[[SecureChannel, bytes], bytes]


def channels(cipher: str) -> tuple[SecureChannel, SecureChannel]:
    kind = CIPHERS[cipher]
    a, b = kind.make(KEY_A[: kind.key_size]), kind.make(KEY_B[: kind.key_size])
    return SecureChannel(REMOTE, a, b), SecureChannel(REMOTE, b, a)


def open_plain(channel: SecureChannel, frame: bytes) -> bytes:
    return channel.open(memoryview(frame)[4:])


def open_into(channel: SecureChannel, frame: bytes) -> bytes:
    out = bytearray(len(frame))
    size = channel.open_into(memoryview(frame)[4:], memoryview(out))
    assert not any(out[size:])
    return bytes(out[:size])


BOTH_WAYS = pytest.mark.parametrize("opened", [open_plain, open_into])
EACH_CIPHER = pytest.mark.parametrize("cipher", list(CIPHERS))


@EACH_CIPHER
@BOTH_WAYS
def test_frames_of_all_sizes_go_both_ways(cipher: str, opened: Open) -> None:
    a, b = channels(cipher)
    for size in SIZES:
        text = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
        for sender, receiver in ((a, b), (b, a)):
            frame = sender.seal(text)
            assert len(frame) == size + FRAME_OVERHEAD
            assert int.from_bytes(frame[:4], "big") == size + 16
            assert opened(receiver, frame) == text


@EACH_CIPHER
def test_both_ways_of_sealing_write_the_same(cipher: str) -> None:
    (a, _), (same, _) = channels(cipher), channels(cipher)
    for size in SIZES:
        text = b"x" * size
        out = bytearray(size + FRAME_OVERHEAD + 3)
        written = a.seal_into(text, memoryview(out))
        assert out[:written] == same.seal(bytearray(text))
        assert out[written:] == bytes(3)


def test_the_nonce_counts_frames_from_one_in_little_endian() -> None:
    a, _ = channels("CHACHA20_POLY1305")
    aead = CIPHERS["CHACHA20_POLY1305"].make(KEY_A)
    for count in range(1, 300):
        nonce = count.to_bytes(2, "little") + bytes(10)
        assert a.seal(b"text")[4:] == aead.encrypt(nonce, b"text", None)


@EACH_CIPHER
@BOTH_WAYS
def test_a_frame_that_is_left_out_or_repeated_ends_it(cipher: str, opened: Open) -> None:
    for good, bad in (([], 1), ([0], 0), ([0], 2), ([0, 1], 0)):
        a, b = channels(cipher)
        frames = [a.seal(bytes([number])) for number in range(3)]
        for number in good:
            assert opened(b, frames[number]) == bytes([number])
        with pytest.raises(BadFrame):
            opened(b, frames[bad])
    a, _ = channels(cipher)
    with pytest.raises(BadFrame):
        opened(a, a.seal(b"sent back"))  # each direction has a key of its own


@EACH_CIPHER
@BOTH_WAYS
def test_a_change_of_any_bit_is_found(cipher: str, opened: Open) -> None:
    a, _ = channels(cipher)
    frame = a.seal(b"some text")
    for bit in range(8 * 4, 8 * len(frame)):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        _, receiver = channels(cipher)
        with pytest.raises(BadFrame) as caught:
            opened(receiver, bytes(changed))
        assert caught.value.size == len(frame) - 4


@EACH_CIPHER
@BOTH_WAYS
def test_a_cut_or_lengthened_frame_is_refused(cipher: str, opened: Open) -> None:
    a, _ = channels(cipher)
    frame = a.seal(b"some text")
    for body in [*(frame[:end] for end in range(4, len(frame))), frame + b"\0", b"\0" * 4]:
        _, receiver = channels(cipher)
        with pytest.raises(BadFrame):
            opened(receiver, body)


@settings(max_examples=examples(100))
@given(st.binary(max_size=100), st.sampled_from(list(CIPHERS)))
def test_garbage_is_refused(garbage: bytes, cipher: str) -> None:
    for opened in (open_plain, open_into):
        with pytest.raises(BadFrame):
            opened(channels(cipher)[0], bytes(4) + garbage)


def test_a_plaintext_above_the_limit_is_not_sealed_and_costs_no_nonce() -> None:
    a, b = channels("AES-128-GCM")
    too_long = bytes(MAX_PLAINTEXT + 1)
    with pytest.raises(ValueError, match="of at most"):
        a.seal(too_long)
    with pytest.raises(ValueError, match="of at most"):
        a.seal_into(too_long, memoryview(bytearray(len(too_long) + FRAME_OVERHEAD)))
    frame = a.seal(too_long[:-1])
    assert len(frame) - 4 == MAX_FRAME
    assert open_plain(b, frame) == too_long[:-1]
