"""Questions to the indexer, with every filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.interop.kit_facts import Facts, Request
from tests.interop.kit_json import Json, script_json


def indexer_requests(facts: Facts) -> Iterator[Request]:
    """Module Indexer: cells, transactions, capacity, with every filter."""
    yield "get_indexer_tip", []
    yield "get_indexer_tip", ["x"]
    locks = [script_json(wallet.lock) for wallet in (facts.alice, facts.bob)]
    keys = _search_keys(locks[0], locks[1])
    for key in keys:
        for order in ("asc", "desc"):
            yield "get_cells", [key, order, "0x64"]
            yield "get_transactions", [key, order, "0x64"]
            if isinstance(key, dict):
                yield "get_transactions", [key | {"group_by_transaction": True}, order, "0x64"]
        yield "get_cells_capacity", [key]
        if isinstance(key, dict):
            yield "get_cells", [key | {"with_data": False}, "asc", "0x5"]
    yield from _pages(keys[0])


def _search_keys(lock: Json, other: Json) -> list[Any]:
    short = lock | {"args": lock["args"][:6]}
    keys: list[Any] = [{"script": each, "script_type": "lock"} for each in (lock, other, short)]
    keys += [
        {"script": lock | {"args": "0x"}, "script_type": "lock", "script_search_mode": mode}
        for mode in ("prefix", "exact", "partial", "other")
    ]
    keys += [
        {"script": short, "script_type": "lock", "script_search_mode": mode} for mode in ("prefix", "exact", "partial")
    ]
    keys += [
        {
            "script": lock | {"args": "0x" + lock["args"][8:20]},
            "script_type": "lock",
            "script_search_mode": "partial",
        }
    ]
    keys += [{"script": lock, "script_type": kind} for kind in ("type", "other", None)]
    keys += [
        {"script": lock},
        {"script_type": "lock"},
        {},
        None,
        "x",
        {"script": lock, "script_type": "lock", "more": 1},
    ]
    return keys + [{"script": lock, "script_type": "lock", "filter": each} for each in _filters(other)]


def _filters(other: Json) -> Sequence[Any]:
    high = hex(10**18)
    return (
        {},
        {"script": None},
        {"script": other},
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


def _pages(first: Any) -> Iterator[Request]:
    """Orders, limits and cursors."""
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
