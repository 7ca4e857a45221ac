"""What ends a secio connection. None of them can be recovered from: the connection is over."""

from __future__ import annotations

from enum import Enum


class HandshakeFault(Enum):
    """Why a handshake failed; the value is a label of metrics."""

    FRAME_SIZE = "frame-size"
    """A frame longer than any honest handshake has, or empty."""
    MALFORMED = "malformed"
    """A message that cannot be decoded."""
    CONNECT_SELF = "connect-self"
    """The other end has our own key: the address is one of our own."""
    BAD_KEY = "bad-key"
    """The peer's static key is not a compressed point of secp256k1."""
    WRONG_PEER = "wrong-peer"
    """The peer is not the one that was dialled."""
    NO_COMMON_SUITE = "no-common-suite"
    """No key exchange, cipher or hash that both sides know."""
    BAD_SIGNATURE = "bad-signature"
    """The peer has not proven its key; also what a replayed handshake comes to."""
    BAD_EPHEMERAL_KEY = "bad-ephemeral-key"
    """Not a point of the curve, or one that makes the secret known to everyone."""
    BAD_SEAL = "bad-seal"
    """A sealed frame that the agreed key does not open."""
    WRONG_RANDOM = "wrong-random"
    """The first sealed frame is not our random bytes."""


class SecioError(Exception):
    """Root of the errors of secio."""


class HandshakeError(SecioError):
    """The handshake failed. `detail` is for people; it holds nothing that the peer could word."""

    def __init__(self, fault: HandshakeFault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault, self.detail = fault, detail


class BadFrame(SecioError):  # noqa: N818 - the condition is its name, as in network.framing
    """A sealed frame was changed, cut, repeated or left out on its way; `size` in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a sealed frame of {size} bytes cannot be opened")
        self.size = size
