"""Block filters (RFC 45): which scripts a block touches, as a Golomb-coded set after BIP 158, for light clients.

Elements are the hashes of lock and type scripts of all cells that the block makes or spends, each once. A filter is the
element count (u64, little endian), then the sorted values of the elements as differences in Golomb-Rice code, most
significant bit first, the last byte filled up with zeros. Each filter is bound to those before it by its filter hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from consensus.crypto.hashing import ckb_hash, ckb_hash_concat
from consensus.types.blockchain import NULL_OUT_POINT, Block, FlatTransaction, out_point_key

P: Final = 19
"""Bits of a difference that are written as they are; the rest is unary."""
M: Final = 784_931
"""One false match among so many."""
FILTER_KEY: Final = bytes(16)
"""Of SipHash: unlike Bitcoin's, the same for all blocks."""
COUNT_SIZE: Final = 8

_MASK: Final = (1 << 64) - 1
_WORD: Final = Struct("<Q")
_OUTPUT_PARTS: Final = Struct("<8xII")
"""Of a CellOutput: offsets of lock and type."""

ScriptHashes = tuple[bytes, ...]
"""Of one cell: the hash of its lock, and that of its type script if it has one."""


class BlockScripts(NamedTuple):
    """What a block's filter is made of: script hashes of the cells that it makes, and out points that it spends."""

    created: dict[bytes, ScriptHashes]
    spent: list[bytes]


def script_hashes(output: bytes) -> ScriptHashes:
    """Of a serialised CellOutput that passed the strict check."""
    lock_at, type_at = _OUTPUT_PARTS.unpack_from(output)
    lock_hash = ckb_hash(output[lock_at:type_at])
    return (lock_hash, ckb_hash(output[type_at:])) if type_at < len(output) else (lock_hash,)


def block_scripts(block: Block) -> BlockScripts:
    """Of a block that passed the strict molecule check; a cellbase spends nothing."""
    created: dict[bytes, ScriptHashes] = {}
    spent: list[bytes] = []
    for transaction in block.flat:
        raw, tx_hash = transaction.raw, transaction.hash
        for index, (start, end) in enumerate(transaction.shape.outputs):
            created[out_point_key(tx_hash, index)] = script_hashes(raw[start:end])
        if not _is_cellbase(transaction):
            spent += transaction.consumed
    return BlockScripts(created, spent)


def _is_cellbase(transaction: FlatTransaction) -> bool:
    """As Transaction.is_cellbase."""
    shape = transaction.shape
    return (
        shape.input_count == 1 and len(shape.witnesses) == 1 and transaction.since_and_points[1] == NULL_OUT_POINT.raw
    )


def filter_elements(scripts: BlockScripts, scripts_of: Callable[[bytes], ScriptHashes | None]) -> list[bytes]:
    """Distinct script hashes (32 bytes each), sorted.

    `scripts_of` answers for a cell that was made by an earlier block. One that it does not know is left out: no valid
    block spends such a cell, but blocks that were taken without checks may.
    """
    elements: set[bytes] = set()
    for hashes in scripts.created.values():
        elements.update(hashes)
    for out_point in scripts.spent:
        if out_point not in scripts.created:
            elements.update(scripts_of(out_point) or ())
    return sorted(elements)


def golomb_coded_set(elements: Sequence[bytes], key: bytes = FILTER_KEY) -> bytes:
    """The filter of distinct elements, in any order. `key`: 16 bytes."""
    span = len(elements) * M
    values = sorted(siphash(element, key) * span >> 64 for element in elements)
    return len(elements).to_bytes(COUNT_SIZE, "little") + _golomb_rice(values)


def _golomb_rice(values: Iterable[int]) -> bytes:
    """Ascending values as differences: quotient by 2**P in ones, a zero, remainder in P bits."""
    digits, last = [], 0
    for value in values:
        quotient, remainder = divmod(value - last, 1 << P)
        digits.append("1" * quotient + format(remainder, f"0{P + 1}b"))
        last = value
    text = "".join(digits)
    size = -(-len(text) // 8)
    return int(text.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")


def filter_hash(parent: bytes, data: bytes) -> bytes:
    """The filter hash of a block: `parent` is that of the block before it, 32 zero bytes for the genesis block."""
    return ckb_hash_concat(parent, ckb_hash(data))


@lru_cache(maxsize=1 << 16)
def siphash(data: bytes, key: bytes) -> int:
    """SipHash-2-4 of any bytes under a 16-byte key. Kept, since the same scripts come again and again."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    last = data[len(data) & ~7 :].ljust(7, b"\0") + bytes((len(data) & 0xFF,))
    for (word,) in (*_WORD.iter_unpack(data[: len(data) & ~7]), _WORD.unpack(last)):
        v3 ^= word
        v0, v1, v2, v3 = _sip_round(*_sip_round(v0, v1, v2, v3))
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(4):
        v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def _sip_round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = v0 + v1 & _MASK
    v2 = v2 + v3 & _MASK
    v1 = (v1 << 13 | v1 >> 51) & _MASK ^ v0
    v3 = (v3 << 16 | v3 >> 48) & _MASK ^ v2
    v0 = (v0 << 32 | v0 >> 32) & _MASK
    v2 = v2 + v1 & _MASK
    v0 = v0 + v3 & _MASK
    v1 = (v1 << 17 | v1 >> 47) & _MASK ^ v2
    v3 = (v3 << 21 | v3 >> 43) & _MASK ^ v0
    v2 = (v2 << 32 | v2 >> 32) & _MASK
    return v0, v1, v2, v3
