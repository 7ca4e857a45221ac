"""Blocks that break one rule each, sent to a running node by `submit_block`: error -3 in the words that miners know.

The node computes the three roots of a submitted header, so false roots cannot be sent; consensus tests have them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from ckb_node.cli.main import main
from ckb_node.jsonrpc_types.chain import block_json, transaction_json
from consensus.types.blockchain import (
    Block,
    CellbaseWitness,
    CellInput,
    CellOutput,
    OutPoint,
    Script,
    Transaction,
    UncleBlock,
    proposals_hash,
)
from consensus.types.core import EpochFraction
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.process import NodeProcess, RpcClient, RpcFailure
from tests.support.nodes.quiet import empty_block, init_directory, quiet_node, submit, template_block

pytestmark = pytest.mark.slow

INVALID = -3
FIRST_REWARD = 12
"""The first block whose cellbase has an output."""
MAX_PROPOSALS = 1500
DATA3 = 6
FEE = 100_000
UNKNOWN_HASH = bytes([0x11]) * 32
ALICE, BOB = Wallet(ALICE_KEY), Wallet(BOB_KEY)
CONSENSUS = dev_consensus()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node that mines when it is asked; after all that it was sent, its data equals a replay."""
    directory = tmp_path_factory.mktemp("bad-blocks") / "node"
    with quiet_node(directory, init_directory(directory)) as running:
        for _ in range(FIRST_REWARD):
            running.rpc.call("generate_block")
        yield running
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["check", "-C", str(directory)])


@pytest.fixture
def rpc(node: NodeProcess) -> Iterator[RpcClient]:
    """The node's RPC, two blocks or more away from where an epoch ends; a good block is taken after each test."""
    while not 2 <= next_epoch(node.rpc).index < next_epoch(node.rpc).length - 2:
        node.rpc.call("generate_block")
    yield node.rpc
    tip = node.rpc.tip()
    node.rpc.call("generate_block")
    assert node.rpc.tip() == tip + 1


def next_epoch(rpc: RpcClient) -> EpochFraction:
    """The epoch field of the next block."""
    return EpochFraction.unpack(int(rpc.call("get_block_template")["epoch"], 16))


def refusal(rpc: RpcClient, block: Block) -> str:
    """What `submit_block` says to a block; the tip must stay."""
    tip = rpc.call("get_tip_header")
    with pytest.raises(RpcFailure) as refused:
        submit(rpc, block)
    assert refused.value.code == INVALID, refused.value.message
    assert refused.value.data
    assert rpc.call("get_tip_header") == tip
    return refused.value.message


Change = Callable[[Block], Block]

# ---------------------------------------------------------------- headers


def header(**fields: object) -> Change:
    """Other values for some fields of the header."""
    return lambda block: block.replace(header=block.header.with_fields(**fields))


def with_epoch(change: Callable[[EpochFraction], EpochFraction]) -> Change:
    return lambda block: header(epoch=change(EpochFraction.unpack(block.header.epoch)).pack())(block)


def with_number(block: Block) -> Block:
    """One more than it is, in the cellbase too."""
    number = block.number + 1
    return cellbase_input(since=number)(header(number=number)(block))


HEADERS: dict[str, tuple[Change, str]] = {
    "unknown parent": (
        header(parent_hash=UNKNOWN_HASH),
        "Block(UnknownParent(UnknownParentError(parent_hash: Byte32(0x11",
    ),
    "number": (with_number, "Header(Number(NumberError(expected: "),
    "epoch of no length": (
        with_epoch(lambda epoch: EpochFraction(epoch.number, 0, 0)),
        "Header(Epoch(Malformed(value: ",
    ),
    "epoch with an index past its end": (
        with_epoch(lambda epoch: EpochFraction(epoch.number, epoch.length, epoch.length)),
        "Header(Epoch(Malformed(value: ",
    ),
    "epoch that leaves out a block": (
        with_epoch(lambda epoch: EpochFraction(epoch.number, epoch.index + 1, epoch.length)),
        "Header(Epoch(NonContinuous(current: ",
    ),
    "epoch of another length": (
        with_epoch(lambda epoch: EpochFraction(epoch.number, epoch.index, epoch.length + 1)),
        "Header(Epoch(NonContinuous(current: ",
    ),
    "the next epoch too early": (
        with_epoch(lambda epoch: EpochFraction(epoch.number + 1, 0, epoch.length)),
        "Header(Epoch(NonContinuous(current: ",
    ),
    "compact target": (
        header(compact_target=0x20020000),
        "Header(Epoch(TargetMismatch(expected: 20010000, actual: 20020000",
    ),
    "too old": (header(timestamp=1), "Header(Timestamp(BlockTimeTooOld(min: "),
    "too new": (
        lambda block: header(timestamp=block.header.timestamp + 60_000)(block),
        "Header(Timestamp(BlockTimeTooNew(max: ",
    ),
    "dao": (header(dao=bytes(32)), "Block(InvalidDAO(No reason provided))"),
}


@pytest.mark.parametrize("what", HEADERS)
def test_header(rpc: RpcClient, what: str) -> None:
    broken, words = HEADERS[what]
    assert words in refusal(rpc, broken(template_block(rpc)))


def test_an_epoch_that_starts_with_another_length(rpc: RpcClient) -> None:
    """Inside an epoch its length would break continuity; at the start only the chain knows what it must be."""
    while next_epoch(rpc).index != 0:
        rpc.call("generate_block")
    broken = with_epoch(lambda epoch: EpochFraction(epoch.number, 0, epoch.length + 1))
    assert "Header(Epoch(NumberMismatch(expected: " in refusal(rpc, broken(template_block(rpc)))


# ---------------------------------------------------------------- bodies


def cellbase(change: Callable[[Transaction], Transaction]) -> Change:
    """Another cellbase."""
    return lambda block: block.replace(transactions=[change(block.transactions[0]), *block.transactions[1:]])


def cellbase_body(**fields: object) -> Change:
    return cellbase(lambda tx: tx.replace(body=tx.body.replace(**fields)))


def cellbase_input(**fields: object) -> Change:
    return cellbase(lambda tx: tx.replace(body=tx.body.replace(inputs=[tx.body.inputs[0].replace(**fields)])))


def cellbase_output(change: Callable[[CellOutput], CellOutput]) -> Change:
    return cellbase(lambda tx: tx.replace(body=tx.body.replace(outputs=[change(tx.body.outputs[0])])))


def cellbase_witness(*witnesses: bytes) -> Change:
    return cellbase(lambda tx: tx.replace(witnesses=witnesses))


def payment(capacity_taken: int = FEE) -> Transaction:
    """Alice's first coin to herself, unproposed."""
    cell, capacity = issued_cell(CONSENSUS, ALICE)
    return ALICE.transfer(CONSENSUS, [(cell, capacity)], [(ALICE.lock, capacity - capacity_taken)])


def with_transactions(*transactions: Transaction) -> Change:
    return lambda block: block.replace(transactions=[block.transactions[0], *transactions])


FUTURE_LOCK = Script(code_hash=UNKNOWN_HASH, hash_type=DATA3, args=b"")
LIKE_BOB = BOB.lock.replace(args=bytes(20))
IDS = [number.to_bytes(10, "little") for number in range(MAX_PROPOSALS + 1)]

BODIES: dict[str, tuple[Change, str]] = {
    "no transactions": (lambda block: block.replace(transactions=[]), "Block(Cellbase(InvalidQuantity))"),
    "two cellbases": (
        lambda block: block.replace(
            transactions=[block.transactions[0], block.transactions[0].replace(witnesses=[b"2"])]
        ),
        "Block(Cellbase(InvalidQuantity))",
    ),
    "the cellbase second": (
        lambda block: block.replace(transactions=[payment(), block.transactions[0]]),
        "Block(Cellbase(InvalidPosition))",
    ),
    "two outputs of the cellbase": (
        cellbase(lambda tx: tx.replace(body=tx.body.replace(outputs=[*tx.body.outputs] * 2, outputs_data=[b"", b""]))),
        "Block(Cellbase(InvalidOutputQuantity))",
    ),
    "data of the cellbase": (cellbase_body(outputs_data=[b"data"]), "Block(Cellbase(InvalidOutputData))"),
    "a type script of the cellbase": (
        cellbase_output(lambda output: output.replace(type_=BOB.lock)),
        "Block(Cellbase(InvalidTypeScript))",
    ),
    "a lock of a future VM": (
        cellbase_output(lambda output: output.replace(lock=FUTURE_LOCK)),
        "Block(Cellbase(InvalidOutputLock))",
    ),
    "no witness": (cellbase_witness(), "Block(Cellbase(InvalidQuantity))"),
    "a witness that is no molecule": (cellbase_witness(b"\x01\x02\x03\x04\x05"), "Block(Cellbase(InvalidWitness))"),
    "a witness with a future lock": (
        cellbase_witness(CellbaseWitness(lock=FUTURE_LOCK, message=b"").raw),
        "Block(Cellbase(InvalidWitness))",
    ),
    "another number in the cellbase": (cellbase_input(since=1), "Block(Cellbase(InvalidInput))"),
    "a shannon more": (
        cellbase_output(lambda output: output.replace(capacity=output.capacity + 1)),
        "Block(Cellbase(InvalidRewardAmount))",
    ),
    "a shannon less": (
        cellbase_output(lambda output: output.replace(capacity=output.capacity - 1)),
        "Block(Cellbase(InvalidRewardAmount))",
    ),
    "somebody else is paid": (
        cellbase_output(lambda output: output.replace(lock=LIKE_BOB)),
        "Block(Cellbase(InvalidRewardTarget))",
    ),
    "too many proposals": (
        lambda block: block.replace(proposals=IDS),
        "Block(ExceededMaximumProposalsLimit(No reason provided))",
    ),
    "a proposal twice": (
        lambda block: block.replace(proposals=[IDS[0], IDS[0]]),
        "Block(ProposalTransactionDuplicate(No reason provided))",
    ),
    "too large": (
        cellbase(lambda tx: tx.replace(witnesses=[*tx.witnesses, bytes(600_000)])),
        "Block(ExceededMaximumBlockBytes(No reason provided))",
    ),
    "a transaction twice": (
        with_transactions(payment(), payment()),
        "Block(CommitTransactionDuplicate(No reason provided))",
    ),
    "no extension": (lambda block: block.replace(extension=None), "Block(NoBlockExtension(No reason provided))"),
    "an empty extension": (
        lambda block: block.replace(extension=b""),
        "Block(EmptyBlockExtension(No reason provided))",
    ),
    "a short extension": (
        lambda block: block.replace(extension=bytes(31)),
        "Block(InvalidBlockExtension(No reason provided))",
    ),
    "a long extension": (
        lambda block: block.replace(extension=(block.extension or b"") + bytes(65)),
        "Block(ExceededMaximumBlockExtensionBytes(No reason provided))",
    ),
    "another chain root": (
        lambda block: block.replace(extension=bytes(32)),
        "Block(InvalidChainRoot(No reason provided))",
    ),
    # transactions: those that fail before anybody asks whether they were proposed
    "a transaction that nobody proposed": (with_transactions(payment()), "Block(Commit(Invalid))"),
    "a transaction of another version": (
        with_transactions(payment().replace(body=payment().body.replace(version=1))),
        "MismatchedVersion",
    ),
    "an unknown input": (
        with_transactions(
            payment().replace(
                body=payment().body.replace(
                    inputs=[CellInput(since=0, previous_output=OutPoint(tx_hash=UNKNOWN_HASH, index=0))]
                )
            )
        ),
        "Unknown(OutPoint(0x1111",
    ),
    "a double spend": (with_transactions(payment(), payment(2 * FEE)), "Dead(OutPoint(0x"),
}


@pytest.mark.parametrize("what", BODIES)
def test_body(rpc: RpcClient, what: str) -> None:
    broken, words = BODIES[what]
    assert words in refusal(rpc, broken(template_block(rpc)))


def test_a_child_before_its_parent(rpc: RpcClient) -> None:
    parent = payment()
    left = parent.body.outputs[0].capacity
    child = ALICE.transfer(CONSENSUS, [(OutPoint(tx_hash=parent.hash, index=0), left)], [(ALICE.lock, left - FEE)])
    assert "OutOfOrder(OutPoint(0x" in refusal(rpc, with_transactions(child, parent)(template_block(rpc)))


# ---------------------------------------------------------------- proposed transactions


def block_committing(rpc: RpcClient, transactions: Sequence[Transaction]) -> Block:
    """The block that commits these two blocks after they were proposed, all else as it must be."""
    proposing = template_block(rpc).replace(proposals=[tx.short_id for tx in transactions])
    submit(rpc, proposing)
    empty_block(rpc)
    template = rpc.call("get_block_template")
    entries = [
        {
            "hash": "0x" + tx.hash.hex(),
            "required": False,
            "cycles": None,
            "depends": None,
            "data": msgspec.to_builtins(transaction_json(tx)),
        }
        for tx in transactions
    ]
    dao = rpc.call("calculate_dao_field", template | {"transactions": entries})
    return header(dao=bytes.fromhex(dao[2:]))(with_transactions(*transactions)(template_block(rpc)))


def test_a_good_transaction_is_committed(rpc: RpcClient) -> None:
    """Otherwise the blocks of the next tests might be refused for something else."""
    cell, capacity = issued_cell(CONSENSUS, BOB)
    good = BOB.transfer(CONSENSUS, [(cell, capacity)], [(BOB.lock, capacity - FEE)])
    block_hash = submit(rpc, block_committing(rpc, [good]))
    status = rpc.call("get_transaction", "0x" + good.hash.hex())["tx_status"]
    assert (status["status"], status["block_hash"]) == ("committed", block_hash)


def signed(**fields: object) -> Transaction:
    return ALICE.sign(payment().body.replace(**fields))


def cell_of(capacity: int) -> CellOutput:
    return CellOutput(capacity=capacity, lock=ALICE.lock, type_=None)


def since(value: int) -> Transaction:
    return signed(inputs=[payment().body.inputs[0].replace(since=value)])


COMMITTED: dict[str, tuple[Callable[[], Transaction], str]] = {
    "wrong signature": (
        lambda: BOB.sign(payment().body),
        "error: Script(TransactionScriptError { source: Inputs[0].Lock, cause: ValidationFailure: see error code ",
    ),
    "too early": (lambda: since(100_000), "error: Transaction(Immature(Inputs[0])"),
    "a since without meaning": (lambda: since(1 << 58), "error: Transaction(InvalidSince(Inputs[0])"),
    "a cell smaller than its bytes": (
        lambda: signed(outputs=[cell_of(60 * CKB)]),
        "error: Transaction(InsufficientCellCapacity(Outputs[0])",
    ),
}


@pytest.mark.parametrize("what", COMMITTED)
def test_committed_transaction(rpc: RpcClient, what: str) -> None:
    make, words = COMMITTED[what]
    message = refusal(rpc, block_committing(rpc, [make()]))
    assert "Block(BlockTransactions(BlockTransactionsError(index: 1, " in message
    assert words in message


# ---------------------------------------------------------------- uncles


def sibling(rpc: RpcClient, **fields: object) -> UncleBlock:
    """A block beside the tip, as good as it, with some fields of its header changed."""
    tip = rpc.call("get_tip_header", "0x0")
    header_type = type(CONSENSUS.genesis_block.header)
    found = header_type.parse(bytes.fromhex(tip[2:]))
    later = found.with_fields(timestamp=found.timestamp + 1, proposals_hash=bytes(32))
    return UncleBlock(header=later.with_fields(**fields), proposals=[])


def proposing(uncle: UncleBlock, ids: Sequence[bytes]) -> UncleBlock:
    return UncleBlock(header=uncle.header.with_fields(proposals_hash=proposals_hash(ids)), proposals=ids)


def epoch_after(rpc: RpcClient) -> int:
    epoch = next_epoch(rpc)
    return EpochFraction(epoch.number + 1, epoch.index, epoch.length).pack()


UNCLES: dict[str, tuple[Callable[[RpcClient], list[UncleBlock]], str]] = {
    "three": (
        lambda rpc: [sibling(rpc, nonce=nonce) for nonce in range(3)],
        "Block(Uncles(OverCount(max: 2, actual: 3)))",
    ),
    "one twice": (lambda rpc: [sibling(rpc)] * 2, "Block(Uncles(Duplicate(Byte32(0x"),
    "of another target": (lambda rpc: [sibling(rpc, compact_target=0x20020000)], "Block(Uncles(InvalidTarget))"),
    "of another epoch": (lambda rpc: [sibling(rpc, epoch=epoch_after(rpc))], "Block(Uncles(InvalidDifficultyEpoch))"),
    "as high as the block": (lambda rpc: [sibling(rpc, number=rpc.tip() + 1)], "Block(Uncles(InvalidNumber))"),
    "of an unknown parent": (lambda rpc: [sibling(rpc, parent_hash=UNKNOWN_HASH)], "Block(Uncles(DescendantLimit))"),
    "of a parent at another height": (
        lambda rpc: [sibling(rpc, parent_hash=CONSENSUS.genesis_hash)],
        "Block(Uncles(DescendantLimit))",
    ),
    "with other proposals than its header's": (
        lambda rpc: [UncleBlock(header=sibling(rpc).header, proposals=IDS[:1])],
        "Block(Uncles(ProposalsHash))",
    ),
    "with a proposal twice": (
        lambda rpc: [proposing(sibling(rpc), [IDS[0], IDS[0]])],
        "Block(Uncles(ProposalDuplicate))",
    ),
    "with too many proposals": (
        lambda rpc: [proposing(sibling(rpc), IDS)],
        "Block(Uncles(ExceededMaximumProposalsLimit))",
    ),
}


@pytest.mark.parametrize("what", UNCLES)
def test_uncles(rpc: RpcClient, what: str) -> None:
    make, words = UNCLES[what]
    assert words in refusal(rpc, template_block(rpc).replace(uncles=make(rpc)))


def test_a_good_uncle_is_embedded_once(rpc: RpcClient) -> None:
    uncle = sibling(rpc)
    first = template_block(rpc).replace(uncles=[uncle])
    submit(rpc, first)
    assert rpc.call("get_block_by_number", hex(first.number))["uncles"][0]["header"]["hash"] == "0x" + uncle.hash.hex()
    again = template_block(rpc).replace(uncles=[uncle])
    assert f"Block(Uncles(DoubleInclusion(Byte32(0x{uncle.hash.hex()}))))" in refusal(rpc, again)


def test_a_main_chain_block_is_no_uncle(rpc: RpcClient) -> None:
    uncle = UncleBlock(
        header=sibling(rpc).header.parse(bytes.fromhex(rpc.call("get_tip_header", "0x0")[2:])), proposals=[]
    )
    assert "Block(Uncles(DoubleInclusion(Byte32(0x" in refusal(rpc, template_block(rpc).replace(uncles=[uncle]))


# ---------------------------------------------------------------- what follows from a refusal


def test_false_roots_are_computed_anew(rpc: RpcClient) -> None:
    block = template_block(rpc)
    zeros = header(transactions_root=bytes(32), proposals_hash=UNKNOWN_HASH, extra_hash=bytes(32))(block)
    assert submit(rpc, zeros) == "0x" + block.hash.hex()


def test_an_invalid_block_stays_invalid_and_so_do_its_children(rpc: RpcClient) -> None:
    bad = header(dao=bytes(32))(template_block(rpc)).with_roots()
    refusal(rpc, bad)
    assert rpc.call("get_header", "0x" + bad.hash.hex()) is None
    refusal(rpc, bad)
    child = header(parent_hash=bad.hash, number=bad.number + 1)(bad)
    assert "InvalidParent" in refusal(rpc, child)


def test_an_early_block_is_taken_when_its_parent_is_there(rpc: RpcClient) -> None:
    """Refusals that time or a parent can cure are not remembered."""
    start = rpc.call("get_tip_header")["hash"]
    first = template_block(rpc)
    submit(rpc, first)
    second = template_block(rpc)
    rpc.call("truncate", start)
    assert "UnknownParent" in refusal(rpc, second)
    submit(rpc, first)
    assert submit(rpc, second) == "0x" + second.hash.hex()


def test_a_block_from_the_future_is_taken_later(rpc: RpcClient) -> None:
    block = template_block(rpc)
    ahead = header(timestamp=time.time_ns() // 1_000_000 + 16_000)(block).with_roots()
    assert "BlockTimeTooNew" in refusal(rpc, ahead)
    time.sleep(1.1)
    assert submit(rpc, ahead) == "0x" + ahead.hash.hex()


def test_a_block_twice(rpc: RpcClient) -> None:
    """A miner that submits a block again did nothing wrong."""
    block = template_block(rpc)
    assert submit(rpc, block) == submit(rpc, block)


def test_a_block_with_unknown_members(rpc: RpcClient) -> None:
    block = msgspec.to_builtins(block_json(template_block(rpc)))
    with pytest.raises(RpcFailure, match="more") as refused:
        rpc.call("submit_block", "0x1", block | {"more": []})
    assert refused.value.code == -32602
