"""Generates the root of a complete binary Merkle tree (RFC 6) of at least two leaves."""

from enum import IntEnum
from typing import Final

from consensus.crypto.hashing import HASH_SIZE
from consensus.kernels.blake2b_code import WORKSPACE, Blake2b
from vm.wasm.emitter import I32, PAGE, Module, const

MAX_LEAVES: Final = 4096
"""They take well under a millisecond."""


class Layout(IntEnum):
    """Where things lie in memory."""

    BLAKE2B = 0
    NODES = WORKSPACE  # the root first, in heap order
    END = NODES + (2 * MAX_LEAVES - 1) * HASH_SIZE


CODE_DIGEST: Final = "53bd6887bccb06f0"
"""Of the generated code: names it where it is kept compiled. A test says what it has become."""


def generate_merkle() -> bytes:
    """The module. `root(count) -> i32`: the root at NODES, of the leaves behind the first `count - 1` nodes."""
    module = Module(-(-Layout.END // PAGE))
    hash_pair = Blake2b(module, Layout.BLAKE2B).hasher(2 * HASH_SIZE)
    f = module.function((I32,), (I32,), export="root")
    node = f.param(0)
    f.set(node, node.value - 1)
    with f.loop() as following:
        f.set(node, node.value - 1)
        left = node.value * (2 * HASH_SIZE) + (Layout.NODES + HASH_SIZE)  # the right one lies behind it
        f.call_into((), hash_pair, left, node.value * HASH_SIZE + Layout.NODES)
        f.branch_if(following, node.value)
    f.return_(const(I32, 1))
    return module.encode()
