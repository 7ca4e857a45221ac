"""Each program syncs the other's chain: blocks of every kind, then many with transfers, forks and uncles.

SYNC_BLOCKS in the environment says how many blocks of transfers are put on each scene.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.interop.kit_chain import COUNTS, Mirror, mirror_of, wait_until
from tests.interop.kit_json import transaction_json
from tests.interop.kit_mirror import assert_same_block, assert_same_filters, assert_same_tip, fresh_template
from tests.interop.kit_multisig import CAROL
from tests.interop.kit_scenes import SCENES
from tests.support.builders.wallet import CKB
from tests.support.nodes.reference import (
    CELLS,
    REFERENCE,
    OurNode,
    Pair,
    ReferenceNode,
    init_ours,
    pair_of_nodes,
    spec_text,
)

pytestmark = pytest.mark.timeout(1800)

BLOCKS = int(os.environ.get("SYNC_BLOCKS", "300"))
LATE_BLOCKS = 40
SYNC_S = 300.0
COMPARED = 60
BAD_LINE = re.compile(r"\b(ERROR|WARN)\b|\[(error|warning|critical) |panicked")
KNOWN_LINES = ("metrics", "miner", "tx_pool", "assembler")
"""What is said of the same things when no peer is there, too."""

Node = ReferenceNode | OurNode


@pytest.mark.parametrize("source", ["reference", "ours"])
@pytest.mark.parametrize("scene", SCENES)
def test_each_syncs_the_others_chain(tmp_path: Path, scene: str, source: str) -> None:
    make, params = SCENES[scene]
    with pair_of_nodes(tmp_path, spec_text(Path(CELLS), **params)) as pair, ExitStack() as stack:
        mirror = mirror_of(pair, source)
        make(mirror)
        server, partner = (pair.reference, pair.ours) if source == "reference" else (pair.ours, pair.reference)
        mine_transfers_and_forks(mirror, BLOCKS)
        connect(partner, server)
        follow(partner, server)
        assert_same_sample(pair)
        fresh = stack.enter_context(fresh_node(partner.name, tmp_path, pair.spec_path))
        connect(fresh, server)
        follow(fresh, server)
        assert_same_sample(pair_with(pair, fresh))
        assert_same_filters(pair_with(pair, fresh))
        for node in (partner, fresh):
            node.rpc.call("remove_node", node_id(server))
        wait_until(lambda: server.rpc.call("get_peers") == [])
        mine_transfers_and_forks(mirror, LATE_BLOCKS)
        connect(server, fresh)
        follow(fresh, server)
        assert_same_sample(pair_with(pair, fresh))
        for node in (server, partner, fresh):
            assert node.rpc.call("get_banned_addresses") == []
            assert bad_lines(node) == []


def mine_transfers_and_forks(mirror: Mirror, count: int) -> None:
    """On the source alone: transfers by its pool, side blocks that become uncles."""
    rng, rpc = Random(count), mirror.source
    for _ in range(count):
        if rng.random() < 0.5:
            transfer = mirror.transfer(rng.choice([mirror.alice, mirror.bob]), CAROL.lock, 100 * CKB)
            rpc.call("send_transaction", transaction_json(transfer), "passthrough")
            COUNTS["transfers to be synced"] += 1
        if rng.random() < 0.05:
            template = fresh_template(rpc) | {"transactions": [], "uncles": []}
            later = hex(int(template["current_time"], 16) + 1)
            rpc.call("generate_block_with_template", template)
            rpc.call("generate_block_with_template", template | {"current_time": later})
        else:
            rpc.call("generate_block")
        COUNTS["blocks to be synced"] += 1


@contextmanager
def fresh_node(kind: str, directory: Path, spec: Path) -> Iterator[Node]:
    """With nothing but the genesis block."""
    if kind == "reference":
        theirs = ReferenceNode(Path(REFERENCE), directory / "fresh-reference", spec)
        theirs.start()
        try:
            yield theirs
        finally:
            theirs.stop()
        return
    ours = OurNode(directory / "fresh-ours", init_ours(directory / "fresh-ours", spec))
    try:
        ours.wait_until_ready()
        yield ours
    finally:
        if ours.process.poll() is None:
            ours.kill()


def pair_with(pair: Pair, fresh: Node) -> Pair:
    """The fresh node in the place of its kind; the other one is the server."""
    if isinstance(fresh, ReferenceNode):
        return Pair(fresh, pair.ours, pair.spec_path)
    return Pair(pair.reference, fresh, pair.spec_path)


def node_id(node: Node) -> str:
    text: str = node.rpc.call("local_node_info")["node_id"]
    return text


def connect(dialler: Node, target: Node) -> None:
    addresses: Sequence[str] = [each["address"] for each in target.rpc.call("local_node_info")["addresses"]]
    address = next(each.partition("/p2p/")[0] for each in addresses if "/ws" not in each)
    dialler.rpc.call("add_node", node_id(target), address)
    COUNTS["sessions"] += 1


def follow(node: Node, server: Node) -> None:
    """Until it has the server's tip."""
    wanted = server.rpc.call("get_tip_header")["hash"]
    wait_until(lambda: node.rpc.call("get_tip_header")["hash"] == wanted, SYNC_S)
    COUNTS["chains synced"] += 1


def assert_same_sample(pair: Pair) -> None:
    """The tip, and blocks at random with all that is said of them."""
    assert_same_tip(pair)
    tip = pair.ours.rpc.tip()
    for number in Random(tip).sample(range(tip + 1), min(COMPARED, tip + 1)):
        assert_same_block(pair, pair.ours.rpc.call("get_block_hash", hex(number)))


def bad_lines(node: Node) -> list[str]:
    lines = node.log_path.read_text(errors="replace").splitlines()
    return [line for line in lines if BAD_LINE.search(line) and not any(known in line for known in KNOWN_LINES)]
