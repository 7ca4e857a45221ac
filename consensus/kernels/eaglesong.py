"""Eaglesong by generated code: digests, the work of many headers, the search for a nonce.

`consensus.crypto.eaglesong` and `consensus.rules.pow` say in plain Python what is computed here. Threads may call
everything: each has an instance of its own (half a megabyte). Long batches and searches let other threads run
meanwhile.
"""

from collections.abc import Sequence
from typing import Final

from consensus.codec.layout import HEADER_SIZE
from consensus.crypto.difficulty import U256_MAX
from consensus.crypto.eaglesong import RATE_WORDS, padded
from consensus.crypto.hashing import HASH_SIZE
from consensus.kernels.eaglesong_code import (
    CODE_DIGEST,
    MAX_HEADERS,
    MESSAGE_BYTES,
    NONCE_SIZE,
    Layout,
    generate_eaglesong,
)
from consensus.kernels.runtime import Instance, Kernel, KernelLengthError

SEARCHED_NONCES: Final = 1 << 18
"""What a call of `search` does by default: some 80 ms."""
MAX_SEARCHED_NONCES: Final = 1 << 24

_BRIEF_HEADERS: Final = 256  # 0.2 ms
_RATE_BYTES: Final = 4 * RATE_WORDS
_STATE_BYTES: Final = Layout.MIDSTATE - Layout.STATE
_NO_STATE: Final = bytes(_STATE_BYTES)
_MASK64: Final = (1 << 64) - 1
_TAIL_AT: Final = 8


class _Eaglesong:
    """A thread's instance."""

    def __init__(self, instance: Instance) -> None:
        self._memory = instance.memory
        self._absorb = instance.function("absorb", 1, is_brief=True)
        self._check_few = instance.function("check", 2, is_brief=True)
        self._check_many = instance.function("check", 2, is_brief=False)
        self._search = instance.function("search", 3, is_brief=False)
        self._search_tail = instance.function("search_tail", 3, is_brief=False)

    def digest(self, message: bytes) -> bytes:
        memory, blocks = self._memory, padded(message)
        memory[Layout.STATE : Layout.STATE + _STATE_BYTES] = _NO_STATE
        for start in range(0, len(blocks), MESSAGE_BYTES):
            part = blocks[start : start + MESSAGE_BYTES]
            memory[Layout.INPUT : Layout.INPUT + len(part)] = part
            self._absorb(len(part) // _RATE_BYTES)
        # Lane 0 of the first eight vectors.
        words = memory[Layout.STATE : Layout.STATE + _STATE_BYTES // 2].cast("I")[::4]
        return bytes(words)

    def check(self, headers: bytes, count: int, is_blake2b: bool) -> int:
        self._memory[Layout.INPUT : Layout.INPUT + len(headers)] = headers
        call = self._check_few if count <= _BRIEF_HEADERS else self._check_many
        return call(count, is_blake2b)

    def search(self, work: bytes, target: bytes, low: int, count: int, is_blake2b: bool) -> int:
        self._put(work, target)
        return self._search(low, count, is_blake2b)

    def search_tail(self, work: bytes, target: bytes, low: int, count: int, is_blake2b: bool) -> int:
        self._put(work, target)
        return self._search_tail(low, count, is_blake2b)

    def _put(self, work: bytes, target: bytes) -> None:
        self._memory[Layout.WORK : Layout.WORK + len(work)] = work
        self._memory[Layout.TARGET : Layout.TARGET + len(target)] = target


KERNEL: Final = Kernel("eaglesong", CODE_DIGEST, generate_eaglesong, _Eaglesong)


def eaglesong(message: bytes) -> bytes:
    """32-byte Eaglesong digest (RFC 10) of a message of any length."""
    return KERNEL.here().digest(message)


def has_work(header: bytes, is_blake2b: bool) -> bool:
    """A header (208 bytes) meets its own compact target. `is_blake2b`: by the digest's blake2b hash, as on testnet.

    Raises KernelLengthError.
    """
    if len(header) != HEADER_SIZE:
        raise KernelLengthError("a header", f"{HEADER_SIZE} bytes", len(header))
    return KERNEL.here().check(header, 1, is_blake2b) == 1


def first_without_work(headers: Sequence[bytes], is_blake2b: bool) -> int | None:
    """Index of the first of some headers (208 bytes each) for which `has_work` is false. Raises KernelLengthError."""
    for header in headers:
        if len(header) != HEADER_SIZE:
            raise KernelLengthError("a header", f"{HEADER_SIZE} bytes", len(header))
    kernel = KERNEL.here()
    for start in range(0, len(headers), MAX_HEADERS):
        part = headers[start : start + MAX_HEADERS]
        index = kernel.check(b"".join(part), len(part), is_blake2b)
        if index < len(part):
            return start + index
    return None


def search(
    pow_hash: bytes, target: int, start: int, count: int = SEARCHED_NONCES, *, is_blake2b: bool = False
) -> int | None:
    """The first of `count` nonces from `start` on whose digest does not exceed the target (none for target 0).

    The upper 64 bits of `start` stay, the lower ones wrap around. Raises KernelLengthError, also for
    numbers that do not fit: nonce of 128 bits, target of 256, at most 2²⁴ nonces.
    """
    _check_search(pow_hash, target, count)
    if not 0 <= start < 1 << 128:
        raise KernelLengthError("a nonce", "128 bits", start.bit_length())
    if count == 0:
        return None
    low = start & _MASK64
    work = pow_hash + start.to_bytes(NONCE_SIZE, "little")
    offset = KERNEL.here().search(work, target.to_bytes(HASH_SIZE, "big"), low, count, is_blake2b)
    return None if offset == count else start - low + (low + offset & _MASK64)


def search_tail(
    pow_hash: bytes, target: int, nonce: bytes, count: int = SEARCHED_NONCES, *, is_blake2b: bool = False
) -> bytes | None:
    """The same for nonces as the 16 bytes that are hashed: from `nonce` on, its last 8 bytes count up as one big-endian
    number, which wraps around, and the first 8 stay. Raises KernelLengthError.
    """
    _check_search(pow_hash, target, count)
    if len(nonce) != NONCE_SIZE:
        raise KernelLengthError("a nonce", f"{NONCE_SIZE} bytes", len(nonce))
    if count == 0:
        return None
    head, low = nonce[:_TAIL_AT], int.from_bytes(nonce[_TAIL_AT:], "big")
    offset = KERNEL.here().search_tail(pow_hash + nonce, target.to_bytes(HASH_SIZE, "big"), low, count, is_blake2b)
    return None if offset == count else head + (low + offset & _MASK64).to_bytes(NONCE_SIZE - _TAIL_AT, "big")


def _check_search(pow_hash: bytes, target: int, count: int) -> None:
    if len(pow_hash) != HASH_SIZE:
        raise KernelLengthError("a pow hash", f"{HASH_SIZE} bytes", len(pow_hash))
    if not 0 <= count <= MAX_SEARCHED_NONCES:
        raise KernelLengthError("nonces to search", f"at most {MAX_SEARCHED_NONCES}", count)
    if not 0 <= target <= U256_MAX:
        raise KernelLengthError("a target", "256 bits", target.bit_length())
