"""Questions of the other modules, and methods that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.interop.kit_facts import UNKNOWN, Facts, Request


def other_requests(facts: Facts) -> Iterator[Request]:
    """Modules Stats, Experiment, Net, Miner, and methods that do not exist."""
    yield "get_blockchain_info", []
    yield "get_deployments_info", []
    yield "get_blockchain_info", ["x"]
    for mode in (None, "high_priority", "medium_priority", "low_priority", "no_priority", "NoPriority", 1):
        for fallback in ((), (True,), (False,), (None,)):
            yield "estimate_fee_rate", [mode, *fallback]
    yield "estimate_fee_rate", []
    yield from _subscription_requests()
    yield from _dao_requests(facts)
    yield from _net_requests()
    yield from _template_requests()
    for method in (
        "no_such_method",
        "",
        "get_block ",
        "GET_BLOCK",
        "get_transactions_by_lock_hash",
        "subscribe",
        "unsubscribe",
        "truncate",
        "calculate_dao_field",
    ):
        yield method, []


def _subscription_requests() -> Iterator[Request]:
    """By HTTP."""
    for topic in ("new_tip_header", "weather", 1, None):
        yield "subscribe", [topic]
    yield "unsubscribe", ["0x0"]
    yield "unsubscribe", [0]


def _net_requests() -> Iterator[Request]:
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


def _template_requests() -> Iterator[Request]:
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
