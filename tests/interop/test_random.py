"""Random damage to blocks and transactions: the verdicts must be the same. CKB_INTEROP_ROUNDS makes it longer."""

from __future__ import annotations

import os
from random import Random

import msgspec
import pytest

from ckb_node.jsonrpc_types.chain import TransactionJson, read_transaction
from consensus.types.blockchain import (
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
    WitnessArgs,
)
from tests.interop.kit_block import uncle_of
from tests.interop.kit_chain import Mirror
from tests.interop.kit_content import code_dep, deploy, locked, out_points
from tests.interop.kit_dao import dao_dep, dao_script
from tests.interop.kit_json import Json, transaction_json
from tests.interop.kit_mirror import assert_same_chain
from tests.interop.kit_mutate import damaged
from tests.interop.kit_programs import exits_with, reads_header_dep, spawns
from tests.interop.kit_sign import Single, signed
from tests.interop.kit_verdict import block_with, common_verdict
from tests.support.builders.wallet import CKB, sighash_dep

pytestmark = pytest.mark.timeout(24 * 3600)

ROUNDS = int(os.environ.get("CKB_INTEROP_ROUNDS", "1"))
BLOCKS_A_ROUND, TRANSACTIONS_A_ROUND = 150, 100
VALUE = 500 * CKB


def alike(mirror: Mirror, block: Json) -> str | None:
    """Why the verdicts differ, if they do. A side block that is never verified may be refused at once by ours."""
    try:
        is_good, theirs, ours = common_verdict(mirror, block)
    except AssertionError as error:
        return str(error)
    if is_good or theirs == ours or theirs.startswith("0x"):
        return None
    both_unreadable = theirs.startswith("-32602") and ours.startswith("-32602")
    return None if both_unreadable else f"reference: {theirs}, ours: {ours}"


def test_damaged_blocks(mirror: Mirror) -> None:
    found: list[str] = []
    mirror.mine(14)
    for seed in range(ROUNDS):
        random = Random(f"blocks {seed}")
        while mirror.tip_epoch()[1] > 5:
            mirror.mine(uncles=[])  # the uncle shall be of the block's epoch
        first = mirror.transfer(mirror.alice, mirror.bob.wallet.lock, 100 * CKB)
        second = mirror.transfer(mirror.alice, mirror.bob.wallet.lock, 200 * CKB)
        third = mirror.transfer(mirror.bob, mirror.alice.wallet.lock, 200 * CKB)
        mirror.mine(propose=[first, second, third])
        template = mirror.template() | {"uncles": []}
        mirror.mine()
        uncle = uncle_of(mirror, template, 500)
        good = block_with(mirror, mirror.filled(commit=[first, second, third], uncles=[])) | {"uncles": [uncle]}
        assert common_verdict(mirror, good)[0]
        tried = [_covered(good)]
        for _ in range(BLOCKS_A_ROUND):
            what, block = damaged(random, good)
            # The reference does not forget a block that was truncated, and confuses those that differ only in proposals
            # of an uncle, which the block's hash does not cover.
            if _covered(block) in tried or any(uncle["proposals"] for uncle in block["uncles"]):
                continue
            tried.append(_covered(block))
            if int(block["header"]["number"], 16) == 0:
                continue  # another's genesis: refused by both, not in the same words
            if (why := alike(mirror, block)) is not None:
                found.append(f"seed {seed}, {what}: {why}")
        mirror.mine(commit=[first, second, third], uncles=[])
    assert not found, "\n".join(found)
    assert_same_chain(mirror.pair)


def _covered(block: Json) -> Json:
    """Without the three roots, which whoever takes the block computes anew."""
    roots = ("transactions_root", "proposals_hash", "extra_hash")
    return block | {"header": {key: value for key, value in block["header"].items() if key not in roots}}


class Stock:
    """Cells to spend, and transactions of several kinds that spend them."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror, self.wallet = mirror, mirror.bob.wallet
        self.programs = [exits_with(0), reads_header_dep(), spawns(2)]
        self.code = deploy(mirror, *self.programs)
        self.locks = [self.wallet.lock, *(locked(code, 4) for code in self.programs)]

    def fill(self, count: int) -> list[list[OutPoint]]:
        """`count` cells under each lock."""
        outputs = [CellOutput(capacity=VALUE, lock=lock, type_=None) for lock in self.locks for _ in range(count)]
        funding = self.mirror.spend(self.mirror.alice, outputs)
        self.mirror.commit(funding)
        points = out_points(funding, len(outputs))
        return [points[start : start + count] for start in range(0, len(points), count)]

    def transaction(self, random: Random, cells: list[OutPoint]) -> RawTransaction:
        """One input under each lock, outputs of some kinds."""
        outputs = [CellOutput(capacity=VALUE, lock=self.wallet.lock, type_=None)]
        data = [random.randbytes(random.randrange(4))]
        if random.randrange(2):
            outputs.append(CellOutput(capacity=VALUE, lock=self.wallet.lock, type_=dao_script(self.mirror.consensus)))
            data.append(bytes(8))
        if random.randrange(2):
            script = Script(
                code_hash=locked(self.programs[0], 0).code_hash, hash_type=random.choice((0, 2, 4)), args=b"x"
            )
            outputs.append(CellOutput(capacity=VALUE, lock=self.wallet.lock, type_=script))
            data.append(b"")
        height = random.randrange(1, self.mirror.source.tip())
        header = bytes.fromhex(self.mirror.source.call("get_block_hash", hex(height))[2:])
        return RawTransaction(
            version=0,
            cell_deps=[
                sighash_dep(self.mirror.consensus),
                *(code_dep(point) for point in self.code),
                dao_dep(self.mirror.consensus),
            ],
            header_deps=[header],
            inputs=[CellInput(since=0, previous_output=point) for point in cells],
            outputs=outputs,
            outputs_data=data,
        )

    def signed(self, body: RawTransaction) -> Transaction:
        """Signed for the inputs under the usual lock, wherever they are now."""
        if not body.inputs:
            return Transaction(body=body, witnesses=[WitnessArgs(lock=None, input_type=None, output_type=None).raw])
        return signed(body, [(Single(self.wallet), [0])])


def test_damaged_transactions(mirror: Mirror) -> None:
    stock = Stock(mirror)
    found: list[str] = []
    for seed in range(ROUNDS):
        random = Random(f"transactions {seed}")
        cells = stock.fill(TRANSACTIONS_A_ROUND)
        cases: list[tuple[str, Transaction]] = []
        for number in range(TRANSACTIONS_A_ROUND):
            whole = stock.signed(stock.transaction(random, [row[number] for row in cells]))
            what, spoilt = damaged(random, transaction_json(whole)) if number else ("nothing", transaction_json(whole))
            try:
                transaction = read_transaction(msgspec.convert(spoilt, TransactionJson))
            except ValueError:
                continue
            if random.randrange(2) and transaction.body.inputs:
                what, transaction = f"{what}, signed", stock.signed(transaction.body)
            cases.append((what, transaction))
        mirror.mine(propose=[transaction for _, transaction in cases])
        mirror.mine()
        for what, transaction in cases:
            try:
                block = block_with(mirror, mirror.filled(commit=[transaction], uncles=[]))
            except AssertionError as error:
                found.append(f"seed {seed}, {what}: {error}")
                continue
            why = alike(mirror, block)
            if why is not None:
                found.append(f"seed {seed}, {what}: {why}")
    assert not found, "\n".join(found)
    assert_same_chain(mirror.pair)
