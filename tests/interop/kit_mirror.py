"""Blocks from one program to the other, and what must then be equal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from tests.interop.kit_json import Json, differences, sent_block
from tests.support.nodes.process import RpcClient
from tests.support.nodes.reference import Pair

TEMPLATE_S = 20.0
FILTER_S = 60.0


def copy_block(source: RpcClient, target: RpcClient, block_hash: str) -> Json:
    """Submit a block of one node to the other; the view that the source gives of it."""
    view = source.call("get_block", block_hash)
    assert target.call("submit_block", "0x0", sent_block(view)) == block_hash
    return view


def tip_hash(rpc: RpcClient) -> str:
    text: str = rpc.call("get_tip_header")["hash"]
    return text


def fresh_template(rpc: RpcClient) -> Json:
    """A template on the node's tip; the reference makes it a little after the tip changed."""
    deadline = time.monotonic() + TEMPLATE_S
    wanted = tip_hash(rpc)
    while (template := rpc.call("get_block_template"))["parent_hash"] != wanted:
        assert time.monotonic() < deadline, "the template stays behind the tip"
        time.sleep(0.01)
    return template


BLOCK_QUESTIONS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("get_block", ("0x2", True)),
    ("get_block", ("0x0",)),
    ("get_header", ("0x0",)),
    ("get_block_economic_state", ()),
    ("get_block_median_time", ()),
    ("get_fork_block", ()),
)
TIP_QUESTIONS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("get_tip_header", ()),
    ("get_current_epoch", ()),
    ("get_fee_rate_statistics", ()),
    ("get_blockchain_info", ()),
)


def tip_differences(pair: Pair) -> Iterator[str]:
    """What both say of the tip: header, epoch, difficulty, fees, economics of the blocks that it finalizes."""
    for method, params in TIP_QUESTIONS:
        yield from asked(pair, method, *params)


def block_differences(pair: Pair, block_hash: str) -> Iterator[str]:
    """What both say of one block: all of it, cycles, rewards, filter, median time."""
    for method, params in BLOCK_QUESTIONS:
        yield from asked(pair, method, block_hash, *params)


def asked(pair: Pair, method: str, *params: Any) -> Iterator[str]:
    theirs, ours = pair.both(method, *params)
    for difference in differences(theirs, ours):
        yield f"{method}{params}: {difference}"


def assert_same_tip(pair: Pair) -> None:
    found = list(tip_differences(pair))
    assert not found, "\n".join(found)


def assert_same_block(pair: Pair, block_hash: str) -> None:
    found = list(block_differences(pair, block_hash))
    assert not found, "\n".join(found)


def assert_same_chain(pair: Pair) -> int:
    """Compare all main-chain blocks, epochs and cells; the number of outputs looked at."""
    theirs, ours = pair.both("get_tip_header")
    assert theirs == ours
    found: list[str] = []
    outputs = 0
    for number in range(int(ours["number"], 16) + 1):
        block_hash = pair.ours.rpc.call("get_block_hash", hex(number))
        found += block_differences(pair, block_hash)
        for transaction in pair.ours.rpc.call("get_block", block_hash)["transactions"]:
            found += asked(pair, "get_transaction", transaction["hash"])
            for index in range(len(transaction["outputs"])):
                outputs += 1
                found += asked(pair, "get_live_cell", {"tx_hash": transaction["hash"], "index": hex(index)}, True)
    last_epoch = int(ours["epoch"], 16) & 0xFFFFFF
    for epoch in range(last_epoch + 2):
        found += asked(pair, "get_epoch_by_number", hex(epoch))
    assert not found, "\n".join(found)
    assert_same_filters(pair)
    return outputs


def assert_same_filters(pair: Pair) -> int:
    """Wait until both have a filter of the tip, then compare those of all main-chain blocks; how many."""
    tip = tip_hash(pair.ours.rpc)
    deadline = time.monotonic() + FILTER_S
    while None in pair.both("get_block_filter", tip):
        assert time.monotonic() < deadline, "the tip gets no filter"
        time.sleep(0.02)
    count = int(pair.ours.rpc.call("get_tip_header")["number"], 16) + 1
    found: list[str] = []
    for number in range(count):
        found += asked(pair, "get_block_filter", pair.ours.rpc.call("get_block_hash", hex(number)))
    assert not found, "\n".join(found)
    return count
