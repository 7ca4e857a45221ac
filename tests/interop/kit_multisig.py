"""The scene of a multisig lock with since."""

from __future__ import annotations

from consensus.types.blockchain import CellInput, CellOutput, OutPoint
from tests.interop.kit_chain import Mirror, both_refuse
from tests.interop.kit_json import hexed, transaction_json
from tests.interop.kit_mirror import assert_same_chain
from tests.interop.kit_sign import Multisig, multisig_dep
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet

CAROL = Wallet(bytes(31) + b"\x07")


def multisig_two_of_three_waits_for_its_since(mirror: Mirror) -> None:
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
