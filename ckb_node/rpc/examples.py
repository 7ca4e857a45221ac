"""A call and its answer for every method: documentation, and checked by tests against the declared types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """Positional parameters and the result, as JSON values."""

    params: Sequence[Any]
    result: Any


_OVERVIEW = {
    "sys": {
        "global": {
            "total_memory": 8589934592,
            "used_memory": 4294967296,
            "global_cpu_usage": 150.0,
            "disks": [{"total_space": 1000000000000, "available_space": 500000000000, "is_removable": False}],
            "networks": [
                {
                    "interface_name": "eth0",
                    "received": 1048576,
                    "total_received": 1073741824,
                    "transmitted": 524288,
                    "total_transmitted": 536870912,
                }
            ],
        },
        "cpu_usage": 25.5,
        "disk_usage": {
            "total_written_bytes": 536870912,
            "written_bytes": 524288,
            "total_read_bytes": 1073741824,
            "read_bytes": 1048576,
        },
        "memory": 134217728,
        "virtual_memory": 268435456,
    },
    "mining": {"difficulty": "0x1e083126", "hash_rate": "0x174876e800"},
    "pool": {
        "pending": "0x64",
        "proposed": "0x32",
        "orphan": "0x5",
        "committing": "0x1f",
        "total_recent_reject_num": "0x3",
        "total_tx_size": "0x100000",
        "total_tx_cycles": "0x2dc6c",
        "max_tx_pool_size": "0xaba9500",
        "last_txs_updated_at": "0x187b3d137a1",
    },
    "cells": {"estimate_live_cells_num": "0x989680", "total_occupied_capacities": "0x15f1e59b76c000"},
    "network": {
        "connected_peers": "0x1",
        "outbound_peers": "0x1",
        "inbound_peers": "0x0",
        "peers": [
            {
                "peer_id": 0,
                "is_outbound": True,
                "latency_ms": "0x98",
                "address": "/ip4/203.0.113.7/tcp/8115",
            }
        ],
    },
    "version": "0.1.0",
}

_BLOCK_HASH = "0xa5f5c85987a15de25661e5a214f2c1449cd803f071acc7999820f25246471f40"
_PARENT_HASH = "0xae003585fa15309b30b31aed3dcf385e9472c3c3e93746a6c4540629a6a1ed2d"
_TX_HASH = "0xa0ef4eb5f4ceeb08a4c8524d84c5da95dce2f608e0ca2ec8091191b0f330c6e3"
_CELLBASE_HASH = "0x365698b50ca0da75dca2c87f9e7b563811d3b5813736b8cc62cc3b106faceb17"
_SIGHASH = "0x9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8"
_ZERO = "0x" + "00" * 32
_DAO = "0xb5a3e047474401001bc476b9ee573000c0c387962a38000000febffacf030000"

_LOCK = {"code_hash": _SIGHASH, "hash_type": "type", "args": "0xc8328aabcd9b9e8e64fbc566c4385c3bdeb219d7"}
_OUTPUT = {"capacity": "0x2540be400", "lock": _LOCK, "type": None}
_OUT_POINT = {"tx_hash": _CELLBASE_HASH, "index": "0x0"}
_HEADER = {
    "version": "0x0",
    "compact_target": "0x1e083126",
    "timestamp": "0x187b3d137a1",
    "number": "0x400",
    "epoch": "0x7080018000001",
    "parent_hash": _PARENT_HASH,
    "transactions_root": "0xc47d5b78b3c4c4c853e2a32810818940d0ee403423bea9ec7b8e566d9595206c",
    "proposals_hash": _ZERO,
    "extra_hash": _ZERO,
    "dao": _DAO,
    "nonce": "0x0",
}
_HEADER_VIEW = {**_HEADER, "hash": _BLOCK_HASH}
_CELLBASE = {
    "version": "0x0",
    "cell_deps": [],
    "header_deps": [],
    "inputs": [{"since": "0x400", "previous_output": {"tx_hash": _ZERO, "index": "0xffffffff"}}],
    "outputs": [_OUTPUT],
    "outputs_data": ["0x"],
    "witnesses": ["0x"],
}
_TX = {
    "version": "0x0",
    "cell_deps": [{"out_point": _OUT_POINT, "dep_type": "dep_group"}],
    "header_deps": [_BLOCK_HASH],
    "inputs": [{"since": "0x0", "previous_output": _OUT_POINT}],
    "outputs": [_OUTPUT],
    "outputs_data": ["0x"],
    "witnesses": ["0x"],
}
_BLOCK = {"header": _HEADER, "uncles": [], "transactions": [_CELLBASE], "proposals": []}
_BLOCK_VIEW = {**_BLOCK, "header": _HEADER_VIEW, "transactions": [{**_CELLBASE, "hash": _CELLBASE_HASH}]}
_EPOCH = {"number": "0x1", "start_number": "0x3e8", "length": "0x708", "compact_target": "0x1e083126"}
_PROOF = {"indices": ["0x0"], "lemmas": []}
_TEMPLATE = {
    "version": "0x0",
    "compact_target": "0x1e083126",
    "current_time": "0x187b3d137a1",
    "number": "0x401",
    "epoch": "0x7080019000001",
    "parent_hash": _BLOCK_HASH,
    "cycles_limit": "0xd09dc300",
    "bytes_limit": "0x91c08",
    "uncles_count_limit": "0x2",
    "uncles": [],
    "transactions": [],
    "proposals": ["0xa0ef4eb5f4ceeb08a4c8"],
    "cellbase": {"hash": _CELLBASE_HASH, "cycles": None, "data": _CELLBASE},
    "work_id": "0x0",
    "dao": _DAO,
    "extension": _ZERO,
}
_THRESHOLD = {"numer": "0x3", "denom": "0x4"}
_DEPLOYMENT = {
    "bit": 1,
    "start": "0x0",
    "timeout": "0x0",
    "min_activation_epoch": "0x0",
    "period": "0xa",
    "threshold": _THRESHOLD,
}
_CONSENSUS = {
    "id": "ckb_dev",
    "genesis_hash": "0x823b2ff5785b12da8b1363cac9a5cbe566d8b715a4311441b119c39a0367488c",
    "dao_type_hash": "0x82d76d1b75fe2fd9a27dfbaa65a039221a380d76c926f378d3f81cf3e7e13f2e",
    "secp256k1_blake160_sighash_all_type_hash": _SIGHASH,
    "secp256k1_blake160_multisig_all_type_hash": "0x5c5069eb0857efc65e1bca0c07df34c31663b3622fd3876c876320fc9634e2a8",
    "initial_primary_epoch_reward": "0xae6c73c3e070",
    "secondary_epoch_reward": "0x37d0c8e28542",
    "max_uncles_num": "0x2",
    "orphan_rate_target": {"numer": "0x1", "denom": "0x28"},
    "epoch_duration_target": "0x3840",
    "tx_proposal_window": {"closest": "0x2", "farthest": "0xa"},
    "proposer_reward_ratio": {"numer": "0x4", "denom": "0xa"},
    "cellbase_maturity": "0x10000000004",
    "median_time_block_count": "0x25",
    "max_block_cycles": "0xd09dc300",
    "max_block_bytes": "0x91c08",
    "block_version": "0x0",
    "tx_version": "0x0",
    "type_id_code_hash": "0x00000000000000000000000000000000000000000000000000545950455f4944",
    "max_block_proposals_limit": "0x5dc",
    "primary_epoch_reward_halving_interval": "0x2238",
    "permanent_difficulty_in_dummy": False,
    "hardfork_features": [{"rfc": "0028", "epoch_number": "0x0"}, {"rfc": "0049", "epoch_number": None}],
    "softforks": {"light_client": {"status": "rfc0043", "rfc0043": _DEPLOYMENT}},
}
_STATUS = {"status": "committed", "block_number": "0x400", "block_hash": _BLOCK_HASH, "tx_index": "0x1", "reason": None}
_TX_WITH_STATUS = {
    "transaction": {**_TX, "hash": _TX_HASH},
    "cycles": "0x219",
    "time_added_to_pool": None,
    "tx_status": _STATUS,
    "fee": None,
    "min_replace_fee": None,
}
_LIVE_CELL = {"cell": {"output": _OUTPUT, "data": {"content": "0x", "hash": _ZERO}}, "status": "live"}
_ECONOMIC_STATE = {
    "issuance": {"primary": "0x18ce922bca", "secondary": "0x7f02ec655"},
    "miner_reward": {"primary": "0x18ce922bca", "secondary": "0x17b93f605", "committed": "0x0", "proposal": "0x0"},
    "txs_fee": "0x0",
    "finalized_at": "0xa5f5c85987a15de25661e5a214f2c1449cd803f071acc7999820f25246471f41",
}

_SPENDER = {
    "tx_hash": _TX_HASH,
    "input_index": "0x0",
    "state": "committed",
    "block_number": "0x400",
    "block_hash": _BLOCK_HASH,
    "tx_index": "0x1",
}
_SHARES = {
    "accepted": "0x1f4",
    "block": "0x1",
    "stale": "0x2",
    "low_difficulty": "0x0",
    "duplicate": "0x0",
    "unknown_job": "0x0",
}
_STRATUM_STATUS: dict[str, Any] = {
    "listening": [{"address": "127.0.0.1:3333", "tls": False}],
    "connections": "0x2",
    "refused_connections": "0x0",
    "banned_addresses": "0x0",
    "miners": {"k7": "0x1", "common": "0x1"},
    "workers": "0x2",
    "hashrate": "0x39a4c3d18000",
    "shares": _SHARES,
    "jobs_sent": "0x2ee",
    "job": {
        "job_id": "2c1f09ab",
        "number": "0x401",
        "parent_hash": _BLOCK_HASH,
        "transactions": "0x1",
        "proposals": "0x3",
        "uncles": "0x0",
    },
    "found_blocks": "0x1",
    "outcomes": {"main": "0x1", "uncle": "0x0", "orphaned": "0x0", "refused": "0x0", "under_way": "0x0"},
}
_WORKER: dict[str, Any] = {
    "name": "rig1",
    "connections": "0x1",
    "hashrate": "0x39a4c3d18000",
    "difficulty": 147456.5,
    "hashes": "0x8000000000000",
    "shares": _SHARES,
    "last_share": "0x18a1f5a1c00",
}
_FOUND_BLOCK = {
    "number": "0x400",
    "hash": _BLOCK_HASH,
    "worker": "rig1",
    "time": "0x18a1f5a1c00",
    "outcome": "main",
    "error": None,
}
_TX_FATE: dict[str, Any] = {
    "state": "gap",
    "summary": "Block 1024 proposed it, blocks 1026 to 1034 may commit it; 2 of 7 pay better.",
    "waits_for": [],
    "conflicts": [],
    "time_locks": [],
    "queue": None,
    "fee_place": {
        "ahead": "0x2",
        "bytes_ahead": "0x3a4",
        "cycles_ahead": "0x32aa8e",
        "competing": "0x7",
        "fee_rate": "0x5a6b",
        "package_rate": "0x5a6b",
        "size": "0x1d2",
        "cycles": "0x195547",
    },
    "proposal": {"block_number": "0x400", "first_commit": "0x402", "last_commit": "0x40a"},
    "rejection": None,
    "committed": None,
}

_CHAIN = {
    "get_block": Example([_BLOCK_HASH], _BLOCK_VIEW),
    "get_block_by_number": Example(["0x400", "0x2", True], {"block": _BLOCK_VIEW, "cycles": []}),
    "get_header": Example([_BLOCK_HASH], _HEADER_VIEW),
    "get_header_by_number": Example(["0x400"], _HEADER_VIEW),
    "get_tip_header": Example([], _HEADER_VIEW),
    "get_tip_block_number": Example([], "0x400"),
    "get_block_hash": Example(["0x400"], _BLOCK_HASH),
    "get_fork_block": Example([_BLOCK_HASH], _BLOCK_VIEW),
    "get_block_filter": Example([_BLOCK_HASH], {"data": "0x01000000000000000a", "hash": _PARENT_HASH}),
    "get_block_median_time": Example([_BLOCK_HASH], "0x187b3d137a1"),
    "get_current_epoch": Example([], _EPOCH),
    "get_epoch_by_number": Example(["0x1"], _EPOCH),
    "get_consensus": Example([], _CONSENSUS),
    "get_transaction": Example([_TX_HASH], _TX_WITH_STATUS),
    "get_live_cell": Example([_OUT_POINT, True], _LIVE_CELL),
    "explain.transaction": Example([_TX_HASH], _TX_FATE),
    "explain.cell": Example([_OUT_POINT], {"status": "spent", "spender": _SPENDER}),
    "estimate_cycles": Example([_TX], {"cycles": "0x219"}),
    "get_block_economic_state": Example([_BLOCK_HASH], _ECONOMIC_STATE),
    "get_fee_rate_statistics": Example(["0x15"], {"mean": "0xe79d", "median": "0x14a8"}),
    "get_fee_rate_statics": Example([], {"mean": "0xe79d", "median": "0x14a8"}),
    "get_transaction_proof": Example(
        [[_TX_HASH]], {"block_hash": _BLOCK_HASH, "witnesses_root": _PARENT_HASH, "proof": _PROOF}
    ),
    "verify_transaction_proof": Example(
        [{"block_hash": _BLOCK_HASH, "witnesses_root": _PARENT_HASH, "proof": _PROOF}], [_TX_HASH]
    ),
    "get_transaction_and_witness_proof": Example(
        [[_TX_HASH]], {"block_hash": _BLOCK_HASH, "transactions_proof": _PROOF, "witnesses_proof": _PROOF}
    ),
    "verify_transaction_and_witness_proof": Example(
        [{"block_hash": _BLOCK_HASH, "transactions_proof": _PROOF, "witnesses_proof": _PROOF}], [_TX_HASH]
    ),
}

_POOL_INFO = {
    "tip_hash": _BLOCK_HASH,
    "tip_number": "0x400",
    "pending": "0x1",
    "proposed": "0x0",
    "orphan": "0x0",
    "total_tx_size": "0x112",
    "total_tx_cycles": "0x219",
    "min_fee_rate": "0x3e8",
    "min_rbf_rate": "0x5dc",
    "last_txs_updated_at": "0x187b3d137a1",
    "tx_size_limit": "0x7d000",
    "max_tx_pool_size": "0xaba9500",
    "verify_queue_size": "0x0",
}
_POOL_DETAIL = {
    "timestamp": "0x187b3d137a1",
    "entry_status": "pending",
    "rank_in_pending": "0x1",
    "pending_count": "0x1",
    "proposed_count": "0x0",
    "descendants_count": "0x0",
    "ancestors_count": "0x0",
    "score_sortkey": {
        "fee": "0x16923f7f6a",
        "weight": "0x112",
        "ancestors_fee": "0x16923f7f6a",
        "ancestors_weight": "0x112",
    },
}

_POOL = {
    "send_transaction": Example([_TX, "passthrough"], _TX_HASH),
    "test_tx_pool_accept": Example([_TX], {"cycles": "0x219", "fee": "0x2a66f36e90"}),
    "remove_transaction": Example([_TX_HASH], True),
    "tx_pool_info": Example([], _POOL_INFO),
    "clear_tx_pool": Example([], None),
    "clear_tx_verify_queue": Example([], None),
    "get_raw_tx_pool": Example([False], {"pending": [_TX_HASH], "proposed": []}),
    "get_pool_tx_detail_info": Example([_TX_HASH], _POOL_DETAIL),
    "tx_pool_ready": Example([], True),
}

_BAN = {
    "address": "192.0.2.0/24",
    "ban_until": "0x1ac89236180",
    "ban_reason": "set_ban example",
    "created_at": "0x16bde533338",
}
_LOCAL_NODE = {
    "version": "0.1.0",
    "node_id": "QmTRHCdrRtgUzYLNCin69zEvPvLYdxUZLLfLYyHVY3DZAS",
    "active": True,
    "addresses": [
        {"address": "/ip4/192.0.2.7/tcp/8115/p2p/QmTRHCdrRtgUzYLNCin69zEvPvLYdxUZLLfLYyHVY3DZAS", "score": "0xff"}
    ],
    "protocols": [{"id": "0x0", "name": "/ckb/ping", "support_versions": ["0.0.1"]}],
    "connections": "0xb",
}
_PEER = {
    "version": "0.206.0",
    "node_id": "QmXwUgF48ULy6hkgfqrEwEfuHW7WyWyWauueRDAYQHNDfN",
    "addresses": [
        {"address": "/ip4/192.0.2.8/tcp/8115/p2p/QmXwUgF48ULy6hkgfqrEwEfuHW7WyWyWauueRDAYQHNDfN", "score": "0x64"}
    ],
    "is_outbound": True,
    "connected_duration": "0x2f",
    "last_ping_duration": "0x1a",
    "sync_state": {
        "best_known_header_hash": None,
        "best_known_header_number": None,
        "last_common_header_hash": None,
        "last_common_header_number": None,
        "unknown_header_list_size": "0x20",
        "inflight_count": "0xa",
        "can_fetch_count": "0x80",
    },
    "protocols": [{"id": "0x4", "version": "0.0.1"}],
}
_SYNC_STATE = {
    "ibd": False,
    "assume_valid_target_reached": True,
    "assume_valid_target": _ZERO,
    "min_chain_work_reached": True,
    "min_chain_work": "0x0",
    "best_known_block_number": "0x400",
    "best_known_block_timestamp": "0x187b3d137a1",
    "orphan_blocks_count": "0x0",
    "inflight_blocks_count": "0x0",
    "unverified_tip_number": "0x400",
    "unverified_tip_hash": _BLOCK_HASH,
    "tip_number": "0x400",
    "tip_hash": _BLOCK_HASH,
    "fast_time": "0x3e8",
    "normal_time": "0x4e2",
    "low_time": "0x5dc",
}

_NET = {
    "local_node_info": Example([], _LOCAL_NODE),
    "get_peers": Example([], [_PEER]),
    "get_banned_addresses": Example([], [_BAN]),
    "clear_banned_addresses": Example([], None),
    "set_ban": Example(["192.0.2.0/24", "insert", "0x1ac89236180", True, "set_ban example"], None),
    "sync_state": Example([], _SYNC_STATE),
    "set_network_active": Example([False], None),
    "add_node": Example(["QmXwUgF48ULy6hkgfqrEwEfuHW7WyWyWauueRDAYQHNDfN", "/ip4/192.0.2.8/tcp/8115"], None),
    "remove_node": Example(["QmXwUgF48ULy6hkgfqrEwEfuHW7WyWyWauueRDAYQHNDfN"], None),
    "ping_peers": Example([], None),
    "jemalloc_profiling_dump": Example([], "ckb-jeprof.1700000000.heap"),
    "update_main_logger": Example([{"filter": "info,ckb-rpc=debug"}], None),
    "set_extra_logger": Example(["extra", {"filter": "debug"}], None),
    "get_overview": Example([None], _OVERVIEW),
    "rpc.discover": Example([], {"openrpc": "1.2.6", "info": {}, "methods": [], "components": {}}),
    "subscribe": Example(["new_tip_header"], "0x7e0c1f2a3b4d5e6f708192a3b4c5d6e7"),
    "unsubscribe": Example(["0x7e0c1f2a3b4d5e6f708192a3b4c5d6e7"], True),
    "ping": Example([], "pong"),
}

_CHAIN_INFO = {
    "chain": "ckb",
    "median_time": "0x187b3d137a1",
    "epoch": "0x7080018000001",
    "difficulty": "0x1f4003",
    "is_initial_block_download": True,
    "alerts": [
        {"id": "0x2a", "priority": "0x1", "notice_until": "0x24bcca57c00", "message": "An example alert message!"}
    ],
}
_DEPLOYMENTS = {
    "hash": _BLOCK_HASH,
    "epoch": "0x1",
    "deployments": {"light_client": {**_DEPLOYMENT, "since": "0x0", "state": "active"}},
}

_ALERT = {
    "id": "0x134aff1",
    "cancel": "0x0",
    "priority": "0x14",
    "message": "An example alert message!",
    "notice_until": "0x24bcca57c00",
    "signatures": ["0x" + "0b" * 65, "0x" + "0c" * 65],
}

_OTHERS = {
    "send_alert": Example([_ALERT], None),
    "get_block_template": Example([None, None, None], _TEMPLATE),
    "submit_block": Example(["0x0", _BLOCK], _BLOCK_HASH),
    "stratum.status": Example([], _STRATUM_STATUS),
    "stratum.workers": Example(["0xa"], [_WORKER]),
    "stratum.blocks": Example(["0xa"], [_FOUND_BLOCK]),
    "get_blockchain_info": Example([], _CHAIN_INFO),
    "get_deployments_info": Example([], _DEPLOYMENTS),
    "dry_run_transaction": Example([_TX], {"cycles": "0x219"}),
    "calculate_dao_maximum_withdraw": Example([_OUT_POINT, _BLOCK_HASH], "0x4a8b4e8a4"),
    "estimate_fee_rate": Example(["high_priority", True], "0x3e8"),
    "process_block_without_verify": Example([_BLOCK, True], _BLOCK_HASH),
    "truncate": Example([_PARENT_HASH], None),
    "generate_block": Example([], _BLOCK_HASH),
    "generate_epochs": Example(["0x2"], "0xa0001000003"),
    "generate_block_with_template": Example([_TEMPLATE], _BLOCK_HASH),
    "calculate_dao_field": Example([_TEMPLATE], _DAO),
    "notify_transaction": Example([_TX], _TX_HASH),
    "send_test_transaction": Example([_TX, "passthrough"], _TX_HASH),
}

_SEARCH_KEY = {"script": _LOCK, "script_type": "lock", "filter": {"output_capacity_range": ["0x0", "0x174876e800"]}}
_FOUND_CELL = {
    "output": _OUTPUT,
    "output_data": "0x",
    "out_point": _OUT_POINT,
    "block_number": "0x400",
    "tx_index": "0x1",
}
_FOUND_TX = {"tx_hash": _TX_HASH, "block_number": "0x400", "tx_index": "0x1", "io_index": "0x0", "io_type": "input"}

_INDEXER = {
    "get_indexer_tip": Example([], {"block_hash": _BLOCK_HASH, "block_number": "0x400"}),
    "get_cells": Example([_SEARCH_KEY, "asc", "0x64"], {"objects": [_FOUND_CELL], "last_cursor": "0x409bd7e0"}),
    "get_transactions": Example(
        [{"script": _LOCK, "script_type": "lock"}, "desc", "0x64"],
        {"objects": [_FOUND_TX], "last_cursor": "0x809bd7e0"},
    ),
    "get_cells_capacity": Example(
        [_SEARCH_KEY], {"capacity": "0x2540be400", "block_hash": _BLOCK_HASH, "block_number": "0x400"}
    ),
}

EXAMPLES = _CHAIN | _POOL | _NET | _OTHERS | _INDEXER
"""By method name."""
