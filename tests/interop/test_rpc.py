"""The same requests to both programs on the same chain: results, error codes and messages must be equal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from consensus.types.blockchain import OutPoint
from tests.interop.kit_chain import COUNTS, Mirror, mirror_of, wait_until
from tests.interop.kit_chain_requests import chain_requests
from tests.interop.kit_dao import Deposit
from tests.interop.kit_facts import Facts, Request
from tests.interop.kit_indexer_requests import indexer_requests
from tests.interop.kit_json import Json, ask, differences, hexed, sent_block, transaction_json
from tests.interop.kit_mirror import assert_same_filters, tip_hash
from tests.interop.kit_other_requests import other_requests
from tests.interop.kit_transaction_requests import pool_requests, proof_checks, send_requests, transaction_requests
from tests.support.builders.wallet import CKB
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(600)

BLOCKS = 30

# What may differ, as expressions over "method path".
VOLATILE = (
    r".*\.(time_added_to_pool|timestamp_added|last_txs_updated_at)",
    r"get_raw_tx_pool .*\.timestamp",
    r"get_pool_tx_detail_info .*\.timestamp",
    r"get_block_template .*\.(work_id|current_time|cellbase\.data\.witnesses\[0\])",
    r"local_node_info .*\.(version|node_id|addresses|protocols).*",  # compared by test_network
    r"sync_state .*\.best_known_block_(number|timestamp)",
)
# Where ours answers on purpose otherwise; said in docs or in the test's comment.
ACCEPTED = (
    r"get_banned_addresses ",  # a network with host bits keeps them there
    r"(add|remove)_node ",  # the library's words about a bad address
)
PARAMETERS_REFUSED = re.compile(r"Invalid param|Missing required parameter")


def disagreements(pair: Pair, method: str, params: Any) -> Iterator[str]:
    theirs, ours = (ask(rpc, method, params) for rpc in (pair.reference.rpc, pair.ours.rpc))
    for answer in (theirs, ours):
        if method == "get_block_template" and "result" in answer:
            answer["result"]["proposals"].sort()
    if isinstance(params, dict) and "error" in theirs:
        return  # ours takes named parameters too
    if "error" in theirs and "error" in ours and _same_refusal(theirs["error"], ours["error"]):
        return
    for difference in differences(theirs, ours):
        place = f"{method} {difference.partition(':')[0]}"
        if not any(re.fullmatch(each, place) for each in VOLATILE) and not any(
            re.match(each, f"{method} ") for each in ACCEPTED
        ):
            yield f"{method} {json.dumps(params)[:200]}\n    {difference}"


def _same_refusal(theirs: Json, ours: Json) -> bool:
    """Parameters that no method saw are refused by each JSON library in its own words, under the same code.

    Ours may say more after the reference's own text: the name of an unknown method, the values that are allowed.
    """
    if theirs["code"] != ours["code"] or theirs["code"] not in (-32601, -32602):
        return False
    return all(PARAMETERS_REFUSED.match(error["message"]) for error in (theirs, ours)) or (
        ours["message"].startswith(theirs["message"]) and theirs.get("data") == ours.get("data")
    )


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


def assert_equal_answers(pair: Pair, requests: Iterator[Request]) -> None:
    found: list[str] = []
    asked = 0
    for method, params in requests:
        asked += 1
        found += disagreements(pair, method, params)
    COUNTS["RPC answers"] += asked
    assert not found, f"{len(found)} of {asked}:\n" + "\n".join(found)


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
    found = [each for pair in _answers(theirs, ours) if not _are_same_refusals(*pair) for each in differences(*pair)]
    assert not found, f"{body!r}: " + "\n".join(found)


def _answers(theirs: Json, ours: Json) -> list[tuple[Json, Json]]:
    """Those of a batch one by one; anything else as it is."""
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return list(zip(theirs, ours, strict=True))
    return [(theirs, ours)]


def _are_same_refusals(theirs: Json, ours: Json) -> bool:
    if not all(isinstance(each, dict) and each.keys() == {"jsonrpc", "id", "error"} for each in (theirs, ours)):
        return False
    return theirs["id"] == ours["id"] and _same_refusal(theirs["error"], ours["error"])


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
