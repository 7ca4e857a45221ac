"""The chain-root MMR by generated code. `consensus.rules.mmr` says in plain Python what is computed.

Threads may call it: each has an instance of its own.
"""

from collections.abc import Callable, Sequence
from typing import Final

from consensus.crypto.hashing import HASH_SIZE
from consensus.kernels.mmr_code import CODE_DIGEST, MAX_PEAKS, NODE_SIZE, Layout, generate_mmr
from consensus.kernels.runtime import Instance, Kernel, KernelLengthError

GetPeaks = Callable[[], Sequence[bytes]]
"""Loads peaks (120 bytes each), left and largest first, when the instance does not hold them."""


class _Mmr:
    """A thread's instance. `state` names the MMR whose `count` peaks lie in its memory."""

    def __init__(self, instance: Instance) -> None:
        self.bag = instance.function("bag", 1, is_brief=True)
        self.append = instance.function("append", 2, is_brief=True)
        self.memory = instance.memory
        self.state: bytes | None = None
        self.count = 0

    def place(self, peaks: Sequence[bytes]) -> None:
        """Put peaks into the memory. KernelLengthError."""
        nodes, count = b"".join(peaks), len(peaks)
        if len(nodes) != count * NODE_SIZE or count > MAX_PEAKS:
            raise KernelLengthError("peaks", f"at most {MAX_PEAKS} of {NODE_SIZE} bytes", len(nodes))
        self.state, self.count = None, count
        self.memory[Layout.INPUT : Layout.INPUT + len(nodes)] = nodes

    def be_at(self, state: bytes, peaks: GetPeaks) -> None:
        """Make sure that the peaks of an MMR are in the memory."""
        if self.state != state:
            self.place(peaks())
            self.state = state


KERNEL: Final = Kernel("mmr", CODE_DIGEST, generate_mmr, _Mmr)


def bag(peaks: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The node over 1 to 64 peaks, and its hash.

    None if the blocks of two peaks do not follow each other, or their total difficulty exceeds 256 bits: then
    `consensus.rules.mmr.merge` says what is wrong. Raises KernelLengthError.
    """
    kernel = KERNEL.here()
    kernel.place(peaks)
    root_hash = _root_hash(kernel)
    return None if root_hash is None else (bytes(kernel.memory[Layout.ROOT : Layout.ROOT + NODE_SIZE]), root_hash)


def root_hash_of(state: bytes, peaks: GetPeaks) -> bytes | None:
    """Hash of the node over the peaks of the MMR that `state` names; they are asked for if it is not the one that was
    used last. As `bag` otherwise."""
    kernel = KERNEL.here()
    kernel.be_at(state, peaks)
    return _root_hash(kernel)


def grow(state: bytes, peaks: GetPeaks, leaf: bytes, merges: int, new_state: bytes) -> list[bytes] | None:
    """The nodes that a leaf completes when it is added to the MMR that `state` names, which is `new_state` then.

    `merges` is their number: each is the parent of a peak, the last one first, and of the node before, the leaf first.
    `peaks` and None as for `root_hash_of`. Raises KernelLengthError.
    """
    kernel = KERNEL.here()
    kernel.be_at(state, peaks)
    count = kernel.count
    if len(leaf) != NODE_SIZE or count >= MAX_PEAKS:
        raise KernelLengthError("leaf", f"{NODE_SIZE} bytes after less than {MAX_PEAKS} peaks", len(leaf))
    if not 0 <= merges <= count:
        raise KernelLengthError("merges", f"at most {count}", merges)
    at = Layout.INPUT + count * NODE_SIZE
    kernel.memory[at : at + NODE_SIZE] = leaf
    kernel.state = None
    if not kernel.append(count, merges):
        return None
    kernel.state, kernel.count = new_state, count - merges + 1
    added = bytes(kernel.memory[Layout.ADDED : Layout.ADDED + merges * NODE_SIZE])
    return [added[at : at + NODE_SIZE] for at in range(0, len(added), NODE_SIZE)]


def _root_hash(kernel: _Mmr) -> bytes | None:
    if not kernel.count:
        raise KernelLengthError("peaks", "at least one", 0)
    if not kernel.bag(kernel.count):
        return None
    return bytes(kernel.memory[Layout.ROOT_HASH : Layout.ROOT_HASH + HASH_SIZE])
