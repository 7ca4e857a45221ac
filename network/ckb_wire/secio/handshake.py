"""The handshake of secio as a state machine: bytes in, bytes out, one frame of the peer at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256
from typing import Final

from coincurve import PublicKey

from consensus.errors import MoleculeError
from network.ckb_wire.secio.channel import SecureChannel
from network.ckb_wire.secio.ephemeral import EphemeralKey
from network.ckb_wire.secio.errors import BadFrame, HandshakeError, HandshakeFault
from network.ckb_wire.secio.key_schedule import direction_keys
from network.ckb_wire.secio.messages import Exchange, Propose, pack_static_key, parse_static_key
from network.ckb_wire.secio.suites import CIPHERS, DEFAULT_OFFERS, EXCHANGES, HASHES, Offers, Suite, choose
from network.framing import LENGTH_SIZE, frame
from network.identity import Identity, peer_id_of

__all__ = ["MAX_HANDSHAKE_FRAME", "RANDOM_SIZE", "SecioHandshake"]

MAX_HANDSHAKE_FRAME: Final = 4096
"""Bytes behind a length. The reference sends 173, at most 190, and 32, and permits 8 MiB. The lists of a Propose can
only grow by names of algorithms, of which 4 kB have room for some 200 more: no honest peer comes near it, and it is all
that a stranger can make us hold."""
RANDOM_SIZE: Final = 16
PUBLIC_KEY_SIZE: Final = 33


class _Stage(Enum):
    PROPOSE = auto()
    """The peer's Propose is awaited."""
    EXCHANGE = auto()
    RANDOM = auto()
    """The peer's first sealed frame is awaited."""
    DONE = auto()


@dataclass(frozen=True, slots=True)
class _Agreement:
    """What follows from both Proposes."""

    remote_propose: bytes
    remote_key: bytes
    remote_random: bytes
    local_first: bool
    """Our lists go first, and the first half of the keys is ours."""
    suite: Suite
    ephemeral: EphemeralKey


class SecioHandshake:
    """One side of a handshake. Feed `receive`, write what `data_to_send` gives, until `is_done`.

    After a HandshakeError the connection is over; what `data_to_send` has then need not be sent.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        entropy: Callable[[int], bytes],
        expected_peer: str | None = None,
        offers: Offers = DEFAULT_OFFERS,
    ) -> None:
        """`entropy` gives so many random bytes, of `os.urandom` but in tests: all secrets of the connection come from
        it. `expected_peer` is the peer id that was dialled."""
        self._identity: Final = identity
        self._entropy: Final = entropy
        self._expected_peer: Final = expected_peer
        self._offers: Final = offers
        self._random: Final = entropy(RANDOM_SIZE)
        self._propose: Final = Propose(
            rand=self._random,
            pubkey=pack_static_key(identity.public_key),
            exchanges=",".join(offers.exchanges).encode(),
            ciphers=",".join(offers.ciphers).encode(),
            hashes=",".join(offers.hashes).encode(),
        ).raw
        self._to_send = frame(self._propose)
        self._stage = _Stage.PROPOSE
        self._frame = bytearray()
        """The unfinished frame of the peer, from its length on."""
        self._wanted = LENGTH_SIZE
        """How long `_frame` is to become before it is looked at again."""
        self._agreement: _Agreement | None = None
        self._channel: SecureChannel | None = None
        self._plaintext = b""
        self._rest = b""

    def data_to_send(self) -> bytes:
        """What is to be written now; the first call gives the Propose, b"" is nothing."""
        data, self._to_send = self._to_send, b""
        return data

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """The peer's next bytes, cut anywhere. HandshakeError."""
        if self.is_done:
            raise RuntimeError("the handshake is done; what comes now is the channel's")
        rest = memoryview(data)
        while rest and not self.is_done:
            rest = self._collect(rest)
        self._rest = bytes(rest)

    @property
    def is_done(self) -> bool:
        """The peer has proven its key and that it reads what we seal."""
        return self._stage is _Stage.DONE

    def channel(self) -> SecureChannel:
        """The sealed connection, once the handshake is done."""
        if self._channel is None or not self.is_done:
            raise RuntimeError("the handshake is not done")
        return self._channel

    @property
    def suite(self) -> Suite | None:
        """What both sides agreed on; None before the peer's Propose."""
        return self._agreement.suite if self._agreement else None

    def early_data(self) -> bytes:
        """Plaintext that stood behind our random bytes in the frame that brought them: the first that the channel
        carries. The reference sends none, others may gather."""
        return self._plaintext[RANDOM_SIZE:]

    def rest(self) -> bytes:
        """What `receive` was given behind the handshake: sealed frames, to be cut and opened by the channel's owner."""
        return self._rest

    def _collect(self, data: memoryview) -> memoryview:
        """Takes what the next step needs, and no more; gives the rest."""
        taken = data[: self._wanted - len(self._frame)]
        self._frame += taken
        if len(self._frame) == self._wanted:
            self._step()
        return data[len(taken) :]

    def _step(self) -> None:
        if self._wanted == LENGTH_SIZE:
            size = int.from_bytes(self._frame, "big")
            if not 0 < size <= MAX_HANDSHAKE_FRAME:
                raise HandshakeError(HandshakeFault.FRAME_SIZE, f"a frame of {size} bytes")
            self._wanted += size
            return
        body = bytes(self._frame[LENGTH_SIZE:])
        self._frame.clear()
        self._wanted = LENGTH_SIZE
        self._accept(body)

    def _accept(self, body: bytes) -> None:
        if self._stage is _Stage.PROPOSE:
            self._agreement = self._accept_propose(body)
            self._to_send += frame(self._exchange(self._agreement))
            self._stage = _Stage.EXCHANGE
        elif self._stage is _Stage.EXCHANGE and self._agreement:
            self._channel = self._accept_exchange(body, self._agreement)
            self._to_send += self._seal_random(self._agreement, self._channel)
            self._stage = _Stage.RANDOM
        elif self._channel:
            self._accept_random(body, self._channel)

    def _accept_propose(self, body: bytes) -> _Agreement:
        try:
            propose = Propose.parse(body, compatible=True)
            remote_key = parse_static_key(propose.pubkey)
            offers = Offers(_names(propose.exchanges), _names(propose.ciphers), _names(propose.hashes))
        except (MoleculeError, UnicodeDecodeError):
            raise HandshakeError(HandshakeFault.MALFORMED, "the Propose cannot be decoded") from None
        self._verify_static_key(remote_key)
        ours = sha256(remote_key + self._random).digest()
        theirs = sha256(self._identity.public_key + propose.rand).digest()
        local_first = ours > theirs  # equal only for equal keys, which are refused
        suite = choose(self._offers, offers) if local_first else choose(offers, self._offers)
        ephemeral = EXCHANGES[suite.exchange](self._entropy)
        return _Agreement(body, remote_key, propose.rand, local_first, suite, ephemeral)

    def _verify_static_key(self, remote_key: bytes) -> None:
        if remote_key == self._identity.public_key:
            raise HandshakeError(HandshakeFault.CONNECT_SELF, "the other end is this node")
        if not _is_compressed_key(remote_key):
            raise HandshakeError(HandshakeFault.BAD_KEY, "not a compressed secp256k1 key")
        if self._expected_peer is not None and self._expected_peer != peer_id_of(remote_key):
            detail = f"{peer_id_of(remote_key)} instead of {self._expected_peer}"
            raise HandshakeError(HandshakeFault.WRONG_PEER, detail)

    def _exchange(self, agreement: _Agreement) -> bytes:
        public = agreement.ephemeral.public_bytes
        signed = self._propose + agreement.remote_propose + public
        return Exchange(epubkey=public, signature=self._identity.private_key.sign(signed)).raw

    def _accept_exchange(self, body: bytes, agreement: _Agreement) -> SecureChannel:
        try:
            exchange = Exchange.parse(body, compatible=True)
        except MoleculeError:
            raise HandshakeError(HandshakeFault.MALFORMED, "the Exchange cannot be decoded") from None
        signed = agreement.remote_propose + self._propose + exchange.epubkey
        if not _is_signed(signed, exchange.signature, agreement.remote_key):
            raise HandshakeError(HandshakeFault.BAD_SIGNATURE, "the peer has not proven its key")
        secret = agreement.ephemeral.agree(exchange.epubkey)
        cipher, hash_name = CIPHERS[agreement.suite.cipher], HASHES[agreement.suite.hash]
        keys = direction_keys(secret, hash_name, cipher.key_size, local_first=agreement.local_first)
        return SecureChannel(agreement.remote_key, cipher.make(keys.local), cipher.make(keys.remote))

    def _seal_random(self, agreement: _Agreement, channel: SecureChannel) -> bytes:
        if not agreement.remote_random:  # a peer that sent none waits for none, and takes an empty frame for the end
            return b""
        return channel.seal(agreement.remote_random)

    def _accept_random(self, body: bytes, channel: SecureChannel) -> None:
        try:
            plaintext = channel.open(body)
        except BadFrame as error:
            raise HandshakeError(HandshakeFault.BAD_SEAL, str(error)) from None
        self._plaintext += plaintext
        returned = self._plaintext[:RANDOM_SIZE]
        if not plaintext or not self._random.startswith(returned):
            raise HandshakeError(HandshakeFault.WRONG_RANDOM, "the first sealed bytes are not our random ones")
        if len(returned) == RANDOM_SIZE:
            self._stage = _Stage.DONE


def _names(text: bytes) -> tuple[str, ...]:
    return tuple(text.decode().split(","))


def _is_compressed_key(data: bytes) -> bool:
    try:
        PublicKey(data)
    except ValueError:
        return False
    return len(data) == PUBLIC_KEY_SIZE


def _is_signed(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Strict DER, low S, over the message's SHA-256."""
    try:
        return bool(PublicKey(public_key).verify(signature, message))
    except ValueError:
        return False
