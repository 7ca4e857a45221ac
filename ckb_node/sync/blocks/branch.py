"""The blocks on the way to one header: which come next, which may be asked for, which were given to the writer."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from enum import Enum, auto
from itertools import count
from typing import Final, NamedTuple

from ckb_node.sync.blocks import limits
from ckb_node.sync.chain import KnownTip
from storage.chain_store import ChainView

__all__ = ["Ask", "Branch", "Load"]

_IDS: Final = count(1)


class Ask(Enum):
    """Whether a block may be asked of a peer."""

    YES = auto()
    NOT_NOW = auto()
    """Not of this one, or not yet."""
    NO_NEED = auto()
    """It is here, or asked for already."""


class Load(NamedTuple):
    """Hashes that are to be read: of the ancestors of a header, at the heights from `first` to `last`."""

    target: bytes
    first: int
    last: int

    def read(self, view: ChainView) -> list[bytes] | None:
        """None when the target is not known any more. Some of the reads wait for the interpreter, hundreds of them for
        a tenth of a second."""
        return view.known_headers().branch_hashes(self.target, self.first, self.last)


class Branch:
    """Heights from `first` on, the lowest whose block is not taken, up to `target` or `cap` if that is lower.

    Hashes are read piece by piece. Each height is handed out once by `take_wanted`, until `want_again`.
    """

    def __init__(self, target: KnownTip, first: int, now: float) -> None:
        self.id: Final = next(_IDS)
        self.target = target
        self.moved_at = now
        """When a block was given to the writer last (`Scheduler.now`)."""
        self.cap = target.number
        self.first = first
        self.to_write = first
        """The next height to be given to the writer; those below, from `first` on, have been."""
        self._hashes: list[bytes] = []
        """From `first` on."""
        self._next = first
        """The lowest height that was never handed out."""
        self._again: list[int] = []
        """Heights to be handed out again: a heap, each once."""
        self._is_again: Final[set[int]] = set()
        self.is_loading = False
        """More hashes are being read."""

    @property
    def loaded(self) -> int:
        """The highest height whose hash is known; `first - 1` when none is."""
        return self.first + len(self._hashes) - 1

    @property
    def top_hash(self) -> bytes | None:
        """Hash of the highest loaded height."""
        return self._hashes[-1] if self._hashes else None

    @property
    def is_done(self) -> bool:
        """All its blocks are taken."""
        return self.first > min(self.cap, self.target.number)

    def hash_at(self, number: int) -> bytes | None:
        """None where it is not loaded, or below `first`."""
        at = number - self.first
        return self._hashes[at] if 0 <= at < len(self._hashes) else None

    def wants(self, number: int, block_hash: bytes) -> bool:
        """The block at that height is this one."""
        return self.hash_at(number) == block_hash

    # --- what is known of the way ---

    @property
    def wants_more(self) -> bool:
        """There is room in the window for more hashes, and few of those that are loaded are still to be handed out."""
        return self.loaded < self._end and self.loaded - self._next < limits.LOAD // 2

    @property
    def _end(self) -> int:
        return min(self.cap, self.target.number, self.first + limits.WINDOW - 1)

    @property
    def next_load(self) -> Load:
        """What is to be read next."""
        most = limits.LOAD if self._hashes else limits.FIRST_LOAD
        return Load(self.target.hash, self.loaded + 1, min(self._end, self.loaded + most))

    def load_first(self, view: ChainView) -> bool:
        """Read a few hashes when there are none; False when the target is not known any more."""
        if self._hashes or not self.wants_more:
            return True
        load = self.next_load
        return self.note_loaded(load, load.read(view), view)

    def note_loaded(self, load: Load, hashes: Sequence[bytes] | None, view: ChainView) -> bool:
        """What was read; False when it does not lead on to the target, which may be another one by now."""
        if not hashes or load.first != self.loaded + 1:
            return False
        if load.target != self.target.hash:
            known = view.known_headers()
            if known.ancestor_hash(self.target.hash, load.last) != hashes[-1]:
                return False
        self._hashes += hashes
        return True

    def follow(self, target: KnownTip, view: ChainView) -> bool:
        """Lead to another header from now on, if what is loaded lies on the way to it."""
        if target.hash != self.target.hash:
            top = self.top_hash
            if top is None:
                if view.known_headers().first_missing(target.hash) != self.first:
                    return False
            elif view.known_headers().ancestor_hash(target.hash, self.loaded) != top:
                return False
        self.target = target
        return True

    def lead_of(self, tip: KnownTip, view: ChainView) -> int:
        """The highest loaded height whose block a peer with this best header has; below `first` when none."""
        if not self._hashes or tip.number < self.first:
            return self.first - 1
        if tip.hash == self.target.hash:
            return self.loaded
        known = view.known_headers()
        low, high = self.first - 1, min(tip.number, self.loaded)
        middle = high
        while low < high:
            if known.ancestor_hash(tip.hash, middle) == self.hash_at(middle):
                low = middle
            else:
                high = middle - 1
            middle = (low + high + 1) // 2
        return low

    def advance_to(self, first: int) -> None:
        """All blocks below are taken."""
        if first > self.first:
            del self._hashes[: first - self.first]
            self.first = first
            self.to_write, self._next = max(self.to_write, first), max(self._next, first)

    # --- what may be asked for ---

    def take_wanted(self, most: int, lead: int, may_ask: Callable[[bytes], Ask]) -> list[tuple[int, bytes]]:
        """Hand out up to `most` heights that are not above `lead`, lowest first, with their hashes."""
        taken: list[tuple[int, bytes]] = []
        put_off: list[int] = []
        while self._again and self._again[0] <= lead and len(taken) < most:
            number = heapq.heappop(self._again)
            self._is_again.discard(number)
            self._hand_out(number, may_ask, taken, put_off)
        last = min(lead, self.loaded)
        while self._next <= last and len(taken) < most:
            number = self._next
            self._next += 1
            self._hand_out(number, may_ask, taken, put_off)
        for number in put_off:
            self.want_again(number)
        return taken

    def _hand_out(
        self, number: int, may_ask: Callable[[bytes], Ask], taken: list[tuple[int, bytes]], put_off: list[int]
    ) -> None:
        block_hash = self.hash_at(number)
        if block_hash is None:
            return
        match may_ask(block_hash):
            case Ask.YES:
                taken.append((number, block_hash))
            case Ask.NOT_NOW:
                put_off.append(number)

    def want_again(self, number: int) -> None:
        """What was handed out must be asked for again."""
        if self.first <= number < self._next and number not in self._is_again:
            heapq.heappush(self._again, number)
            self._is_again.add(number)

    @property
    def has_wanted(self) -> bool:
        """Something may be handed out."""
        return bool(self._again) or self._next <= self.loaded
