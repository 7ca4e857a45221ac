"""The arguments of a program, as they lie on its stack."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from vm.constants import MEMORY_SIZE, U64_MASK


@dataclass(frozen=True, slots=True)
class Arguments:
    """A hostile program may pass 131072 strings with every exec, so they are kept in the form in which they are stored.

    `strings`: they end where the memory ends, the first argument last, a zero byte behind each. `words`: argc, the
    address of each argument, 0; little-endian u64.
    """

    strings: bytes
    words: bytes

    @classmethod
    def of(cls, args: Sequence[bytes] | Arguments) -> Arguments:
        """From strings, unless they are Arguments already."""
        if isinstance(args, Arguments):
            return args
        sizes = accumulate(map(len, args))
        addresses = [(MEMORY_SIZE - size - count) & U64_MASK for count, size in enumerate(sizes, 1)]
        words = struct.pack(f"<{len(args) + 2}Q", len(args), *addresses, 0)
        return cls(b"\0".join([*reversed(args), b""]), words)

    def __len__(self) -> int:
        return len(self.words) // 8 - 2

    def __iter__(self) -> Iterator[bytes]:
        """One by one, the first argument first."""
        return iter(self.strings.split(b"\0")[-2::-1])


NO_ARGUMENTS: Final = Arguments.of(())
