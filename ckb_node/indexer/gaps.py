"""Long gaps between the rows of a script's live cells, where LevelDB steps over the rows of spent ones until it has
compacted them: a search that has met a gap remembers it, and the next one leaps.

A gap of a script stays one while blocks are appended, since their cells come behind all that the script has. Only
searches for one script leap: in a gap of a prefix's rows other scripts may get cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from time import perf_counter as clock
from typing import Final, NamedTuple

from storage.kv import Pair, Snapshot

LONG_S: Final = 0.0003
"""A gap is worth being remembered if it takes so long."""
MAX_GAPS: Final = 4096
MAX_KEY_BYTES: Final = 512
"""A key holds a script's arguments, which may be a block long."""

_NUMBER: Final = Struct(">Q")


class State(NamedTuple):
    """Which state of the index is searched. `history` is another one when blocks were rolled back."""

    history: object
    number: int


class _Gap(NamedTuple):
    end: bytes
    """No row is before it."""
    state: State


Begin = tuple[bytes, bytes]
"""What the keys of a script's rows begin with, and the row before the gap, of whatever script, or a cursor."""


class Gaps:
    """By where they begin. Any thread may use it."""

    def __init__(self) -> None:
        self._gaps: Final[dict[Begin, _Gap]] = {}

    def end(self, begin: Begin, state: State) -> bytes | None:
        """Where to leap to."""
        gap = self._gaps.get(begin)
        if gap is None or gap.state.history is not state.history or gap.state.number > state.number:
            return None
        return gap.end

    def note(self, begin: Begin, end: bytes, state: State) -> None:
        """A search of this state found nothing between both."""
        if end <= begin[1] or any(len(each) > MAX_KEY_BYTES for each in (*begin, end)):
            return
        if len(self._gaps) >= MAX_GAPS:
            self._gaps.clear()
        self._gaps[begin] = _Gap(end, state)


class IndexSnapshot:
    """A state of the index; see storage.kv.Snapshot."""

    def __init__(self, snapshot: Snapshot, gaps: Gaps, state: State) -> None:
        self.get, self.iterator, self.close = snapshot.get, snapshot.iterator, snapshot.close
        self._gaps, self._state = gaps, state

    def live_rows(self, script: bytes, after: bytes | None) -> Iterator[Pair]:
        """Rows of live cells, `after` a key or all, whose keys begin as those of a script do. What begins so and is
        longer, which is another script's, may be left out."""
        gaps, state = self._gaps, self._state
        newest = script + _NUMBER.pack(state.number + 1)  # the script's new cells come here and behind
        begin, start = ((script, b""), script) if after is None else ((script, after), after + b"\0")
        while True:
            leap = gaps.end(begin, state)
            since = clock()
            for pair in self.iterator(prefix=script, start=leap or start):
                if clock() - since > LONG_S:
                    gaps.note(begin, min(pair[0], newest), state)
                yield pair
                begin = script, pair[0]
                if gaps.end(begin, state) is not None:
                    start = pair[0] + b"\0"
                    break
                since = clock()
            else:
                if clock() - since > LONG_S:
                    gaps.note(begin, newest, state)
                return
