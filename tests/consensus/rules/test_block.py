"""Block rules that need no chain: for each rule a block that just passes and one that just fails."""

from __future__ import annotations

import pytest

from consensus.params import Consensus
from consensus.rules.block import (
    BlockSizeError,
    BodyMismatchError,
    CellbaseError,
    CellbaseFault,
    DuplicateProposalError,
    DuplicateTransactionError,
    EmptyExtensionError,
    ExtensionSizeError,
    ExtraHashError,
    ProposalsHashError,
    TooManyProposalsError,
    TransactionsRootError,
    UncleProposalsHashError,
    UnknownFieldsError,
    verify_block_body,
)
from consensus.rules.transaction import EmptyTransactionError
from consensus.types.blockchain import NULL_OUT_POINT, Block, CellbaseWitness, Transaction, UncleBlock
from tests.support.builders.blocks import (
    MINER_LOCK,
    a_cellbase,
    a_consensus,
    a_header,
    a_transaction,
    an_input,
    an_output,
    lock_script,
    out_point,
)

CONSENSUS = a_consensus()
NUMBER = 7


def a_block(
    *transactions: Transaction,
    cellbase: Transaction | None = None,
    proposals: tuple[bytes, ...] = (),
    uncles: tuple[UncleBlock, ...] = (),
    extension: bytes | None = None,
) -> Block:
    """Commits to its body."""
    return Block(
        header=a_header(number=NUMBER),
        uncles=uncles,
        transactions=[cellbase or a_cellbase(NUMBER), *transactions],
        proposals=proposals,
        extension=extension,
    ).with_roots()


def short_ids(count: int) -> tuple[bytes, ...]:
    return tuple(i.to_bytes(10, "big") for i in range(count))


def an_uncle(proposals: tuple[bytes, ...] = ()) -> UncleBlock:
    root = a_block(proposals=proposals).proposals_hash()
    return UncleBlock(header=a_header(number=NUMBER - 1, proposals_hash=root), proposals=proposals)


def check(block: Block, consensus: Consensus = CONSENSUS) -> None:
    verify_block_body(consensus, block)


def test_a_block_with_everything() -> None:
    check(a_block(a_transaction(), proposals=short_ids(2), uncles=(an_uncle(short_ids(3)),), extension=b"\x01"))


# Commitments


@pytest.mark.parametrize(
    ("field", "error"),
    [
        ("transactions_root", TransactionsRootError),
        ("proposals_hash", ProposalsHashError),
        ("extra_hash", ExtraHashError),
    ],
)
def test_the_header_commits_to_the_body(field: str, error: type[BodyMismatchError]) -> None:
    block = a_block(a_transaction(), proposals=short_ids(2), uncles=(an_uncle(),), extension=b"\x01")
    with pytest.raises(error):
        check(block.replace(header=block.header.with_fields(**{field: b"\x01" * 32})))


def test_each_part_of_the_body_is_committed_to() -> None:
    block = a_block(a_transaction(), proposals=short_ids(2), uncles=(an_uncle(short_ids(3)),), extension=b"\x01")
    witnesses = [block.transactions[0], a_transaction(witnesses=[b"\x01"])]
    false_uncle = block.uncles[0].replace(proposals=short_ids(4))
    for spoiled, error in (
        (block.replace(transactions=block.transactions[:1]), TransactionsRootError),
        (block.replace(transactions=witnesses), TransactionsRootError),
        (block.replace(proposals=short_ids(2)[::-1]), ProposalsHashError),
        (block.replace(uncles=[]), ExtraHashError),
        (block.replace(extension=b"\x02"), ExtraHashError),
        (block.replace(extension=None), ExtraHashError),
        (block.replace(uncles=[false_uncle]), UncleProposalsHashError),
    ):
        assert spoiled.hash == block.hash
        with pytest.raises(error):
            check(spoiled)


def test_a_false_body_below_a_true_header_is_always_a_mismatch() -> None:
    """Whatever else is wrong with the false body: the header's hash must not be blamed."""
    block = a_block()
    false_bodies = [
        block.replace(transactions=[]),
        block.replace(transactions=[a_transaction(), a_transaction()]),
        block.replace(proposals=short_ids(1) * 2000),
        block.replace(extension=b""),
    ]
    for false_body in false_bodies:
        with pytest.raises(BodyMismatchError):
            check(false_body)


def test_a_sixth_field_is_committed_to_by_nothing() -> None:
    block = a_block(extension=b"\x01")
    check(Block.parse(block.raw, compatible=True))
    with pytest.raises(UnknownFieldsError) as caught:
        check(Block.parse(with_field(block.raw, b"\x01"), compatible=True))
    assert caught.value.fields == 6


def with_field(table: bytes, field: bytes) -> bytes:
    """The molecule table with one more field."""
    count = int.from_bytes(table[4:8], "little") // 4 - 1
    offsets = [int.from_bytes(table[4 * i + 4 : 4 * i + 8], "little") + 4 for i in range(count)]
    offsets.append(len(table) + 4)
    header = [len(table) + 4 + len(field), *offsets]
    return b"".join(each.to_bytes(4, "little") for each in header) + table[4 * (count + 1) :] + field


# Limits


def test_proposals_limit() -> None:
    check(a_block(proposals=short_ids(1500)))
    with pytest.raises(TooManyProposalsError) as caught:
        check(a_block(proposals=short_ids(1501)))
    assert (caught.value.limit, caught.value.actual) == (1500, 1501)
    assert str(caught.value) == "Block(ExceededMaximumProposalsLimit(No reason provided))"


def test_block_size_leaves_out_what_uncles_propose() -> None:
    block = a_block(a_transaction(), uncles=(an_uncle(short_ids(100)),))
    size = block.raw_size - 1000
    check(block, a_consensus(max_block_bytes=size))
    with pytest.raises(BlockSizeError) as caught:
        check(block, a_consensus(max_block_bytes=size - 1))
    assert (caught.value.limit, caught.value.actual) == (size - 1, size)


@pytest.mark.parametrize(("size", "is_valid"), [(0, False), (1, True), (96, True), (97, False)])
def test_extension_size(size: int, is_valid: bool) -> None:
    block = a_block(extension=bytes(size))
    if is_valid:
        check(block)
    else:
        with pytest.raises(EmptyExtensionError if size == 0 else ExtensionSizeError):
            check(block)


# Duplicates


def test_duplicate_transactions_are_those_with_one_hash_whatever_their_witnesses() -> None:
    first, second = a_transaction(witnesses=[b"\x01"]), a_transaction(witnesses=[b"\x02"])
    assert first.hash == second.hash
    check(a_block(first, a_transaction(version=0, header_deps=[bytes(32)])))
    with pytest.raises(DuplicateTransactionError) as caught:
        check(a_block(first, second))
    assert str(caught.value) == "Block(CommitTransactionDuplicate(No reason provided))"


def test_duplicate_proposals() -> None:
    with pytest.raises(DuplicateProposalError) as caught:
        check(a_block(proposals=(b"\x01" * 10, b"\x02" * 10, b"\x01" * 10)))
    assert caught.value.short_id == b"\x01" * 10


def test_a_block_may_propose_what_its_uncle_proposes() -> None:
    check(a_block(proposals=short_ids(2), uncles=(an_uncle(short_ids(2)),)))


# Cellbase


def assert_fault(fault: CellbaseFault, block: Block) -> None:
    with pytest.raises(CellbaseError) as caught:
        check(block)
    assert caught.value.fault is fault
    assert str(caught.value) == f"Block(Cellbase({fault.value}))"


def test_exactly_one_cellbase() -> None:
    block = a_block()
    assert_fault(CellbaseFault.QUANTITY, block.replace(transactions=[]).with_roots())
    assert_fault(CellbaseFault.QUANTITY, block.replace(transactions=[a_transaction()]).with_roots())
    assert_fault(CellbaseFault.QUANTITY, a_block(a_cellbase(NUMBER + 1)))


def test_the_cellbase_comes_first() -> None:
    block = a_block(a_transaction())
    assert_fault(CellbaseFault.POSITION, block.replace(transactions=block.transactions[:][::-1]).with_roots())


def test_two_null_inputs_do_not_make_a_cellbase() -> None:
    double = a_transaction([an_input(NULL_OUT_POINT, NUMBER)] * 2)
    assert_fault(CellbaseFault.QUANTITY, a_block(cellbase=double))


def test_at_most_one_output() -> None:
    check(a_block(cellbase=a_cellbase(NUMBER, [an_output()])))
    assert_fault(CellbaseFault.OUTPUT_QUANTITY, a_block(cellbase=a_cellbase(NUMBER, [an_output()] * 2)))
    witness = CellbaseWitness(lock=MINER_LOCK, message=b"").raw
    more_data = a_transaction([an_input(NULL_OUT_POINT, NUMBER)], [], [b""], witnesses=[witness])
    assert_fault(CellbaseFault.OUTPUT_QUANTITY, a_block(cellbase=more_data))


def test_the_output_has_no_data_and_no_type_and_an_enabled_lock() -> None:
    witness = CellbaseWitness(lock=MINER_LOCK, message=b"").raw
    null_input = [an_input(NULL_OUT_POINT, NUMBER)]
    with_data = a_transaction(null_input, [an_output()], [b"\0"], witnesses=[witness])
    assert_fault(CellbaseFault.OUTPUT_DATA, a_block(cellbase=with_data))
    assert_fault(CellbaseFault.TYPE_SCRIPT, a_block(cellbase=a_cellbase(NUMBER, [an_output(type_=lock_script())])))
    for hash_type in (3, 6):
        output = an_output(lock=lock_script(hash_type=hash_type))
        assert_fault(CellbaseFault.OUTPUT_LOCK, a_block(cellbase=a_cellbase(NUMBER, [output])))


def test_the_witness_names_the_miners_lock() -> None:
    witness = CellbaseWitness(lock=MINER_LOCK, message=b"any message").raw
    null_input = [an_input(NULL_OUT_POINT, NUMBER)]
    check(a_block(cellbase=a_transaction(null_input, [], witnesses=[witness])))
    bad_lock = CellbaseWitness(lock=lock_script(hash_type=6), message=b"").raw
    for content in (b"", witness + b"\0", bad_lock):
        assert_fault(CellbaseFault.WITNESS, a_block(cellbase=a_transaction(null_input, [], witnesses=[content])))


def test_a_cellbase_has_one_witness() -> None:
    """With none or two it is no cellbase at all (seen at the reference, whose blocks must be ours)."""
    witness = CellbaseWitness(lock=MINER_LOCK, message=b"").raw
    for witnesses in ([], [witness, b""], [witness, witness]):
        cellbase = a_transaction([an_input(NULL_OUT_POINT, NUMBER)], [], witnesses=witnesses)
        assert_fault(CellbaseFault.QUANTITY, a_block(cellbase=cellbase))


@pytest.mark.parametrize("since", [0, NUMBER - 1, NUMBER + 1])
def test_the_since_of_the_input_is_the_block_number(since: int) -> None:
    assert_fault(CellbaseFault.INPUT, a_block(cellbase=a_cellbase(since)))


def test_genesis_is_free_of_cellbase_and_size_rules() -> None:
    genesis = CONSENSUS.genesis_block
    assert len(genesis.transactions[0].body.outputs) > 1
    check(genesis, a_consensus(max_block_bytes=genesis.raw_size - 1))


# Transactions


def test_the_rules_of_each_transaction_hold_in_a_block() -> None:
    with pytest.raises(EmptyTransactionError):
        check(a_block(a_transaction(), a_transaction([an_input(out_point(index=1))], [])))
