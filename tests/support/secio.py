"""Two sides of a secio handshake in one process: reproducible keys and random bytes, and a wire between them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from network.ckb_wire.secio import DEFAULT_OFFERS, Offers, SecioHandshake, SecureChannel
from network.identity import Identity


def identity(number: int) -> Identity:
    """Always the same key for a number."""
    return Identity(sha256(b"a secret for tests %d" % number).digest())


def seeded_entropy(seed: int) -> Callable[[int], bytes]:
    """Bytes that look random and are always the same for a seed, on each version of Python."""
    count = 0

    def entropy(size: int) -> bytes:
        nonlocal count
        data = b""
        while len(data) < size:
            count += 1
            data += sha256(b"%d/%d" % (seed, count)).digest()
        return data[:size]

    return entropy


def side(
    number: int, seed: int = 0, offers: Offers = DEFAULT_OFFERS, expected_peer: str | None = None
) -> SecioHandshake:
    """A side with the key and the random bytes of its number; another seed gives other random bytes."""
    entropy = seeded_entropy(1000 * seed + number)
    return SecioHandshake(identity(number), entropy=entropy, offers=offers, expected_peer=expected_peer)


def shake_hands(a: SecioHandshake, b: SecioHandshake) -> tuple[SecureChannel, SecureChannel]:
    """Carries bytes between two sides until both are done."""
    while not (a.is_done and b.is_done):
        for sender, receiver in ((a, b), (b, a)):
            if data := sender.data_to_send():
                receiver.receive(data)
    return a.channel(), b.channel()
