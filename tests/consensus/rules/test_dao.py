"""NervosDAO arithmetic. Dao fields of mainnet blocks: ckb `util/dao/utils/src/lib.rs`; the block and withdrawal
calculations marked so: ckb `util/dao/src/tests.rs`."""

from fractions import Fraction

import pytest

from consensus.rules.dao import (
    GENESIS_ACCUMULATE_RATE,
    DaoField,
    DaoFormatError,
    DaoHeaderError,
    DaoOutPointError,
    DaoOverflowError,
    DaoZeroError,
    capacity_moves,
    dao_field,
    dao_field_in_epoch,
    genesis_dao_field,
    is_withdrawing,
    maximum_withdraw,
    modified_occupied_capacity,
    primary_block_reward,
    secondary_block_reward,
    share,
    transaction_fee,
)
from consensus.types.blockchain import (
    HASH_TYPE_DATA,
    HASH_TYPE_TYPE,
    CellOutput,
    Header,
    Script,
    Transaction,
    WitnessArgs,
)
from consensus.types.core import CellMeta, EpochExt, EpochFraction, ResolvedTransaction, TransactionInfo
from tests.support.chains.unchecked import (
    SHANNONS,
    UncheckedChain,
    block,
    cell_input,
    cell_meta,
    cellbase,
    header,
    make_consensus,
    output,
    resolved,
    script,
    transaction,
)

U64_MAX = (1 << 64) - 1
DAO_HASH = b"\xda" * 32
DAO = Script(code_hash=DAO_HASH, hash_type=HASH_TYPE_TYPE, args=b"")
CONSENSUS = make_consensus(dao_type_hash=DAO_HASH)
PLAIN = Script(code_hash=bytes(32), hash_type=HASH_TYPE_DATA, args=b"")

PARENT_FIELD = DaoField(
    total=500_000_000_123_000, rate=10_000_000_000_123_456, savings=400_000_000_123, occupied=600_000_000_000
)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (  # mainnet block 0
            "8874337e541ea12e0000c16ff286230029bfa3320800000000710b00c0fefe06",
            DaoField(3_360_000_145_238_488_200, 10**16, 35_209_330_473, 504_120_308_900_000_000),
        ),
        (  # mainnet block 1
            "10e9164f761ea12ea5f6ff75f28623007b7f682a0f00000000710b00c0fefe06",
            DaoField(3_360_000_290_476_976_400, 10_000_000_104_789_669, 65_136_000_891, 504_120_308_900_000_000),
        ),
        (  # mainnet block 5892
            "95b47fdcff26a42ed0fb76e081872300bb585ebd10a000000043c2f76b5eff06",
            DaoField(3_360_854_102_283_105_429, 10_000_616_071_298_000, 175_993_756_997_819, 504_225_501_100_000_000),
        ),
    ],
)
def test_dao_fields_of_mainnet(raw: str, field: DaoField) -> None:
    assert DaoField.unpack(bytes.fromhex(raw)) == field
    assert field.pack().hex() == raw


def test_mainnet_block_1_follows_from_block_0() -> None:
    """Its cellbase has no output and nothing is spent: only issuance moves the field. Epoch 0 has 1743 blocks."""
    genesis = header(dao=bytes.fromhex("8874337e541ea12e0000c16ff286230029bfa3320800000000710b00c0fefe06"))
    consensus = make_consensus(genesis_length=1743)
    field = dao_field_in_epoch(
        consensus, [resolved(cellbase(1))], genesis, consensus.genesis_epoch, UncheckedChain(consensus)
    )
    assert field.hex() == "10e9164f761ea12ea5f6ff75f28623007b7f682a0f00000000710b00c0fefe06"


def epoch_from(start: int) -> EpochExt:
    """The epoch of ckb's own tests."""
    return EpochExt(
        previous_epoch_hash_rate=1,
        last_block_hash_in_previous_epoch=bytes(32),
        compact_target=0x20800000,
        number=12,
        base_block_reward=50_000_000_000,
        remainder_reward=1_000_128,
        start_number=start,
        length=2091,
    )


def chain_at(parent: Header, epoch: EpochExt) -> UncheckedChain:
    chain = UncheckedChain(CONSENSUS)
    chain.attach(block(parent, [cellbase(parent.number)]), epoch)
    return chain


def next_field(number: int, field: DaoField, start: int, *transactions: ResolvedTransaction) -> DaoField:
    parent = block(header(number=number, dao=field.pack()), [cellbase(number)])
    chain = UncheckedChain(CONSENSUS)
    chain.attach(parent, epoch_from(start))
    return DaoField.unpack(dao_field(CONSENSUS, transactions, parent.header, chain))


def test_issuance_of_a_block() -> None:
    """ckb: check_dao_data_calculation and check_first_epoch_block_dao_data_calculation."""
    expected = DaoField(500_079_349_650_985, 10_000_586_990_682_998, 429_314_308_674, 600_000_000_000)
    assert next_field(12_345, PARENT_FIELD, 11_345) == expected
    assert next_field(12_340, PARENT_FIELD, 12_340) == expected


def test_issuance_of_block_1() -> None:
    """ckb: check_initial_dao_data_calculation."""
    field = DaoField(500_000_000_000_000, 10**16, 400_000_000_000, 600_000_000_000)
    assert next_field(0, field, 0) == DaoField(
        500_079_349_527_985, 10_000_586_990_559_680, 429_314_308_551, 600_000_000_000
    )


def test_issuance_overflow() -> None:
    """ckb: check_dao_data_calculation_overflows."""
    field = DaoField(18_446_744_073_709_000_000, 10_000_000_000_123_456, 446_744_073_709, 600_000_000_000)
    with pytest.raises(DaoOverflowError, match="Overflow") as caught:
        next_field(12_345, field, 11_345)
    assert caught.value.what == "C"
    assert caught.value.value > U64_MAX


def test_occupied_capacity_moves_with_cells() -> None:
    """ckb: check_dao_data_calculation_with_transactions: 5 bytes of data more."""
    spent = cell_meta(CellOutput(capacity=10_000 * SHANNONS, lock=PLAIN, type_=None), b"abcde")
    made = CellOutput(capacity=20_000 * SHANNONS, lock=PLAIN, type_=None)
    tx = transaction(outputs=[made], outputs_data=[b"abcde12345"])
    field = next_field(12_345, PARENT_FIELD, 11_345, resolved(tx, [spent]))
    assert field == DaoField(500_079_349_650_985, 10_000_586_990_682_998, 429_314_308_674, 600_500_000_000)


def test_more_cannot_be_freed_than_is_occupied() -> None:
    spent = cell_meta(output(100_000 * SHANNONS), bytes(6_000))
    with pytest.raises(DaoOverflowError, match="U"):
        next_field(12_345, PARENT_FIELD, 11_345, resolved(transaction(), [spent]))


def test_a_total_of_zero_divides_nothing() -> None:
    with pytest.raises(DaoZeroError, match="ZeroC"):
        next_field(12_345, DaoField(0, 10**16, 0, 0), 11_345)


# Interest


def dao_header(number: int, rate: int) -> Header:
    return header(number=number, epoch=EpochFraction(1, number, 1000), dao=DaoField(0, rate, 0, 0).pack())


DEPOSITED, WITHDRAWN = dao_header(100, 10_000_000_000_123_456), dao_header(200, 10_000_000_001_123_456)


def test_maximum_withdraw() -> None:
    """ckb: check_withdraw_calculation."""
    cell = CellOutput(capacity=1_000_000 * SHANNONS, lock=PLAIN, type_=None)
    assert maximum_withdraw(cell, 10, DEPOSITED, WITHDRAWN) == 100_000_000_009_999


def test_maximum_withdraw_overflow() -> None:
    """ckb: check_withdraw_calculation_overflows."""
    cell = CellOutput(capacity=18_446_744_073_709_550_000, lock=PLAIN, type_=None)
    with pytest.raises(DaoOverflowError):
        maximum_withdraw(cell, 0, DEPOSITED, WITHDRAWN)


def test_interest_is_cut_to_u64() -> None:
    """The grown capacity is taken modulo 2⁶⁴ before the occupied part is added."""
    cell = CellOutput(capacity=(1 << 63) + 41 * SHANNONS, lock=PLAIN, type_=None)
    tripled = dao_header(200, 3 * 10**16)
    assert maximum_withdraw(cell, 0, dao_header(100, 10**16), tripled) == (1 << 63) + 41 * SHANNONS
    assert 3 * (1 << 63) & U64_MAX == 1 << 63


def test_a_cell_smaller_than_it_occupies_earns_nothing() -> None:
    cell = CellOutput(capacity=41 * SHANNONS, lock=PLAIN, type_=None)
    assert maximum_withdraw(cell, 0, DEPOSITED, WITHDRAWN) == 41 * SHANNONS
    with pytest.raises(DaoOverflowError):
        maximum_withdraw(cell, 1, DEPOSITED, WITHDRAWN)


def test_a_deposit_rate_of_zero_divides_nothing() -> None:
    cell = CellOutput(capacity=100 * SHANNONS, lock=PLAIN, type_=None)
    with pytest.raises(DaoZeroError):
        maximum_withdraw(cell, 0, dao_header(1, 0), WITHDRAWN)


CAPACITY = 1_000_000 * SHANNONS
DEPOSIT_NUMBER = (100).to_bytes(8, "little")


class Headers:
    def __init__(self, *headers: Header) -> None:
        self.by_hash = {known.hash: known for known in headers}

    def header(self, block_hash: bytes) -> Header | None:
        return self.by_hash.get(block_hash)


READER = Headers(DEPOSITED, WITHDRAWN)


def withdrawing_cell(data: bytes = DEPOSIT_NUMBER, type_: Script = DAO, committed_in: Header = WITHDRAWN) -> CellMeta:
    info = TransactionInfo(committed_in.hash, committed_in.number, committed_in.epoch, 1)
    return cell_meta(CellOutput(capacity=CAPACITY, lock=PLAIN, type_=type_), data, info)


def witness(index: int | None) -> bytes:
    packed = None if index is None else index.to_bytes(8, "little")
    return WitnessArgs(lock=None, input_type=packed, output_type=None).raw


def withdrawal(
    cell: CellMeta | None = None,
    header_deps: tuple[bytes, ...] = (WITHDRAWN.hash, DEPOSITED.hash),
    witnesses: tuple[bytes, ...] = (witness(1),),
    out: int = CAPACITY,
) -> ResolvedTransaction:
    tx = transaction([cell_input(b"\x07" * 32)], [output(out)], header_deps=header_deps, witnesses=witnesses)
    return resolved(tx, [cell or withdrawing_cell()])


WORTH = maximum_withdraw(withdrawing_cell().output, 8, DEPOSITED, WITHDRAWN)


def test_fee_of_a_plain_transaction() -> None:
    spent = cell_meta(output(1_000))
    tx = transaction([cell_input(b"\x07" * 32)], [output(300), output(600)])
    assert transaction_fee(CONSENSUS, resolved(tx, [spent]), READER) == 100
    assert transaction_fee(CONSENSUS, resolved(tx, [cell_meta(output(900))]), READER) == 0
    with pytest.raises(DaoOverflowError) as caught:
        transaction_fee(CONSENSUS, resolved(tx, [cell_meta(output(899))]), READER)
    assert caught.value.value == -1


def test_sums_are_u64() -> None:
    half = 1 << 63
    inputs = [cell_meta(output(half)), cell_meta(output(half))]
    with pytest.raises(DaoOverflowError, match="inputs"):
        transaction_fee(CONSENSUS, resolved(transaction(outputs=[output(1)]), inputs), READER)
    with pytest.raises(DaoOverflowError, match="outputs"):
        transaction_fee(CONSENSUS, resolved(transaction(outputs=[output(half), output(half)]), inputs[:1]), READER)
    exact = [cell_meta(output(half)), cell_meta(output(half - 1))]
    assert transaction_fee(CONSENSUS, resolved(transaction(outputs=[output(U64_MAX)]), exact), READER) == 0


def test_withdrawal_gets_interest() -> None:
    assert WORTH > CAPACITY
    assert transaction_fee(CONSENSUS, withdrawal(), READER) == WORTH - CAPACITY
    assert transaction_fee(CONSENSUS, withdrawal(out=WORTH), READER) == 0
    with pytest.raises(DaoOverflowError):
        transaction_fee(CONSENSUS, withdrawal(out=WORTH + 1), READER)


@pytest.mark.parametrize(
    "cell",
    [
        withdrawing_cell(data=bytes(8)),
        withdrawing_cell(data=b""),
        withdrawing_cell(data=DEPOSIT_NUMBER[:7]),
        withdrawing_cell(data=DEPOSIT_NUMBER + b"\0"),
        withdrawing_cell(type_=Script(code_hash=DAO_HASH, hash_type=HASH_TYPE_DATA, args=b"")),
        withdrawing_cell(type_=script()),
    ],
    ids=["deposit", "no data", "7 bytes", "9 bytes", "by data hash", "another script"],
)
def test_other_cells_are_worth_their_capacity(cell: CellMeta) -> None:
    assert not is_withdrawing(CONSENSUS, cell)
    assert transaction_fee(CONSENSUS, withdrawal(cell, header_deps=(), witnesses=()), READER) == 0


def test_the_smallest_number_makes_a_withdrawal() -> None:
    assert is_withdrawing(CONSENSUS, withdrawing_cell(data=b"\1" + bytes(7)))
    assert is_withdrawing(CONSENSUS, withdrawing_cell(data=bytes(7) + b"\1"))
    assert not is_withdrawing(make_consensus(dao_type_hash=None), withdrawing_cell())


def test_arguments_of_the_dao_script_do_not_matter() -> None:
    assert is_withdrawing(CONSENSUS, withdrawing_cell(type_=DAO.replace(args=b"any")))


@pytest.mark.parametrize(
    ("rtx", "reason"),
    [
        (withdrawal(header_deps=(DEPOSITED.hash,)), "not a header dep"),
        (withdrawal(witnesses=()), "no witness"),
        (withdrawal(witnesses=(witness(2),)), "does not exist"),
        (withdrawal(witnesses=(witness(U64_MAX),)), "does not exist"),
        (withdrawal(witnesses=(witness(0),)), "not before"),
    ],
)
def test_bad_out_points(rtx: ResolvedTransaction, reason: str) -> None:
    with pytest.raises(DaoOutPointError, match=reason) as caught:
        transaction_fee(CONSENSUS, rtx, READER)
    assert caught.value.index == 0
    assert "InvalidOutPoint" in str(caught.value)


def test_a_cell_that_waits_in_the_pool_cannot_be_withdrawn() -> None:
    pooled = cell_meta(withdrawing_cell().output, DEPOSIT_NUMBER, None)
    with pytest.raises(DaoOutPointError):
        transaction_fee(CONSENSUS, withdrawal(pooled), READER)


@pytest.mark.parametrize(
    "bad",
    [b"", b"\xff" * 16, witness(None), WitnessArgs(lock=None, input_type=bytes(7), output_type=None).raw],
    ids=["empty", "garbage", "no input_type", "7 bytes"],
)
def test_bad_witnesses(bad: bytes) -> None:
    with pytest.raises(DaoFormatError, match="InvalidDaoFormat"):
        transaction_fee(CONSENSUS, withdrawal(witnesses=(bad,)), READER)


def test_the_witness_stands_where_the_input_stands() -> None:
    tx = transaction(
        [cell_input(b"\x06" * 32), cell_input(b"\x07" * 32)],
        [output(CAPACITY)],
        header_deps=[WITHDRAWN.hash, DEPOSITED.hash],
        witnesses=[witness(0), witness(1)],
    )
    plain = cell_meta(output(5))
    assert transaction_fee(CONSENSUS, resolved(tx, [plain, withdrawing_cell()]), READER) == WORTH - CAPACITY + 5
    with pytest.raises(DaoOutPointError):
        transaction_fee(CONSENSUS, resolved(tx, [withdrawing_cell(), plain]), READER)


def test_unknown_headers() -> None:
    with pytest.raises(DaoHeaderError, match="InvalidHeader") as caught:
        transaction_fee(CONSENSUS, withdrawal(), Headers(WITHDRAWN))
    assert caught.value.block_hash == DEPOSITED.hash
    with pytest.raises(DaoHeaderError):
        transaction_fee(CONSENSUS, withdrawal(), Headers(DEPOSITED))


def test_same_block_earns_nothing() -> None:
    same_height = dao_header(200, 10**16)
    rtx = withdrawal(header_deps=(WITHDRAWN.hash, same_height.hash))
    with pytest.raises(DaoOutPointError, match="not before"):
        transaction_fee(CONSENSUS, rtx, Headers(WITHDRAWN, same_height))


def test_withdrawn_interest_leaves_the_savings() -> None:
    assert capacity_moves(CONSENSUS, [withdrawal(), withdrawal(out=1)], READER).interest == 2 * (WORTH - CAPACITY)
    field = DaoField(500_000_000_123_000, 10_000_000_001_123_456, 400_000_000_123, 600_000_000_000)
    chain = chain_at(header(number=300, dao=field.pack()), epoch_from(300))
    chain.headers |= READER.by_hash
    parent = chain.tip_header()
    with_interest = DaoField.unpack(dao_field(CONSENSUS, [withdrawal()], parent, chain))
    without = DaoField.unpack(dao_field(CONSENSUS, [], parent, chain))
    assert without.savings - with_interest.savings == WORTH - CAPACITY
    assert (without.total, without.rate) == (with_interest.total, with_interest.rate)


def test_interest_of_a_block_cannot_exceed_the_savings() -> None:
    """No secondary issuance flows in: the miner's share is all of it, and the savings hold one interest only."""
    savings = WORTH - CAPACITY
    field = DaoField(500_000_000_000_000, 10**16, savings, 500_000_000_000_000)
    chain = chain_at(header(number=300, dao=field.pack()), epoch_from(300))
    chain.headers |= READER.by_hash
    emptied = dao_field(CONSENSUS, [withdrawal()], chain.tip_header(), chain)
    assert DaoField.unpack(emptied).savings == 0
    with pytest.raises(DaoOverflowError, match="S") as caught:
        dao_field(CONSENSUS, [withdrawal(), withdrawal()], chain.tip_header(), chain)
    assert caught.value.value == -savings


def test_inputs_of_a_block_are_summed_in_u64() -> None:
    """A large cell that moves several times within one block is counted each time."""
    large = resolved(transaction(), [cell_meta(output(1 << 62))])
    assert capacity_moves(CONSENSUS, [large] * 3, READER).interest == 0
    with pytest.raises(DaoOverflowError, match="inputs"):
        _ = capacity_moves(CONSENSUS, [large] * 4, READER).interest


# Satoshi's gift, block rewards, genesis

SATOSHI = bytes.fromhex("62e907b15cbf27d5425399ebf6f0fb50ebb88f18")


def test_satoshi_cell_counts_60_percent() -> None:
    gift = output(8_400 * SHANNONS + 1, script(SATOSHI))
    of_genesis = TransactionInfo(b"\x01" * 32, 0, 0, 0)
    assert modified_occupied_capacity(CONSENSUS, cell_meta(gift, b"", of_genesis)) == 5_040 * SHANNONS
    ordinary = gift.occupied_capacity(0)
    for info in (None, TransactionInfo(b"\x01" * 32, 0, 0, 1), TransactionInfo(b"\x01" * 32, 1, 0, 0)):
        assert modified_occupied_capacity(CONSENSUS, cell_meta(gift, b"", info)) == ordinary
    other = output(8_400 * SHANNONS, script(SATOSHI + b"\0"))
    assert modified_occupied_capacity(CONSENSUS, cell_meta(other, b"", of_genesis)) == other.occupied_capacity(0)


def test_share_rounds_down_and_stays_in_u64() -> None:
    assert share("x", 9, Fraction(4, 10)) == 3
    assert share("x", 10, Fraction(4, 10)) == 4
    with pytest.raises(DaoOverflowError):
        share("x", U64_MAX, Fraction(4, 10))


def test_secondary_reward_is_the_occupied_share() -> None:
    consensus = make_consensus(secondary_epoch_reward=1_000_000, genesis_length=1000)
    chain = UncheckedChain.with_genesis(consensus)
    parent = chain.extend(dao=DaoField(1_000, 10**16, 0, 250).pack())
    target = chain.extend()
    assert secondary_block_reward(consensus, target.header, chain) == 1_000 * 250 // 1_000
    assert primary_block_reward(target.header, chain) == consensus.genesis_epoch.block_reward(2)
    assert secondary_block_reward(consensus, consensus.genesis_block.header, chain) == 0
    del chain.headers[parent.hash]
    with pytest.raises(DaoHeaderError):
        secondary_block_reward(consensus, target.header, chain)
    with pytest.raises(DaoHeaderError):
        primary_block_reward(header(number=77), chain)


def genesis_field(*transactions: Transaction, primary: int = 100, secondary: int = 7) -> DaoField:
    return DaoField.unpack(genesis_dao_field(transactions, SATOSHI, Fraction(6, 10), primary, secondary))


def test_genesis_field_counts_live_outputs() -> None:
    first = cellbase(0, [output(1_000 * SHANNONS), output(500 * SHANNONS)])
    assert genesis_field(first) == DaoField(1_500 * SHANNONS + 107, GENESIS_ACCUMULATE_RATE, 7, 2 * 41 * SHANNONS)
    second = transaction([cell_input(first.hash, 1)], [output(499 * SHANNONS)], [b"data"])
    assert genesis_field(first, second) == DaoField(1_499 * SHANNONS + 107, 10**16, 7, (41 + 45) * SHANNONS)


def test_genesis_field_counts_the_gift_in_the_first_transaction_only() -> None:
    gift = output(1_000 * SHANNONS, script(SATOSHI))
    first, second = cellbase(0, [gift]), transaction([cell_input(b"\x09" * 32)], [gift])
    assert genesis_field(first).occupied == 600 * SHANNONS
    assert genesis_field(first, second).occupied == 600 * SHANNONS + gift.occupied_capacity(0)


def test_genesis_must_issue_something() -> None:
    with pytest.raises(DaoZeroError, match="ZeroC"):
        genesis_field(cellbase(0), primary=0, secondary=0)
    assert genesis_field(cellbase(0), primary=1, secondary=0).total == 1
