"""Proof of work: Eaglesong (RFC 10), EaglesongBlake2b (testnet) and Dummy.

The message is the header's pow hash with the nonce appended as a little-endian u128; the digest, read as a big-endian
number, must not exceed the target. `is_solution` says so in plain Python; what the node runs are the generated kernels,
for which it is the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.crypto.eaglesong import eaglesong
from consensus.crypto.hashing import ckb_hash
from consensus.errors import HeaderError
from consensus.kernels import eaglesong as kernel
from consensus.params import Consensus, PowFunc
from consensus.types.blockchain import Header


class PowError(HeaderError):
    """The proof-of-work hash exceeds the target, or there is no target."""

    def __init__(self, pow_hash: bytes, nonce: int, compact_target: int) -> None:
        super().__init__(f"Header(Pow(InvalidNonce(compact target {compact_target:#x}, nonce {nonce:#x})))")
        self.pow_hash = pow_hash
        self.nonce = nonce
        self.compact_target = compact_target


def eaglesong_blake2b(message: bytes) -> bytes:
    """The testnet's function: the chain's blake2b over the Eaglesong digest."""
    return ckb_hash(eaglesong(message))


def pow_message(pow_hash: bytes, nonce: int) -> bytes:
    """What is hashed: 32 bytes of pow hash, then the nonce as 16 little-endian bytes."""
    return pow_hash + nonce.to_bytes(16, "little")


def is_solution(function: PowFunc, pow_hash: bytes, nonce: int, target: int) -> bool:
    """The nonce's digest does not exceed the 256-bit target (never for target 0). Dummy accepts everything."""
    if function is PowFunc.DUMMY:
        return True
    if target == 0:
        return False
    digest = _DIGESTS[function](pow_message(pow_hash, nonce))
    return int.from_bytes(digest, "big") <= target


_DIGESTS = {PowFunc.EAGLESONG: eaglesong, PowFunc.EAGLESONG_BLAKE2B: eaglesong_blake2b}


def verify_pow(consensus: Consensus, header: Header) -> None:
    """RFC 27 "compact_target", RFC 10: the Eaglesong digest of header and nonce does not exceed the target.

    Other chains name another function, see PowFunc. Raises PowError.
    """
    if consensus.pow_func is PowFunc.DUMMY:
        return
    if not kernel.has_work(header.raw, _is_blake2b(consensus.pow_func)):
        raise PowError(header.pow_hash, header.nonce, header.compact_target)


def first_without_work(consensus: Consensus, headers: Sequence[bytes]) -> int | None:
    """Index of the first of some headers, 208 bytes each, that `verify_pow` would refuse. Raises KernelLengthError."""
    if consensus.pow_func is PowFunc.DUMMY:
        return None
    return kernel.first_without_work(headers, _is_blake2b(consensus.pow_func))


def find_nonce(
    function: PowFunc, pow_hash: bytes, target: int, start: int, count: int = kernel.SEARCHED_NONCES
) -> int | None:
    """The first of `count` nonces from `start` on that is a solution, if there is one; see `kernels.eaglesong.search`.

    Meant for a thread of its own: others run meanwhile. Raises KernelLengthError.
    """
    if function is PowFunc.DUMMY:
        return start
    return kernel.search(pow_hash, target, start, count, is_blake2b=_is_blake2b(function))


def find_nonce_bytes(
    function: PowFunc, pow_hash: bytes, target: int, nonce: bytes, count: int = kernel.SEARCHED_NONCES
) -> bytes | None:
    """`find_nonce` for nonces as the 16 bytes that are hashed, counted at their end: what a pool hands out stands in
    front. See `kernels.eaglesong.search_tail`. Raises KernelLengthError.
    """
    if function is PowFunc.DUMMY:
        return nonce
    return kernel.search_tail(pow_hash, target, nonce, count, is_blake2b=_is_blake2b(function))


def _is_blake2b(function: PowFunc) -> bool:
    return function is PowFunc.EAGLESONG_BLAKE2B
