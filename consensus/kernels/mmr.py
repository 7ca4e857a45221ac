"""Bagging of the chain-root MMR by generated code. `consensus.mmr.root` says in plain Python what is computed.

Threads may call it: each has an instance of its own.
"""

from collections.abc import Sequence
from typing import Final

from consensus.hashing import HASH_SIZE
from consensus.kernels.mmr_code import CODE_DIGEST, MAX_PEAKS, NODE_SIZE, Layout, generate_mmr
from consensus.kernels.runtime import Instance, Kernel, KernelLengthError


class _Mmr:
    """A thread's instance."""

    def __init__(self, instance: Instance) -> None:
        self.bag = instance.function("bag", 1, is_brief=True)
        self.memory = instance.memory


KERNEL: Final = Kernel("mmr", CODE_DIGEST, generate_mmr, _Mmr)


def bag(peaks: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The node over 1 to 64 peaks (120 bytes each, left and largest first), and its hash.

    None if the blocks of two peaks do not follow each other, or their total difficulty exceeds 256 bits: then
    `consensus.mmr.merge` says what is wrong. Raises KernelLengthError.
    """
    nodes, count = b"".join(peaks), len(peaks)
    if len(nodes) != count * NODE_SIZE or not 0 < count <= MAX_PEAKS:
        raise KernelLengthError("peaks", f"1 to {MAX_PEAKS} of {NODE_SIZE} bytes", len(nodes))
    kernel = KERNEL.here()
    memory = kernel.memory
    memory[Layout.INPUT : Layout.INPUT + len(nodes)] = nodes
    if not kernel.bag(count):
        return None
    root = bytes(memory[Layout.ROOT : Layout.ROOT + NODE_SIZE])
    return root, bytes(memory[Layout.ROOT_HASH : Layout.ROOT_HASH + HASH_SIZE])
