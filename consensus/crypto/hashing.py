"""blake2b-256 with CKB's personalisation: the only hash of the protocol besides Eaglesong (RFC 22)."""

from hashlib import blake2b

HASH_SIZE = 32
ZERO_HASH = bytes(HASH_SIZE)
PERSONAL = b"ckb-default-hash"

# Copying a prepared state is faster than the constructor: hashing is on every path of the node.
_PREPARED = blake2b(digest_size=HASH_SIZE, person=PERSONAL)


def ckb_hash(data: bytes) -> bytes:
    """32-byte digest of `data`."""
    state = _PREPARED.copy()
    state.update(data)
    return state.digest()


def ckb_hash_concat(*parts: bytes) -> bytes:
    """32-byte digest of the parts put end to end."""
    state = _PREPARED.copy()
    for part in parts:
        state.update(part)
    return state.digest()


def blake160(data: bytes) -> bytes:
    """First 20 bytes of the digest: how the system locks name a public key."""
    return ckb_hash(data)[:20]


def data_hash(data: bytes) -> bytes:
    """Hash of a cell's data; empty data has the zero hash, not the hash of the empty string."""
    return ckb_hash(data) if data else ZERO_HASH
