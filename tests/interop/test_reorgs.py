"""Two branches, fed in turns, so that each program reorganises."""

from __future__ import annotations

from typing import Any

from tests.interop.kit_block import block_of, shifted
from tests.interop.kit_chain import Mirror, both_refuse
from tests.interop.kit_hash import block_hash
from tests.interop.kit_json import Json, hexed, sent_block, transaction_json
from tests.interop.kit_mirror import assert_same_block, assert_same_chain, assert_same_tip, tip_hash
from tests.interop.kit_verdict import answers
from tests.support.builders.wallet import CKB, Wallet
from tests.support.nodes.process import RpcClient

CAROL = Wallet(bytes(31) + b"\x09")
FIRST, SECOND = 12, 13


def feed(rpc: RpcClient, blocks: list[Json]) -> None:
    for view in blocks:
        assert rpc.call("submit_block", "0x0", sent_block(view)) == view["header"]["hash"]


def status(rpc: RpcClient, tx_hash: bytes) -> Any:
    answer = rpc.call("get_transaction", hexed(tx_hash))["tx_status"]
    return answer["status"], answer["block_hash"]


def test_branches_with_other_transactions(mirror: Mirror) -> None:
    mirror.mine(3)
    root = tip_hash(mirror.source)
    shared = mirror.transfer(mirror.alice, CAROL.lock, 100 * CKB)
    before = (mirror.bob.out_point, mirror.bob.capacity)
    only_first = mirror.transfer(mirror.bob, CAROL.lock, 200 * CKB)
    mirror.bob.out_point, mirror.bob.capacity = before
    only_second = mirror.transfer(mirror.bob, CAROL.lock, 300 * CKB)

    first = [mirror.mine(propose=[shared, only_first]), mirror.mine()]
    first += [mirror.mine(commit=[shared, only_first])]
    first += [mirror.mine() for _ in range(FIRST - len(first))]
    more = [_grown(mirror) for _ in range(SECOND - FIRST + 1)]

    mirror.source.call("truncate", root)
    second = [_grown(mirror, propose=[only_second]), _grown(mirror, propose=[shared])]
    second += [_grown(mirror, commit=[only_second]), _grown(mirror, commit=[shared])]
    second += [_grown(mirror) for _ in range(SECOND - len(second))]

    feed(mirror.target, second[:FIRST])
    assert tip_hash(mirror.target) == first[-1]["header"]["hash"], "the first seen of two equal branches stays"
    feed(mirror.target, second[FIRST:])
    feed(mirror.source, first)
    assert_same_tip(mirror.pair)
    assert tip_hash(mirror.target) == second[-1]["header"]["hash"]
    for tx in (shared, only_second):
        assert status(mirror.source, tx.hash) == status(mirror.target, tx.hash)
        assert status(mirror.target, tx.hash)[0] == "committed"
    both_refuse(mirror.pair, "send_transaction", transaction_json(only_first), "passthrough")

    # Back to the first branch. What the source truncated it may still know, and be content with: a new block on top
    # makes it choose.
    feed(mirror.target, more)
    feed(mirror.source, more)
    newest = mirror.target.call("generate_block")
    more.append(mirror.target.call("get_block", newest))
    feed(mirror.source, more[-1:])
    assert_same_tip(mirror.pair)
    assert tip_hash(mirror.target) == more[-1]["header"]["hash"]
    assert status(mirror.source, only_first.hash) == status(mirror.target, only_first.hash)
    for view in (*first, *second, *more):
        assert_same_block(mirror.pair, view["header"]["hash"])
    both_refuse(mirror.pair, "send_transaction", transaction_json(only_second), "passthrough")
    mirror.mine(3)
    assert_same_chain(mirror.pair)


def _grown(mirror: Mirror, **content: Any) -> Json:
    """A block of the source alone."""
    template = mirror.filled(**content)
    return mirror.source.call("get_block", mirror.make(template))


def test_a_heavier_branch_with_a_bad_block_inside(mirror: Mirror) -> None:
    mirror.mine(3)
    root = tip_hash(mirror.source)
    staying = [mirror.mine() for _ in range(2)]
    tip = tip_hash(mirror.source)
    mirror.source.call("truncate", root)
    first = _grown(mirror)
    template = mirror.template()
    bad = block_of(template | {"uncles": []}, dao="0x" + "11" * 32)
    above = [_on(bad)]
    above += [_on(above[-1])]
    mirror.source.call("truncate", root)
    feed(mirror.source, staying)
    if tip_hash(mirror.source) != tip:
        # The reference knows what it truncated; a new block makes it choose.
        mirror.target.call("generate_block")
        tip = tip_hash(mirror.target)
        feed(mirror.source, [mirror.target.call("get_block", tip)])
    for block in (sent_block(first), bad, *above):
        theirs, ours = answers(mirror, block)
        assert theirs[:2] == ours[:2], f"reference: {theirs}, ours: {ours}"
        assert tip_hash(mirror.source) == tip_hash(mirror.target) == tip
    for block in (bad, *above, _on(above[-1])):
        answers(mirror, block)  # once known as bad, it is told differently
        assert tip_hash(mirror.source) == tip_hash(mirror.target) == tip
    mirror.mine(3)
    assert_same_chain(mirror.pair)


def _on(parent: Json) -> Json:
    """A block on a parent that is not on the chain: of the right form only."""
    header, cellbase = parent["header"], parent["transactions"][0]
    number = shifted(header["number"], 1)
    child = header | {
        "number": number,
        "parent_hash": block_hash(parent),
        "timestamp": shifted(header["timestamp"], 1),
        "epoch": shifted(header["epoch"], 1 << 24),
    }
    cellbase = cellbase | {"inputs": [cellbase["inputs"][0] | {"since": number}]}
    return parent | {"header": child, "transactions": [cellbase]}
