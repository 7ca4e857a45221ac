"""What a share is worth. Each digest is one call of the Eaglesong kernel, see decision 61."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from ckb_node.stratum.jobs import Round
from consensus.crypto.hashing import ckb_hash
from consensus.kernels.eaglesong import eaglesong
from consensus.params import PowFunc


class Verdict(Enum):
    """On a share."""

    BLOCK = "block"
    ACCEPTED = "accepted"
    STALE = "stale"
    LOW = "low difficulty"
    DUPLICATE = "duplicate"
    UNKNOWN_JOB = "unknown job"


def _eaglesong_blake2b(message: bytes) -> bytes:
    return ckb_hash(eaglesong(message))


_DIGESTS: Final[Mapping[PowFunc, Callable[[bytes], bytes]]] = {
    PowFunc.EAGLESONG: eaglesong,
    PowFunc.EAGLESONG_BLAKE2B: _eaglesong_blake2b,
    PowFunc.DUMMY: eaglesong,
}
"""A chain with Dummy proof of work takes any nonce; miners are to find what they search all the same."""


class Judge:
    """Judges shares of one chain."""

    def __init__(self, function: PowFunc) -> None:
        self._digest: Final = _DIGESTS[function]

    def hash_number(self, pow_hash: bytes, nonce: bytes) -> int:
        """What must not exceed the target. `nonce`: 16 bytes as hashed."""
        return int.from_bytes(self._digest(pow_hash + nonce), "big")

    def verdict(
        self, round_: Round, pow_hash: bytes, share: tuple[int, bytes], target: int, *, is_stale: bool
    ) -> Verdict:
        """On a share with this time offset and nonce, whose target is `target`; a right one is remembered.

        A block is a block though its job is stale: it may become an uncle, or win the race.
        """
        number = self.hash_number(pow_hash, share[1])
        is_block = number <= round_.prepared.target
        if not is_block and is_stale:
            return Verdict.STALE
        if not is_block and number > target:
            return Verdict.LOW
        if share in round_.seen:
            return Verdict.DUPLICATE
        round_.seen.put(share, None)
        return Verdict.BLOCK if is_block else Verdict.ACCEPTED
