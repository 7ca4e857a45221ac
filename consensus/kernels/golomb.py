"""Block filters by generated code. `consensus.crypto.golomb` says in plain Python what is computed.

Threads may call it: each has an instance of its own.
"""

from collections.abc import Sequence
from typing import Final

from consensus.crypto import golomb
from consensus.crypto.golomb import COUNT_SIZE, FILTER_KEY, M
from consensus.kernels.golomb_code import CODE_DIGEST, ELEMENT_SIZE, KEY_SIZE, MAX_ELEMENTS, Layout, generate_golomb
from consensus.kernels.runtime import Instance, Kernel, KernelLengthError

_BRIEF_ELEMENTS: Final = 4096  # 0.2 ms


class _Golomb:
    """A thread's instance."""

    def __init__(self, instance: Instance) -> None:
        self._memory = instance.memory
        self._encode_few = instance.function("encode", 2, is_brief=True)
        self._encode_many = instance.function("encode", 2, is_brief=False)

    def encode(self, elements: bytes, count: int, key: bytes) -> bytes:
        memory = self._memory
        memory[Layout.KEY : Layout.KEY + KEY_SIZE] = key
        memory[Layout.INPUT : Layout.INPUT + len(elements)] = elements
        call = self._encode_few if count <= _BRIEF_ELEMENTS else self._encode_many
        size = call(count, count * M)
        return bytes(memory[Layout.OUTPUT : Layout.OUTPUT + size])


KERNEL: Final = Kernel("golomb", CODE_DIGEST, generate_golomb, _Golomb)


def golomb_coded_set(elements: Sequence[bytes], key: bytes = FILTER_KEY) -> bytes:
    """The filter of distinct elements of 32 bytes each, in any order. `key`: 16 bytes. Raises KernelLengthError."""
    count, joined = len(elements), b"".join(elements)
    if len(joined) != count * ELEMENT_SIZE or any(len(element) != ELEMENT_SIZE for element in elements):
        raise KernelLengthError("elements of a filter", f"{ELEMENT_SIZE} bytes each", len(joined))
    if len(key) != KEY_SIZE:
        raise KernelLengthError("a filter's key", f"{KEY_SIZE} bytes", len(key))
    if count > MAX_ELEMENTS:  # of a block that is no valid one: a big genesis block
        return golomb.golomb_coded_set(elements, key)
    return count.to_bytes(COUNT_SIZE, "little") + KERNEL.here().encode(joined, count, key)
