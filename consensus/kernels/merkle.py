"""Merkle roots by generated code: of a block's hashes in half the time. `consensus.crypto.merkle` says in plain Python
what is computed.

Threads may call it: each has an instance of its own.
"""

from collections.abc import Sequence
from typing import Final

from consensus.crypto.hashing import HASH_SIZE
from consensus.crypto.merkle import merkle_root
from consensus.kernels.merkle_code import CODE_DIGEST, MAX_LEAVES, Layout, generate_merkle
from consensus.kernels.runtime import Instance, Kernel, KernelLengthError

__all__ = ["KERNEL", "MIN_LEAVES", "fast_merkle_root"]

MIN_LEAVES: Final = 16
"""Of fewer plain Python is as quick."""


class _Merkle:
    """A thread's instance."""

    def __init__(self, instance: Instance) -> None:
        self._memory = instance.memory
        self._root = instance.function("root", 1, is_brief=True)

    def root(self, leaves: Sequence[bytes]) -> bytes:
        joined, count = b"".join(leaves), len(leaves)
        if len(joined) != count * HASH_SIZE:
            raise KernelLengthError("leaves", f"{count} of {HASH_SIZE} bytes", len(joined))
        start = Layout.NODES + (count - 1) * HASH_SIZE
        self._memory[start : start + len(joined)] = joined
        self._root(count)
        return bytes(self._memory[Layout.NODES : Layout.NODES + HASH_SIZE])


KERNEL: Final = Kernel("merkle", CODE_DIGEST, generate_merkle, _Merkle)


def fast_merkle_root(leaves: Sequence[bytes]) -> bytes:
    """`merkle_root`. KernelLengthError unless all leaves together have 32 bytes each."""
    return KERNEL.here().root(leaves) if MIN_LEAVES <= len(leaves) <= MAX_LEAVES else merkle_root(leaves)
