"""Keys that live for one handshake. Each gives its public half, and the secret that it shares with a peer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from network.ckb_wire.secio.errors import HandshakeError, HandshakeFault

__all__ = ["EphemeralKey", "NistKey", "X25519Key"]

X25519_SIZE: Final = 32
UNCOMPRESSED: Final = 4
"""The first byte of an uncompressed point (SEC 1, 2.3.3)."""
EXTRA: Final = 8
"""Random bytes beyond a curve's size, so that the remainder of a division by its order has no bias worth a name."""
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P384_ORDER: Final = (1 << 384) - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D


class EphemeralKey(Protocol):
    """A secret key of one handshake."""

    @property
    def public_bytes(self) -> bytes:
        """As it is sent to the peer."""

    def agree(self, remote: bytes) -> bytes:
        """The shared secret. HandshakeError BAD_EPHEMERAL_KEY unless `remote` is a good key of the same curve."""


class X25519Key:
    """RFC 7748: 32 bytes each way."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._key: Final = X25519PrivateKey.from_private_bytes(entropy(X25519_SIZE))

    @property
    def public_bytes(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def agree(self, remote: bytes) -> bytes:
        if len(remote) != X25519_SIZE:
            raise _bad(f"{len(remote)} bytes for X25519")
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(remote))
        except ValueError:  # a point of small order: the secret would be zero, whatever our key is
            raise _bad("an X25519 point of small order") from None


class NistKey:
    """ECDH on P-256 or P-384: an uncompressed point each way, the secret is the x coordinate in the curve's size."""

    def __init__(self, curve: ec.EllipticCurve, order: int, entropy: Callable[[int], bytes]) -> None:
        self._curve: Final = curve
        self._size: Final = curve.key_size // 8
        number = int.from_bytes(entropy(self._size + EXTRA), "big") % (order - 1) + 1
        self._key: Final = ec.derive_private_key(number, curve)

    @classmethod
    def p256(cls, entropy: Callable[[int], bytes]) -> NistKey:
        return cls(ec.SECP256R1(), P256_ORDER, entropy)

    @classmethod
    def p384(cls, entropy: Callable[[int], bytes]) -> NistKey:
        return cls(ec.SECP384R1(), P384_ORDER, entropy)

    @property
    def public_bytes(self) -> bytes:
        point = self._key.public_key().public_numbers()
        return bytes([UNCOMPRESSED]) + point.x.to_bytes(self._size, "big") + point.y.to_bytes(self._size, "big")

    def agree(self, remote: bytes) -> bytes:
        if len(remote) != 1 + 2 * self._size or remote[0] != UNCOMPRESSED:
            raise _bad(f"{len(remote)} bytes that are no uncompressed point of {self._curve.name}")
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, remote)
        except ValueError:
            raise _bad(f"not on {self._curve.name}") from None
        return self._key.exchange(ec.ECDH(), point)


def _bad(detail: str) -> HandshakeError:
    return HandshakeError(HandshakeFault.BAD_EPHEMERAL_KEY, detail)
