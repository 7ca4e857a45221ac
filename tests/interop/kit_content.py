"""Cells with code, and scenes of everything that a block can hold."""

from __future__ import annotations

from dataclasses import replace

from consensus.crypto.hashing import ckb_hash_concat, data_hash
from consensus.types.blockchain import (
    DEP_TYPE_CODE,
    DEP_TYPE_DEP_GROUP,
    HASH_TYPE_TYPE,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    Script,
    Transaction,
)
from tests.interop.kit_chain import Mirror, both_refuse, wait_until
from tests.interop.kit_json import hexed, sent_block, transaction_json
from tests.interop.kit_mirror import assert_same_chain
from tests.interop.kit_programs import executes, exits_with, reads_header_dep, spawns
from tests.interop.kit_sign import Single
from tests.support.builders.wallet import CKB

TYPE_ID = bytes.fromhex("00000000000000000000000000000000000000000000000000545950455f4944")
HASH_TYPE_DATA, HASH_TYPE_DATA1, HASH_TYPE_DATA2 = 0, 2, 4
BLANK = Script(code_hash=bytes(32), hash_type=HASH_TYPE_DATA, args=b"")


def out_points(transaction: Transaction, count: int) -> list[OutPoint]:
    return [OutPoint(tx_hash=transaction.hash, index=index) for index in range(count)]


def code_dep(out_point: OutPoint) -> CellDep:
    return CellDep(out_point=out_point, dep_type=DEP_TYPE_CODE)


def deploy(mirror: Mirror, *codes: bytes) -> list[OutPoint]:
    """Cells with these data, for good."""
    outputs = [CellOutput(capacity=(len(code) + 100) * CKB, lock=BLANK, type_=None) for code in codes]
    transaction = mirror.spend(mirror.alice, outputs, codes)
    mirror.commit(transaction)
    return out_points(transaction, len(codes))


def locked(code: bytes, hash_type: int) -> Script:
    return Script(code_hash=data_hash(code), hash_type=hash_type, args=b"")


def uncles_with_proposals(mirror: Mirror) -> None:
    mirror.mine(2)
    payment = mirror.transfer(mirror.alice, mirror.bob.wallet.lock, 100 * CKB)
    template = mirror.template()
    mirror.mine()
    for step in (1, 2):
        fork = template | {"current_time": hex(int(template["current_time"], 16) + step)}
        uncle = mirror.make(fork | {"proposals": [hexed(payment.short_id)]})
        assert copy_to_side(mirror, uncle) == uncle
    wait_until(lambda: len(mirror.template()["uncles"]) == 2)
    view = mirror.mine()
    assert len(view["uncles"]) == 2
    # The uncles' proposals count like the block's own.
    mirror.mine()
    mirror.mine(commit=[payment])
    assert mirror.target.call("get_transaction", hexed(payment.hash))["tx_status"]["status"] == "committed"
    assert_same_chain(mirror.pair)


def copy_to_side(mirror: Mirror, block_hash: str) -> str:
    """A block that is on no main chain, to the target."""
    view = mirror.source.call("get_fork_block", block_hash)
    answer: str = mirror.target.call("submit_block", "0x0", sent_block(view))
    return answer


def dep_groups_header_deps_exec_and_spawn(mirror: Mirror) -> None:
    good, bad = exits_with(0), exits_with(7)
    programs = [good, bad, reads_header_dep(), executes(2), spawns(2)]
    points = deploy(mirror, *programs)
    group_data = len(points).to_bytes(4, "little") + b"".join(point.raw for point in points)
    group = CellDep(out_point=deploy(mirror, group_data)[0], dep_type=DEP_TYPE_DEP_GROUP)
    locks = [
        locked(good, HASH_TYPE_DATA),
        locked(good, HASH_TYPE_DATA1),
        locked(good, HASH_TYPE_DATA2),
        locked(programs[2], HASH_TYPE_DATA1),
        locked(programs[3], HASH_TYPE_DATA1),
        locked(programs[4], HASH_TYPE_DATA2),
        locked(bad, HASH_TYPE_DATA2),
        locked(programs[4], HASH_TYPE_DATA1),
    ]
    funding = mirror.spend(mirror.bob, [CellOutput(capacity=200 * CKB, lock=lock, type_=None) for lock in locks])
    mirror.commit(funding)
    cells = out_points(funding, len(locks))
    passing, failing = cells[:6], cells[6:]
    header = bytes.fromhex(mirror.source.call("get_block_hash", "0x2")[2:])
    for cell in failing:
        purse = replace(mirror.alice)
        spent = mirror.spend(
            purse,
            [],
            inputs=[CellInput(since=0, previous_output=cell)],
            added=200 * CKB,
            cell_deps=[code_dep(points[0]), group],
        )
        both_refuse(mirror.pair, "send_transaction", transaction_json(spent), "passthrough")
    spent = mirror.spend(
        mirror.alice,
        [],
        inputs=[CellInput(since=0, previous_output=cell) for cell in passing],
        added=len(passing) * 200 * CKB,
        # Index 2 of the resolved deps is what the two programs start: behind the sighash group's two cells.
        cell_deps=[code_dep(points[0]), group],
        header_deps=[header],
    )
    mirror.commit(spent)
    assert mirror.target.call("get_transaction", hexed(spent.hash))["tx_status"]["status"] == "committed"
    assert_same_chain(mirror.pair)


def type_id_of(mirror: Mirror, index: int) -> Script:
    """The type id of output `index` of a transaction whose first input is Alice's purse."""
    first = CellInput(since=0, previous_output=mirror.alice.out_point)
    args = ckb_hash_concat(first.raw, index.to_bytes(8, "little"))
    return Script(code_hash=TYPE_ID, hash_type=HASH_TYPE_TYPE, args=args)


def type_ids_and_code_found_by_type(mirror: Mirror) -> None:
    type_id = type_id_of(mirror, 0)
    keeper = mirror.bob.wallet
    output = CellOutput(capacity=10_000 * CKB, lock=keeper.lock, type_=type_id)
    made = mirror.spend(mirror.alice, [output], [exits_with(0)])
    mirror.commit(made)
    by_type = Script(code_hash=type_id.hash, hash_type=HASH_TYPE_TYPE, args=b"by type")
    funding = mirror.spend(mirror.bob, [CellOutput(capacity=200 * CKB, lock=by_type, type_=None)] * 3)
    mirror.commit(funding)
    cells = out_points(funding, 3)
    spent = mirror.spend(
        mirror.alice,
        [],
        inputs=[CellInput(since=0, previous_output=cells[0])],
        added=200 * CKB,
        cell_deps=[code_dep(out_points(made, 1)[0])],
    )
    mirror.commit(spent)
    version = out_points(made, 1)[0]
    for code in (exits_with(0) + bytes(8), exits_with(9)):
        upgrade = mirror.spend(
            mirror.alice,
            [output],
            [code],
            inputs=[CellInput(since=0, previous_output=version)],
            added=10_000 * CKB,
            signers=[(Single(keeper), [0])],
        )
        mirror.commit(upgrade)
        version = out_points(upgrade, 1)[0]
    # The code behind the type id now says no.
    purse = replace(mirror.alice)
    refused = mirror.spend(
        purse,
        [],
        inputs=[CellInput(since=0, previous_output=cells[1])],
        added=200 * CKB,
        cell_deps=[code_dep(version)],
    )
    both_refuse(mirror.pair, "send_transaction", transaction_json(refused), "passthrough")
    # A second cell of the same type id.
    purse = replace(mirror.alice)
    doubled = mirror.spend(
        purse,
        [output, output],
        [exits_with(0)] * 2,
        inputs=[CellInput(since=0, previous_output=version)],
        added=10_000 * CKB,
        signers=[(Single(keeper), [0])],
    )
    both_refuse(mirror.pair, "send_transaction", transaction_json(doubled), "passthrough")
    ended = mirror.spend(
        mirror.alice,
        [],
        inputs=[CellInput(since=0, previous_output=version)],
        added=10_000 * CKB,
        signers=[(Single(keeper), [0])],
    )
    mirror.commit(ended)
    assert_same_chain(mirror.pair)
