"""The types of values: numbers, byte arrays, vectors, options. Each checks, reads and packs its own bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from struct import Struct as ByteStruct
from struct import error as struct_error
from typing import Generic, TypeVar, overload

from consensus.codec.layout import NUMBER_SIZE, U32
from consensus.errors import MoleculeError, TooManyParts

T = TypeVar("T")
Check = Callable[[bytes, int, int, bool], None]

_TWO_U32 = ByteStruct("<2I")


@lru_cache(maxsize=256)
def _numbers(form: str, count: int) -> ByteStruct:
    """Reads and packs so many numbers."""
    return ByteStruct(f"<{count}{form}")


class Kind(Generic[T]):
    """A molecule type: `size` is its fixed size in bytes, None when it varies."""

    name: str
    size: int | None

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        """Raise MoleculeError unless buf[start:end] is exactly one value; extra fields pass only if compatible."""
        raise NotImplementedError

    @property
    def checker(self) -> Check:
        """`check`, or what it would only hand on to."""
        return self.check

    def read(self, buf: bytes, start: int, end: int) -> T:
        """The value at checked bytes."""
        raise NotImplementedError

    def pack(self, value: T) -> bytes:
        """The bytes of a value; MoleculeError if the value does not fit the type."""
        raise NotImplementedError

    def parse(self, data: bytes, *, compatible: bool = False) -> T:
        """Check and read bytes from outside."""
        self.check(data, 0, len(data), compatible)
        return self.read(data, 0, len(data))


def check_size(name: str, start: int, end: int, size: int) -> None:
    if end - start != size:
        raise MoleculeError(name, f"expected {size} bytes, got {end - start}")


class UintKind(Kind[int]):
    """An unsigned little-endian integer of `size` bytes."""

    size: int

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        check_size(self.name, start, end, self.size)

    def read(self, buf: bytes, start: int, end: int) -> int:
        return int.from_bytes(buf[start:end], "little")

    def pack(self, value: int) -> bytes:
        try:
            return value.to_bytes(self.size, "little")
        except OverflowError:
            raise MoleculeError(self.name, f"{value} does not fit {self.size} bytes") from None


class BigEndianKind(UintKind):
    """An unsigned big-endian integer: keys of the reference's database, so that they sort by number."""

    def read(self, buf: bytes, start: int, end: int) -> int:
        return int.from_bytes(buf[start:end], "big")

    def pack(self, value: int) -> bytes:
        return super().pack(value)[::-1]


class ByteArrayKind(Kind[bytes]):
    """A fixed number of bytes."""

    size: int

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        check_size(self.name, start, end, self.size)

    def read(self, buf: bytes, start: int, end: int) -> bytes:
        return buf[start:end]

    def pack(self, value: bytes) -> bytes:
        if len(value) != self.size:
            raise MoleculeError(self.name, f"expected {self.size} bytes, got {len(value)}")
        return bytes(value)


def _vector_count(name: str, buf: bytes, start: int, end: int, item_size: int) -> int:
    """Item count of a fixvec after checking that the items fill the slice exactly."""
    if end - start < NUMBER_SIZE:
        raise MoleculeError(name, f"expected at least {NUMBER_SIZE} bytes, got {end - start}")
    count: int = U32.unpack_from(buf, start)[0]
    check_size(name, start, end, NUMBER_SIZE + count * item_size)
    return count


class BytesKind(Kind[bytes]):
    """A vector of bytes."""

    name = "Bytes"
    size = None

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        _vector_count(self.name, buf, start, end, 1)

    def read(self, buf: bytes, start: int, end: int) -> bytes:
        return buf[start + NUMBER_SIZE : end]

    def pack(self, value: bytes) -> bytes:
        return U32.pack(len(value)) + value


class Vec(Sequence[T]):
    """A lazy view of a vector: items are read when asked for and kept."""

    __slots__ = ("_bounds", "_buf", "_cache", "_count", "_end", "_item", "_start")

    def __init__(self, item: Kind[T], buf: bytes, start: int, end: int, bounds: Sequence[int]) -> None:
        """Item i lies at buf[bounds[i]:bounds[i + 1]]; the vector itself at buf[start:end]."""
        self._item, self._buf, self._start, self._end, self._bounds = item, buf, start, end, bounds
        self._count = len(bounds) - 1
        self._cache: dict[int, T] = {}

    @property
    def raw(self) -> bytes:
        """The serialised vector."""
        return self._buf[self._start : self._end]

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [self._at(i) for i in range(*index.indices(self._count))]
        if index < 0:
            index += self._count
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._at(index)

    def _at(self, index: int) -> T:
        value = self._cache.get(index)
        if value is None:
            value = self._cache[index] = self._item.read(self._buf, self._bounds[index], self._bounds[index + 1])
        return value

    def __iter__(self) -> Iterator[T]:
        return map(self._at, range(self._count))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return repr(list(self))


class FixVecKind(Kind[Sequence[T]]):
    """A vector of items of one fixed size."""

    size = None

    def __init__(self, item: Kind[T]) -> None:
        if item.size is None:
            raise TypeError(f"{item.name} has no fixed size")
        self.item, self.item_size, self.name = item, item.size, f"{item.name}Vec"

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        _vector_count(self.name, buf, start, end, self.item_size)

    def read(self, buf: bytes, start: int, end: int) -> Sequence[T]:
        return Vec(self.item, buf, start, end, range(start + NUMBER_SIZE, end + 1, self.item_size))

    def pack(self, value: Iterable[T]) -> bytes:
        items = [self.item.pack(item) for item in value]
        return U32.pack(len(items)) + b"".join(items)


def part_bounds(name: str, buf: bytes, start: int, end: int, most: int | None = None) -> list[int]:
    """Checked absolute bounds of the parts of a dynvec or table: part i is [result[i], result[i+1]). Empty: [end].

    TooManyParts when there are more than `most`, before any of them is looked at.
    """
    length = end - start
    if length < 2 * NUMBER_SIZE:
        if length != NUMBER_SIZE or U32.unpack_from(buf, start)[0] != NUMBER_SIZE:
            raise MoleculeError(name, f"the header is broken: {length} bytes")
        return [end]
    total, first = _TWO_U32.unpack_from(buf, start)
    if total != length:
        raise MoleculeError(name, f"declares {total} bytes, has {length}")
    if first % NUMBER_SIZE or first < 2 * NUMBER_SIZE or first > length:
        raise MoleculeError(name, f"the first offset {first} is impossible")
    if most is not None and first > NUMBER_SIZE * (most + 1):
        raise TooManyParts(name, first // NUMBER_SIZE - 1, most)
    offsets = _numbers("I", first // NUMBER_SIZE - 1).unpack_from(buf, start + NUMBER_SIZE)
    bounds = [start + offset for offset in offsets] if start else list(offsets)
    bounds.append(end)
    if bounds != sorted(bounds):
        raise MoleculeError(name, "the offsets are not in order")
    return bounds


def pack_parts(parts: Sequence[bytes]) -> bytes:
    """Header of total size and offsets, then the parts."""
    *offsets, size = itertools.accumulate(map(len, parts), initial=NUMBER_SIZE * (len(parts) + 1))
    return b"".join([_numbers("I", len(parts) + 1).pack(size, *offsets), *parts])


class UintVecKind(FixVecKind[int]):
    """A vector of numbers, read and built as a whole: blocks keep one number per transaction, and peers are asked for
    thousands of transactions by number."""

    def __init__(self, item: UintKind) -> None:
        super().__init__(item)
        self._form = {4: "I", 8: "Q"}[item.size]

    def read(self, buf: bytes, start: int, end: int) -> Sequence[int]:
        count = (end - start - NUMBER_SIZE) // self.item_size
        return list(_numbers(self._form, count).unpack_from(buf, start + NUMBER_SIZE))

    def pack(self, value: Iterable[int]) -> bytes:
        items = list(value)
        try:
            return U32.pack(len(items)) + _numbers(self._form, len(items)).pack(*items)
        except struct_error as error:
            raise MoleculeError(self.name, str(error)) from None


class DynVecKind(Kind[Sequence[T]]):
    """A vector of items whose sizes differ; its check raises TooManyParts for more than `most`."""

    size = None

    def __init__(self, item: Kind[T], most: int | None = None) -> None:
        self.item, self.name, self.most = item, f"{item.name}Vec", most

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        check_item = self.item.checker
        for a, b in itertools.pairwise(part_bounds(self.name, buf, start, end, self.most)):
            check_item(buf, a, b, compatible)

    def read(self, buf: bytes, start: int, end: int) -> Sequence[T]:
        return Vec(self.item, buf, start, end, part_bounds(self.name, buf, start, end))

    def pack(self, value: Iterable[T]) -> bytes:
        return pack_parts([self.item.pack(item) for item in value])


class OptionKind(Kind[T | None]):
    """A value or nothing; nothing is zero bytes."""

    size = None

    def __init__(self, item: Kind[T]) -> None:
        self.item, self.name = item, f"{item.name}Opt"

    def check(self, buf: bytes, start: int, end: int, compatible: bool) -> None:
        if start != end:
            self.item.check(buf, start, end, compatible)

    def read(self, buf: bytes, start: int, end: int) -> T | None:
        return None if start == end else self.item.read(buf, start, end)

    def pack(self, value: T | None) -> bytes:
        return b"" if value is None else self.item.pack(value)


def optional(item: Kind[T]) -> Kind[T | None]:
    """option item"""
    return OptionKind(item)


def at_most(most: int, item: Kind[T]) -> Kind[Sequence[T]]:
    """vector <item> of items whose sizes differ, of which a peer may send so many: more are not even looked at."""
    return DynVecKind(item, most)


def vector(item: Kind[T]) -> Kind[Sequence[T]]:
    """vector <item>: a fixvec when the item's size is fixed, a dynvec otherwise, as the schema language has it."""
    make: Callable[[Kind[T]], Kind[Sequence[T]]] = DynVecKind if item.size is None else FixVecKind
    return make(item)


BYTE = UintKind("byte", 1)
BOOL = ByteArrayKind("Bool", 1)
UINT16 = UintKind("Uint16", 2)
BE_UINT32 = BigEndianKind("BeUint32", 4)
UINT32 = UintKind("Uint32", 4)
UINT64 = UintKind("Uint64", 8)
UINT128 = UintKind("Uint128", 16)
UINT256 = UintKind("Uint256", 32)
BYTE32 = ByteArrayKind("Byte32", 32)
BYTES = BytesKind()
BYTES_OPT = optional(BYTES)
BYTES_VEC = vector(BYTES)
BYTES_OPT_VEC = vector(BYTES_OPT)
BYTE32_VEC = vector(BYTE32)
UINT32_VEC = UintVecKind(UINT32)
UINT256_VEC = vector(UINT256)
UINT64_VEC = UintVecKind(UINT64)
