"""The same questions for both programs: every method that both have, with good and bad parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.interop.kit_json import Json, script_json
from tests.support.builders.wallet import Wallet

Request = tuple[str, Any]
"""Method and `params`, any JSON."""

UNKNOWN = "0x" + "77" * 32


@dataclass(frozen=True)
class Facts:
    """What the chain at hand has, for parameters."""

    genesis: str
    tip_number: int
    tip: str
    block_with_uncle: str
    fork_block: str
    committed: Json
    """A transaction view, committed by `commit_block` together with `neighbour`."""
    neighbour: str
    commit_block: str
    cellbase: str
    pending: Json
    alice: Wallet
    bob: Wallet
    unsent: Json
    """A valid transaction that neither pool has."""
    dao_deposit: Json | None = None


BAD_HASHES: tuple[Any, ...] = (
    "0x12",
    "77" * 32,
    "0x" + "7z" * 32,
    "0x" + "AB" * 32,
    "0x" + "77" * 33,
    "0X" + "77" * 32,
    "0x",
    "",
    1,
    None,
    [],
    {},
    True,
    1.5,
)
BAD_NUMBERS: tuple[Any, ...] = (
    "0x",
    "0x00",
    "0x01",
    "1",
    "0xG",
    "0XA",
    "0xA",
    "",
    -1,
    1,
    None,
    [],
    {},
    False,
    "0x1" + "0" * 16,
    " 0x1",
)
BAD_U32: tuple[Any, ...] = ("0x", "0x01", "0x100000000", "0x3", 1, "two")


def chain_requests(facts: Facts) -> Iterator[Request]:
    """Module Chain: blocks and headers."""
    hashes = (facts.genesis, facts.tip, facts.block_with_uncle, facts.fork_block, facts.commit_block, UNKNOWN)
    for method in (
        "get_block",
        "get_header",
        "get_fork_block",
        "get_block_median_time",
        "get_block_filter",
        "get_block_economic_state",
    ):
        for block_hash in (*hashes, *BAD_HASHES):
            yield method, [block_hash]
        yield method, []
        yield method, [facts.tip, None, None, None, None, None]
        yield method, {"block_hash": facts.tip}
        yield method, None
    for method in ("get_block", "get_header", "get_fork_block"):
        for block_hash in hashes:
            for verbosity in ("0x0", "0x1", "0x2", None):
                yield method, [block_hash, verbosity]
        for verbosity in BAD_U32:
            yield method, [facts.tip, verbosity]
    numbers = (hex(0), hex(1), hex(facts.tip_number), hex(facts.tip_number + 1), "0xffffffffffffffff")
    for method in ("get_block_by_number", "get_header_by_number", "get_block_hash", "get_epoch_by_number"):
        for number in (*numbers, *BAD_NUMBERS):
            yield method, [number]
        yield method, []
    for method in ("get_block_by_number", "get_header_by_number"):
        for number in numbers:
            for verbosity in ("0x0", "0x1", "0x2", "0x3"):
                yield method, [number, verbosity]
    for method in ("get_block", "get_block_by_number"):
        first: Any
        for first in (facts.tip, facts.commit_block, facts.genesis, UNKNOWN) if method == "get_block" else numbers:
            for verbosity in ("0x0", "0x2", "0x1", None):
                for with_cycles in (True, False, None, "true", 1):
                    yield method, [first, verbosity, with_cycles]
    for method in ("get_tip_header", "get_tip_block_number", "get_current_epoch", "get_consensus"):
        yield method, []
        yield method, None
        yield method, {}
        yield method, ["0x0"]
        yield method, ["0x0", "0x1"]
    for verbosity in ("0x0", "0x1", "0x2", None, *BAD_U32):
        yield "get_tip_header", [verbosity]
    for target in (None, "0x1", "0x2", "0x0", "0x65", "0x66", "0x1000", *BAD_NUMBERS):
        yield "get_fee_rate_statistics", [target]
    yield "get_fee_rate_statics", []


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


def _transaction_arguments(method: str, facts: Facts, *more: Any) -> Iterator[Request]:
    """A method that takes a transaction, with good and broken ones."""
    good = facts.unsent
    plain = {key: value for key, value in good.items() if key != "hash"}
    output, cell_input, dep = good["outputs"][0], good["inputs"][0], good["cell_deps"][0]
    broken: tuple[dict[str, Any], ...] = (
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
        {"witnesses": [plain["witnesses"][0][:-2] + "00"]},
        {"outputs_data": ["0x"] * 3},
        {"outputs_data": ["text"]},
        {"more": "0x0"},
        {"hash": UNKNOWN},
    )
    for change in broken:
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


def without(view: Json) -> Json:
    return {key: value for key, value in view.items() if key != "hash"}


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


def other_requests(facts: Facts) -> Iterator[Request]:
    """Modules Stats, Experiment, Net, Miner, and methods that do not exist."""
    yield "get_blockchain_info", []
    yield "get_deployments_info", []
    yield "get_blockchain_info", ["x"]
    for mode in (None, "high_priority", "medium_priority", "low_priority", "no_priority", "NoPriority", 1):
        for fallback in ((), (True,), (False,), (None,)):
            yield "estimate_fee_rate", [mode, *fallback]
    yield "estimate_fee_rate", []
    yield from _dao_requests(facts)
    yield "get_banned_addresses", []
    yield "clear_banned_addresses", []
    for arguments in (
        ["192.168.0.2", "insert", "0x1ac89236180", True, "reason"],
        ["192.168.0.3", "insert", "0x1ac89236180", True],
        ["192.168.0.4/33", "insert", "0x1ac89236180", True, "reason"],
        ["192.168.0.0/24", "insert", "0x1ac89236180", True, ""],
        ["2001:db8::/32", "insert", "0x1ac89236180", True, "six"],
        ["192.168.0.9/24", "insert", "0x1ac89236180", True, "host bits"],
        ["host", "insert", "0x1ac89236180", True, "reason"],
        ["192.168.0.2", "add", "0x1ac89236180", True, "reason"],
        ["192.168.0.2", "insert", "1", True, "reason"],
        ["192.168.0.3", "delete", None, None, None],
        ["192.168.0.3", "delete"],
        ["192.168.0.77", "delete", None, None, None],
        [],
    ):
        yield "set_ban", arguments
        yield "get_banned_addresses", []
    yield "clear_banned_addresses", []
    yield "get_banned_addresses", []
    yield "get_peers", []
    yield "sync_state", []
    yield "local_node_info", []
    two: tuple[Any, ...] = (
        ["x", "y"],
        ["QmUsZHPbjjzU627UZFt4k8j6ycEcNvXRnVGxCPKqwbAfQS", "/ip4/127.0.0.1/tcp/1"],
        ["QmUsZHPbjjzU627UZFt4k8j6ycEcNvXRnVGxCPKqwbAfQS", "text"],
        [],
    )
    for arguments in two:
        yield "add_node", arguments
    one: tuple[Any, ...] = (["x"], ["QmUsZHPbjjzU627UZFt4k8j6ycEcNvXRnVGxCPKqwbAfQS"], [], [1])
    for arguments in one:
        yield "remove_node", arguments
    yield "ping_peers", []
    yield "set_network_active", [True]
    yield "set_network_active", ["x"]
    limits: tuple[Any, ...] = (
        [],
        [None, None, None],
        ["0x1", "0x1", "0x0"],
        ["0x1"],
        ["x"],
        [1],
        ["0xffffffffff"],
        [None, None, "0x1"],
        [None, None, "0x100000000"],
    )
    for arguments in limits:
        yield "get_block_template", arguments
    for method in (
        "no_such_method",
        "",
        "get_block ",
        "GET_BLOCK",
        "get_transactions_by_lock_hash",
        "subscribe",
        "unsubscribe",
        "rpc.discover",
        "truncate",
        "calculate_dao_field",
    ):
        yield method, []


def _dao_requests(facts: Facts) -> Iterator[Request]:
    point = {"tx_hash": facts.committed["hash"], "index": "0x0"}
    kinds: tuple[Any, ...] = (
        facts.tip,
        facts.genesis,
        UNKNOWN,
        point,
        point | {"tx_hash": UNKNOWN},
        "0x12",
        {},
        None,
        point | {"index": "0x9"},
    )
    points = [point, {"tx_hash": facts.cellbase, "index": "0x0"}, {"tx_hash": UNKNOWN, "index": "0x0"}, None]
    if facts.dao_deposit is not None:
        points.append({"tx_hash": facts.dao_deposit["hash"], "index": "0x0"})
    for out_point in points:
        for kind in kinds:
            yield "calculate_dao_maximum_withdraw", [out_point, kind]
    yield "calculate_dao_maximum_withdraw", [point]


def indexer_requests(facts: Facts) -> Iterator[Request]:
    """Module Indexer: cells, transactions, capacity, with every filter."""
    yield "get_indexer_tip", []
    yield "get_indexer_tip", ["x"]
    locks = [script_json(wallet.lock) for wallet in (facts.alice, facts.bob)]
    short = locks[0] | {"args": locks[0]["args"][:6]}
    keys: list[Any] = [{"script": lock, "script_type": "lock"} for lock in (*locks, short)]
    keys += [
        {"script": locks[0] | {"args": "0x"}, "script_type": "lock", "script_search_mode": mode}
        for mode in ("prefix", "exact", "partial", "other")
    ]
    keys += [
        {"script": short, "script_type": "lock", "script_search_mode": mode} for mode in ("prefix", "exact", "partial")
    ]
    keys += [
        {
            "script": locks[0] | {"args": "0x" + locks[0]["args"][8:20]},
            "script_type": "lock",
            "script_search_mode": "partial",
        }
    ]
    keys += [{"script": locks[0], "script_type": kind} for kind in ("type", "other", None)]
    keys += [
        {"script": locks[0]},
        {"script_type": "lock"},
        {},
        None,
        "x",
        {"script": locks[0], "script_type": "lock", "more": 1},
    ]
    high = hex(10**18)
    filters: tuple[Any, ...] = (
        {},
        {"script": None},
        {"script": locks[1]},
        {"script_len_range": ["0x0", "0x1"]},
        {"script_len_range": ["0x1", "0xff"]},
        {"output_data_len_range": ["0x0", "0x1"]},
        {"output_data_len_range": ["0x1", "0xff"]},
        {"output_capacity_range": ["0x0", high]},
        {"output_capacity_range": [high, "0xffffffffffffffff"]},
        {"output_capacity_range": [high, "0x1"]},
        {"block_range": ["0x5", "0xa"]},
        {"block_range": ["0xa", "0x5"]},
        {"block_range": ["0x5"]},
        {"block_range": [5, 10]},
        {"block_range": "x"},
        {"output_data": "0x"},
        {"output_data": "0x", "output_data_filter_mode": "exact"},
        {"output_data": "0x", "output_data_filter_mode": "partial"},
        {"output_data": "0x00", "output_data_filter_mode": "prefix"},
        {"output_data": "x"},
        {"other": 1},
    )
    keys += [{"script": locks[0], "script_type": "lock", "filter": each} for each in filters]
    for key in keys:
        for order in ("asc", "desc"):
            yield "get_cells", [key, order, "0x64"]
            yield "get_transactions", [key, order, "0x64"]
            if isinstance(key, dict):
                yield "get_transactions", [key | {"group_by_transaction": True}, order, "0x64"]
        yield "get_cells_capacity", [key]
        if isinstance(key, dict):
            yield "get_cells", [key | {"with_data": False}, "asc", "0x5"]
    first = keys[0]
    for order, limit, after in (
        ("up", "0x1", None),
        ("asc", "0x0", None),
        ("asc", 1, None),
        ("asc", "0x1", "0x"),
        ("asc", "0x1", "0x00"),
        ("asc", "0x1", "x"),
        ("asc", "0xffffffff", None),
        ("desc", "0x2", None),
    ):
        for method in ("get_cells", "get_transactions"):
            yield method, [first, order, limit, after]
    yield "get_cells", [first, "asc"]
    yield "get_cells", [first]
    yield "get_cells", []
    yield "get_cells_capacity", []
