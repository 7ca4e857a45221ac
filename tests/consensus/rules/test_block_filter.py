"""Block filters (RFC 45)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.crypto.golomb import FILTER_KEY, M, P, golomb_coded_set, siphash
from consensus.crypto.hashing import ZERO_HASH, ckb_hash
from consensus.rules.block_filter import ScriptHashes, block_scripts, filter_elements, filter_hash, script_hashes
from consensus.types.blockchain import NULL_OUT_POINT, Block
from tests.support.builders.filters import (
    CONTENTS,
    LOCK_A,
    LOCK_B,
    LOCK_C,
    MAKING,
    ODD,
    TYPE,
    block_with,
    output,
    output_of,
    script,
)

# Of the crate golomb-coded-set 0.2.1, which the reference node uses.
SETS = [
    ([], "0000000000000000"),
    ([bytes(32)], "0100000000000000510240"),
    (
        [bytes([byte]) * 32 for byte in range(16)],
        "10000000000000001364892dc9397739529e7814b266dbcef3a260cfca4e05507b5cb3f9a01ab6d0144fa4a691e7a55de748",
    ),
]

# Answers of the reference node 0.206 to get_block_filter, whose chain of blocks with CONTENTS begins at a genesis block
# with this filter hash: data, hash.
GENESIS_HASH = "96dd5bb0ad6cbd7841c00c158b56aca748842c56eb835dee4ba4371af9220e63"
GENESIS_DATA = "08000000000000002151287a84cd9ea77de53496038e51a078dd67b334"
REFERENCE = {
    1: ("04000000000000001b6caf3d89223195760d90", "9e1573ae7b3a90872ad2eea035872b018e4a268613c7b26d53fd6934bb1cdc34"),
    2: (
        "0700000000000000f8b29188aa1d195925b6307ad88dacfec25f80",
        "528e920019e31b4a1a21fe4607127c22a38d36782619dd4d1ca1cd7b3a73f178",
    ),
    3: ("0000000000000000", "7af9384bc834ffe84349c596450b6b23becf4b0ddfe4f3d8489dd2ba736f966d"),
}


def made_before(block_number: int) -> dict[bytes, ScriptHashes]:
    """Script hashes of all cells made below a height, by the plain types."""
    return {
        key: tuple(each.hash for each in (cell.lock, cell.type_) if each is not None)
        for number, transactions in CONTENTS.items()
        if number < block_number
        for made_by in transactions
        for key, cell in zip(made_by.output_keys(), made_by.body.outputs, strict=True)
    }


def elements_of(block: Block) -> list[bytes]:
    return filter_elements(block_scripts(block), made_before(block.number).get)


def decoded(data: bytes) -> Iterator[int]:
    """The values of a filter, by the other way of reading bits."""
    count, bits = int.from_bytes(data[:8], "little"), "".join(format(byte, "08b") for byte in data[8:])
    at = value = 0
    for _ in range(count):
        end = bits.index("0", at)
        value += (end - at << P) + int(bits[end + 1 : end + 1 + P], 2)
        at = end + 1 + P
        yield value
    assert len(bits) - at < 8
    assert "1" not in bits[at:]


def value_of(element: bytes, count: int) -> int:
    return siphash(element, FILTER_KEY) * (count * M) >> 64


@pytest.mark.parametrize(("elements", "expected"), SETS)
def test_sets_of_the_reference(elements: list[bytes], expected: str) -> None:
    assert golomb_coded_set(elements).hex() == expected
    assert golomb_coded_set(elements[::-1]).hex() == expected


def test_siphash_as_its_authors_have_it() -> None:
    """Appendix A of the SipHash paper, and vectors of its reference program, by the number of bytes 0, 1, 2 ..."""
    key = bytes(range(16))
    assert siphash(bytes(range(15)), key) == 0xA129CA6149BE45E5
    vectors = {0: "310e0edd47db6f72", 1: "fd67dc93c539f874", 2: "5a4fa9d909806c0d", 8: "6224939a79f5f593"}
    for size, expected in vectors.items():
        assert siphash(bytes(range(size)), key).to_bytes(8, "little").hex() == expected


def test_filters_and_their_hashes_are_those_of_the_reference() -> None:
    parent = bytes.fromhex(GENESIS_HASH)
    assert filter_hash(ZERO_HASH, bytes.fromhex(GENESIS_DATA)) == parent
    for number, (data, expected_hash) in REFERENCE.items():
        found = golomb_coded_set(elements_of(block_with(CONTENTS[number], number)))
        assert found.hex() == data
        parent = filter_hash(parent, found)
        assert parent.hex() == expected_hash


def test_elements_are_scripts_of_cells_made_and_spent_each_once() -> None:
    made, spent = block_with(CONTENTS[1], 1), block_with(CONTENTS[2], 2)
    assert elements_of(made) == sorted(each.hash for each in (LOCK_A, LOCK_B, LOCK_C, TYPE))
    of_second = (LOCK_A, LOCK_B, TYPE, script(5), script(6), script(7), script(8))
    assert elements_of(spent) == sorted(each.hash for each in of_second)


def test_cells_of_the_block_itself_are_not_asked_for() -> None:
    asked: list[bytes] = []

    def scripts_of(out_point: bytes) -> None:
        asked.append(out_point)

    filter_elements(block_scripts(block_with(CONTENTS[2], 2)), scripts_of)
    assert asked == [
        output_of(MAKING, 1).raw,
        *(each.previous_output.raw for each in ODD.body.inputs[1:]),
    ]


def test_a_cellbase_is_what_has_one_null_input_and_one_witness() -> None:
    """Only the rule for cellbases keeps a null out point from being asked for: nobody has such a cell."""
    assert NULL_OUT_POINT.raw not in block_scripts(block_with(CONTENTS[2], 2)).spent
    cellbase = block_with([], 2).transactions[0]
    odd = cellbase.replace(witnesses=[*cellbase.witnesses, b""])
    assert cellbase.is_cellbase
    assert not odd.is_cellbase
    assert block_scripts(block_with([odd], 2)).spent == [NULL_OUT_POINT.raw]


def test_script_hashes_are_those_of_the_types() -> None:
    assert script_hashes(output(LOCK_A).raw) == (LOCK_A.hash,)
    assert script_hashes(output(LOCK_B, TYPE).raw) == (LOCK_B.hash, TYPE.hash)


def test_the_hash_binds_a_filter_to_all_before_it() -> None:
    first = filter_hash(ZERO_HASH, b"abc")
    assert first == ckb_hash(ZERO_HASH + ckb_hash(b"abc"))
    assert filter_hash(first, b"abc") == ckb_hash(first + ckb_hash(b"abc"))


@given(st.sets(st.binary(min_size=32, max_size=32), max_size=200))
def test_what_went_in_comes_out(elements: set[bytes]) -> None:
    data = golomb_coded_set(sorted(elements))
    assert list(decoded(data)) == sorted(value_of(element, len(elements)) for element in elements)


def test_far_values_take_long_runs_of_ones() -> None:
    """One element close to the end of its range: the quotient alone says so."""
    far = next(each for each in (ckb_hash(bytes([n])) for n in range(256)) if value_of(each, 1) >> P)
    data = golomb_coded_set([far])
    assert data[8] & 0xC0 == 0x80
    assert list(decoded(data)) == [value_of(far, 1)]
