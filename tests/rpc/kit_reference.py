"""What the reference answers otherwise, for docs/RPC.md."""

from __future__ import annotations

EVERYWHERE = (
    "Parameters may be given by name (an object); the reference takes arrays only.",
    "Refusals of parameters name the parameter and what would be right; the codes are the same. An unknown method is "
    "named in the text of -32601, behind the reference's words.",
    "JSON that is no request object (`1`, `[]`) is -32600 as JSON-RPC says; the reference says -32700.",
    "An `id` may be any whole number; the reference takes 0 to 2^64 - 1 and calls others -32700.",
    "A request object in which a member comes twice is -32600, here and there (of two ids the reference says -32700); "
    "of an object among the parameters the last one counts, here and there.",
    "Web pages of other machines are refused unless `cors_origins` lists them, and never get what commands the node or "
    "shows its inside; the reference answers to every page.",
    "Requests are bounded by `max_request_body_size` on all transports (the reference: 2 MB), a batch by "
    "`rpc_batch_limit` on all transports (the reference: HTTP only, and no default).",
    "Requests of one connection are answered in their order; the reference works on four at a time by TCP and "
    "WebSocket, and answers as they are ready.",
    "A subscriber that reads too slowly finds the number of lost events as `dropped` beside the next `result`; the "
    "reference tells nobody. `log` is the name of the topic, here and there: `logs` in its README is a slip.",
)

NOTES = {
    "get_block_template": "`work_id` counts differently; the order of `proposals` is free",
    "add_node": "words about a bad address",
    "remove_node": "words about a bad peer id",
    "get_banned_addresses": "a network that is banned with host bits set keeps them here, as the reference stores it",
    "local_node_info": "own version, keys and addresses",
    "process_block_without_verify": "`broadcast` makes no difference: peers hear of any new tip",
    "jemalloc_profiling_dump": "always -32603 `unsupported`, as the reference built without profiling",
    "update_main_logger": "a filter that makes no sense is -32603; the reference ignores what it does not understand",
    "set_extra_logger": "as `update_main_logger`; at most 16, and the main log's own name is refused",
    "get_overview": "without `[block_assembler]` `committing` is 0; the reference fails. `estimate_live_cells_num` is "
    "exact on small chains",
    "subscribe": "`dropped`, see above; what a full pool has no room for is not told, the reference tells it as new "
    "and then as rejected; at most 32 subscriptions of a connection; web pages of other machines do not get `log`",
}

FREE = {
    "send_alert": (r"\.error\..*", r"\.(result|error)"),
    "get_transaction": (r"\.result\.time_added_to_pool",),
    "get_fee_rate_statics": (r"\.result",),
    "get_fee_rate_statistics": (r"\.result",),
    "calculate_dao_maximum_withdraw": (r"\.(result|error)",),
    "generate_block": (r"\.result",),
    "generate_epochs": (r"\.result",),
    "generate_block_with_template": (r"\.result",),
    "get_block_template": (r"\.result\.(current_time|work_id)",),
    "local_node_info": (r"\.result\..*",),
    "get_peers": (r"\.result",),
    "get_banned_addresses": (r"\.result",),
    "get_blockchain_info": (r"\.result\.(chain|alerts)",),
    "tx_pool_info": (r"\.result\.last_txs_updated_at",),
    "get_raw_tx_pool": (r"\.result\.pending\.0x[0-9a-f]{64}\.timestamp",),
    "get_pool_tx_detail_info": (r"\.result\.timestamp",),
    "tx_pool_ready": (r"\.result",),
    "subscribe": (r"\.result",),
    "unsubscribe": (r"\.result",),
    "get_overview": (r"\.result\.(sys|mining|pool|cells|network|version).*",),
}
"""Of the examples in the reference's README: values that its chain does not determine. The reference's own test of them
replaces the same ones. It does not run those about fees, nor those of the indexers, which are of public chains."""

OWN = {
    "explain.transaction": "why a transaction is not committed yet: its state, what it waits for, who pays better",
    "explain.cell": "what spent a cell and where; needs module Indexer or RichIndexer for cells that blocks spent",
    "stratum.status": "miners, hashrate, shares, job and blocks of the stratum server",
    "stratum.workers": "its workers: hashrate, difficulty, shares",
    "stratum.blocks": "blocks that its miners found, and what became of them",
    "rpc.discover": "the OpenRPC document of the methods that are open",
}
