"""Secio: the handshake that proves keys and agrees on ciphers, and the sealed frames behind it.

Both sides act alike and at once. Each sends three frames: Propose, Exchange, and the other's random bytes as the first
sealed frame. From then on each frame is one plaintext under an AEAD cipher. There is no RFC of it; the reference is the
crate tentacle-secio.
"""

from network.ckb_wire.secio.channel import FRAME_OVERHEAD, MAX_FRAME, MAX_PLAINTEXT, SecureChannel
from network.ckb_wire.secio.errors import BadFrame, HandshakeError, HandshakeFault, SecioError
from network.ckb_wire.secio.handshake import MAX_HANDSHAKE_FRAME, SecioHandshake
from network.ckb_wire.secio.suites import DEFAULT_OFFERS, Offers, Suite

__all__ = [
    "DEFAULT_OFFERS",
    "FRAME_OVERHEAD",
    "MAX_FRAME",
    "MAX_HANDSHAKE_FRAME",
    "MAX_PLAINTEXT",
    "BadFrame",
    "HandshakeError",
    "HandshakeFault",
    "Offers",
    "SecioError",
    "SecioHandshake",
    "SecureChannel",
    "Suite",
]
