"""An account's key, the hash that its lock has as argument, and the public root of the addresses derived from it."""

from __future__ import annotations

import hmac
import secrets
from typing import Final, NamedTuple

from coincurve import PrivateKey

from ckb_node.accounts.errors import BadKeyError
from consensus.address import SIGHASH_CODE_HASH
from consensus.crypto.hashing import ckb_hash
from consensus.types.blockchain import HASH_TYPE_TYPE, Script

SECRET_SIZE: Final = 32
CHAIN_CODE_SIZE: Final = 32
LOCK_ARG_SIZE: Final = 20

ROOT_PATH: Final = "m/44'/309'/0'"
_ROOT: Final = (44, 309, 0)
_HARDENED: Final = 1 << 31
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of the group of secp256k1."""


class AccountKey(NamedTuple):
    """A private key, and the chain code that BIP 32 derives others with."""

    secret: bytes
    chain_code: bytes

    @property
    def public(self) -> bytes:
        """33 bytes. Raises BadKeyError."""
        return _public(self.secret)

    @property
    def lock_arg(self) -> bytes:
        """The account's identity: what its lock has as argument."""
        return ckb_hash(self.public)[:LOCK_ARG_SIZE]


class PublicRoot(NamedTuple):
    """What ckb-cli derives receiving and change addresses from; it spends nothing."""

    public: bytes
    chain_code: bytes


def new_key() -> AccountKey:
    """A random one."""
    while True:
        secret = secrets.token_bytes(SECRET_SIZE)
        if is_secret(secret):
            return AccountKey(secret, secrets.token_bytes(CHAIN_CODE_SIZE))


def key_of_secret(secret: bytes) -> AccountKey:
    """A key that came without a chain code gets a random one. Raises BadKeyError."""
    if not is_secret(secret):
        raise BadKeyError
    return AccountKey(secret, secrets.token_bytes(CHAIN_CODE_SIZE))


def is_secret(secret: bytes) -> bool:
    """32 bytes that secp256k1 has a public key for."""
    return len(secret) == SECRET_SIZE and 0 < int.from_bytes(secret, "big") < _ORDER


def lock_of(lock_arg: bytes) -> Script:
    """The default lock (RFC 24) of an account."""
    return Script(code_hash=SIGHASH_CODE_HASH, hash_type=HASH_TYPE_TYPE, args=lock_arg)


def public_root(key: AccountKey) -> PublicRoot:
    """The public half of the key at m/44'/309'/0' (BIP 32, BIP 44)."""
    for index in _ROOT:
        key = hardened_child(key, index)
    return PublicRoot(key.public, key.chain_code)


def hardened_child(key: AccountKey, index: int) -> AccountKey:
    """Child `index`' of a key (BIP 32). BadKeyError in one of 2¹²⁷ cases."""
    data = b"\0" + key.secret + (_HARDENED + index).to_bytes(4, "big")
    digest = hmac.digest(key.chain_code, data, "sha512")
    tweak = int.from_bytes(digest[:32], "big")
    secret = (tweak + int.from_bytes(key.secret, "big")) % _ORDER
    if tweak >= _ORDER or secret == 0:
        raise BadKeyError
    return AccountKey(secret.to_bytes(SECRET_SIZE, "big"), digest[32:])


def _public(secret: bytes) -> bytes:
    if not is_secret(secret):
        raise BadKeyError
    public: bytes = PrivateKey(secret).public_key.format()
    return public
