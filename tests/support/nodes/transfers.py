"""Cells of Alice's on a chain of several nodes, and transfers that spend them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from consensus.params import Consensus
from consensus.types.blockchain import OutPoint, Transaction
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.nodes.process import RpcClient
from tests.support.nodes.quiet import feed, send

CELL = 200 * CKB
FEE = 100_000
CELLS_AT_ONCE = 2000
"""Outputs of a transaction that makes cells."""


class AnswersRpc(Protocol):
    """A node."""

    @property
    def rpc(self) -> RpcClient: ...


def prepare(nodes: Sequence[AnswersRpc], consensus: Consensus, count: int) -> list[Transaction]:
    """A chain with cells of Alice's at each node; transfers that spend them, not sent yet."""
    alice, bob, miner = Wallet(ALICE_KEY), Wallet(BOB_KEY), nodes[0].rpc
    purse, cells = issued_cell(consensus, alice), list[OutPoint]()
    for first in range(0, count, CELLS_AT_ONCE):
        some = min(CELLS_AT_ONCE, count - first)
        rest = purse[1] - some * (CELL + FEE)
        split = alice.transfer(consensus, [purse], [*[(alice.lock, CELL)] * some, (alice.lock, rest)])
        send(miner, split)
        cells += [OutPoint(tx_hash=split.hash, index=index) for index in range(some)]
        purse = OutPoint(tx_hash=split.hash, index=some), rest
        while miner.call("get_transaction", "0x" + split.hash.hex())["tx_status"]["status"] != "committed":
            miner.call("generate_block")
    raw_blocks = [raw_block(miner, number) for number in range(1, miner.tip() + 1)]
    for node in nodes[1:]:
        feed(node.rpc, raw_blocks)
    return [alice.transfer(consensus, [(each, CELL)], [(bob.lock, CELL - FEE)]) for each in cells]


def raw_block(rpc: RpcClient, number: int) -> bytes:
    """Of the main chain."""
    text: str = rpc.call("get_block_by_number", hex(number), "0x0")
    return bytes.fromhex(text[2:])
