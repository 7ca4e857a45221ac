"""Block filters (RFC 45): the same bytes and the same chain of hashes for every block, on either branch."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ckb_node.jsonrpc_types.block_view import encode_block_view
from tests.interop.kit_chain import COUNTS, Mirror, mirror_of, wait_until
from tests.interop.kit_json import Json, hexed, sent_block
from tests.interop.kit_mirror import asked, assert_same_filters, tip_hash
from tests.interop.kit_scenes import SCENES
from tests.support.builders.filters import CONTENTS, block_with
from tests.support.builders.wallet import CKB, Wallet
from tests.support.nodes.process import RpcClient
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(900)

CAROL = Wallet(bytes(31) + b"\x0c")


@pytest.mark.parametrize("scene", SCENES)
def test_filters_of_each_kind_of_block(tmp_path: Path, direction: str, scene: str) -> None:
    make, params = SCENES[scene]
    with pair_of_nodes(tmp_path, spec_text(Path(CELLS), **params)) as pair:
        make(mirror_of(pair, direction))
        COUNTS["filters"] += assert_same_filters(pair)


def test_filters_follow_reorganisations(mirror: Mirror) -> None:
    """A block that spends a cell stands on two branches, and so at two places in the chain of filter hashes."""
    mirror.mine(3)
    root = tip_hash(mirror.source)
    transfer = mirror.transfer(mirror.alice, CAROL.lock, 100 * CKB)
    mirror.commit(transfer)
    first = [block_at(mirror.pair, number) for number in range(4, 7)]
    assert_same_filters(mirror.pair)

    mirror.source.call("truncate", root)
    second = [_grown(mirror, propose=[transfer]), _grown(mirror), _grown(mirror)]
    second += [_grown(mirror, commit=[transfer]), _grown(mirror)]
    for view in second:
        mirror.target.call("submit_block", "0x0", sent_block(view))
    assert tip_hash(mirror.target) == second[-1]["header"]["hash"]
    COUNTS["filters"] += assert_same_filters(mirror.pair)
    for view in first:
        assert not list(asked(mirror.pair, "get_block_filter", view["header"]["hash"])), "null off the main chain"


def test_cells_that_nobody_made_are_left_out(mirror: Mirror) -> None:
    """Blocks that both take without checks."""
    for number, content in CONTENTS.items():
        template = mirror.template()
        header = {
            "compact_target": int(template["compact_target"], 16),
            "timestamp": int(template["current_time"], 16),
            "epoch": int(template["epoch"], 16),
            "parent_hash": bytes.fromhex(template["parent_hash"][2:]),
            "dao": bytes.fromhex(template["dao"][2:]),
        }
        block = block_with(content, number, **header)
        view = sent_block(json.loads(encode_block_view(block)))
        wanted = hexed(block.hash)
        assert mirror.pair.both("process_block_without_verify", view, False) == (wanted, wanted)
        wait_until(partial(_is_tip, mirror.pair.reference.rpc, wanted))
        wait_until(partial(_is_tip, mirror.pair.ours.rpc, wanted))
    COUNTS["filters"] += assert_same_filters(mirror.pair)


def _is_tip(rpc: RpcClient, block_hash: str) -> bool:
    return tip_hash(rpc) == block_hash


def block_at(pair: Pair, number: int) -> Json:
    return pair.ours.rpc.call("get_block_by_number", hex(number))


def _grown(mirror: Mirror, **content: Any) -> Json:
    """A block of the source alone."""
    return mirror.source.call("get_block", mirror.make(mirror.filled(**content)))
