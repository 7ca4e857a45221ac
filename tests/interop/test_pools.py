"""The two pools, given the same: conflicts and replacements, chains, fees, what blocks do to them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from consensus.types.blockchain import CellInput, CellOutput, OutPoint, Transaction
from tests.interop.kit_chain import Mirror, Purse, wait_until
from tests.interop.kit_content import code_dep
from tests.interop.kit_json import Json, differences, hexed, transaction_json
from tests.interop.kit_mirror import assert_same_chain
from tests.support.builders.wallet import CKB
from tests.support.nodes.process import RpcClient, RpcFailure
from tests.support.nodes.reference import Pair

pytestmark = pytest.mark.timeout(300)

TIMES = re.compile(r".*\.(timestamp|time_added_to_pool|last_txs_updated_at)")


def told(rpc: RpcClient, transaction: Transaction, method: str = "send_transaction") -> str:
    try:
        return str(rpc.call(method, transaction_json(transaction), "passthrough"))
    except RpcFailure as failure:
        return f"{failure.code} {failure.message} | {failure.data}"


def both_told(pair: Pair, transaction: Transaction) -> str:
    """The same answer of both pools, first to a question, then to the real thing."""
    theirs, ours = (told(rpc, transaction, "test_tx_pool_accept") for rpc in (pair.reference.rpc, pair.ours.rpc))
    assert theirs == ours, "test_tx_pool_accept"
    theirs, ours = (told(rpc, transaction, "send_transaction") for rpc in (pair.reference.rpc, pair.ours.rpc))
    assert theirs == ours, "send_transaction"
    return ours


def assert_same_pools(pair: Pair, *transactions: Transaction) -> None:
    questions: list[tuple[str, list[object]]] = [
        ("tx_pool_info", []),
        ("get_raw_tx_pool", [True]),
        ("get_raw_tx_pool", []),
    ]
    for transaction in transactions:
        questions += [("get_transaction", [hexed(transaction.hash)])]
        questions += [("get_pool_tx_detail_info", [hexed(transaction.hash)])]

    def faults() -> list[str]:
        lines: list[str] = []
        for method, params in questions:
            theirs, ours = pair.both(method, *params)
            for answer in (theirs, ours):
                if method == "get_raw_tx_pool":
                    _sort(answer)
            found = differences(theirs, ours)
            lines += [f"{method}: {each}" for each in found if not TIMES.fullmatch(each.partition(":")[0])]
        return lines

    try:
        wait_until(lambda: not faults(), 3.0)
    except AssertionError:
        assert not faults(), "\n".join(faults())


def _sort(pool: Json) -> None:
    for ids in pool.values():
        if isinstance(ids, list):
            ids.sort()


def test_replacement(mirror: Mirror) -> None:
    mirror.mine(2)
    pair, bob = mirror.pair, mirror.bob.wallet.lock
    purses = [replace(mirror.alice) for _ in range(7)]
    fees = (10_000, 10_001, 10_500, 20_000, 15_000, 20_464, 1_000_000)
    sent = []
    for purse, fee in zip(purses, fees, strict=True):
        transaction = mirror.transfer(purse, bob, 100 * CKB, fee=fee)
        both_told(pair, transaction)
        sent.append(transaction)
        assert_same_pools(pair, *sent)
    children = [mirror.transfer(purses[-1], bob, 10 * 100 * CKB, fee=fee) for fee in (5_000,)]
    for child in children:
        both_told(pair, child)
    both_told(pair, mirror.transfer(replace(mirror.alice), bob, 100 * CKB, fee=1_000_400))
    both_told(pair, mirror.transfer(replace(mirror.alice), bob, 100 * CKB, fee=2_000_000))
    assert_same_pools(pair, *sent, *children)
    unconfirmed = mirror.transfer(replace(purses[-1]), bob, 50 * 100 * CKB, fee=50_000)
    both_told(pair, unconfirmed)
    assert_same_pools(pair, *sent, *children, unconfirmed)


def test_fees_sizes_and_forms(mirror: Mirror) -> None:
    mirror.mine(2)
    pair, bob = mirror.pair, mirror.bob.wallet.lock
    for fee in (0, 1, 400, 463, 464, 465, 500):
        both_told(pair, mirror.transfer(replace(mirror.alice), bob, 100 * CKB, fee=fee))
    big = CellOutput(capacity=600_000 * CKB, lock=bob, type_=None)
    for size in (500_000, 511_000, 512_000, 590_000):
        both_told(pair, mirror.spend(replace(mirror.bob), [big], [bytes(size)], fee=10_000_000))
    good = mirror.transfer(mirror.alice, bob, 100 * CKB)
    both_told(pair, good)
    both_told(pair, good)
    more = Transaction(body=good.body, witnesses=[*good.witnesses, b""])
    both_told(pair, more)
    assert_same_pools(pair, good)


def chain(mirror: Mirror, purse: Purse, length: int) -> list[Transaction]:
    return [
        mirror.transfer(purse, mirror.bob.wallet.lock, 100 * CKB, fee=10_000 + 100 * step) for step in range(length)
    ]


def test_chains_and_what_blocks_do(mirror: Mirror) -> None:
    mirror.mine(2)
    pair = mirror.pair
    # Of Bob's, who has less: a block's inputs must not add up to more than 64 bits.
    line = chain(mirror, mirror.bob, 12)
    both_told(pair, line[5])
    for transaction in line:
        both_told(pair, transaction)
    side = mirror.spend(
        mirror.alice,
        [CellOutput(capacity=100 * CKB, lock=mirror.bob.wallet.lock, type_=None)],
        cell_deps=[code_dep(OutPoint(tx_hash=line[3].hash, index=0))],
        fee=77_000,
    )
    both_told(pair, side)
    assert_same_pools(pair, *line, side)
    for _ in range(14):
        mirror.copy(mirror.source.call("generate_block"))
        assert_same_pools(pair, *line, side)
    assert_same_chain(pair)


def test_a_block_takes_what_the_pools_held(mirror: Mirror) -> None:
    """A conflicting transaction is committed: the pools drop theirs, with what stood on it."""
    mirror.mine(2)
    pair = mirror.pair
    rival = mirror.transfer(replace(mirror.alice), mirror.bob.wallet.lock, 777 * CKB)
    line = chain(mirror, mirror.alice, 3)
    for transaction in line:
        both_told(pair, transaction)
    mirror.mine(propose=[rival, *line])
    assert_same_pools(pair, *line)
    mirror.mine()
    assert_same_pools(pair, *line)
    mirror.mine(commit=[rival])
    assert_same_pools(pair, *line, rival)
    both_told(pair, line[0])
    both_told(pair, line[1])
    late = mirror.spend(
        mirror.bob,
        [CellOutput(capacity=100 * CKB, lock=mirror.bob.wallet.lock, type_=None)],
        inputs=[CellInput(since=0, previous_output=OutPoint(tx_hash=line[2].hash, index=5))],
    )
    both_told(pair, late)
    assert_same_pools(pair, *line, rival)
    assert_same_chain(pair)


def test_proposals_of_others_and_expiry_of_windows(mirror: Mirror) -> None:
    mirror.mine(2)
    pair = mirror.pair
    line = chain(mirror, mirror.alice, 2)
    for transaction in line:
        both_told(pair, transaction)
    mirror.mine(propose=line)
    for _ in range(12):
        assert_same_pools(pair, *line)
        mirror.mine()
    assert_same_pools(pair, *line)
    assert mirror.source.call("remove_transaction", hexed(line[0].hash))
    assert mirror.target.call("remove_transaction", hexed(line[0].hash))
    assert_same_pools(pair, *line)
