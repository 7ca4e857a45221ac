"""Molecule serialisation. The examples are those of RFC 8; unions of other things than tables do not occur in CKB."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.codec.molecule import (
    BE_UINT32,
    BYTE,
    BYTE32_VEC,
    BYTES,
    BYTES_VEC,
    UINT32,
    UINT32_VEC,
    UINT64,
    ByteArrayKind,
    CompositeKind,
    Field,
    Kind,
    Struct,
    Table,
    UnionKind,
    field,
    kind,
    optional,
    trailing,
    vector,
)
from consensus.errors import MoleculeError
from consensus.types.blockchain import Block, OutPoint
from consensus.types.core import BlockExt
from network.messages.protocols import SYNC_MESSAGE, InIBD
from tests.consensus.codec.schemas import UNIONS, declared_types, is_valid, plain, rebuilt, values_of
from tests.support.fuzz import examples


def bytes_of(text: str) -> bytes:
    """Bytes as RFC 8 writes them."""
    return bytes.fromhex(text.replace(",", " "))


BYTE3 = ByteArrayKind("Byte3", 3)
BYTES_VEC_OPT = optional(BYTES_VEC)


class OnlyAByte(Struct):
    f1: Field[int] = field(BYTE)


class ByteAndUint32(Struct):
    f1: Field[int] = field(BYTE)
    f2: Field[int] = field(UINT32)


class TwoUint32(Struct):
    """Bytes of a struct of two are those of an array of two."""

    a: Field[int] = field(UINT32)
    b: Field[int] = field(UINT32)


class MixedType(Table):
    f1: Field[bytes] = field(BYTES)
    f2: Field[int] = field(BYTE)
    f3: Field[int] = field(UINT32)
    f4: Field[bytes] = field(BYTE3)
    f5: Field[bytes] = field(BYTES)


class MixedTypeLater(Table):
    """MixedType with a field that was added later."""

    f1: Field[bytes] = field(BYTES)
    f2: Field[int] = field(BYTE)
    f3: Field[int] = field(UINT32)
    f4: Field[bytes] = field(BYTE3)
    f5: Field[bytes] = field(BYTES)
    f6: Field[int | None] = trailing(UINT64, default=None)


class Holder(Table):
    inner: Field[MixedType] = field(kind(MixedType))


MIXED = MixedType(f1=b"", f2=0xAB, f3=0x123, f4=b"\x45\x67\x89", f5=b"\xab\xcd\xef")

RFC_8_VALUES: list[tuple[Kind[Any], Any, str]] = [
    (BYTE, 0, "00"),
    (BYTE3, b"\1\2\3", "01 02 03"),
    (UINT32, 0x01020304, "04 03 02 01"),
    (kind(TwoUint32), TwoUint32(a=0x01020304, b=0xABCDE), "04 03 02 01 de bc 0a 00"),
    (kind(OnlyAByte), OnlyAByte(f1=0xAB), "ab"),
    (kind(ByteAndUint32), ByteAndUint32(f1=0xAB, f2=0x010203), "ab 03 02 01 00"),
    (BYTES, b"", "00 00 00 00"),
    (BYTES, b"\x12", "01 00 00 00, 12"),
    (BYTES, bytes_of("1234567890abcdef"), "08 00 00 00, 12 34 56 78 90 ab cd ef"),
    (UINT32_VEC, [], "00 00 00 00"),
    (UINT32_VEC, [0x123], "01 00 00 00, 23 01 00 00"),
    (
        UINT32_VEC,
        [0x123, 0x456, 0x7890, 0xA, 0xBC, 0xDEF],
        "06 00 00 00, 23 01 00 00, 56 04 00 00, 90 78 00 00, 0a 00 00 00, bc 00 00 00, ef 0d 00 00",
    ),
    (BYTES_VEC, [], "04 00 00 00"),
    (BYTES_VEC, [b"\x12\x34"], "0e 00 00 00, 08 00 00 00, 02 00 00 00 12 34"),
    (
        BYTES_VEC,
        [b"\x12\x34", b"", b"\x05\x67", b"\x89", b"\xab\xcd\xef"],
        "34 00 00 00, 18 00 00 00, 1e 00 00 00, 22 00 00 00, 28 00 00 00, 2d 00 00 00,"
        "02 00 00 00, 12 34, 00 00 00 00, 02 00 00 00, 05 67, 01 00 00 00, 89, 03 00 00 00, ab cd ef",
    ),
    (
        kind(MixedType),
        MIXED,
        "2b 00 00 00, 18 00 00 00, 1c 00 00 00, 1d 00 00 00, 21 00 00 00, 24 00 00 00,"
        "00 00 00 00, ab, 23 01 00 00, 45 67 89, 03 00 00 00, ab cd ef",
    ),
    (BYTES_VEC_OPT, None, ""),
    (BYTES_VEC_OPT, [], "04 00 00 00"),
    (BYTES_VEC_OPT, [b""], "0c 00 00 00, 08 00 00 00, 00 00 00 00"),
]


@pytest.mark.parametrize(("kind_", "value", "encoded"), RFC_8_VALUES)
def test_rfc_8_examples(kind_: Kind[Any], value: Any, encoded: str) -> None:
    data = bytes_of(encoded)
    assert kind_.pack(value) == data
    assert kind_.parse(data) == value


def test_union_is_its_id_and_the_item() -> None:
    union = UnionKind("U", {0: OnlyAByte, 7: MixedType})
    assert union.pack(OnlyAByte(f1=1)) == b"\0\0\0\0\1"
    assert union.parse(b"\7\0\0\0" + MIXED.raw) == MIXED
    for data in (b"", b"\7\0\0", b"\1\0\0\0\1", b"\0\0\0\0", b"\0\0\0\0\1\1"):
        with pytest.raises(MoleculeError):
            union.parse(data)
    with pytest.raises(MoleculeError):
        union.pack(TwoUint32(a=1, b=2))


def test_big_endian_key() -> None:
    assert BE_UINT32.pack(0x01020304) == b"\1\2\3\4"
    assert BE_UINT32.parse(b"\1\2\3\4") == 0x01020304


def test_reading_fields() -> None:
    parsed = MixedType.parse(MIXED.raw)
    assert (parsed.f1, parsed.f2, parsed.f3, parsed.f4, parsed.f5) == (
        b"",
        0xAB,
        0x123,
        b"\x45\x67\x89",
        b"\xab\xcd\xef",
    )
    assert parsed.raw is MIXED.raw
    assert parsed.replace(f2=1).f2 == 1
    assert repr(parsed).startswith("MixedType(f1=0x, f2=171")


def test_views_inside_a_buffer() -> None:
    holder = Holder.parse(Holder(inner=MIXED).raw)
    assert holder.inner.f5 == b"\xab\xcd\xef"
    assert holder.inner.raw == MIXED.raw
    assert holder.inner.raw_size == len(MIXED.raw)
    assert holder.inner.f3 == 0x123
    assert hash(holder.inner) == hash(MIXED)


def test_vectors_are_sequences() -> None:
    view = BYTES_VEC.parse(BYTES_VEC.pack([b"a", b"bc", b""]))
    assert (view[0], view[-1], list(view[1:]), len(view)) == (b"a", b"", [b"bc", b""], 3)
    assert view == [b"a", b"bc", b""]
    assert view != [b"a"]
    for index in (3, -4):
        with pytest.raises(IndexError):
            view[index]
    fixed = BYTE32_VEC.parse(BYTE32_VEC.pack([bytes(32), b"\1" * 32]))
    assert list(fixed) == [bytes(32), b"\1" * 32]


def test_raw_does_not_move_the_view() -> None:
    """Threads share blocks: one may read a field while another asks for `raw`."""
    view = MixedType.view(b"\xee" * 7 + MIXED.raw, 7, 7 + MIXED.raw_size)
    place = view._buf, view._start, view._end
    assert view.raw == MIXED.raw
    assert view.raw is view.raw
    assert (view._buf, view._start, view._end) == place
    assert view.f5 == MIXED.f5


# --- strict and compatible ---


def with_extra_field(table: Table, extra: bytes) -> bytes:
    """A later version of a table, which has one field more."""
    spans = [table.field_span(index) for index in range(table.field_count)]
    parts = [table.raw[a:b] for a, b in spans] + [extra]
    offset, header = 4 * (len(parts) + 1), []
    for part in parts:
        header.append(offset.to_bytes(4, "little"))
        offset += len(part)
    return b"".join([offset.to_bytes(4, "little"), *header, *parts])


def test_strict_refuses_an_extra_field() -> None:
    data = with_extra_field(MIXED, b"anything")
    with pytest.raises(MoleculeError, match="6 parts, at most 5"):
        MixedType.parse(data)
    later = MixedType.parse(data, compatible=True)
    assert later.f5 == MIXED.f5
    assert later.field_count == 6
    assert later.raw == data


def test_compatible_reaches_inside() -> None:
    inner = MixedType.trusted(with_extra_field(MIXED, b"x"))
    data = Holder(inner=inner).raw
    with pytest.raises(MoleculeError):
        Holder.parse(data)
    assert Holder.parse(data, compatible=True).inner.f2 == 0xAB


def test_trailing_fields_may_be_absent() -> None:
    old, new = MixedTypeLater.parse(MIXED.raw), MixedTypeLater.parse(with_extra_field(MIXED, UINT64.pack(9)))
    assert (old.f6, new.f6) == (None, 9)
    assert MixedTypeLater(f1=b"", f2=0xAB, f3=0x123, f4=b"\x45\x67\x89", f5=b"\xab\xcd\xef", f6=None).raw == MIXED.raw
    with pytest.raises(MoleculeError):
        MixedTypeLater.parse(with_extra_field(MIXED, b"\1"))
    with pytest.raises(MoleculeError):
        MixedTypeLater.parse(with_extra_field(new, b""))


def test_missing_fields_are_refused_even_if_compatible() -> None:
    short = TwoFields(a=b"", b=b"").raw
    for compatible in (False, True):
        with pytest.raises(MoleculeError):
            MixedType.parse(short, compatible=compatible)


class TwoFields(Table):
    a: Field[bytes] = field(BYTES)
    b: Field[bytes] = field(BYTES)


def test_empty_table() -> None:
    assert InIBD().raw == b"\4\0\0\0"
    assert SYNC_MESSAGE.pack(InIBD()) == b"\x08\0\0\0\4\0\0\0"
    assert InIBD.parse(b"\4\0\0\0") == InIBD()
    with pytest.raises(MoleculeError):
        InIBD.parse(b"\x08\0\0\0\x08\0\0\0")
    with pytest.raises(MoleculeError):
        MixedType.parse(b"\4\0\0\0", compatible=True)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "04 00 00",
        "05 00 00 00",
        "05 00 00 00 00",
        "08 00 00 00 04 00 00 00",
        "08 00 00 00 00 00 00 00",
        "08 00 00 00 0c 00 00 00",
        "08 00 00 00 09 00 00 00",
        "0c 00 00 00 0a 00 00 00 00 00 00 00",
        "0d 00 00 00 09 00 00 00 00 00 00 00 00",
        "10 00 00 00 0c 00 00 00 0b 00 00 00 00 00 00 00",
        "10 00 00 00 0c 00 00 00 ff ff ff ff 00 00 00 00",
        "10 00 00 00 0c 00 00 00 10 00 00 00 00 00 00 01",
    ],
)
def test_broken_headers_of_dynvecs(data: str) -> None:
    with pytest.raises(MoleculeError):
        BYTES_VEC.parse(bytes_of(data))


@pytest.mark.parametrize("data", ["", "00 00 00", "01 00 00 00", "ff ff ff ff", "00 00 00 00 00", "00 00 00 01 00"])
def test_broken_headers_of_fixvecs(data: str) -> None:
    for kind_ in (BYTES, UINT32_VEC, BYTE32_VEC):
        with pytest.raises(MoleculeError):
            kind_.parse(bytes_of(data))


def test_values_that_do_not_fit() -> None:
    with pytest.raises(MoleculeError):
        UINT32.pack(1 << 32)
    with pytest.raises(MoleculeError):
        UINT32.pack(-1)
    with pytest.raises(MoleculeError):
        OutPoint(tx_hash=b"\0" * 31, index=0)
    with pytest.raises(MoleculeError):
        Holder(inner=TwoFields(a=b"", b=b""))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs b"):
        TwoFields(a=b"")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no field c"):
        TwoFields(a=b"", b=b"", c=b"")  # type: ignore[call-arg]


# --- every declared type ---

KINDS: list[Kind[Any]] = [*(CompositeKind(view_class) for view_class in declared_types()), *UNIONS]
kinds = pytest.mark.parametrize("kind_", KINDS, ids=lambda kind_: kind_.name)


@kinds
@settings(max_examples=examples(5), deadline=None)
@given(data=st.data())
def test_round_trip(kind_: Kind[Any], data: st.DataObject) -> None:
    value = data.draw(values_of(kind_))
    packed = kind_.pack(value)
    parsed = kind_.parse(packed)
    assert plain(parsed) == plain(value)
    assert kind_.pack(parsed) == packed
    assert is_valid(kind_, packed, compatible=False)


def mutated(packed: bytes, draw: Any) -> bytes:
    """A bit flipped, a number of the header overwritten, bytes cut off, put in or taken out."""
    at = draw(st.integers(0, max(len(packed) - 1, 0)))
    match draw(st.sampled_from(["flip", "number", "cut", "insert", "remove"])):
        case "flip" if packed:
            return packed[:at] + bytes([packed[at] ^ 1 << draw(st.integers(0, 7))]) + packed[at + 1 :]
        case "number":
            at -= at % 4
            value = draw(st.sampled_from([0, 1, 4, 8, 12, len(packed), len(packed) + 1, 0x7FFFFFFF, 0xFFFFFFFF]))
            return packed[:at] + int(value).to_bytes(4, "little") + packed[at + 4 :]
        case "cut":
            return packed[:at]
        case "insert":
            return packed[:at] + bytes(draw(st.binary(min_size=1, max_size=8))) + packed[at:]
    return packed[:at] + packed[at + draw(st.integers(1, 8)) :]


@kinds
@settings(max_examples=examples(12), deadline=None)
@given(data=st.data())
def test_broken_bytes_are_refused_or_mean_what_they_say(kind_: Kind[Any], data: st.DataObject) -> None:
    """Molecule is canonical: what the strict check accepts is exactly what its fields serialise to."""
    broken = mutated(kind_.pack(data.draw(values_of(kind_))), data.draw)
    for compatible in (False, True):
        try:
            value = kind_.parse(broken, compatible=compatible)
        except MoleculeError:
            assert not is_valid(kind_, broken, compatible=compatible)
            continue
        assert is_valid(kind_, broken, compatible=compatible)
        plain(value)
        if not compatible:
            assert kind_.pack(rebuilt(value)) == broken


@settings(max_examples=examples(100), deadline=None)
@given(data=st.binary(max_size=200), compatible=st.booleans())
def test_noise_is_refused_by_molecule_errors_only(data: bytes, compatible: bool) -> None:
    kinds_of_noise: list[Kind[Any]] = [CompositeKind(Block), CompositeKind(BlockExt), *UNIONS]
    for kind_ in kinds_of_noise:
        try:
            plain(kind_.parse(data, compatible=compatible))
        except MoleculeError:
            assert not is_valid(kind_, data, compatible=compatible)


def test_lying_headers_allocate_nothing() -> None:
    huge = b"\xff\xff\xff\xff"
    lies: list[tuple[Kind[Any], bytes]] = [
        (BYTES, huge + bytes(1000)),
        (BYTE32_VEC, huge + bytes(1000)),
        (BYTES_VEC, huge + huge + bytes(1000)),
        (BYTES_VEC, (1008).to_bytes(4, "little") + huge + bytes(1000)),
        (CompositeKind(Block), (1008).to_bytes(4, "little") + b"\xfc\xff\xff\xff" + bytes(1000)),
    ]
    tracemalloc.start()
    for kind_, data in lies:
        with pytest.raises(MoleculeError):
            kind_.parse(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_memory_of_a_view_stays_near_the_size_of_its_bytes() -> None:
    """A full vector of the smallest items costs a list of numbers, not an object each."""
    data = vector(optional(BYTES)).pack([None] * 50_000)
    tracemalloc.start()
    view = vector(optional(BYTES)).parse(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(view) == 50_000
    assert peak < 20 * len(data)
