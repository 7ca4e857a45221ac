"""Loading actions of programs with thousands of segments, as the bytes that generated code writes and reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, overload

from vm.elf import LoadingAction

ACTION: Final = Struct("<6Q")  # the fields of a LoadingAction
_RANGE: Final = Struct("<24x2Q8x")  # start and end of them
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
        if isinstance(index, slice):
            return tuple(self)[index]
        return LoadingAction._make(ACTION.unpack_from(self.packed, range(len(self))[index] * ACTION.size))


def actions_with_content(actions: Sequence[LoadingAction], size: int) -> Iterator[LoadingAction]:
    """Those that name at least `size` bytes of the file, in order."""
    if not isinstance(actions, PackedActions):
        return (action for action in actions if action.end - action.start >= size)
    ranges = _RANGE.iter_unpack(actions.packed)  # a fifth of the time of making all the actions
    return (actions[index] for index, (start, end) in enumerate(ranges) if end - start >= size)
