"""A common room that several owners fill: what each uses of it, and who uses most when there is no more room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["Shares"]


class Shares:
    """Amounts of several kinds (entries, bytes, …), each with a limit for all owners together.

    It keeps account only: who finds it full takes something of the `heaviest` out, so that no owner can keep the
    others from theirs.
    """

    def __init__(self, *limits: int) -> None:
        self._limits: Final = limits
        self._total = [0] * len(limits)
        self._used: Final[dict[int, list[int]]] = {}

    def __len__(self) -> int:
        """Owners that use anything."""
        return len(self._used)

    @property
    def total(self) -> Sequence[int]:
        """What all use together, by kind."""
        return self._total

    @property
    def is_over(self) -> bool:
        """More is used than the room has."""
        return any(used > limit for used, limit in zip(self._total, self._limits, strict=True))

    def of(self, owner: int) -> Sequence[int]:
        """What an owner uses, by kind."""
        return self._used.get(owner) or [0] * len(self._limits)

    def take(self, owner: int, *amounts: int) -> None:
        used = self._used.setdefault(owner, [0] * len(self._limits))
        for kind, amount in enumerate(amounts):
            used[kind] += amount
            self._total[kind] += amount

    def give_back(self, owner: int, *amounts: int) -> None:
        """Amounts of one `take`."""
        used = self._used[owner]
        for kind, amount in enumerate(amounts):
            used[kind] -= amount
            self._total[kind] -= amount
        if not any(used):
            del self._used[owner]

    def move(self, owner: int, other: int) -> None:
        """What one uses counts for another from now on."""
        used = self._used.pop(owner, None)
        if used is not None:
            before = self.of(other)
            self._used[other] = [mine + more for mine, more in zip(before, used, strict=True)]

    def heaviest(self) -> int:
        """Who uses the largest part of any limit. ValueError when nobody uses anything."""
        return max(self._used, key=self._part)

    def _part(self, owner: int) -> float:
        return max(used / limit for used, limit in zip(self._used[owner], self._limits, strict=True))
