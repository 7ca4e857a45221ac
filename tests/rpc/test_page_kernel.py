"""Pages by generated code against those that are written in Python."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from ckb_node.indexer.keys import CELL_HEAD, IO, TX_PLACE
from ckb_node.indexer.query import FoundCell, FoundTransaction
from ckb_node.rpc import indexer_pages, page_kernel
from ckb_node.rpc.page_code import GROUP_IO_TEXT, IO_TEXT, MAX_INPUT, MAX_OUTPUT
from consensus.codec.layout import U64_MAX
from consensus.crypto.hashing import HASH_SIZE
from consensus.kernels.runtime import code_digest
from consensus.types.blockchain import CellOutput, Script, out_point_key
from tests.support.builders.blocks import an_output


def cells_text(found: list[FoundCell]) -> bytes:
    """As an answer has it."""
    write = partial(page_kernel.cells_text, with_data=True)
    return indexer_pages.written(found, write, partial(indexer_pages.plain_cells_text, with_data=True))


NUMBERS = (0, 1, 9, 10, 15, 16, 255, 256, 0xABCDEF, 0xFFFF_FFFF)
KNOWN = (0, 1, 2, 4)


def test_its_code_is_known_by_its_digest() -> None:
    """When the generator (or the emitter) changed: put the new digest into CODE_DIGEST beside the generator."""
    assert page_kernel.KERNEL.digest == code_digest(page_kernel.KERNEL.generate())


def some_script(random: Random, hash_type: int | None = None) -> Script:
    args = random.randbytes(random.choice([0, 1, 2, 3, 4, 20, 33, 300]))
    byte = random.choice(KNOWN) if hash_type is None else hash_type
    return Script(code_hash=random.randbytes(HASH_SIZE), hash_type=byte, args=args)


def some_number(random: Random, most: int) -> int:
    return random.choice([*NUMBERS, most, random.randint(0, most)])


def a_cell(random: Random, output: CellOutput, data: bytes) -> FoundCell:
    number, tx_index = some_number(random, U64_MAX), some_number(random, 0xFFFF_FFFF)
    point = out_point_key(random.randbytes(HASH_SIZE), some_number(random, 0xFFFF_FFFF))
    return FoundCell(b"key", point, CELL_HEAD.pack(number, tx_index, len(output.raw)) + output.raw + data)


def some_cell(random: Random) -> FoundCell:
    type_ = some_script(random) if random.random() < 0.5 else None
    output = an_output(some_number(random, U64_MAX), some_script(random), type_)
    return a_cell(random, output, random.randbytes(random.choice([0, 1, 5, 16, 1000])))


def some_transaction(random: Random, ios: int) -> FoundTransaction:
    place = TX_PLACE.pack(some_number(random, U64_MAX), some_number(random, 0xFFFF_FFFF))
    packed = b"".join(IO.pack(some_number(random, 0xFFFF_FFFF), random.randrange(2)) for _ in range(ios))
    return FoundTransaction(random.randbytes(70) + place, random.randbytes(HASH_SIZE) + packed, b"")


@pytest.mark.parametrize("seed", range(100))
def test_cells(seed: int) -> None:
    random = Random(seed)
    found = [some_cell(random) for _ in range(random.randint(1, 30))]
    for with_data in (True, False):
        text = page_kernel.cells_text(found, with_data=with_data)
        assert text == indexer_pages.plain_cells_text(found, with_data=with_data)


@pytest.mark.parametrize("seed", range(100))
def test_transactions(seed: int) -> None:
    random = Random(seed)
    found = [some_transaction(random, random.choice([1, 2, 3, 40])) for _ in range(random.randint(1, 30))]
    assert page_kernel.transactions_text(found) == indexer_pages.plain_transactions_text(found)
    assert page_kernel.groups_text(found) == indexer_pages.plain_groups_text(found)


@pytest.mark.parametrize("hash_type", [3, 6, 254, 255])
def test_names_of_machines_to_come_are_left_to_python(hash_type: int) -> None:
    random = Random(hash_type)
    known, other = some_script(random), some_script(random, hash_type)
    for output in (an_output(1, other, known), an_output(1, known, other)):
        found = [some_cell(random), a_cell(random, output, b"")]
        assert page_kernel.cells_text(found, with_data=True) is None
        if hash_type % 2 == 0:
            assert f'"hash_type":"data{hash_type // 2}"'.encode() in cells_text(found)


def test_as_much_as_a_call_takes() -> None:
    random = Random(1)
    lock = some_script(random)
    empty = a_cell(random, an_output(U64_MAX, lock), b"")
    size = MAX_INPUT - len(empty.packed) - 40
    for more, is_taken in ((0, True), (1, False)):
        found = [FoundCell(b"", empty.out_point, empty.packed + random.randbytes(size + more))]
        text = page_kernel.cells_text(found, with_data=True)
        assert (text is not None) is is_taken
        assert text in (None, indexer_pages.plain_cells_text(found, with_data=True))
        assert cells_text(found) == indexer_pages.plain_cells_text(found, with_data=True)


def test_many_inputs_and_outputs() -> None:
    random = Random(2)
    most = MAX_OUTPUT // IO_TEXT
    full = [some_transaction(random, most // 2), some_transaction(random, most - most // 2)]
    assert page_kernel.transactions_text(full) == indexer_pages.plain_transactions_text(full)
    for more in ([some_transaction(random, most + 1)], [*full, some_transaction(random, 1)], [*full, *full, *full]):
        assert page_kernel.transactions_text(more) is None
        text = indexer_pages.written(more, page_kernel.transactions_text, indexer_pages.plain_transactions_text)
        assert text == indexer_pages.plain_transactions_text(more)
        assert page_kernel.groups_text(more) == indexer_pages.plain_groups_text(more)
    many = [some_transaction(random, 1), some_transaction(random, MAX_OUTPUT // GROUP_IO_TEXT)]
    assert page_kernel.groups_text(many) is None
    text = indexer_pages.written(many, page_kernel.groups_text, indexer_pages.plain_groups_text)
    assert text == indexer_pages.plain_groups_text(many)
