"""The handshake between two honest sides: every suite, both orders, every cut, and the bytes of the wire."""

from __future__ import annotations

from hashlib import sha256
from itertools import product

import pytest

from network.ckb_wire.secio import DEFAULT_OFFERS, Offers, SecioHandshake, SecureChannel, Suite
from network.ckb_wire.secio.handshake import RANDOM_SIZE, _Agreement
from network.ckb_wire.secio.messages import Propose
from network.ckb_wire.secio.suites import CIPHERS, EXCHANGES, HASHES
from network.identity import peer_id_of
from tests.support.secio import identity, seeded_entropy, shake_hands, side

SUITES = [Suite(*names) for names in product(EXCHANGES, CIPHERS, HASHES)]


def is_first(a: SecioHandshake, b: SecioHandshake) -> bool:
    """Whether the lists of `a` go first, computed from the Proposes of both. Takes what they have to send."""
    mine, theirs = (Propose.parse(each.data_to_send()[4:]) for each in (a, b))
    oh1 = sha256(theirs.pubkey[8:] + mine.rand).digest()
    oh2 = sha256(mine.pubkey[8:] + theirs.rand).digest()
    return oh1 > oh2


def seed_where(first: bool) -> int:
    """A seed for which the order of sides 1 and 2 is as wanted."""
    return next(seed for seed in range(64) if is_first(side(1, seed), side(2, seed)) is first)


def test_a_propose_has_the_references_bytes() -> None:
    handshake = SecioHandshake(identity(1), entropy=bytes)
    sent = handshake.data_to_send()
    assert sent == bytes.fromhex(
        "000000ad" + "ad000000" + "18000000" + "2c000000" + "59000000" + "6f000000" + "9c000000"
        "10000000" + "00" * 16 + "29000000" + "00000000" + "21000000" + identity(1).public_key.hex() + "12000000"
    ) + (
        b"P-256,P-384,X25519"
        + bytes.fromhex("29000000")
        + b"AES-128-GCM,AES-256-GCM,CHACHA20_POLY1305"
        + bytes.fromhex("0d000000")
        + b"SHA256,SHA512"
    )
    assert len(sent) == 4 + 173
    assert handshake.data_to_send() == b""


@pytest.mark.parametrize("suite", SUITES, ids=str)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("forced_by", [1, 2])
def test_each_suite_in_both_orders_whoever_forces_it(suite: Suite, first: bool, forced_by: int) -> None:
    seed = seed_where(first)
    only = Offers((suite.exchange,), (suite.cipher,), (suite.hash,))
    offers = {1: DEFAULT_OFFERS, 2: DEFAULT_OFFERS} | {forced_by: only}
    a, b = side(1, seed, offers[1]), side(2, seed, offers[2])
    channel_a, channel_b = shake_hands(a, b)
    assert a.suite == b.suite == suite
    assert channel_a.remote_public_key == identity(2).public_key
    assert channel_b.remote_public_key == identity(1).public_key
    for number in range(3):
        text = b"message %d" % number
        assert channel_b.open(channel_a.seal(text)[4:]) == text
        assert channel_a.open(channel_b.seal(text)[4:]) == text
    assert a.rest() == b.rest() == a.early_data() == b.early_data() == b""


@pytest.mark.parametrize("first", [True, False])
def test_the_order_of_hashes_decides_whose_lists_go_first(first: bool) -> None:
    seed = seed_where(first)
    backwards = Offers(*(tuple(reversed(names)) for names in (tuple(EXCHANGES), tuple(CIPHERS), tuple(HASHES))))
    a, b = side(1, seed), side(2, seed, backwards)
    shake_hands(a, b)
    expected = ("P-256", "AES-128-GCM", "SHA256") if first else ("X25519", "CHACHA20_POLY1305", "SHA512")
    assert a.suite == b.suite == Suite(*expected)


def test_the_dialled_peer_is_recognised() -> None:
    a, b = side(1, expected_peer=identity(2).peer_id), side(2)
    channel, _ = shake_hands(a, b)
    assert peer_id_of(channel.remote_public_key) == identity(2).peer_id


def transcript(suite: Suite) -> tuple[bytes, bytes]:
    """All that side 1 and side 2 send, and a message of side 2 behind its handshake."""
    a, b = side(1, offers=Offers((suite.exchange,), (suite.cipher,), (suite.hash,))), side(2)
    sent = {a: b"", b: b""}
    while not (a.is_done and b.is_done):
        for sender, receiver in ((a, b), (b, a)):
            data = sender.data_to_send()
            sent[sender] += data
            if data:
                receiver.receive(data)
    return sent[a], sent[b] + b.channel().seal(b"behind")


@pytest.mark.parametrize("exchange", list(EXCHANGES))
def test_the_stream_may_be_cut_at_every_byte(exchange: str) -> None:
    suite = Suite(exchange, "AES-128-GCM", "SHA256")
    ours, theirs = transcript(suite)
    handshake_size = len(theirs) - 4 - 16 - len(b"behind")
    for cut in range(handshake_size):
        a = side(1, offers=Offers((exchange,), ("AES-128-GCM",), ("SHA256",)))
        sent = a.data_to_send()
        a.receive(theirs[:cut])
        was_done = a.is_done
        a.receive(memoryview(theirs)[cut:])
        assert not was_done
        assert a.is_done
        assert sent + a.data_to_send() == ours
        assert a.channel().open(a.rest()[4:]) == b"behind"


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_few_bytes_at_a_time(step: int) -> None:
    suite = Suite("P-384", "CHACHA20_POLY1305", "SHA512")
    ours, theirs = transcript(suite)
    a = side(1, offers=Offers(("P-384",), ("CHACHA20_POLY1305",), ("SHA512",)))
    sent, at = a.data_to_send(), 0
    while not a.is_done:
        a.receive(bytearray(theirs[at : at + step]))
        sent, at = sent + a.data_to_send(), at + step
    rest = a.rest() + theirs[at:]
    assert sent == ours
    assert a.channel().open(rest[4:]) == b"behind"


def test_before_the_end_there_is_no_channel_and_behind_it_no_more_input() -> None:
    a, b = side(1), side(2)
    with pytest.raises(RuntimeError, match="not done"):
        a.channel()
    shake_hands(a, b)
    with pytest.raises(RuntimeError, match="is done"):
        a.receive(b"more")


class Piecewise(SecioHandshake):
    """Returns our random bytes in frames of one byte, and sends data in the last of them."""

    def _seal_random(self, agreement: _Agreement, channel: SecureChannel) -> bytes:
        *pieces, last = (bytes([byte]) for byte in agreement.remote_random)
        return b"".join(map(channel.seal, [*pieces, last + b"early"]))


def test_random_bytes_may_come_in_pieces_and_with_data_behind_them() -> None:
    a, b = side(1), Piecewise(identity(2), entropy=seeded_entropy(2))
    channel_a, channel_b = shake_hands(a, b)
    assert a.early_data() == b"early"
    assert channel_a.open(channel_b.seal(b"next")[4:]) == b"next"


@pytest.mark.parametrize("size", [1, 15, 17, 1000])
def test_random_bytes_of_any_length_are_returned_whole(size: int) -> None:
    entropy = seeded_entropy(2)
    odd = SecioHandshake(identity(2), entropy=lambda wanted: entropy(size if wanted == RANDOM_SIZE else wanted))
    a = side(1)
    odd.receive(a.data_to_send())
    a.receive(odd.data_to_send())
    odd.receive(a.data_to_send())
    a.receive(odd.data_to_send())
    assert a.is_done
    returned = odd._plaintext  # of the frame that it was given last
    assert returned == Propose.parse(odd._propose).rand
    assert len(returned) == size


def test_a_peer_without_random_bytes_gets_no_sealed_frame() -> None:
    entropy = seeded_entropy(2)
    odd = SecioHandshake(identity(2), entropy=lambda wanted: b"" if wanted == RANDOM_SIZE else entropy(wanted))
    a = side(1)
    odd.receive(a.data_to_send())
    a.receive(odd.data_to_send())
    odd.receive(a.data_to_send())
    a.receive(odd.data_to_send())
    assert a.is_done
    assert a.data_to_send() == b""
