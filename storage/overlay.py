"""Pending changes over a reader: reads see them, `commit` makes them one atomic batch.

A reorganisation over many blocks, or a group of imported blocks, is built up in one overlay and reaches the disk
whole or not at all. What is created and consumed within it never reaches the engine but as a delete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from storage.kv import KeyValueStore, Pair, Reader, key_range

__all__ = ["Overlay"]


class Overlay:
    """A Reader with pending puts and deletes on top of `base`. Belongs to one thread, but any thread may `get`."""

    def __init__(self, base: Reader) -> None:
        self._base: Final = base
        self._pending: dict[bytes, bytes | None] = {}
        self._leaving: dict[bytes, bytes | None] = {}

    def __len__(self) -> int:
        """The number of pending changes."""
        return len(self._pending)

    def get(self, key: bytes, /) -> bytes | None:
        """The pending value if there is one, else that of the base."""
        pending = self._pending
        if key in pending:
            return pending[key]
        leaving = self._leaving
        if key in leaving:
            return leaving[key]
        return self._base.get(key)

    def put(self, key: bytes, value: bytes, /) -> None:
        """Set a key, pending."""
        self._pending[key] = value

    def put_all(self, values: Mapping[bytes, bytes], /) -> None:
        """Set many keys, pending."""
        self._pending.update(values)

    def delete(self, key: bytes, /) -> None:
        """Remove a key, pending."""
        self._pending[key] = None

    def delete_all(self, keys: Iterable[bytes], /) -> None:
        """Remove many keys, pending."""
        self._pending.update(dict.fromkeys(keys))

    def iterator(
        self,
        *,
        prefix: bytes = b"",
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[Pair]:
        """See storage.kv.Reader. Costs a pass over the pending changes, so it is not for hot paths."""
        low, high = key_range(prefix, start, stop)
        changes = {**self._leaving, **self._pending} if self._leaving else self._pending
        pending = [item for item in changes.items() if item[0] >= low and (high is None or item[0] < high)]
        pending.sort(reverse=reverse)
        base = self._base.iterator(prefix=prefix, start=start, stop=stop, reverse=reverse)
        return _merged(pending, base, reverse)

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """The pending changes, each key once; None deletes."""
        return iter(self._pending.items())

    def discard(self) -> None:
        """Forget the pending changes."""
        self._pending = {}

    def hand_over(self) -> dict[bytes, bytes | None]:
        """The pending changes, for the caller to write; reads see them until `forget_handed_over`."""
        self._leaving = self._pending  # publish the in-flight map first, so that readers always see the keys
        self._pending = {}
        return self._leaving

    def forget_handed_over(self) -> None:
        """The base has them now."""
        self._leaving = {}

    def commit(self, store: KeyValueStore, *, sync: bool) -> None:
        """Write the pending changes to `store` as one atomic batch and forget them; on an error they stay pending."""
        if self._pending:
            store.write_batch(self._pending.items(), sync=sync)
        self._pending = {}


def _merged(pending: list[tuple[bytes, bytes | None]], base: Iterator[Pair], reverse: bool) -> Iterator[Pair]:
    """Merge two runs sorted the same way; where both have a key the pending one counts."""
    below = next(base, None)
    for key, value in pending:
        while below is not None and _comes_first(below[0], key, reverse):
            yield below
            below = next(base, None)
        if below is not None and below[0] == key:
            below = next(base, None)
        if value is not None:
            yield key, value
    if below is not None:
        yield below
        yield from base


def _comes_first(left: bytes, right: bytes, reverse: bool) -> bool:
    return left > right if reverse else left < right
