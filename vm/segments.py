"""Loading actions of programs with thousands of segments, as the bytes that generated code writes and reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, overload

from vm.elf import LoadingAction

ACTION: Final = Struct("<6Q")  # the fields of a LoadingAction
ADDRESS_AT, SIZE_AT, FLAGS_AT, START_AT, END_AT, OFFSET_AT = range(0, ACTION.size, 8)


@dataclass(frozen=True, slots=True)
class PackedActions(Sequence[LoadingAction]):
    """Reads as a list of actions. `packed`: one ACTION behind the other."""

    packed: bytes

    def __len__(self) -> int:
        return len(self.packed) // ACTION.size

    def __iter__(self) -> Iterator[LoadingAction]:
        return map(LoadingAction._make, ACTION.iter_unpack(self.packed))

    @overload
    def __getitem__(self, index: int) -> LoadingAction: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[LoadingAction, ...]: ...

    def __getitem__(self, index: int | slice) -> LoadingAction | tuple[LoadingAction, ...]:
        return tuple(self)[index]
