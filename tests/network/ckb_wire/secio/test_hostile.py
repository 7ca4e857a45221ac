"""Hostile peers of the handshake: what each of them does is refused for what it is, and holds no memory."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from network.ckb_wire.secio import (
    MAX_HANDSHAKE_FRAME,
    HandshakeError,
    HandshakeFault,
    Offers,
    SecioHandshake,
    SecureChannel,
)
from network.ckb_wire.secio.handshake import _Agreement
from network.ckb_wire.secio.messages import Exchange, Propose, pack_static_key
from network.framing import frame
from tests.support.fuzz import examples
from tests.support.secio import identity, seeded_entropy, shake_hands, side

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1."""
X25519_ONLY = Offers(exchanges=("X25519",))


def expect(fault: HandshakeFault, act: Callable[[], object]) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        act()
    assert caught.value.fault is fault
    return caught.value


def awaiting(number: int) -> SecioHandshake:
    """An honest side 1 that has accepted so many frames of an honest side 2."""
    a, b = side(1), side(2)
    if number >= 1:
        a.receive(b.data_to_send())
    if number >= 2:
        b.receive(a.data_to_send())
        sent = b.data_to_send()
        a.receive(sent[: 4 + int.from_bytes(sent[:4], "big")])
    return a


def propose(**changes: bytes) -> bytes:
    """The frame of side 2's Propose with some fields changed."""
    honest = Propose.parse(side(2).data_to_send()[4:])
    return frame(honest.replace(**changes).raw)


# --- frames ---


@pytest.mark.parametrize("size", [0, MAX_HANDSHAKE_FRAME + 1, 8 << 20, 0xFFFFFFFF])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_bad_length_is_refused_as_soon_as_it_is_there(size: int, number: int) -> None:
    a = awaiting(number)
    length = size.to_bytes(4, "big")
    a.receive(length[:3])
    expect(HandshakeFault.FRAME_SIZE, lambda: a.receive(length[3:]))


def test_the_longest_frame_is_awaited_and_then_no_byte_more_is_held() -> None:
    a = side(1)
    a.receive(MAX_HANDSHAKE_FRAME.to_bytes(4, "big"))
    for _ in range(MAX_HANDSHAKE_FRAME - 1):
        a.receive(b"\0")
        assert len(a._frame) <= 4 + MAX_HANDSHAKE_FRAME
    expect(HandshakeFault.MALFORMED, lambda: a.receive(bytes(1 << 20)))
    assert len(a._frame) == 0


def test_a_peer_that_stalls_at_any_byte_costs_little() -> None:
    b = side(2)
    b.receive(side(1).data_to_send())
    stream = b.data_to_send()
    for end in range(len(stream)):
        a = side(1)
        for at in range(end):
            a.receive(stream[at : at + 1])
        assert not a.is_done
        assert len(a._frame) < 200


@settings(max_examples=examples(100))
@given(st.binary(min_size=4, max_size=600))
def test_garbage_ends_in_a_fault_or_waits(garbage: bytes) -> None:
    a = side(1)
    try:
        a.receive(garbage)
    except HandshakeError as error:
        assert error.fault in (HandshakeFault.FRAME_SIZE, HandshakeFault.MALFORMED)  # noqa: PT017 - it may also wait
    assert not a.is_done


@settings(max_examples=examples(100))
@given(st.binary(min_size=1, max_size=300))
def test_garbage_in_place_of_each_frame(garbage: bytes) -> None:
    faults = (HandshakeFault.MALFORMED, HandshakeFault.MALFORMED, HandshakeFault.BAD_SEAL)
    for number, fault in enumerate(faults):
        with pytest.raises(HandshakeError) as caught:
            awaiting(number).receive(frame(garbage))
        assert caught.value.fault is fault


@settings(max_examples=examples(100))
@given(st.integers(0, 172), st.integers(1, 255))
def test_a_changed_byte_of_a_propose_never_completes_a_handshake(at: int, change: int) -> None:
    a, b = side(1), side(2)
    altered = bytearray(b.data_to_send())
    altered[4 + at] ^= change

    def go_on() -> None:
        a.receive(altered)
        b.receive(a.data_to_send())
        a.receive(b.data_to_send())

    with pytest.raises(HandshakeError):
        go_on()


# --- Propose ---


def test_a_propose_with_fields_of_the_future_is_read() -> None:
    honest = Propose.parse(side(2).data_to_send()[4:])
    fields = [honest.rand, honest.pubkey, honest.exchanges, honest.ciphers, honest.hashes, b"new"]
    packed = [len(text).to_bytes(4, "little") + text for text in fields]
    offsets, at = [], 4 * (1 + len(packed))
    for part in packed:
        offsets.append(at)
        at += len(part)
    a = side(1)
    a.receive(frame(b"".join(number.to_bytes(4, "little") for number in [at, *offsets]) + b"".join(packed)))
    assert a.suite is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"pubkey": b""},
        {"pubkey": b"\1" + pack_static_key(b"\2" * 33)[1:]},
        {"pubkey": pack_static_key(b"\2" * 33)[:-1]},
        {"pubkey": pack_static_key(b"\2" * 33) + b"\0"},
        {"exchanges": b"\xff"},
        {"ciphers": b"AES-128-GCM,\xc3"},
        {"hashes": b"\x80"},
    ],
)
def test_a_malformed_propose(changes: dict[str, bytes]) -> None:
    expect(HandshakeFault.MALFORMED, lambda: side(1).receive(propose(**changes)))


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"\2" * 32,
        b"\2" + b"\xff" * 32,
        b"\2" + bytes(32),
        b"\5" + b"\1" * 32,
        PrivateKey(b"\1" * 32).public_key.format(compressed=False),
        PrivateKey(identity(1).secret).public_key.format(compressed=False),  # our own, in another form
    ],
)
def test_a_static_key_that_is_no_compressed_point(key: bytes) -> None:
    expect(HandshakeFault.BAD_KEY, lambda: side(1).receive(propose(pubkey=pack_static_key(key))))


@pytest.mark.parametrize("name", ["exchanges", "ciphers", "hashes"])
@pytest.mark.parametrize("text", [b"", b",", b"," * 2000, b"x" * 2000, b"p-256,aes-128-gcm,sha256", b" P-256"])
def test_lists_without_a_known_name(name: str, text: bytes) -> None:
    expect(HandshakeFault.NO_COMMON_SUITE, lambda: side(1).receive(propose(**{name: text})))


def test_connect_self_is_told_when_the_propose_is_our_own_sent_back() -> None:
    a = side(1)
    sent = a.data_to_send()
    expect(HandshakeFault.CONNECT_SELF, lambda: a.receive(sent))


def test_connect_self_is_told_on_both_ends() -> None:
    out, in_ = side(1, seed=1), side(1, seed=2)
    to_in, to_out = out.data_to_send(), in_.data_to_send()
    expect(HandshakeFault.CONNECT_SELF, lambda: in_.receive(to_in))
    expect(HandshakeFault.CONNECT_SELF, lambda: out.receive(to_out))


def test_another_peer_than_the_dialled_one() -> None:
    a = side(1, expected_peer=identity(3).peer_id)
    error = expect(HandshakeFault.WRONG_PEER, lambda: a.receive(side(2).data_to_send()))
    assert identity(2).peer_id in error.detail
    assert identity(3).peer_id in error.detail
    assert a.data_to_send()[4 + 173 :] == b""  # it gets no Exchange


# --- Exchange ---


class Crooked(SecioHandshake):
    """A side that signs what it likes, as it likes."""

    public = b""
    """In place of its ephemeral key."""

    def sign(self, message: bytes) -> bytes:
        return bytes(self._identity.private_key.sign(message))

    def _exchange(self, agreement: _Agreement) -> bytes:
        public = self.public or agreement.ephemeral.public_bytes
        return Exchange(epubkey=public, signature=self.sign(self._propose + agreement.remote_propose + public)).raw


def refused_exchange(kind: type[Crooked], fault: HandshakeFault, offers: Offers = X25519_ONLY) -> None:
    a, b = side(1, offers=offers), kind(identity(2), entropy=seeded_entropy(2))
    b.receive(a.data_to_send())
    expect(fault, lambda: a.receive(b.data_to_send()))
    assert a._channel is None


def test_a_side_that_signs_as_it_should_passes() -> None:
    shake_hands(side(1), Crooked(identity(2), entropy=seeded_entropy(2)))


def test_a_signature_with_high_s() -> None:
    class HighS(Crooked):
        def sign(self, message: bytes) -> bytes:
            r, s = der_numbers(super().sign(message))
            return der(r, ORDER - s)

    refused_exchange(HighS, HandshakeFault.BAD_SIGNATURE)


def test_a_low_s_signature_encoded_by_this_test_passes() -> None:
    class SameS(Crooked):
        def sign(self, message: bytes) -> bytes:
            return der(*der_numbers(super().sign(message)))

    shake_hands(side(1), SameS(identity(2), entropy=seeded_entropy(2)))


@pytest.mark.parametrize("signature", [b"", b"\x30\x00", bytes.fromhex("3006020100020100"), b"\x30" * 80])
def test_a_signature_that_is_none(signature: bytes) -> None:
    class Blank(Crooked):
        def sign(self, message: bytes) -> bytes:
            return signature

    refused_exchange(Blank, HandshakeFault.BAD_SIGNATURE)


def test_a_signature_with_bytes_behind_it() -> None:
    class Longer(Crooked):
        def sign(self, message: bytes) -> bytes:
            return super().sign(message) + b"\0"

    refused_exchange(Longer, HandshakeFault.BAD_SIGNATURE)


def test_a_signature_by_another_key() -> None:
    class Impostor(Crooked):
        def sign(self, message: bytes) -> bytes:
            return bytes(PrivateKey(identity(3).secret).sign(message))

    refused_exchange(Impostor, HandshakeFault.BAD_SIGNATURE)


def test_a_signature_of_something_else() -> None:
    class Elsewhere(Crooked):
        def sign(self, message: bytes) -> bytes:
            return super().sign(sha256(message).digest())

    refused_exchange(Elsewhere, HandshakeFault.BAD_SIGNATURE)


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31), (2**255 - 20).to_bytes(32, "little")])
def test_a_signed_x25519_point_of_small_order(point: bytes) -> None:
    refused_exchange(type("Small", (Crooked,), {"public": point}), HandshakeFault.BAD_EPHEMERAL_KEY)


@pytest.mark.parametrize(("curve", "size"), [("P-256", 32), ("P-384", 48)])
def test_a_signed_point_off_the_curve(curve: str, size: int) -> None:
    for point in (b"\4" + b"\1" * 2 * size, b"\2" + b"\1" * size, b"\4", b"\0", b"\1" * 32):
        kind = type("Off", (Crooked,), {"public": point})
        refused_exchange(kind, HandshakeFault.BAD_EPHEMERAL_KEY, Offers(exchanges=(curve,)))


def test_an_exchange_with_the_honest_key_of_another_connection() -> None:
    """A man between A and B who swaps the ephemeral keys cannot sign for either."""
    a, b, man = side(1), side(2), side(3)
    to_b, to_a = a.data_to_send(), b.data_to_send()
    a.receive(to_a)
    b.receive(to_b)
    man.receive(to_b)
    exchange_of_b = Exchange.parse(b.data_to_send()[4:])
    exchange_of_man = Exchange.parse(man.data_to_send()[4 + 173 + 4 :])
    forged = Exchange(epubkey=exchange_of_man.epubkey, signature=exchange_of_b.signature)
    expect(HandshakeFault.BAD_SIGNATURE, lambda: a.receive(frame(forged.raw)))


# --- replays ---


def recorded(seed: int) -> bytes:
    """All that an honest side 2 sent in a handshake with side 1."""
    a, b = side(1, seed), side(2, seed)
    a.receive(stream := b.data_to_send())
    b.receive(a.data_to_send())
    return stream + b.data_to_send()


def test_a_replayed_handshake() -> None:
    a = side(1, seed=2)
    expect(HandshakeFault.BAD_SIGNATURE, lambda: a.receive(recorded(seed=1)))


def test_a_propose_in_place_of_the_exchange() -> None:
    a, stream = side(1), side(2).data_to_send()
    a.receive(stream)
    expect(HandshakeFault.BAD_SIGNATURE, lambda: a.receive(stream))


def test_our_own_exchange_sent_back() -> None:
    a, b = side(1), side(2)
    a.data_to_send()
    a.receive(b.data_to_send())
    own = a.data_to_send()
    expect(HandshakeFault.BAD_SIGNATURE, lambda: a.receive(own))


# --- sealed random bytes ---


def refused_random(seal: Callable[[SecureChannel, bytes], bytes], fault: HandshakeFault) -> None:
    class Sealer(SecioHandshake):
        def _seal_random(self, agreement: _Agreement, channel: SecureChannel) -> bytes:
            return seal(channel, agreement.remote_random)

    a, b = side(1), Sealer(identity(2), entropy=seeded_entropy(2))
    b.receive(a.data_to_send())
    a.receive(b.data_to_send())
    b.receive(a.data_to_send())
    expect(fault, lambda: a.receive(b.data_to_send()))
    assert not a.is_done


def test_other_random_bytes_than_ours() -> None:
    refused_random(lambda channel, rand: channel.seal(rand[:-1] + bytes([rand[-1] ^ 1])), HandshakeFault.WRONG_RANDOM)
    refused_random(lambda channel, rand: channel.seal(bytes([rand[0] ^ 1])), HandshakeFault.WRONG_RANDOM)


def test_empty_frames_do_not_keep_a_handshake_alive() -> None:
    refused_random(lambda channel, _: channel.seal(b""), HandshakeFault.WRONG_RANDOM)


def test_a_tampered_tag() -> None:
    def tamper(channel: SecureChannel, rand: bytes) -> bytes:
        sealed = bytearray(channel.seal(rand))
        sealed[-1] ^= 1
        return bytes(sealed)

    refused_random(tamper, HandshakeFault.BAD_SEAL)


def test_a_second_frame_in_place_of_the_first() -> None:
    def skip(channel: SecureChannel, rand: bytes) -> bytes:
        channel.seal(rand)
        return channel.seal(rand)

    refused_random(skip, HandshakeFault.BAD_SEAL)


def test_random_bytes_in_clear() -> None:
    refused_random(lambda _, rand: frame(rand), HandshakeFault.BAD_SEAL)


def der_numbers(signature: bytes) -> tuple[int, int]:
    """r and s of a DER signature."""
    size_r = signature[3]
    r = signature[4 : 4 + size_r]
    s = signature[4 + size_r + 2 :]
    return int.from_bytes(r, "big"), int.from_bytes(s, "big")


def der(r: int, s: int) -> bytes:
    parts = b"".join(b"\2" + bytes([len(data)]) + data for data in map(der_integer, (r, s)))
    return b"\x30" + bytes([len(parts)]) + parts


def der_integer(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big")
