"""Transactions between both programs: what one pool takes the other gets from it, and blocks of either commit all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from consensus.types.blockchain import Transaction
from tests.interop.kit_chain import COUNTS, Mirror, Purse, mirror_of, purses, wait_until
from tests.interop.kit_json import hexed, transaction_json
from tests.interop.kit_network import Node, bad_lines, connect, gone
from tests.support.builders.wallet import CKB
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(300)

PURSES, LENGTH = 40, 5
ROUNDS = 40


@pytest.fixture(params=["ours", "reference"])
def dialler(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of_nodes(tmp_path, spec_text(Path(CELLS))) as nodes:
        yield nodes


def transfers(mirror: Mirror, some: Sequence[Purse], length: int) -> list[Transaction]:
    """`length` from each purse, each of which needs the one before."""
    bob = mirror.bob.wallet.lock
    return [mirror.transfer(purse, bob, 100 * CKB) for purse in some for _ in range(length)]


def submit(node: Node, some: Sequence[Transaction]) -> None:
    for each in some:
        assert node.rpc.call("send_transaction", transaction_json(each), "passthrough") == hexed(each.hash)


def statuses(node: Node, some: Sequence[Transaction]) -> set[str]:
    return {node.rpc.call("get_transaction", hexed(each.hash))["tx_status"]["status"] for each in some}


def cycles(node: Node, some: Sequence[Transaction]) -> list[str]:
    return [node.rpc.call("get_transaction", hexed(each.hash))["cycles"] for each in some]


def test_what_either_gets_both_have_and_either_commits(pair: Pair, dialler: str, direction: str) -> None:
    mirror = mirror_of(pair, direction)
    mirror.mine(2)
    cells = purses(mirror, PURSES)
    source, target = connect(pair, dialler)
    half = PURSES // 2
    to_ours, to_theirs = transfers(mirror, cells[:half], LENGTH), transfers(mirror, cells[half:], LENGTH)
    submit(pair.ours, to_ours)
    submit(pair.reference, to_theirs)
    everything = [*to_ours, *to_theirs]
    for node in (pair.ours, pair.reference):
        wait_until(lambda node=node: statuses(node, everything) == {"pending"})
    assert cycles(pair.ours, everything) == cycles(pair.reference, everything)

    def all_committed() -> bool:
        mirror.copy(mirror.source.call("generate_block"), compare=False)
        return all(statuses(node, everything) == {"committed"} for node in (source, target))

    wait_until(all_committed)
    assert not gone(source)
    assert bad_lines(source) == bad_lines(target) == []
    for node in (source, target):
        info = node.rpc.call("tx_pool_info")
        assert (info["pending"], info["proposed"], info["orphan"]) == ("0x0", "0x0", "0x0")
    COUNTS["relayed transactions"] += len(everything)


def test_what_a_block_of_ours_proposes_at_once_is_refused_by_nobody(pair: Pair) -> None:
    """Wallets spend their change at once, and the next block proposes what the reference has not heard of yet."""
    mirror, rng = mirror_of(pair, "ours"), Random(ROUNDS)
    mirror.mine(2)
    connect(pair, "ours")
    everything: list[Transaction] = []
    for _ in range(ROUNDS):
        chain = transfers(mirror, [mirror.alice], rng.randrange(1, 5))
        submit(pair.ours, chain)
        everything += chain
        block_hash = pair.ours.rpc.call("generate_block")
        wait_until(lambda block_hash=block_hash: pair.reference.rpc.call("get_tip_header")["hash"] == block_hash)
        assert "rejected" not in statuses(pair.reference, everything[-20:])
    wait_until(lambda: statuses(pair.reference, everything) <= {"pending", "proposed", "committed"})
    assert bad_lines(pair.reference) == bad_lines(pair.ours) == []
    COUNTS["transfers proposed at once"] += len(everything)
