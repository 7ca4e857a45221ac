"""Transfers through the pools, chained and many to a block, and multisig with since."""

from __future__ import annotations

import time

from consensus.types.blockchain import CellInput, CellOutput, OutPoint
from tests.interop.kit_chain import Mirror, both_refuse, wait_until
from tests.interop.kit_json import hexed, transaction_json
from tests.interop.kit_mirror import assert_same_chain
from tests.interop.kit_sign import Multisig, multisig_dep
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet

PAUSE_S = 0.3
"""Alone, too, the reference leaves transactions proposed for ever if blocks and transactions come too quickly."""
CAROL = Wallet(bytes(31) + b"\x07")


def test_what_one_pool_takes_the_other_takes_and_the_chain_commits(mirror: Mirror) -> None:
    mirror.mine(2)
    hashes = []
    for _ in range(4):
        for purse in (mirror.alice, mirror.bob):
            hashes += [mirror.send(mirror.transfer(purse, CAROL.lock, 100 * CKB)) for _ in range(5)]
        block_hash = mirror.source.call("generate_block")
        mirror.copy(block_hash)
        time.sleep(PAUSE_S)

    def all_committed() -> bool:
        time.sleep(PAUSE_S)
        mirror.copy(mirror.source.call("generate_block"))
        answers = (mirror.target.call("get_transaction", tx_hash) for tx_hash in hashes)
        return all(answer["tx_status"]["status"] == "committed" for answer in answers)

    wait_until(all_committed)
    assert_same_chain(mirror.pair)
    for rpc in (mirror.source, mirror.target):
        wait_until(lambda rpc=rpc: rpc.call("tx_pool_info")["total_tx_size"] == "0x0")


def test_multisig_two_of_three_waits_for_its_since(mirror: Mirror) -> None:
    owners = Multisig((Wallet(ALICE_KEY), Wallet(BOB_KEY), CAROL), threshold=2, signing=(0, 2), required=1)
    since = 12
    lock = owners.lock(mirror.consensus, since)
    plain = owners.lock(mirror.consensus)
    funding = mirror.spend(
        mirror.alice, [CellOutput(capacity=500 * CKB, lock=each, type_=None) for each in (lock, plain, plain)]
    )
    mirror.commit(funding)
    points = [OutPoint(tx_hash=funding.hash, index=index) for index in range(3)]
    late = mirror.spend(
        mirror.bob,
        [CellOutput(capacity=400 * CKB, lock=CAROL.lock, type_=None)],
        inputs=[CellInput(since=since, previous_output=points[0])],
        added=500 * CKB,
        cell_deps=[multisig_dep(mirror.consensus)],
        signers=[(owners, [0])],
    )
    both_refuse(mirror.pair, "send_transaction", transaction_json(late), "passthrough")
    both = mirror.spend(
        mirror.alice,
        [CellOutput(capacity=900 * CKB, lock=CAROL.lock, type_=None)],
        inputs=[CellInput(since=0, previous_output=point) for point in points[1:]],
        added=1000 * CKB,
        cell_deps=[multisig_dep(mirror.consensus)],
        signers=[(owners, [0, 1])],
    )
    mirror.commit(both)
    mirror.mine(since - 1 - mirror.source.tip())
    mirror.commit(late)
    assert mirror.target.call("get_transaction", hexed(late.hash))["tx_status"]["status"] == "committed"
    assert_same_chain(mirror.pair)
