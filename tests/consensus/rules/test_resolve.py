"""Resolving out points: liveness, dep groups, header deps, order inside a block."""

from __future__ import annotations

import pytest

from consensus.errors import MoleculeError
from consensus.rules.resolve import (
    MAX_DEP_EXPANSION,
    DeadOutPointError,
    InvalidDepGroupError,
    InvalidHeaderDepError,
    OutOfOrderError,
    TooManyDepsError,
    UnknownOutPointError,
    resolve_block,
    resolve_transaction,
)
from consensus.types.blockchain import DEP_TYPE_DEP_GROUP, NULL_OUT_POINT, OUT_POINT_VEC, OutPoint, Transaction
from consensus.types.core import CellMeta, ResolvedTransaction
from tests.support.builders.blocks import (
    a_cell,
    a_consensus,
    a_dep,
    a_transaction,
    an_input,
    an_output,
)
from tests.support.chains.valid import ValidChain

GROUP = DEP_TYPE_DEP_GROUP
MAIN_BLOCK = b"\x0a" * 32


def key(number: int) -> bytes:
    return bytes([number]) * 32 + bytes(4)


class Cells:
    """Live cells under `key(n)`, by number, with their data; and one main-chain block."""

    def __init__(self, **data: bytes) -> None:
        self._cells = {key(int(name[1:])): a_cell(data=each, key=key(int(name[1:]))) for name, each in data.items()}

    def cell(self, out_point: bytes) -> CellMeta | None:
        return self._cells.get(out_point)

    def is_main(self, block_hash: bytes) -> bool:
        return block_hash == MAIN_BLOCK


def group_of(*numbers: int) -> bytes:
    return OUT_POINT_VEC.pack([OutPoint.parse(key(number)) for number in numbers])


def resolve(transaction: Transaction, cells: Cells, spent: frozenset[bytes] = frozenset()) -> ResolvedTransaction:
    return resolve_transaction(transaction, cells, cells, spent)


def keys(cells: object) -> list[bytes]:
    assert isinstance(cells, list)
    return [cell.out_point for cell in cells]


def test_inputs_and_deps_come_in_order_with_groups_expanded_in_place() -> None:
    cells = Cells(c1=b"", c2=b"", c3=b"code", c4=b"more", c5=group_of(4, 3))
    transaction = a_transaction(
        [an_input(key(2)), an_input(key(1))], cell_deps=[a_dep(key(5), GROUP), a_dep(key(3))], header_deps=[MAIN_BLOCK]
    )
    rtx = resolve(transaction, cells)
    assert keys(rtx.inputs) == [key(2), key(1)]
    assert keys(rtx.cell_deps) == [key(4), key(3), key(3)]
    assert keys(rtx.dep_groups) == [key(5)]


def test_unknown_input_has_the_text_that_clients_match_on() -> None:
    with pytest.raises(UnknownOutPointError) as caught:
        resolve(a_transaction([an_input(key(9))]), Cells())
    assert str(caught.value) == f"Unknown(OutPoint(0x{'09' * 32}00000000))"
    assert caught.value.out_point == key(9)


def test_the_same_input_twice_is_dead() -> None:
    with pytest.raises(DeadOutPointError):
        resolve(a_transaction([an_input(key(1)), an_input(key(1), since=1)]), Cells(c1=b""))


def test_what_an_earlier_transaction_spends_is_dead_as_input_dep_group_and_member() -> None:
    cells = Cells(c1=b"", c2=b"code", c3=group_of(2))
    as_input = a_transaction([an_input(key(2))])
    as_dep = a_transaction([an_input(key(1))], cell_deps=[a_dep(key(2))])
    as_member = a_transaction([an_input(key(1))], cell_deps=[a_dep(key(3), GROUP)])
    for transaction, spent in ((as_input, 2), (as_dep, 2), (as_member, 2), (as_member, 3)):
        resolve(transaction, cells)
        with pytest.raises(DeadOutPointError) as caught:
            resolve(transaction, cells, frozenset({key(spent)}))
        assert caught.value.out_point == key(spent)


def test_a_cell_may_be_input_and_dep_of_one_transaction() -> None:
    rtx = resolve(a_transaction([an_input(key(1))], cell_deps=[a_dep(key(1))]), Cells(c1=b""))
    assert keys(rtx.inputs) == keys(rtx.cell_deps) == [key(1)]


def test_unknown_members_and_groups() -> None:
    cells = Cells(c1=b"", c3=group_of(2))
    for dep in (a_dep(key(2)), a_dep(key(4), GROUP), a_dep(key(3), GROUP)):
        with pytest.raises(UnknownOutPointError):
            resolve(a_transaction([an_input(key(1))], cell_deps=[dep]), cells)


@pytest.mark.parametrize("data", [b"", group_of(), group_of(1)[:-1], group_of(1) + b"\0", b"\xff\xff\xff\xff"])
def test_a_dep_group_is_a_list_of_one_or_more_out_points(data: bytes) -> None:
    cells = Cells(c1=b"", c2=data)
    with pytest.raises(InvalidDepGroupError) as caught:
        resolve(a_transaction([an_input(key(1))], cell_deps=[a_dep(key(2), GROUP)]), cells)
    assert str(caught.value).startswith("InvalidDepGroup(OutPoint(0x0202")


def test_groups_are_not_expanded_twice() -> None:
    cells = Cells(c1=b"", c2=group_of(3), c3=group_of(1))
    rtx = resolve(a_transaction([an_input(key(1))], cell_deps=[a_dep(key(2), GROUP)]), cells)
    assert keys(rtx.cell_deps) == [key(3)]


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
def test_2048_code_cells_fit(extra: int, fits: bool) -> None:
    cells = Cells(c1=b"code", c2=group_of(*[1] * 1000), c3=group_of(*[1] * 1047))
    deps = [a_dep(key(2), GROUP), a_dep(key(3), GROUP), *[a_dep(key(1))] * (1 + extra)]
    transaction = a_transaction([an_input(key(1))], cell_deps=deps)
    if fits:
        assert len(resolve(transaction, cells).cell_deps) == MAX_DEP_EXPANSION == 2048
    else:
        with pytest.raises(TooManyDepsError, match="OverMaxDepExpansionLimit"):
            resolve(transaction, cells)


def test_header_deps_are_on_the_main_chain() -> None:
    cells = Cells(c1=b"")
    with pytest.raises(InvalidHeaderDepError) as caught:
        resolve(a_transaction([an_input(key(1))], header_deps=[MAIN_BLOCK, b"\x0b" * 32]), cells)
    assert caught.value.block_hash == b"\x0b" * 32


def test_a_cellbase_has_no_input_cells_but_its_deps_must_exist() -> None:
    cells = Cells(c1=b"")
    cellbase = a_transaction([an_input(NULL_OUT_POINT, 5)], cell_deps=[a_dep(key(1))], witnesses=[b""])
    assert resolve(cellbase, cells).inputs == []
    with pytest.raises(UnknownOutPointError):
        resolve(a_transaction([an_input(NULL_OUT_POINT, 5)], cell_deps=[a_dep(key(2))], witnesses=[b""]), cells)


def test_a_null_input_beside_another_is_not_a_cellbase() -> None:
    with pytest.raises(UnknownOutPointError):
        resolve(a_transaction([an_input(key(1)), an_input(NULL_OUT_POINT)]), Cells(c1=b""))


# Inside a block


def test_a_transaction_spends_and_reads_what_earlier_ones_of_the_block_create() -> None:
    chain = ValidChain(a_consensus())
    parent = chain.spend(0, data=[b"code"])
    child = a_transaction([an_input(parent.output_keys()[0])], cell_deps=[a_dep(parent.output_keys()[0])])
    block = chain.next_block([parent, child])
    cell = resolve_block(block, chain, chain)[2].inputs[0]
    assert (cell.data, cell.data_size, cell.capacity) == (b"code", 4, parent.body.outputs[0].capacity)
    assert cell.info is not None
    assert (cell.info.block_hash, cell.info.block_number, cell.info.tx_index) == (block.hash, 1, 1)
    assert chain.cell(parent.output_keys()[0]) is None


def test_an_output_that_the_block_does_not_create_is_unknown() -> None:
    chain = ValidChain(a_consensus())
    parent = chain.spend(0)
    child = a_transaction([an_input(parent.hash + (1).to_bytes(4, "little"))])
    block = chain.next_block([parent])
    with pytest.raises(UnknownOutPointError):
        resolve_block(block.replace(transactions=[*block.transactions, child]), chain, chain)


def test_a_double_spend_in_a_block_is_dead() -> None:
    chain = ValidChain(a_consensus())
    first, second = chain.spend(0), chain.spend(0, fee=2 * 10**8)
    block = chain.next_block([first])
    with pytest.raises(DeadOutPointError) as caught:
        resolve_block(block.replace(transactions=[*block.transactions, second]), chain, chain)
    assert caught.value.out_point == chain.genesis_cell(0)


@pytest.mark.parametrize("as_dep", [False, True])
def test_names_of_later_transactions_are_out_of_order(as_dep: bool) -> None:
    chain = ValidChain(a_consensus())
    parent = chain.spend(0)
    named = parent.output_keys()[0]
    child = chain.spend(1, cell_deps=[a_dep(named)]) if as_dep else a_transaction([an_input(named)])
    block = chain.next_block([parent, child])
    resolve_block(block, chain, chain)
    swapped = block.replace(transactions=[block.transactions[0], child, parent])
    with pytest.raises(OutOfOrderError) as caught:
        resolve_block(swapped, chain, chain)
    assert caught.value.out_point == named


def test_even_an_index_that_does_not_exist_is_out_of_order() -> None:
    chain = ValidChain(a_consensus())
    later = chain.spend(0)
    child = chain.spend(1, cell_deps=[a_dep(later.hash + b"\x07\0\0\0")])
    block = chain.next_block([later])
    with pytest.raises(OutOfOrderError):
        resolve_block(block.replace(transactions=[block.transactions[0], child, later]), chain, chain)


def test_data_of_a_dep_group_is_read_from_the_cell_and_not_before() -> None:
    def fail() -> bytes:
        raise MoleculeError("test", "data was read")

    known = a_cell(an_output(), key=key(1))
    cell = CellMeta(known.out_point, known.output, known.data_size, known.data_hash, known.info, fail)

    class One:
        def cell(self, out_point: bytes) -> CellMeta | None:
            return cell

        def is_main(self, block_hash: bytes) -> bool:
            return False

    one = One()
    resolve_transaction(a_transaction([an_input(key(1))], cell_deps=[a_dep(key(1))]), one, one, ())
    with pytest.raises(MoleculeError, match="data was read"):
        resolve_transaction(a_transaction([an_input(key(1))], cell_deps=[a_dep(key(1), GROUP)]), one, one, ())
