"""Sealed frames: u32 length, big endian, then ciphertext and tag. The nonce is a count of frames in each direction."""

from __future__ import annotations

from typing import Final, Protocol

from cryptography.exceptions import InvalidTag

from network.ckb_wire.secio.errors import BadFrame
from network.framing import LENGTH_SIZE

__all__ = ["FRAME_OVERHEAD", "MAX_FRAME", "MAX_PLAINTEXT", "Aead", "SecureChannel"]

TAG_SIZE: Final = 16
NONCE_SIZE: Final = 12
MAX_FRAME: Final = 8 << 20
"""Bytes behind a length, tag included; the reference accepts and sends no more."""
MAX_PLAINTEXT: Final = MAX_FRAME - TAG_SIZE
FRAME_OVERHEAD: Final = LENGTH_SIZE + TAG_SIZE
"""Bytes that a frame has more than its plaintext."""

Buffer = bytes | bytearray | memoryview


class Aead(Protocol):
    """What AESGCM and ChaCha20Poly1305 of `cryptography` have in common."""

    def encrypt(self, nonce: bytes, data: Buffer, associated_data: None, /) -> bytes: ...
    def encrypt_into(self, nonce: bytes, data: Buffer, associated_data: None, buf: Buffer, /) -> int: ...
    def decrypt(self, nonce: bytes, data: Buffer, associated_data: None, /) -> bytes: ...
    def decrypt_into(self, nonce: bytes, data: Buffer, associated_data: None, buf: Buffer, /) -> int: ...


class SecureChannel:
    """Both directions of a connection after the handshake. Frames are to be written, and opened, in order."""

    frame_overhead: Final = FRAME_OVERHEAD

    __slots__ = ("_opened", "_opener", "_sealed", "_sealer", "remote_public_key")

    def __init__(self, remote_public_key: bytes, sealer: Aead, opener: Aead) -> None:
        self.remote_public_key: Final = remote_public_key
        """Compressed, 33 bytes; the peer has proven to have its secret."""
        self._sealer: Final = sealer
        self._opener: Final = opener
        self._sealed = self._opened = 0

    def seal(self, plaintext: Buffer) -> bytes:
        """A whole frame with its length. ValueError above MAX_PLAINTEXT. `seal_into` is cheaper from a few kB on."""
        _verify_size(plaintext)
        self._sealed += 1
        body = self._sealer.encrypt(self._sealed.to_bytes(NONCE_SIZE, "little"), plaintext, None)
        return len(body).to_bytes(LENGTH_SIZE, "big") + body

    def seal_into(self, plaintext: Buffer, out: memoryview) -> int:
        """Writes a whole frame to the beginning of `out`; gives its size, FRAME_OVERHEAD more than the plaintext's."""
        _verify_size(plaintext)
        size = len(plaintext) + TAG_SIZE
        self._sealed += 1
        nonce = self._sealed.to_bytes(NONCE_SIZE, "little")
        self._sealer.encrypt_into(nonce, plaintext, None, out[LENGTH_SIZE : LENGTH_SIZE + size])
        out[:LENGTH_SIZE] = size.to_bytes(LENGTH_SIZE, "big")
        return LENGTH_SIZE + size

    def open(self, frame: Buffer) -> bytes:
        """The plaintext of a frame that comes without its length. BadFrame: the connection is over."""
        self._opened += 1
        try:
            return self._opener.decrypt(self._opened.to_bytes(NONCE_SIZE, "little"), frame, None)
        except InvalidTag:
            raise BadFrame(len(frame)) from None

    def open_into(self, frame: Buffer, out: memoryview) -> int:
        """Writes the plaintext to the beginning of `out`, which must not overlap the frame; gives its size.

        BadFrame: the connection is over, and what `out` holds then is not the peer's.
        """
        size = len(frame) - TAG_SIZE
        if size < 0:
            raise BadFrame(len(frame))
        self._opened += 1
        try:
            return self._opener.decrypt_into(self._opened.to_bytes(NONCE_SIZE, "little"), frame, None, out[:size])
        except InvalidTag:
            raise BadFrame(len(frame)) from None


def _verify_size(plaintext: Buffer) -> None:
    if len(plaintext) > MAX_PLAINTEXT:
        raise ValueError(f"a plaintext of {len(plaintext)} bytes, of at most {MAX_PLAINTEXT}")
