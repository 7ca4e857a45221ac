"""What rules ask of all outputs of a large transaction, by generated code: thousands of them in 0.1 ms. The
rules are elsewhere; objects for each output would take ten times the bytes of the transaction.

Threads may call it: each has an instance of its own.
"""

from typing import Final, NamedTuple

from consensus.codec.layout import NUMBER_SIZE, U32
from consensus.kernels.outputs_code import BYTE_VALUES, CODE_DIGEST, MAX_INPUT, Layout, generate_outputs
from consensus.kernels.runtime import Instance, Kernel, KernelLengthError

__all__ = ["KERNEL", "MAX_INPUT", "OutputsFacts", "outputs_facts"]


class OutputsFacts(NamedTuple):
    """Of a transaction. `pays_for_bytes`: there is one data for each output, and no output takes more bytes than its
    capacity. `capacity` is the sum in shannons; it may exceed u64."""

    outputs: int
    data: int
    pays_for_bytes: bool
    capacity: int
    dep_types: frozenset[int]
    lock_hash_types: frozenset[int]
    type_hash_types: frozenset[int]


class _Walks:
    """A thread's instance."""

    def __init__(self, instance: Instance) -> None:
        self._memory = instance.memory
        self._walk = instance.function("outputs", 1, is_brief=True)

    def facts(self, data: bytes, start: int, end: int) -> OutputsFacts:
        memory = self._memory
        memory[Layout.INPUT : Layout.INPUT + end - start] = memoryview(data)[start:end]
        is_paid = self._walk(Layout.INPUT)
        outputs, parts = (U32.unpack_from(memory, Layout.OUTPUTS + at)[0] for at in (0, NUMBER_SIZE))
        capacity = int.from_bytes(memory[Layout.CAPACITY : Layout.CAPACITY + 16], "little")
        tables = (Layout.DEP_TYPES, Layout.LOCK_HASH_TYPES, Layout.TYPE_HASH_TYPES)
        return OutputsFacts(outputs, parts, bool(is_paid), capacity, *map(self._occurring, tables))

    def _occurring(self, table: Layout) -> frozenset[int]:
        seen = bytes(self._memory[table : table + BYTE_VALUES])
        return frozenset(value for value in range(BYTE_VALUES) if seen[value]) if any(seen) else frozenset()


KERNEL: Final = Kernel("outputs", CODE_DIGEST, generate_outputs, _Walks)


def outputs_facts(data: bytes, start: int, end: int) -> OutputsFacts:
    """Of the transaction data[start:end], which passed the strict check. KernelLengthError above MAX_INPUT."""
    if end - start > MAX_INPUT:
        raise KernelLengthError("a transaction", f"at most {MAX_INPUT} bytes", end - start)
    return KERNEL.here().facts(data, start, end)
