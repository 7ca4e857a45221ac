"""The same requests to both programs on the same chain: results, error codes and messages must be equal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from consensus.types.blockchain import OutPoint
from tests.interop.kit_answers import assert_equal_answers, same_refusal
from tests.interop.kit_chain import Mirror, mirror_of, wait_until
from tests.interop.kit_chain_requests import chain_requests
from tests.interop.kit_dao import Deposit
from tests.interop.kit_facts import Facts, Request
from tests.interop.kit_indexer_requests import indexer_requests
from tests.interop.kit_json import Json, differences, hexed, sent_block, transaction_json
from tests.interop.kit_mirror import assert_same_filters, tip_hash
from tests.interop.kit_other_requests import other_requests
from tests.interop.kit_transaction_requests import pool_requests, proof_checks, send_requests, transaction_requests
from tests.support.builders.wallet import CKB
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(600)

BLOCKS = 30


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mirror, Facts]]:
    """A chain with transfers, a deposit, an uncle and a fork; a transaction in both pools."""
    with pair_of_nodes(tmp_path_factory.mktemp("rpc"), spec_text(Path(CELLS))) as pair:
        mirror = mirror_of(pair, "reference")
        yield mirror, set_the_scene(mirror)


def set_the_scene(mirror: Mirror) -> Facts:
    alice, bob = mirror.alice, mirror.bob
    mirror.mine(3)
    deposit = Deposit(mirror, alice)
    template = mirror.template()
    mirror.mine()
    fork = mirror.make(template | {"current_time": hex(int(template["current_time"], 16) + 501)})
    mirror.target.call("submit_block", "0x0", sent_block(mirror.source.call("get_fork_block", fork)))
    wait_until(lambda: mirror.template()["uncles"])
    with_uncle = mirror.mine()
    block: Json = None
    for _ in range(8):
        paid = [mirror.transfer(alice, bob.wallet.lock, 1000 * CKB), mirror.transfer(bob, alice.wallet.lock, 500 * CKB)]
        block = mirror.commit(*paid)
    mirror.mine(BLOCKS - mirror.source.tip())
    pending = mirror.transfer(alice, bob.wallet.lock, 10 * 100 * CKB)
    mirror.send(pending)
    before: OutPoint = bob.out_point
    unsent = mirror.transfer(bob, alice.wallet.lock, 200 * CKB)
    assert before == unsent.body.inputs[0].previous_output
    first, second = block["transactions"][1:3]
    assert_same_filters(mirror.pair)
    return Facts(
        genesis=mirror.source.call("get_block_hash", "0x0"),
        tip_number=mirror.source.tip(),
        tip=tip_hash(mirror.source),
        block_with_uncle=with_uncle["header"]["hash"],
        fork_block=fork,
        committed=first,
        neighbour=second["hash"],
        commit_block=block["header"]["hash"],
        cellbase=block["transactions"][0]["hash"],
        pending=transaction_json(pending) | {"hash": hexed(pending.hash)},
        alice=alice.wallet,
        bob=bob.wallet,
        unsent=transaction_json(unsent),
        dao_deposit={"hash": hexed(deposit.transaction.hash)},
    )


def proofs(pair: Pair, facts: Facts) -> Iterator[Request]:
    proof = pair.reference.rpc.call("get_transaction_proof", [facts.committed["hash"]])
    both = pair.reference.rpc.call("get_transaction_and_witness_proof", [facts.committed["hash"]])
    return proof_checks(facts, proof, both)


def test_blocks_and_headers(scene: tuple[Mirror, Facts]) -> None:
    assert_equal_answers(scene[0].pair, chain_requests(scene[1]))


def test_transactions_cells_and_proofs(scene: tuple[Mirror, Facts]) -> None:
    pair, facts = scene[0].pair, scene[1]
    assert_equal_answers(pair, chain(transaction_requests(facts), proofs(pair, facts)))


def test_the_pool(scene: tuple[Mirror, Facts]) -> None:
    pair, facts = scene[0].pair, scene[1]
    assert_equal_answers(pair, chain(pool_requests(facts), send_requests(facts)))


def test_the_indexer(scene: tuple[Mirror, Facts]) -> None:
    pair, facts = scene[0].pair, scene[1]
    for rpc in (pair.reference.rpc, pair.ours.rpc):
        wait_until(lambda rpc=rpc: rpc.call("get_indexer_tip")["block_hash"] == facts.tip)
    assert_equal_answers(pair, indexer_requests(facts))


def test_the_other_modules(scene: tuple[Mirror, Facts]) -> None:
    assert_equal_answers(scene[0].pair, other_requests(scene[1]))


# Not here: JSON that is no request at all (`1`, `[]`, a broken id), which the reference calls a parse error and ours,
# as the standard does, an invalid request.
BODIES = (
    b"",
    b" ",
    b"{",
    b"{}",
    b'{"jsonrpc": "2.0", "id": 1}',
    b'{"jsonrpc": "1.0", "id": 1, "method": "get_tip_block_number", "params": []}',
    b'{"jsonrpc": "2.0", "id": 1, "method": 5, "params": []}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "get_tip_block_number", "params": 5}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "get_tip_block_number", "params": "x"}',
    b'{"jsonrpc": "2.0", "id": "a", "method": "get_tip_block_number"}',
    b'{"jsonrpc": "2.0", "id": null, "method": "get_tip_block_number", "params": []}',
    b'{"jsonrpc": "2.0", "method": "get_tip_block_number", "params": []}',
    b'[{"jsonrpc": "2.0", "id": 1, "method": "get_tip_block_number"}, {"jsonrpc": "2.0", "id": 2, "method": "x"}]',
    b'{"jsonrpc": "2.0", "id": 1, "method": "get_tip_block_number", "more": 1}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "get_tip_block_number"} {}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "get_tip_block_number", "params": [], "params": []}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "get_tip_block_number", "method": "ping"}',
    b'[{"jsonrpc": "2.0", "jsonrpc": "2.0", "id": 1, "method": "ping"}]',
    b"\xff\xfe",
)


@pytest.mark.parametrize("body", BODIES)
def test_requests_in_form(scene: tuple[Mirror, Facts], body: bytes) -> None:
    theirs, ours = (_parsed(rpc.post(body)) for rpc in (scene[0].pair.reference.rpc, scene[0].pair.ours.rpc))
    found = [each for pair in _answers(theirs, ours) if not _aresame_refusals(*pair) for each in differences(*pair)]
    assert not found, f"{body!r}: " + "\n".join(found)


def _answers(theirs: Json, ours: Json) -> list[tuple[Json, Json]]:
    """Those of a batch one by one; anything else as it is."""
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return list(zip(theirs, ours, strict=True))
    return [(theirs, ours)]


def _aresame_refusals(theirs: Json, ours: Json) -> bool:
    if not all(isinstance(each, dict) and each.keys() == {"jsonrpc", "id", "error"} for each in (theirs, ours)):
        return False
    return theirs["id"] == ours["id"] and same_refusal(theirs["error"], ours["error"])


def _parsed(answer: bytes) -> Json:
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode(errors="replace")


def test_the_overview_has_the_same_members(scene: tuple[Mirror, Facts]) -> None:
    """Its figures are of two processes at two moments; those of the chain are equal."""
    theirs, ours = scene[0].pair.both("get_overview", 31)
    assert _shape(theirs) == _shape(ours)
    assert theirs["mining"] == ours["mining"]
    assert theirs["cells"]["total_occupied_capacities"] == ours["cells"]["total_occupied_capacities"]
    counts = ("pending", "proposed", "orphan", "total_tx_size", "total_tx_cycles", "max_tx_pool_size")
    assert {name: theirs["pool"][name] for name in counts} == {name: ours["pool"][name] for name in counts}


def _shape(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shape(each) for each in value[:1]]
    if isinstance(value, str):
        return "hex" if value.startswith("0x") else "text"
    return "flag" if isinstance(value, bool) else "number"
