"""System calls that load data: what they find, the partial loading protocol, and what they cost (RFC 9)."""

from __future__ import annotations

import pytest

from consensus.crypto.hashing import data_hash
from consensus.script.context import GroupContext, TransactionContext
from consensus.script.groups import GroupKind, ScriptGroup
from consensus.script.process import Process
from consensus.script.syscalls import numbers
from consensus.types.blockchain import CellInput, OutPoint, Script
from consensus.types.core import EpochFraction, ResolvedTransaction, TransactionInfo
from tests.script.kit import call
from tests.support.builders.scripts import (
    Chain,
    make_block,
    make_cell,
    make_header,
    make_output,
    make_transaction,
    resolve,
)
from vm import create_machine
from vm.errors import External, MemOutOfBound, MemWriteOnExecutablePage, Unexpected

GROUP = 1 << 56
INPUT, OUTPUT, CELL_DEP, HEADER_DEP = 1, 2, 3, 4
SUCCESS, INDEX_OUT_OF_BOUND, ITEM_MISSING = 0, 1, 2
BUFFER, SIZE = 0x1000, 0x800
LIMIT = 1_000_000

LOCK = Script(code_hash=b"\x01" * 32, hash_type=0, args=b"lock of the group")
OTHER_LOCK = Script(code_hash=b"\x02" * 32, hash_type=0, args=b"")
TYPE = Script(code_hash=b"\x03" * 32, hash_type=1, args=b"type")

LISTED = make_header(number=1000, epoch=EpochFraction(7, 40, 1800).pack())
LISTED_WITHOUT_CELL = make_header(number=3, epoch=EpochFraction(9, 4, 10).pack())
UNLISTED = make_header(number=2000)
EXTENSION = b"extension of a block"


def info_of(block_hash: bytes) -> TransactionInfo:
    return TransactionInfo(block_hash=block_hash, block_number=1, block_epoch=0, tx_index=1)


def make_rtx() -> ResolvedTransaction:
    """Inputs 1 and 2 and output 1 form the group. Input 0 is in a listed block, 1 in another, 2 in none."""
    inputs = [CellInput(since=n, previous_output=OutPoint(tx_hash=bytes([n]) * 32, index=n)) for n in range(3)]
    transaction = make_transaction(
        inputs=inputs,
        outputs=[make_output(OTHER_LOCK, capacity=0x0102030405060708), make_output(LOCK, TYPE)],
        outputs_data=[b"", b"data of output 1"],
        witnesses=[b"witness 0", b"witness 1"],
        header_deps=[LISTED.hash, LISTED_WITHOUT_CELL.hash, b"\xdd" * 32],
    )
    cells = [
        make_cell(b"data of input 0", OTHER_LOCK, info=info_of(LISTED.hash)),
        make_cell(b"data of input 1", LOCK, info=info_of(UNLISTED.hash)),
        make_cell(b"", LOCK, info=None),
    ]
    deps = [make_cell(b"data of dep 0", type_=TYPE, info=info_of(LISTED.hash)), make_cell(b"data of dep 1", info=None)]
    return resolve(transaction, cells, deps)


RTX = make_rtx()
CELLBASE_GROUP = ScriptGroup(LOCK, GroupKind.LOCK, [1, 2], [1])


def make_chain() -> Chain:
    headers = {header.hash: header for header in (LISTED, LISTED_WITHOUT_CELL, UNLISTED)}
    blocks = {
        LISTED.hash: make_block(LISTED, EXTENSION),
        LISTED_WITHOUT_CELL.hash: make_block(LISTED_WITHOUT_CELL),
        UNLISTED.hash: make_block(UNLISTED, b"never to be seen"),
    }
    return Chain(headers, blocks)


def make_process(version: int = 2, rtx: ResolvedTransaction = RTX, chain: Chain | None = None) -> Process:
    context = GroupContext(TransactionContext(rtx, chain or make_chain()), CELLBASE_GROUP)
    process = Process(0, create_machine(version, LIMIT, "reference"), context)
    process.machine.memory.store64(SIZE, 4096)
    return process


def load(process: Process, number: int, *args: int) -> bytes | int:
    """The bytes that a loading call hands out, or its answer if that is not success."""
    process.machine.memory.store64(SIZE, 4096)
    answer = call(process, number, BUFFER, SIZE, 0, *args)
    if answer != SUCCESS:
        assert isinstance(answer, int)
        return answer
    size = process.machine.memory.load64(SIZE)
    return process.machine.memory.load_bytes(BUFFER, size)


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


# What is found.


def test_the_transaction_its_hash_and_the_script() -> None:
    assert load(make_process(), numbers.LOAD_TRANSACTION) == RTX.transaction.raw
    assert load(make_process(), numbers.LOAD_TX_HASH) == RTX.transaction.hash
    assert load(make_process(), numbers.LOAD_SCRIPT) == LOCK.raw
    assert load(make_process(), numbers.LOAD_SCRIPT_HASH) == LOCK.hash


def test_inputs() -> None:
    inputs = RTX.transaction.body.inputs
    assert load(make_process(), numbers.LOAD_INPUT, 2, INPUT) == inputs[2].raw
    assert load(make_process(), numbers.LOAD_INPUT, 0, GROUP | INPUT) == inputs[1].raw
    assert load(make_process(), numbers.LOAD_INPUT_BY_FIELD, 1, INPUT, 0) == inputs[1].previous_output.raw
    assert load(make_process(), numbers.LOAD_INPUT_BY_FIELD, 1, GROUP | INPUT, 1) == u64(2)


@pytest.mark.parametrize("source", [OUTPUT, CELL_DEP, HEADER_DEP, GROUP | OUTPUT, GROUP | CELL_DEP, GROUP | HEADER_DEP])
def test_other_sources_have_no_inputs(source: int) -> None:
    assert load(make_process(), numbers.LOAD_INPUT, 0, source) == INDEX_OUT_OF_BOUND
    assert load(make_process(), numbers.LOAD_INPUT_BY_FIELD, 0, source, 99) == INDEX_OUT_OF_BOUND


def test_witnesses_stand_beside_inputs_and_outputs() -> None:
    assert load(make_process(), numbers.LOAD_WITNESS, 0, INPUT) == b"witness 0"
    assert load(make_process(), numbers.LOAD_WITNESS, 1, OUTPUT) == b"witness 1"
    assert load(make_process(), numbers.LOAD_WITNESS, 0, GROUP | INPUT) == b"witness 1"
    assert load(make_process(), numbers.LOAD_WITNESS, 0, GROUP | OUTPUT) == b"witness 1"


def test_a_group_input_without_witness_is_out_of_bound() -> None:
    assert load(make_process(), numbers.LOAD_WITNESS, 1, GROUP | INPUT) == INDEX_OUT_OF_BOUND
    assert load(make_process(), numbers.LOAD_WITNESS, 2, INPUT) == INDEX_OUT_OF_BOUND


@pytest.mark.parametrize("source", [CELL_DEP, HEADER_DEP, GROUP | CELL_DEP, GROUP | HEADER_DEP])
def test_deps_have_no_witnesses(source: int) -> None:
    assert load(make_process(), numbers.LOAD_WITNESS, 0, source) == INDEX_OUT_OF_BOUND


def test_cells() -> None:
    outputs = RTX.transaction.body.outputs
    assert load(make_process(), numbers.LOAD_CELL, 0, INPUT) == RTX.inputs[0].output.raw
    assert load(make_process(), numbers.LOAD_CELL, 1, OUTPUT) == outputs[1].raw
    assert load(make_process(), numbers.LOAD_CELL, 0, CELL_DEP) == RTX.cell_deps[0].output.raw
    assert load(make_process(), numbers.LOAD_CELL, 1, GROUP | INPUT) == RTX.inputs[2].output.raw
    assert load(make_process(), numbers.LOAD_CELL, 0, GROUP | OUTPUT) == outputs[1].raw


CELL_NUMBERS = [numbers.LOAD_CELL, numbers.LOAD_CELL_BY_FIELD, numbers.LOAD_CELL_DATA]


@pytest.mark.parametrize("number", CELL_NUMBERS)
@pytest.mark.parametrize(
    ("index", "source"),
    [
        *[(3, INPUT), (2, OUTPUT), (2, CELL_DEP), (2, GROUP | INPUT), (1, GROUP | OUTPUT), ((1 << 64) - 1, INPUT)],
        *[(0, HEADER_DEP), (0, GROUP | CELL_DEP), (0, GROUP | HEADER_DEP), (1 << 32, INPUT)],
    ],
)
def test_cells_that_are_not_there(number: int, index: int, source: int) -> None:
    process = make_process()
    assert call(process, number, BUFFER, SIZE, 0, index, source, 0) == INDEX_OUT_OF_BOUND
    assert process.machine.cycles == 0
    assert process.machine.memory.load64(SIZE) == 4096


def test_cell_fields() -> None:
    process = make_process()
    assert load(process, numbers.LOAD_CELL_BY_FIELD, 0, OUTPUT, 0) == bytes([8, 7, 6, 5, 4, 3, 2, 1])
    assert load(process, numbers.LOAD_CELL_BY_FIELD, 1, OUTPUT, 1) == data_hash(b"data of output 1")
    assert load(process, numbers.LOAD_CELL_BY_FIELD, 0, OUTPUT, 1) == bytes(32)
    assert load(process, numbers.LOAD_CELL_BY_FIELD, 1, INPUT, 1) == data_hash(b"data of input 1")
    assert load(process, numbers.LOAD_CELL_BY_FIELD, 1, OUTPUT, 2) == LOCK.raw
    assert load(process, numbers.LOAD_CELL_BY_FIELD, 1, OUTPUT, 3) == LOCK.hash
    assert load(process, numbers.LOAD_CELL_BY_FIELD, 1, OUTPUT, 4) == TYPE.raw
    assert load(process, numbers.LOAD_CELL_BY_FIELD, 0, CELL_DEP, 5) == TYPE.hash
    # 8 for the capacity, 32 + 1 and args for each script, and the data.
    occupied = (8 + 33 + len(LOCK.args) + 33 + len(TYPE.args) + len(b"data of output 1")) * 100_000_000
    assert load(process, numbers.LOAD_CELL_BY_FIELD, 1, OUTPUT, 6) == u64(occupied)


@pytest.mark.parametrize("field", [4, 5])
def test_a_missing_type_script_costs_nothing_and_leaves_the_size_alone(field: int) -> None:
    process = make_process()
    assert load(process, numbers.LOAD_CELL_BY_FIELD, 0, OUTPUT, field) == ITEM_MISSING
    assert process.machine.memory.load64(SIZE) == 4096
    assert process.machine.cycles == 0


@pytest.mark.parametrize(
    ("number", "field", "name"),
    [
        (numbers.LOAD_CELL_BY_FIELD, 7, "CellField"),
        (numbers.LOAD_INPUT_BY_FIELD, 2, "InputField"),
        (numbers.LOAD_HEADER_BY_FIELD, 3, "HeaderField"),
    ],
)
def test_a_field_that_does_not_exist_is_the_end_of_the_script(number: int, field: int, name: str) -> None:
    with pytest.raises(External) as caught:
        load(make_process(), number, 0, INPUT, field)
    assert str(caught.value) == f'External("{name} parse_from_u64 {field}")'


def test_cell_data() -> None:
    assert load(make_process(), numbers.LOAD_CELL_DATA, 0, GROUP | INPUT) == b"data of input 1"
    assert load(make_process(), numbers.LOAD_CELL_DATA, 1, OUTPUT) == b"data of output 1"
    assert load(make_process(), numbers.LOAD_CELL_DATA, 1, CELL_DEP) == b"data of dep 1"
    assert load(make_process(), numbers.LOAD_CELL_DATA, 2, INPUT) == b""


# Headers and extensions.


def test_headers_of_header_deps_and_of_cells_whose_block_is_one() -> None:
    assert load(make_process(), numbers.LOAD_HEADER, 0, HEADER_DEP) == LISTED.raw
    assert load(make_process(), numbers.LOAD_HEADER, 1, HEADER_DEP) == LISTED_WITHOUT_CELL.raw
    assert load(make_process(), numbers.LOAD_HEADER, 0, INPUT) == LISTED.raw
    assert load(make_process(), numbers.LOAD_HEADER, 0, CELL_DEP) == LISTED.raw


def test_extensions() -> None:
    assert load(make_process(), numbers.LOAD_BLOCK_EXTENSION, 0, HEADER_DEP) == EXTENSION
    assert load(make_process(), numbers.LOAD_BLOCK_EXTENSION, 0, INPUT) == EXTENSION
    assert load(make_process(), numbers.LOAD_BLOCK_EXTENSION, 0, CELL_DEP) == EXTENSION
    assert load(make_process(), numbers.LOAD_BLOCK_EXTENSION, 1, HEADER_DEP) == ITEM_MISSING


BLOCK_NUMBERS = [numbers.LOAD_HEADER, numbers.LOAD_HEADER_BY_FIELD, numbers.LOAD_BLOCK_EXTENSION]


@pytest.mark.parametrize("number", BLOCK_NUMBERS)
@pytest.mark.parametrize(
    ("index", "source"),
    [
        (1, INPUT),  # its block is no header dep
        (2, INPUT),  # its transaction is in no block yet
        (1, CELL_DEP),
        (0, GROUP | INPUT),
        (2, HEADER_DEP),  # no such block
    ],
)
def test_blocks_that_scripts_may_not_see(number: int, index: int, source: int) -> None:
    assert load(make_process(), number, index, source, 0) == ITEM_MISSING


@pytest.mark.parametrize("number", BLOCK_NUMBERS)
@pytest.mark.parametrize(
    ("index", "source"),
    [
        *[(3, INPUT), (2, CELL_DEP), (3, HEADER_DEP), (2, GROUP | INPUT)],
        *[(0, OUTPUT), (0, GROUP | OUTPUT), (0, GROUP | CELL_DEP), (0, GROUP | HEADER_DEP)],
    ],
)
def test_blocks_out_of_bound(number: int, index: int, source: int) -> None:
    assert load(make_process(), number, index, source, 0) == INDEX_OUT_OF_BOUND


def test_header_fields() -> None:
    process = make_process()
    assert load(process, numbers.LOAD_HEADER_BY_FIELD, 0, HEADER_DEP, 0) == u64(7)
    assert load(process, numbers.LOAD_HEADER_BY_FIELD, 0, HEADER_DEP, 1) == u64(1000 - 40)
    assert load(process, numbers.LOAD_HEADER_BY_FIELD, 0, INPUT, 2) == u64(1800)


def test_an_epoch_that_began_before_the_first_block_is_the_end_of_the_script() -> None:
    with pytest.raises(Unexpected, match="index overflow"):
        load(make_process(), numbers.LOAD_HEADER_BY_FIELD, 1, HEADER_DEP, 1)


def test_the_chain_is_asked_once_for_each_block() -> None:
    chain = make_chain()
    process = make_process(chain=chain)
    for _ in range(5):
        load(process, numbers.LOAD_HEADER, 0, HEADER_DEP)
        load(process, numbers.LOAD_HEADER, 2, HEADER_DEP)
        load(process, numbers.LOAD_BLOCK_EXTENSION, 0, HEADER_DEP)
    assert chain.lookups == 3


# Sources.

ALL_WITH_SOURCE = [
    *CELL_NUMBERS,
    *BLOCK_NUMBERS,
    numbers.LOAD_INPUT,
    numbers.LOAD_INPUT_BY_FIELD,
    numbers.LOAD_WITNESS,
]


@pytest.mark.parametrize("number", ALL_WITH_SOURCE)
@pytest.mark.parametrize(("source", "entry"), [(0, 0), (5, 5), (GROUP, 0), (GROUP | 5, 5), (1 << 55 | 1, 1 << 55 | 1)])
def test_a_source_that_does_not_exist_is_the_end_of_the_script(number: int, source: int, entry: int) -> None:
    with pytest.raises(External) as caught:
        load(make_process(), number, 0, source, 0)
    assert str(caught.value) == f'External("SourceEntry parse_from_u64 {entry}")'


@pytest.mark.parametrize("top", [0, 2, 3, 0xFF])
def test_any_other_top_byte_than_the_group_flag_means_the_transaction(top: int) -> None:
    assert load(make_process(), numbers.LOAD_CELL_DATA, 0, top << 56 | INPUT) == b"data of input 0"
    assert load(make_process(), numbers.LOAD_WITNESS, 0, top << 56 | INPUT) == b"witness 0"


# Partial loading. load_cell_data takes the same path; the sample is 15 bytes long.

SAMPLE = b"data of input 1"
PARTIAL = [(numbers.LOAD_CELL_DATA, SAMPLE), (numbers.LOAD_SCRIPT_HASH, LOCK.hash)]


@pytest.mark.parametrize(("number", "whole"), PARTIAL)
@pytest.mark.parametrize("offset", [0, 1, 14, 15])
@pytest.mark.parametrize("size", [0, 1, 8, 15, 4096, (1 << 64) - 1])
def test_partial_loading(number: int, whole: bytes, offset: int, size: int) -> None:
    process = make_process()
    memory = process.machine.memory
    memory.store_bytes(BUFFER, b"\xee" * 64)
    memory.store64(SIZE, size)
    assert call(process, number, BUFFER, SIZE, offset, 1, INPUT) == SUCCESS
    expected = whole[offset:][:size]
    assert memory.load_bytes(BUFFER, 64) == expected.ljust(64, b"\xee")
    assert memory.load64(SIZE) == len(whole) - offset
    assert process.machine.cycles == (len(expected) + 3) // 4


@pytest.mark.parametrize(("number", "whole"), PARTIAL)
@pytest.mark.parametrize("offset", [33, 1 << 32, (1 << 64) - 1])
def test_an_offset_behind_the_end_gives_nothing_and_succeeds(number: int, whole: bytes, offset: int) -> None:
    process = make_process()
    assert call(process, number, BUFFER, SIZE, offset, 1, INPUT) == SUCCESS
    assert process.machine.memory.load64(SIZE) == 0
    assert process.machine.cycles == 0
    assert len(whole) <= 33


def test_the_buffer_may_be_anywhere_when_nothing_is_stored() -> None:
    process = make_process()
    process.machine.memory.store64(SIZE, 0)
    assert call(process, numbers.LOAD_TX_HASH, (1 << 64) - 1, SIZE, 0) == SUCCESS
    assert process.machine.memory.load64(SIZE) == 32


def test_the_size_is_stored_before_the_data() -> None:
    process = make_process()
    process.machine.memory.store64(SIZE, 32)
    assert call(process, numbers.LOAD_TX_HASH, SIZE, SIZE, 0) == SUCCESS
    assert process.machine.memory.load_bytes(SIZE, 32) == RTX.transaction.hash


@pytest.mark.parametrize("address", [(4 << 20) - 31, 4 << 20, (1 << 64) - 1])
def test_a_buffer_that_leaves_the_memory(address: int) -> None:
    with pytest.raises(MemOutOfBound):
        call(make_process(), numbers.LOAD_TX_HASH, address, SIZE, 0)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_buffer_may_end_with_the_memory_in_every_version(version: int) -> None:
    process = make_process(version)
    assert call(process, numbers.LOAD_TX_HASH, (4 << 20) - 32, SIZE, 0) == SUCCESS
    assert process.machine.memory.load_bytes((4 << 20) - 32, 32) == RTX.transaction.hash
    process.machine.memory.store64((4 << 20) - 8, 1)
    assert call(process, numbers.LOAD_TX_HASH, BUFFER, (4 << 20) - 8, 0) == SUCCESS


def test_a_size_outside_of_the_memory() -> None:
    with pytest.raises(MemOutOfBound):
        call(make_process(), numbers.LOAD_TX_HASH, BUFFER, (4 << 20) - 7, 0)


def test_a_buffer_in_executable_memory() -> None:
    process = make_process()
    process.machine.memory.init_pages(0x4000, 0x1000, 3, b"", 0)
    with pytest.raises(MemWriteOnExecutablePage):
        call(process, numbers.LOAD_TX_HASH, 0x4000 - 16, SIZE, 0)


def test_loading_may_exceed_the_limit_which_is_the_callers_to_check() -> None:
    process = make_process()
    process.machine.max_cycles = 7
    assert load(process, numbers.LOAD_TX_HASH) == RTX.transaction.hash
    assert process.machine.cycles == 8
