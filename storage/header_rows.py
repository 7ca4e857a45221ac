"""Headers whose blocks are not stored yet: header sync writes them long before their blocks come.

Each row has the total difficulty of its header, so that the branch with the most work is known before any body is. A
row stands on a stored block or on another row. It leaves when its block is stored, and when it or an ancestor turns
out to be invalid, or when its branch has been lost for long. A row on which no other stands is a leaf; leaves are kept
in order of their work.

What stands on a deleted row is deleted in slices, since millions of rows may stand on it. What is left to do is a row
itself (META_HEADER_CUT), which `ChainStore.finish_header_cut` works off, also at the next open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from typing import Final, NamedTuple, Protocol

from consensus.codec.layout import HEADER_SIZE
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.types.blockchain import Header
from consensus.types.core import BlockExt
from consensus.types.header_run import HeaderRun
from storage.kv import Reader
from storage.overlay import Overlay
from storage.recent import Recent
from storage.schema import HEADER_LEAF, HEADER_NUMBER, HEADER_ROW, META_HEADER_CUT, number_key

__all__ = ["CUT_SLICE", "HeaderRow", "HeaderRows", "KnownHeaders"]

CUT_SLICE: Final = 10_000
"""Rows that one transaction deletes of a branch."""
_WORK_SIZE: Final = 32
_CUT_SIZE: Final = 40
_MAX_NUMBER: Final = (1 << 64) - 1


class HeaderRow(NamedTuple):
    """A header whose block is not stored, and the work of its branch up to it."""

    header: Header
    total_difficulty: int

    def pack(self) -> bytes:
        """240 bytes."""
        return _pack_row(self.header, self.total_difficulty)

    @classmethod
    def unpack(cls, packed: bytes) -> HeaderRow:
        """The inverse of `pack`."""
        return cls(Header.trusted(packed[:HEADER_SIZE]), int.from_bytes(packed[HEADER_SIZE:], "little"))

    @property
    def leaf_key(self) -> bytes:
        """Its key among the leaves."""
        return _leaf_key(self.total_difficulty, self.header.hash)


def _pack_row(header: Header, total_difficulty: int) -> bytes:
    return header.raw + total_difficulty.to_bytes(_WORK_SIZE, "little")


class StoredHeaders(Protocol):
    """What is asked of the stored blocks."""

    def header(self, block_hash: bytes) -> Header | None: ...

    def block_ext(self, block_hash: bytes) -> BlockExt | None: ...

    def stored_hashes(self, number: int) -> list[bytes]: ...

    def stored_blocks(self, first: int) -> Iterator[tuple[int, bytes]]: ...

    def tip_header(self) -> Header: ...


class KnownHeaders:
    """Headers of stored blocks and of rows: `consensus.context.HeaderProvider` for the rules of headers, and
    `ckb_node.chain.assume_valid.KnownHeaders`.

    While a cut is not finished, rows of the branch that is deleted may still be seen.
    """

    def __init__(self, reader: Reader, stored: StoredHeaders, parents: Recent[bytes]) -> None:
        """`parents` of headers by hash, shared by all views of a store: what stands on what never changes."""
        self._reader: Final = reader
        self._stored: Final = stored
        self._parents: Final = parents

    def header(self, block_hash: bytes) -> Header | None:
        """The header, whether its block is stored or not."""
        stored = self._stored.header(block_hash)
        if stored is not None:
            return stored
        row = self.row(block_hash)
        return None if row is None else row.header

    def total_difficulty(self, block_hash: bytes) -> int | None:
        """Work of the branch up to a header; None when it is not known."""
        row = self.row(block_hash)
        if row is not None:
            return row.total_difficulty
        ext = self._stored.block_ext(block_hash)  # also there for an invalid block, which is not stored
        return None if ext is None or self._stored.header(block_hash) is None else ext.total_difficulty

    def ancestor_hash(self, block_hash: bytes, number: int) -> bytes | None:
        """Hash of the ancestor at a height, the header itself at its own; None when it is not known.

        Where one header only is known at a height, it is the ancestor: few headers are walked over, those of forks.
        """
        header = self.header(block_hash)
        if header is None or not 0 <= number <= header.number:
            return None
        above, start = self._alone_above(number, header.number) or (header.number, block_hash)
        found: bytes | None = start
        for _ in range(number, above):
            found = None if found is None else self._parent_hash(found)
        return found

    def _alone_above(self, number: int, end: int) -> tuple[int, bytes] | None:
        """A height from `number` on and below `end` at which one header only is known, with its hash. Not the lowest
        one: to look at each height of a long fork costs more than to walk twice as far."""
        at, step = number, 1
        while at < end:
            hashes = self.hashes(at)
            if len(hashes) == 1:
                return at, hashes[0]
            at, step = number + step, 2 * step
        return None

    def _parent_hash(self, block_hash: bytes) -> bytes | None:
        """Of a known header."""
        parent = self._parents.get(block_hash)
        if parent is None and (header := self.header(block_hash)) is not None:
            parent = header.parent_hash
            self._parents.put(block_hash, parent)
        return parent

    def branch_hashes(self, block_hash: bytes, first: int, last: int) -> list[bytes] | None:
        """Hashes of the ancestors at the heights from `first` to `last`, lowest first; None when they are not known."""
        above = self.ancestor_hash(block_hash, last)
        if above is None or first < 0:
            return None
        at = self._hashes_between(first, last)
        found = [above]
        for number in range(last - 1, first - 1, -1):
            known = at.get(number, ())
            if len(known) == 1:  # as in `ancestor_hash`
                above = known[0]
            else:
                parent = self._parent_hash(above)
                if parent is None:
                    return None
                above = parent
            found.append(above)
        found.reverse()
        return found

    def first_missing(self, block_hash: bytes) -> int | None:
        """The lowest height at which the block of an ancestor is not stored; that above the header when all are. None
        when the header is not known."""
        header = self.header(block_hash)
        if header is None:
            return None
        stored, missing = 0, header.number + 1
        tip = self._stored.tip_header().number
        guesses = [tip, tip + 1]
        while missing - stored > 1:
            middle = guesses.pop() if guesses else (stored + missing) // 2
            if not stored < middle < missing:
                continue
            ancestor = self.ancestor_hash(block_hash, middle)
            if ancestor is None:
                return None
            if self._stored.header(ancestor) is None:
                missing, block_hash = middle, ancestor  # from here the way down is shorter
            else:
                stored = middle
        return missing

    def _hashes_between(self, first: int, last: int) -> defaultdict[int, list[bytes]]:
        """Hashes of all known headers at some heights."""
        found: defaultdict[int, list[bytes]] = defaultdict(list)
        for known in (self._stored.stored_blocks(first), self._row_numbers(first)):
            for number, block_hash in known:
                if number > last:
                    break
                found[number].append(block_hash)
        return found

    def _row_numbers(self, first: int) -> Iterator[tuple[int, bytes]]:
        """Height and hash of all rows from height `first` on, in order of height."""
        for key, _ in self._reader.iterator(prefix=HEADER_NUMBER, start=number_key(HEADER_NUMBER, first)):
            yield int.from_bytes(key[1:9], "big"), key[9:]

    def hashes(self, number: int) -> list[bytes]:
        """Hashes of all known headers at a height."""
        return [*self._stored.stored_hashes(number), *self.row_hashes(number)]

    def best_header(self) -> Header:
        """That with the most work; the tip unless a row has more."""
        tip, row = self._stored.tip_header(), self.best_row()
        work = self.total_difficulty(tip.hash)
        return tip if row is None or (work is not None and work >= row.total_difficulty) else row.header

    def row(self, block_hash: bytes) -> HeaderRow | None:
        """The row of a header whose block is not stored."""
        packed = self._reader.get(HEADER_ROW + block_hash)
        return None if packed is None else HeaderRow.unpack(packed)

    def row_hashes(self, number: int) -> list[bytes]:
        """Hashes of all rows at a height."""
        if not 0 <= number <= _MAX_NUMBER:
            return []
        prefix = number_key(HEADER_NUMBER, number)
        return [key[len(prefix) :] for key, _ in self._reader.iterator(prefix=prefix)]

    def has_leaf(self, row: HeaderRow) -> bool:
        """It is among the leaves."""
        return self._reader.get(row.leaf_key) is not None

    def best_row(self) -> HeaderRow | None:
        """The row with the most work; None when there are no rows."""
        last = next(self._reader.iterator(prefix=HEADER_LEAF, reverse=True), None)
        return None if last is None else self.row(last[0][1 + _WORK_SIZE :])

    def poorest_leaves(self, work: int, most: int) -> list[HeaderRow]:
        """Leaves with less work than that, those with the least first; so many at most."""
        keys = self._reader.iterator(prefix=HEADER_LEAF, stop=_leaf_key(work, b""))
        found = (self.row(key[1 + _WORK_SIZE :]) for key, _ in islice(keys, most))
        return [row for row in found if row is not None]


class HeaderRows(KnownHeaders):
    """The rows as the open transaction sees and changes them; for `storage.chain_txn`."""

    def __init__(self, committed: Reader, overlay: Overlay, stored: StoredHeaders, parents: Recent[bytes]) -> None:
        super().__init__(overlay, stored, parents)
        self._committed: Final = committed
        self._overlay: Final = overlay
        self._highest: int | None = None
        self._to_cut: list[bytes] = []

    def insert(self, headers: Sequence[Header]) -> None:
        """Write rows of valid headers, each of which stands on the one before; those that are known stay as they are.

        ValueError when the parent of the first is unknown, or when `ChainStore.finish_header_cut` is still to be done.
        """
        if self.has_cut:
            raise ValueError("a branch of headers is being deleted: call ChainStore.finish_header_cut first")
        run = HeaderRun.of(headers)
        new = run[sum(1 for _ in takewhile(lambda each: self.header(each) is not None, run.hashes)) :]
        if not new:
            return
        if (gap := new.first_gap()) is not None:
            raise ValueError(f"header {new.numbers[gap]} does not stand on the one before it")
        parent = self._parent_of(new[0])
        work, rows = parent.total_difficulty, dict[bytes, bytes]()
        # No object and no call for each row: there are tens of thousands a second.
        for block_hash, raw, number, target in zip(new.hashes, new.raws, new.numbers, new.compact_targets, strict=True):
            work += compact_to_difficulty(target)
            rows[HEADER_ROW + block_hash] = raw + work.to_bytes(_WORK_SIZE, "little")
            rows[HEADER_NUMBER + number.to_bytes(8, "big") + block_hash] = b""
        self._parents.put_all(dict(zip(new.hashes, new.parent_hashes, strict=True)))
        self._overlay.delete(parent.leaf_key)
        self._overlay.put_all(rows)
        self._overlay.put(_leaf_key(work, new.hashes[-1]), b"")
        self._highest = max(self._highest_row(), new.numbers[-1])

    def replace(self, header: Header) -> None:
        """The block is stored now: its row goes, and those above it stand on the block."""
        highest = self._highest_row() if self._highest is None else self._highest
        if header.number <= highest and (row := self.row(header.hash)) is not None:
            self._remove(HeaderRow(header, row.total_difficulty))  # this header's hash is known

    def delete(self, header: Header) -> None:
        """Delete the row of a header, if there is one, and note that those above it must go; the block is not stored
        any more or it is invalid."""
        if header.number > self._highest_row():
            return
        row = self.row(header.hash)
        if row is not None:
            self._remove(row)
            self._make_leaf(header.parent_hash)
        if header.number < self._highest_row():
            self._to_cut.append(_cut_entry(header.number, header.hash))

    def prune(self, block_hash: bytes, most: int) -> HeaderRow | None:
        """Delete a leaf, then what is one by that, and so on down to where the branch begins; so many rows at most. The
        row that is left to go on with, None at the end."""
        row = self.row(block_hash)
        for _ in range(most):
            if row is None or not self.has_leaf(row):
                return None
            self._remove(row)
            self._make_leaf(row.header.parent_hash)
            row = self.row(row.header.parent_hash)
        return row if row is not None and self.has_leaf(row) else None

    @property
    def has_cut(self) -> bool:
        """Rows that stand on deleted ones are still there."""
        return bool(self._to_cut) or self._reader.get(META_HEADER_CUT) is not None

    def note_cut(self) -> None:
        """Before the commit: write down what is left to delete."""
        if self._to_cut:
            noted = self._reader.get(META_HEADER_CUT) or b""
            self._overlay.put(META_HEADER_CUT, noted + b"".join(self._to_cut))
            self._to_cut = []

    def cut_slice(self) -> None:
        """Delete up to CUT_SLICE of the committed rows that stand on deleted ones; nothing else in this transaction."""
        parents = _unpack_cut(self._reader.get(META_HEADER_CUT) or b"")
        removed = 0
        for number, block_hash in self._committed_rows(min(parents, default=_MAX_NUMBER) + 1):
            for done in [each for each in parents if each < number - 1]:
                del parents[done]
            if not parents or removed == CUT_SLICE:
                break
            row = self.row(block_hash)
            if row is not None and row.header.parent_hash in parents.get(number - 1, ()):
                self._remove(row)
                parents[number].add(block_hash)
                removed += 1
        else:
            parents.clear()
        left = b"".join(_cut_entry(number, each) for number, hashes in parents.items() for each in hashes)
        if left:
            self._overlay.put(META_HEADER_CUT, left)
        else:
            self._overlay.delete(META_HEADER_CUT)

    def _committed_rows(self, first: int) -> Iterator[tuple[int, bytes]]:
        """Height and hash, in order of height."""
        start = number_key(HEADER_NUMBER, min(first, _MAX_NUMBER))
        for key, _ in self._committed.iterator(prefix=HEADER_NUMBER, start=start):
            yield int.from_bytes(key[1:9], "big"), key[9:]

    def _highest_row(self) -> int:
        """No row is higher; -1 when there is none."""
        if self._highest is None:
            last = next(self._committed.iterator(prefix=HEADER_NUMBER, reverse=True), None)
            self._highest = -1 if last is None else int.from_bytes(last[0][1:9], "big")
        return self._highest

    def _parent_of(self, header: Header) -> HeaderRow:
        """The parent as if it were a row."""
        parent, work = self.header(header.parent_hash), self.total_difficulty(header.parent_hash)
        if parent is None or work is None:
            raise ValueError(f"the parent of header {header.number} is unknown")
        return HeaderRow(parent, work)

    def _make_leaf(self, block_hash: bytes) -> None:
        """Of a row that has lost a child; it may have others."""
        row = self.row(block_hash)
        if row is None:
            return
        beside = (self.row(each) for each in self.row_hashes(row.header.number + 1))
        if not any(each is not None and each.header.parent_hash == block_hash for each in beside):
            self._overlay.put(row.leaf_key, b"")

    def _remove(self, row: HeaderRow) -> None:
        header = row.header
        for key in (
            HEADER_ROW + header.hash,
            number_key(HEADER_NUMBER, header.number) + header.hash,
            row.leaf_key,
        ):
            self._overlay.delete(key)


def _leaf_key(work: int, block_hash: bytes) -> bytes:
    return HEADER_LEAF + work.to_bytes(_WORK_SIZE, "big") + block_hash


def _cut_entry(number: int, block_hash: bytes) -> bytes:
    return number.to_bytes(8, "big") + block_hash


def _unpack_cut(packed: bytes) -> defaultdict[int, set[bytes]]:
    """Deleted headers, by height."""
    found: defaultdict[int, set[bytes]] = defaultdict(set)
    for at in range(0, len(packed), _CUT_SIZE):
        found[int.from_bytes(packed[at : at + 8], "big")].add(packed[at + 8 : at + _CUT_SIZE])
    return found
