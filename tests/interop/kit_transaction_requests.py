"""Questions about transactions, cells, proofs and the pool, with good and bad parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.interop.kit_facts import BAD_HASHES, UNKNOWN, Facts, Request, without
from tests.interop.kit_json import Json


def transaction_requests(facts: Facts) -> Iterator[Request]:
    """Module Chain: transactions, cells, proofs, cycles."""
    hashes = (facts.committed["hash"], facts.pending["hash"], facts.cellbase, UNKNOWN)
    for tx_hash in (*hashes, *BAD_HASHES):
        yield "get_transaction", [tx_hash]
    for tx_hash in hashes:
        for verbosity in ("0x0", "0x1", "0x2", "0x3", None):
            for only_committed in (None, True, False):
                yield "get_transaction", [tx_hash, verbosity, only_committed]
    yield "get_transaction", [UNKNOWN, "0x1", "no"]
    point = {"tx_hash": facts.committed["hash"], "index": "0x0"}
    spent = facts.committed["inputs"][0]["previous_output"]
    pooled = {"tx_hash": facts.pending["hash"], "index": "0x0"}
    being_spent = facts.pending["inputs"][0]["previous_output"]
    for out_point in (point, spent, pooled, being_spent, point | {"index": "0x9"}, point | {"tx_hash": UNKNOWN}):
        for with_data in (True, False):
            for with_pool in ((), (True,), (False,), (None,)):
                yield "get_live_cell", [out_point, with_data, *with_pool]
    bad_points: tuple[Any, ...] = (
        {},
        {"tx_hash": UNKNOWN},
        {"index": "0x0"},
        point | {"index": 0},
        point | {"index": "0x00"},
        point | {"more": 1},
        point | {"tx_hash": "0x12"},
        None,
        "text",
    )
    for bad in bad_points:
        yield "get_live_cell", [bad, True]
    yield "get_live_cell", [point]
    yield "get_live_cell", [point, "true"]
    yield "get_live_cell", [point, None]
    yield from _proof_requests(facts)
    for method in ("estimate_cycles", "dry_run_transaction"):
        yield from _transaction_arguments(method, facts)


def _changes(facts: Facts) -> Sequence[dict[str, Any]]:
    """What is changed of a good transaction."""
    good = facts.unsent
    output, cell_input, dep = good["outputs"][0], good["inputs"][0], good["cell_deps"][0]
    return (
        {"version": "0x1"},
        {"version": 0},
        {"inputs": []},
        {"inputs": [cell_input, cell_input]},
        {"inputs": [cell_input | {"previous_output": {"tx_hash": UNKNOWN, "index": "0x0"}}]},
        {"inputs": [cell_input | {"previous_output": {"tx_hash": "0x" + "00" * 32, "index": "0xffffffff"}}]},
        {"inputs": [cell_input | {"previous_output": facts.committed["inputs"][0]["previous_output"]}]},
        {"inputs": [cell_input | {"since": "0x1"}]},
        {"inputs": [cell_input | {"since": "0xffff"}]},
        {"inputs": [cell_input | {"since": "0x1000000000000000"}]},
        {"inputs": [cell_input | {"since": "0x8000000000000fff"}]},
        {"inputs": [cell_input | {"since": "0x4000ffffffffffff"}]},
        {"inputs": [cell_input | {"since": "0x20000a000a000001"}]},
        {"outputs": [], "outputs_data": []},
        {"outputs": [output]},
        {"outputs_data": []},
        {"outputs": [output | {"capacity": "0x1"}], "outputs_data": ["0x"]},
        {"outputs": [output | {"capacity": "0x7fffffffffffffff"}], "outputs_data": ["0x"]},
        {"outputs": [output | {"capacity": "0xffffffffffffffff"}] * 2, "outputs_data": ["0x"] * 2},
        {"outputs": [output | {"capacity": hex(70 * 10**8)}], "outputs_data": ["0x" + "00" * 100]},
        {"outputs": [output | {"lock": output["lock"] | {"hash_type": "data3"}}], "outputs_data": ["0x"]},
        {"outputs": [output | {"lock": output["lock"] | {"hash_type": "data2"}}], "outputs_data": ["0x"]},
        {"outputs": [output | {"lock": output["lock"] | {"hash_type": "other"}}], "outputs_data": ["0x"]},
        {"outputs": [output | {"lock": output["lock"] | {"code_hash": UNKNOWN}}], "outputs_data": ["0x"]},
        {"outputs": [output | {"lock": output["lock"] | {"args": "0x12"}}], "outputs_data": ["0x"]},
        {"outputs": [output | {"type": output["lock"]}], "outputs_data": ["0x"]},
        {"outputs": [output | {"type": output["lock"] | {"code_hash": UNKNOWN}}], "outputs_data": ["0x"]},
        {"cell_deps": []},
        {"cell_deps": [dep, dep]},
        {"cell_deps": [dep | {"out_point": {"tx_hash": UNKNOWN, "index": "0x0"}}]},
        {"cell_deps": [dep | {"dep_type": "code"}]},
        {"cell_deps": [dep | {"dep_type": "group"}]},
        {"cell_deps": [dep, {"out_point": {"tx_hash": facts.cellbase, "index": "0x0"}, "dep_type": "dep_group"}]},
        {"header_deps": [UNKNOWN]},
        {"header_deps": [facts.tip]},
        {"header_deps": [facts.tip, facts.tip]},
        {"header_deps": [facts.fork_block]},
        {"witnesses": []},
        {"witnesses": ["0x"]},
        {"witnesses": ["0x12"]},
        {"witnesses": ["0x" + "00" * 85]},
        {"witnesses": ["0x1"]},
        {"witnesses": ["12"]},
        {"witnesses": [good["witnesses"][0][:-2] + "00"]},
        {"outputs_data": ["0x"] * 3},
        {"outputs_data": ["text"]},
        {"more": "0x0"},
        {"hash": UNKNOWN},
    )


def _transaction_arguments(method: str, facts: Facts, *more: Any) -> Iterator[Request]:
    """A method that takes a transaction, with good and broken ones."""
    plain = without(facts.unsent)
    for change in _changes(facts):
        yield method, [plain | change, *more]
    for key in plain:
        yield method, [{name: value for name, value in plain.items() if name != key}, *more]
        yield method, [plain | {key: None}, *more]
    bads: tuple[Any, ...] = (None, "0x", [], {}, 1)
    for bad in bads:
        yield method, [bad, *more]
    yield method, []
    yield method, [without(facts.committed), *more]
    yield method, [without(facts.pending), *more]


def _proof_requests(facts: Facts) -> Iterator[Request]:
    sets: tuple[Any, ...] = (
        [facts.committed["hash"]],
        [facts.cellbase],
        [facts.committed["hash"], facts.neighbour],
        [facts.neighbour, facts.committed["hash"]],
        [facts.committed["hash"], facts.committed["hash"]],
        [],
        [UNKNOWN],
        [facts.committed["hash"], UNKNOWN],
        [facts.committed["hash"], facts.cellbase],
        [facts.pending["hash"]],
        "text",
        None,
        [1],
    )
    for method in ("get_transaction_proof", "get_transaction_and_witness_proof"):
        for tx_hashes in sets:
            yield method, [tx_hashes]
            for block_hash in (facts.commit_block, facts.genesis, facts.fork_block, UNKNOWN, "0x12", None):
                yield method, [tx_hashes, block_hash]


def proof_checks(facts: Facts, proof: Json, witness_proof: Json) -> Iterator[Request]:
    """Verification of a proof, and of spoilt ones."""
    inner = proof["proof"]
    spoilt: tuple[Any, ...] = (
        proof,
        proof | {"block_hash": UNKNOWN},
        proof | {"block_hash": facts.tip},
        proof | {"block_hash": facts.fork_block},
        proof | {"witnesses_root": UNKNOWN},
        proof | {"proof": inner | {"indices": []}},
        proof | {"proof": inner | {"indices": ["0x0"]}},
        proof | {"proof": inner | {"indices": ["0xff"]}},
        proof | {"proof": inner | {"indices": inner["indices"] * 2}},
        proof | {"proof": inner | {"lemmas": []}},
        proof | {"proof": inner | {"lemmas": [UNKNOWN]}},
        proof | {"proof": inner | {"lemmas": [*inner["lemmas"], UNKNOWN]}},
        {},
        None,
        proof | {"more": 1},
    )
    for each in spoilt:
        yield "verify_transaction_proof", [each]
    both = witness_proof
    for change in (
        {},
        {"block_hash": UNKNOWN},
        {"transactions_proof": both["witnesses_proof"] | {"indices": ["0x0"]}},
        {"witnesses_proof": both["witnesses_proof"] | {"indices": ["0x0"]}},
        {"witnesses_proof": both["witnesses_proof"] | {"lemmas": [UNKNOWN]}},
        {"witnesses_proof": None},
    ):
        yield "verify_transaction_and_witness_proof", [both | change]


def pool_requests(facts: Facts) -> Iterator[Request]:
    """Module Pool; nothing that changes it."""
    for method in ("tx_pool_info", "tx_pool_ready", "get_raw_tx_pool"):
        yield method, []
        yield method, [True]
        yield method, [False]
        yield method, [None]
        yield method, ["x"]
        yield method, [True, True]
    for tx_hash in (facts.pending["hash"], facts.committed["hash"], UNKNOWN, *BAD_HASHES):
        yield "get_pool_tx_detail_info", [tx_hash]
    for tx_hash in (UNKNOWN, facts.committed["hash"], "0x12"):
        yield "remove_transaction", [tx_hash]
    for validator in ("passthrough", "well_known_scripts_only", None):
        yield from _transaction_arguments("test_tx_pool_accept", facts, validator)
    yield from _transaction_arguments("test_tx_pool_accept", facts)
    yield "test_tx_pool_accept", [without(facts.unsent), "passthrough"]
    yield "test_tx_pool_accept", [without(facts.unsent), "other"]
    yield "test_tx_pool_accept", [without(facts.unsent)]


def send_requests(facts: Facts) -> Iterator[Request]:
    """send_transaction with what is refused for good."""
    for validator in ("passthrough", "well_known_scripts_only", None):
        yield from _transaction_arguments("send_transaction", facts, validator)
    yield "send_transaction", [without(facts.unsent), "other"]
    yield "send_transaction", [without(facts.unsent), 1]
