"""Deposits in the NervosDAO, and the scene of one from deposit to withdrawal."""

from __future__ import annotations

from dataclasses import replace

from consensus.params import Consensus
from consensus.types.blockchain import (
    DEP_TYPE_CODE,
    HASH_TYPE_TYPE,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    Script,
    Transaction,
)
from tests.interop.kit_chain import Mirror, Purse, both_refuse
from tests.interop.kit_json import hexed, out_point_json, transaction_json
from tests.interop.kit_mirror import assert_same_chain
from tests.interop.kit_sign import Single
from tests.support.builders.wallet import CKB

AMOUNT = 123_456 * CKB + 789
LOCK_EPOCHS = 180
SHORT_EPOCHS: dict[str, object] = {"genesis_epoch_length": 2, "epoch_duration_target": 16}
FEE = 100_000
"""What `Mirror.spend` leaves to the miner."""
SINCE_EPOCH = 0x20 << 56


def dao_script(consensus: Consensus) -> Script:
    assert consensus.dao_type_hash is not None
    return Script(code_hash=consensus.dao_type_hash, hash_type=HASH_TYPE_TYPE, args=b"")


def dao_dep(consensus: Consensus) -> CellDep:
    cellbase = consensus.genesis_block.transactions[0]
    return CellDep(out_point=OutPoint(tx_hash=cellbase.hash, index=2), dep_type=DEP_TYPE_CODE)


def first(transaction: Transaction) -> OutPoint:
    return OutPoint(tx_hash=transaction.hash, index=0)


def fill(mirror: Mirror, blocks: int) -> None:
    """Mine, comparing a few only."""
    for number in range(blocks):
        mirror.mine(compare=number % 25 == 0)


class Deposit:
    """One cell in the DAO."""

    def __init__(self, mirror: Mirror, owner: Purse) -> None:
        self.mirror, self.owner = mirror, owner
        self.deps = [dao_dep(mirror.consensus)]
        self.output = CellOutput(capacity=AMOUNT, lock=owner.wallet.lock, type_=dao_script(mirror.consensus))
        self.payer = mirror.bob if owner is mirror.alice else mirror.alice
        self.transaction = mirror.spend(owner, [self.output], [bytes(8)], cell_deps=self.deps)
        self.block = mirror.commit(self.transaction)["header"]

    def phase_one(self, output: CellOutput | None = None, data: bytes | None = None) -> Transaction:
        number = int(self.block["number"], 16).to_bytes(8, "little")
        return self.mirror.spend(
            self.payer,
            [output or self.output],
            [number if data is None else data],
            inputs=[CellInput(since=0, previous_output=first(self.transaction))],
            added=AMOUNT,
            cell_deps=self.deps,
            header_deps=[bytes.fromhex(self.block["hash"][2:])],
            signers=[(Single(self.owner.wallet), [0])],
        )

    def phase_two(self, withdrawing: Transaction, withdraw_hash: str, since: int, gain: int) -> Transaction:
        return self.mirror.spend(
            self.payer,
            [CellOutput(capacity=AMOUNT + gain, lock=self.owner.wallet.lock, type_=None)],
            inputs=[CellInput(since=since, previous_output=first(withdrawing))],
            added=AMOUNT + gain,
            cell_deps=self.deps,
            header_deps=[bytes.fromhex(text[2:]) for text in (self.block["hash"], withdraw_hash)],
            signers=[(Single(self.owner.wallet), [0])],
            input_types={0: bytes(8)},
        )


def packed(number: int, index: int, length: int) -> int:
    return length << 40 | index << 24 | number


def deposit_withdraw_and_claim(mirror: Mirror) -> None:
    pair = mirror.pair
    mirror.mine(3)
    deposit = Deposit(mirror, mirror.alice)
    deposit_epoch = int(deposit.block["epoch"], 16)
    fill(mirror, 20)
    payer = replace(deposit.payer)
    larger = deposit.output
    for wrong in (
        deposit.phase_one(data=bytes(8)),
        deposit.phase_one(data=b"\x01" * 8),
        deposit.phase_one(CellOutput(capacity=AMOUNT - 1, lock=larger.lock, type_=larger.type_)),
        deposit.phase_one(
            CellOutput(capacity=AMOUNT, lock=replace_args(larger.lock), type_=larger.type_),
        ),
    ):
        both_refuse(pair, "send_transaction", transaction_json(wrong), "passthrough")
        deposit.payer.out_point, deposit.payer.capacity = payer.out_point, payer.capacity
    withdrawing = deposit.phase_one()
    withdraw_hash = mirror.commit(withdrawing)["header"]["hash"]

    theirs, ours = pair.both(
        "calculate_dao_maximum_withdraw", out_point_json(first(deposit.transaction)), withdraw_hash
    )
    assert theirs == ours
    gain = int(ours, 16) - AMOUNT
    assert gain > 0
    fields = (deposit_epoch & 0xFFFFFF) + LOCK_EPOCHS, deposit_epoch >> 24 & 0xFFFF, deposit_epoch >> 40
    since = SINCE_EPOCH | packed(*fields)
    payer = replace(deposit.payer)
    early = deposit.phase_two(withdrawing, withdraw_hash, since, gain)
    both_refuse(pair, "send_transaction", transaction_json(early), "passthrough")
    while mirror.tip_epoch()[0] <= fields[0]:
        fill(mirror, 50)
    for since_used, gained in ((since, gain + FEE + 1), (since - 1, gain), (0, gain)):
        deposit.payer.out_point, deposit.payer.capacity = payer.out_point, payer.capacity
        wrong = deposit.phase_two(withdrawing, withdraw_hash, since_used, gained)
        both_refuse(pair, "send_transaction", transaction_json(wrong), "passthrough")
    deposit.payer.out_point, deposit.payer.capacity = payer.out_point, payer.capacity
    claim = deposit.phase_two(withdrawing, withdraw_hash, since, gain)
    mirror.commit(claim)
    assert mirror.target.call("get_transaction", hexed(claim.hash))["tx_status"]["status"] == "committed"
    fill(mirror, 15)
    assert_same_chain(pair)


def replace_args(lock: Script) -> Script:
    """Another size of lock, which withdrawing does not allow."""
    return Script(code_hash=lock.code_hash, hash_type=lock.hash_type, args=lock.args + b"\0")
