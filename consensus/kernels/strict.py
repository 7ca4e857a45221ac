"""Strict molecule checks of large messages by generated code: half a megabyte of outputs in a millisecond, for which
`consensus.codec.molecule`, which says in plain Python what is checked, takes fifty.

Threads may call it: each has an instance of its own.
"""

from enum import Enum
from typing import Final

from consensus.errors import MoleculeError
from consensus.kernels.runtime import Instance, Kernel
from consensus.kernels.strict_code import CHECKS, CODE_DIGEST, MAX_INPUT, Layout, generate_strict
from consensus.types.blockchain import Block

__all__ = ["KERNEL", "LARGE", "Strict", "parse_block", "verify_strict"]

LARGE: Final = 4096
"""Bytes from which on generated code looks at transactions of peers: thousands of parts would keep the event loop."""


class Strict(Enum):
    """What can be checked."""

    TRANSACTION = "transaction"
    TRANSACTIONS = "transactions"
    PREFILLED = "prefilled"
    """The prefilled transactions of a compact block."""
    BLOCK = "block"


class _Checks:
    """A thread's instance."""

    def __init__(self, instance: Instance) -> None:
        self._memory = instance.memory
        self._functions = {each: instance.function(each.value, 2, is_brief=True) for each in Strict}

    def passes(self, what: Strict, data: bytes, start: int, end: int) -> bool:
        size = end - start
        self._memory[Layout.INPUT : Layout.INPUT + size] = memoryview(data)[start:end]
        return bool(self._functions[what](Layout.INPUT, Layout.INPUT + size))


KERNEL: Final = Kernel("strict", CODE_DIGEST, generate_strict, _Checks)


def verify_strict(what: Strict, data: bytes, start: int, end: int) -> None:
    """MoleculeError unless data[start:end] is exactly one such value, without unknown fields anywhere."""
    if end - start > MAX_INPUT:  # of a chain with larger blocks than the public ones
        CHECKS[what.value].check(data, start, end, False)
    elif not KERNEL.here().passes(what, data, start, end):
        raise MoleculeError(what.value, "it is not strictly well formed")


def parse_block(data: bytes) -> Block:
    """As `Block.parse`, in a time that does not depend on how many parts its transactions have. MoleculeError."""
    verify_strict(Strict.BLOCK, data, 0, len(data))
    return Block.passed(data)
