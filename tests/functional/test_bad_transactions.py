"""One transaction for each rule and each reject code of the pool, sent to a running node: its error, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from ckb_node.cli.main import main
from ckb_node.jsonrpc_types.chain import transaction_json
from consensus.chainspec.genesis_build import OUTPUT_DAO, OUTPUT_SECP256K1_DATA
from consensus.crypto.hashing import data_hash
from consensus.params import TYPE_ID_CODE_HASH
from consensus.types.blockchain import (
    DEP_TYPE_CODE,
    DEP_TYPE_DEP_GROUP,
    HASH_TYPE_DATA1,
    HASH_TYPE_TYPE,
    NULL_OUT_POINT,
    OUT_POINT_VEC,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
)
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell, sighash_dep
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.process import NodeProcess, RpcFailure
from tests.support.nodes.quiet import init_directory, quiet_node, send

pytestmark = pytest.mark.slow

UNRESOLVED, INVALID = -301, -302
NOT_WELL_KNOWN, LOW_FEE, TOO_MANY_ANCESTORS, FULL, DUPLICATE, MALFORMED = -1102, -1104, -1105, -1106, -1107, -1108
TOO_LARGE, NOT_REPLACED = -1110, -1111

FEE = 200_000
COIN = 100_000 * CKB
COINS = 20
POOL_SIZE = 100_000
MAX_ANCESTORS = 5
MAX_BLOCK_CYCLES = 5_000_000
MAX_DEP_EXPANSION = 2048
DATA3 = 6
UNKNOWN_HASH = bytes([0x11]) * 32
ALICE, BOB = Wallet(ALICE_KEY), Wallet(BOB_KEY)
CONSENSUS = dev_consensus()
GENESIS = CONSENSUS.genesis_block
SYSTEM = GENESIS.transactions[0]


def small_pool(config: str) -> str:
    """Limits that a test can reach."""
    limits = f"max_tx_pool_size = {POOL_SIZE}\nmax_ancestors_count = {MAX_ANCESTORS}\n"
    return config.replace("[tx_pool]\n", f"[tx_pool]\n{limits}")


SPEC = {
    "cellbase_maturity = 0\n": "cellbase_maturity = 4\n",
    "max_block_cycles = 3_500_000_000\n": f"max_block_cycles = {MAX_BLOCK_CYCLES}\n",
}
"""On the dev chain as it comes, cellbases may be spent at once, and no test wants to wait for so many cycles."""


def edit_spec(path: Path) -> None:
    """Other parameters; the genesis block stays."""
    text = path.read_text()
    for old, new in SPEC.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@dataclass(frozen=True)
class Funds:
    """Cells on the chain. `coins` (Alice's, COIN each), a dep group that is too large, a cellbase's output (Bob's)."""

    coins: Sequence[OutPoint]
    large_group: OutPoint
    young: OutPoint
    spent: OutPoint


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node with a small pool; after all that it was sent, its data equals a replay."""
    directory = tmp_path_factory.mktemp("bad-transactions") / "node"
    port = init_directory(directory, small_pool)
    edit_spec(directory / "specs/dev.toml")
    with quiet_node(directory, port) as running:
        yield running
        running.rpc.call("clear_tx_pool")
        for _ in range(5):
            running.rpc.call("generate_block")
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["check", "-C", str(directory)])


@pytest.fixture(scope="module")
def funds(node: NodeProcess) -> Funds:
    """Split Alice's money."""
    cell, capacity = issued_cell(CONSENSUS, ALICE)
    group = OUT_POINT_VEC.pack([OutPoint(tx_hash=SYSTEM.hash, index=OUTPUT_DAO)] * (MAX_DEP_EXPANSION + 1))
    outputs = [CellOutput(capacity=COIN, lock=ALICE.lock, type_=None)] * COINS
    outputs.append(CellOutput(capacity=capacity - COIN * COINS - FEE, lock=ALICE.lock, type_=None))
    body = RawTransaction(
        version=0,
        cell_deps=[sighash_dep(CONSENSUS)],
        header_deps=[],
        inputs=[CellInput(since=0, previous_output=cell)],
        outputs=outputs,
        outputs_data=[group, *[b""] * COINS],
    )
    split = ALICE.sign(body)
    send(node.rpc, split)
    for _ in range(15):
        node.rpc.call("generate_block")
    young = node.rpc.call("get_block_by_number", hex(node.rpc.tip()))["transactions"][0]
    assert young["outputs"]
    out_points = [OutPoint(tx_hash=split.hash, index=index) for index in range(COINS)]
    young_hash = bytes.fromhex(young["hash"][2:])
    return Funds(out_points[1:], out_points[0], OutPoint(tx_hash=young_hash, index=0), cell)


@pytest.fixture(autouse=True)
def empty_pool(node: NodeProcess) -> Iterator[None]:
    yield
    node.rpc.call("clear_tx_pool")


def payment(coin: OutPoint, fee: int = FEE) -> RawTransaction:
    """Alice pays herself: nothing is wrong with it."""
    return RawTransaction(
        version=0,
        cell_deps=[sighash_dep(CONSENSUS)],
        header_deps=[],
        inputs=[CellInput(since=0, previous_output=coin)],
        outputs=[CellOutput(capacity=COIN - fee, lock=ALICE.lock, type_=None)],
        outputs_data=[b""],
    )


def refusal(node: NodeProcess, transaction: Transaction, validator: str = "passthrough") -> RpcFailure:
    """What `send_transaction` answers; the pool must be as before."""
    before = node.rpc.call("get_raw_tx_pool")
    with pytest.raises(RpcFailure) as refused:
        node.rpc.call("send_transaction", msgspec.to_builtins(transaction_json(transaction)), validator)
    assert node.rpc.call("get_raw_tx_pool") == before
    return refused.value


# ---------------------------------------------------------------- the rules, one by one

Change = Callable[[RawTransaction, Funds], RawTransaction]


def change(**fields: object) -> Change:
    """Other values for some fields."""
    return lambda body, _: body.replace(**fields)


def since(value: int) -> Change:
    return lambda body, _: body.replace(inputs=[body.inputs[0].replace(since=value)])


def spending(*choose: Callable[[Funds], OutPoint]) -> Change:
    """Other inputs."""
    return lambda body, funds: body.replace(inputs=[CellInput(since=0, previous_output=each(funds)) for each in choose])


def with_dep(dep_type: int, choose: Callable[[Funds], OutPoint]) -> Change:
    """One more cell dep."""
    return lambda body, funds: body.replace(
        cell_deps=[*body.cell_deps, CellDep(out_point=choose(funds), dep_type=dep_type)]
    )


def with_data(data: bytes) -> Change:
    return lambda body, _: body.replace(outputs_data=[data])


def with_output(**fields: object) -> Change:
    """The output changed."""
    return lambda body, _: body.replace(outputs=[body.outputs[0].replace(**fields)])


def paying(*capacities: int) -> Change:
    """Outputs of these capacities."""
    outputs = [CellOutput(capacity=capacity, lock=ALICE.lock, type_=None) for capacity in capacities]
    return lambda body, _: body.replace(outputs=outputs, outputs_data=[b""] * len(outputs))


def both(first: Change, second: Change) -> Change:
    return lambda body, funds: second(first(body, funds), funds)


def system_cell(index: int) -> Callable[[Funds], OutPoint]:
    return lambda _: OutPoint(tx_hash=SYSTEM.hash, index=index)


def unknown(_: Funds) -> OutPoint:
    return OutPoint(tx_hash=UNKNOWN_HASH, index=0)


def coin(funds: Funds) -> OutPoint:
    return funds.coins[0]


def script(code_hash: bytes, hash_type: int, args: bytes = b"") -> Script:
    return Script(code_hash=code_hash, hash_type=hash_type, args=args)


DAO_TYPE = script(CONSENSUS.dao_type_hash or b"", HASH_TYPE_TYPE)
SECP_DATA_HASH = data_hash(SYSTEM.body.outputs_data[OUTPUT_SECP256K1_DATA])
RELATIVE, EPOCH, TIME = 1 << 63, 1 << 61, 1 << 62

RULES: dict[str, tuple[Change, int, str]] = {
    # of the bytes alone
    "version": (change(version=1), INVALID, "MismatchedVersion: expected 0, got 1"),
    "larger than a block": (with_data(bytes(600_000)), INVALID, "ExceededMaximumBlockBytes"),
    "larger than the pool takes": (with_data(bytes(520_000)), TOO_LARGE, "exceeded maximum limit 512000"),
    "no inputs": (change(inputs=[]), INVALID, "Empty(Inputs)"),
    "no outputs": (change(outputs=[], outputs_data=[]), INVALID, "Empty(Outputs)"),
    "a cell dep twice": (change(cell_deps=[sighash_dep(CONSENSUS)] * 2), INVALID, "DuplicateCellDeps(OutPoint"),
    "a header dep twice": (change(header_deps=[GENESIS.hash] * 2), INVALID, "DuplicateHeaderDeps(Byte32(0x"),
    "more data than outputs": (change(outputs_data=[b"", b""]), INVALID, "OutputsDataLengthMismatch"),
    "less data than outputs": (change(outputs_data=[]), INVALID, "OutputsDataLengthMismatch"),
    "a lock of a future VM": (with_output(lock=script(UNKNOWN_HASH, DATA3)), INVALID, "is not permitted"),
    "like a cellbase": (spending(lambda _: NULL_OUT_POINT), MALFORMED, "Malformed cellbase like transaction"),
    # of the cells that it names
    "unknown input": (spending(unknown), UNRESOLVED, "Resolve failed Unknown(OutPoint(0x1111"),
    "an output that is not there": (
        spending(lambda funds: coin(funds).replace(index=COINS + 1)), UNRESOLVED, "Resolve failed Unknown(",
    ),
    "a cell spent long ago": (spending(lambda funds: funds.spent), UNRESOLVED, "Resolve failed Unknown("),
    "an input twice": (spending(coin, coin), UNRESOLVED, "Resolve failed Dead("),
    "unknown cell dep": (with_dep(DEP_TYPE_CODE, unknown), UNRESOLVED, "Resolve failed Unknown(OutPoint(0x1111"),
    "unknown dep group": (with_dep(DEP_TYPE_DEP_GROUP, unknown), UNRESOLVED, "Resolve failed Unknown("),
    "a dep group that lists nothing": (
        with_dep(DEP_TYPE_DEP_GROUP, system_cell(OUTPUT_DAO)), UNRESOLVED, "Resolve failed InvalidDepGroup(",
    ),
    "too many cells in dep groups": (
        with_dep(DEP_TYPE_DEP_GROUP, lambda funds: funds.large_group), UNRESOLVED, "OverMaxDepExpansionLimit",
    ),
    "unknown header dep": (change(header_deps=[UNKNOWN_HASH]), UNRESOLVED, "Resolve failed InvalidHeader(Byte32(0x11"),
    # of time
    "a cellbase's output too early": (spending(lambda funds: funds.young), INVALID, "CellbaseImmaturity(Inputs[0])"),
    "a cellbase's output as code": (
        with_dep(DEP_TYPE_CODE, lambda funds: funds.young), INVALID, "CellbaseImmaturity(CellDeps[2])",
    ),
    "since a height": (since(10_000), INVALID, "Immature(Inputs[0])"),
    "since so many blocks": (since(RELATIVE | 10_000), INVALID, "Immature(Inputs[0])"),
    "since an epoch": (since(EPOCH | 1 << 40 | 9_000), INVALID, "Immature(Inputs[0])"),
    "since so many epochs": (since(RELATIVE | EPOCH | 1 << 40 | 9_000), INVALID, "Immature(Inputs[0])"),
    "since a time": (since(TIME | 1 << 40), INVALID, "Immature(Inputs[0])"),
    "since so many seconds": (since(RELATIVE | TIME | 1 << 30), INVALID, "Immature(Inputs[0])"),
    "since of no metric": (since(EPOCH | TIME), INVALID, "InvalidSince(Inputs[0])"),
    "since with reserved bits": (since(1 << 58), INVALID, "InvalidSince(Inputs[0])"),
    "since no part of an epoch": (since(EPOCH | 1 << 40 | 1 << 24), INVALID, "InvalidSince(Inputs[0])"),
    # of money
    "more out than in": (paying(COIN + 1), MALFORMED, "Malformed"),
    "capacities of more than 64 bits": (paying((1 << 64) - 1, (1 << 64) - 1), MALFORMED, "Malformed"),
    "a cell smaller than its bytes": (
        paying(61 * CKB - 1, COIN // 2), INVALID,
        "InsufficientCellCapacity(Outputs[0]): expected occupied capacity (0x16b969d00) <= capacity (0x16b969cff)",
    ),
    "no fee": (paying(COIN), LOW_FEE, "The min fee rate is 1000 shannons/KW"),
    # of scripts
    "a type script without its code": (
        with_output(type_=script(UNKNOWN_HASH, HASH_TYPE_TYPE)), INVALID,
        "source: Outputs[0].Type, cause: ScriptNotFound: code_hash: Byte32(0x1111",
    ),
    "a type script of a future VM": (
        with_output(type_=script(UNKNOWN_HASH, DATA3)), INVALID, "cause: InvalidScriptHashType",
    ),
    "code that is no program": (
        both(
            with_output(type_=script(SECP_DATA_HASH, HASH_TYPE_DATA1)),
            with_dep(DEP_TYPE_CODE, system_cell(OUTPUT_SECP256K1_DATA)),
        ), INVALID, "cause: VM Internal Error",
    ),
    "a type id that is not the one": (
        with_output(type_=script(TYPE_ID_CODE_HASH, HASH_TYPE_TYPE, UNKNOWN_HASH)), INVALID,
        "source: Outputs[0].Type, cause: ValidationFailure",
    ),
    "a deposit in NervosDAO with data": (
        both(
            both(with_output(type_=DAO_TYPE), with_data(bytes([1] * 8))),
            with_dep(DEP_TYPE_CODE, system_cell(OUTPUT_DAO)),
        ), INVALID, "source: Outputs[0].Type, cause: ValidationFailure",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_rule(node: NodeProcess, funds: Funds, rule: str) -> None:
    broken, code, words = RULES[rule]
    transaction = ALICE.sign(broken(payment(coin(funds)), funds))
    error = refusal(node, transaction)
    assert error.code == code, error.message
    assert words in error.message
    assert error.data
    with pytest.raises(RpcFailure) as same:
        node.rpc.call("test_tx_pool_accept", msgspec.to_builtins(transaction_json(transaction)))
    assert (same.value.code, same.value.message) == (error.code, error.message)
    status = node.rpc.call("get_transaction", "0x" + transaction.hash.hex())["tx_status"]
    assert status["status"] == "rejected"
    assert status["reason"]


# ---------------------------------------------------------------- witnesses


def test_nothing_is_wrong_with_the_payment(node: NodeProcess, funds: Funds) -> None:
    """Otherwise the tests above might be refused for something else."""
    send(node.rpc, ALICE.sign(payment(coin(funds))))
    assert int(node.rpc.call("tx_pool_info")["pending"], 16) == 1


def flipped(data: bytes, position: int) -> bytes:
    """With one bit changed."""
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


WITNESSES: dict[str, Callable[[Transaction], list[bytes]]] = {
    "none": lambda _: [],
    "empty": lambda _: [b""],
    "no molecule": lambda _: [b"\x01\x02\x03"],
    "molecule with a wrong size": lambda tx: [tx.witnesses[0][:-1]],
    "molecule with a wrong offset": lambda tx: [tx.witnesses[0][:4] + b"\xff" + tx.witnesses[0][5:]],
    "one bit of the signature": lambda tx: [flipped(tx.witnesses[0], 30)],
    "of another key": lambda tx: list(BOB.sign(tx.body).witnesses),
    "one more that was not signed": lambda tx: [*tx.witnesses, b"more"],
}  # fmt: skip


@pytest.mark.parametrize("what", WITNESSES)
def test_witness(node: NodeProcess, funds: Funds, what: str) -> None:
    signed = ALICE.sign(payment(coin(funds)))
    error = refusal(node, signed.replace(witnesses=WITNESSES[what](signed)))
    assert error.code == INVALID
    assert "TransactionScriptError { source: Inputs[0].Lock, cause: ValidationFailure: see error code" in error.message


def test_too_many_cycles(node: NodeProcess, funds: Funds) -> None:
    """The lock hashes all witnesses, and these are long."""
    signed = ALICE.sign(payment(coin(funds), 5 * FEE))
    error = refusal(node, signed.replace(witnesses=[*signed.witnesses, *[bytes(30_000)] * 16]))
    assert error.code == INVALID
    assert f"ExceededMaximumCycles: expect cycles <= {MAX_BLOCK_CYCLES}" in error.message


# ---------------------------------------------------------------- what else the pool refuses


def test_outputs_validator(node: NodeProcess, funds: Funds) -> None:
    odd = payment(coin(funds))
    odd = odd.replace(outputs=[odd.outputs[0].replace(lock=script(UNKNOWN_HASH, HASH_TYPE_TYPE))])
    error = refusal(node, ALICE.sign(odd), "well_known_scripts_only")
    assert error.code == NOT_WELL_KNOWN
    assert "rejected by OutputsValidator" in error.message


def test_duplicate(node: NodeProcess, funds: Funds) -> None:
    transaction = ALICE.sign(payment(coin(funds)))
    send(node.rpc, transaction)
    error = refusal(node, transaction)
    assert error.code == DUPLICATE
    assert f"Transaction(Byte32(0x{transaction.hash.hex()})) already exists in transaction_pool" in error.message


def test_replacement_that_pays_too_little(node: NodeProcess, funds: Funds) -> None:
    send(node.rpc, ALICE.sign(payment(coin(funds))))
    error = refusal(node, ALICE.sign(payment(coin(funds), FEE + 1)))
    assert error.code == NOT_REPLACED
    assert "RBF rejected: Tx's current fee is 200001, expect it to >= " in error.message


def test_replacement_that_needs_what_is_not_committed(node: NodeProcess, funds: Funds) -> None:
    send(node.rpc, ALICE.sign(payment(funds.coins[0])))
    other = ALICE.sign(payment(funds.coins[1]))
    send(node.rpc, other)
    body = payment(funds.coins[0], 10 * FEE)
    inputs = [*body.inputs, CellInput(since=0, previous_output=OutPoint(tx_hash=other.hash, index=0))]
    error = refusal(node, ALICE.sign(body.replace(inputs=inputs)))
    assert error.code == NOT_REPLACED
    assert "new Tx contains unconfirmed inputs" in error.message


def test_a_dep_that_the_pool_spends(node: NodeProcess, funds: Funds) -> None:
    send(node.rpc, ALICE.sign(payment(funds.coins[1])))
    body = with_dep(DEP_TYPE_CODE, lambda _: funds.coins[1])(payment(funds.coins[0]), funds)
    error = refusal(node, ALICE.sign(body))
    assert error.code == UNRESOLVED
    assert "Resolve failed Dead(" in error.message


def test_too_many_ancestors(node: NodeProcess, funds: Funds) -> None:
    body = payment(coin(funds))
    for _ in range(MAX_ANCESTORS):
        transaction = ALICE.sign(body)
        send(node.rpc, transaction)
        output = body.outputs[0]
        body = payment(OutPoint(tx_hash=transaction.hash, index=0)).replace(
            outputs=[output.replace(capacity=output.capacity - FEE)]
        )
    error = refusal(node, ALICE.sign(body))
    assert error.code == TOO_MANY_ANCESTORS
    assert "exceeded maximum ancestors count" in error.message


def test_pool_is_full(node: NodeProcess, funds: Funds) -> None:
    """Three do not fit; the newest pays least and is the one that leaves."""
    large = POOL_SIZE * 2 // 5
    for index, fee in enumerate((10 * FEE, 10 * FEE)):
        send(node.rpc, ALICE.sign(payment(funds.coins[index], fee).replace(outputs_data=[bytes(large)])))
    error = refusal(node, ALICE.sign(payment(funds.coins[2]).replace(outputs_data=[bytes(large)])))
    assert error.code == FULL
    assert "Transaction is replaced because the pool is full, the fee_rate for this transaction is" in error.message
