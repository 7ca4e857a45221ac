"""The calls that `make bench-rpc` asks for: bodies of requests by name, on a chain that it knows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random
from typing import Any

from consensus.types.blockchain import Block
from tests.support.builders.wallet import ALICE_KEY, Wallet

DIFFERENT = 3000
"""Most different requests of one kind: more than a client asks for again soon."""
BATCH = 1000


@dataclass(frozen=True)
class Chain:
    """What calls can ask for. `small` blocks have a cellbase only, `full` ones 24 transactions more."""

    small: Sequence[Block]
    full: Sequence[Block]
    live: Sequence[tuple[bytes, int]]
    """Out points of cells that are not spent."""


def body_of(method: str, *params: Any, identity: int = 1) -> bytes:
    """A request object."""
    return json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params}).encode()


def calls(chain: Chain) -> Mapping[str, Sequence[bytes]]:
    """Bodies by the name under which they are reported."""
    choice = Random(7)
    transactions = [tx for block in chain.full for tx in block.transactions[1:] if len(tx.raw) < 4000]
    some = choice.sample(transactions, min(DIFFERENT, len(transactions)))
    lock = Wallet(ALICE_KEY).lock
    script = {"code_hash": "0x" + lock.code_hash.hex(), "hash_type": "type", "args": "0x" + lock.args.hex()}
    key = {"script": script, "script_type": "lock"}
    headers = [_hex(block.hash) for block in (*chain.small, *chain.full)]
    cells = [{"tx_hash": _hex(tx_hash), "index": hex(index)} for tx_hash, index in chain.live[:DIFFERENT]]
    return {
        "get_tip_block_number": [body_of("get_tip_block_number")],
        "get_tip_header": [body_of("get_tip_header")],
        "get_header": [body_of("get_header", each) for each in headers],
        "tx_pool_info": [body_of("tx_pool_info")],
        "get_block_template": [body_of("get_block_template")],
        "get_block_by_number": [body_of("get_block_by_number", hex(block.header.number)) for block in chain.small],
        "get_full_block": [body_of("get_block", _hex(block.hash)) for block in chain.full],
        "get_transaction": [body_of("get_transaction", _hex(tx.hash)) for tx in some],
        "get_live_cell": [body_of("get_live_cell", cell, True) for cell in cells],
        "get_cells": [body_of("get_cells", key, "asc", "0x64")],
        "get_transactions": [body_of("get_transactions", key, "desc", "0x64")],
        "get_cells_capacity": [body_of("get_cells_capacity", key)],
        "batch": [_batch(body_of("get_header", each) for each in headers)],
    }


def mixed(bodies: Mapping[str, Sequence[bytes]]) -> list[bytes]:
    """A little of everything that wallets ask for all day."""
    kinds = ("get_tip_header", "get_header", "get_block_by_number", "get_transaction", "get_live_cell", "tx_pool_info")
    return [bodies[kind][number % len(bodies[kind])] for number in range(500) for kind in kinds]


def spoiled(bodies: Sequence[bytes], count: int) -> list[bytes]:
    """Bodies that are cut, changed in some byte, or have something else in the place of their parameters."""
    choice = Random(11)
    junk = (
        "[[]]",
        "null",
        '{"a":' * 2000 + "1" + "}" * 2000,
        "[" * 3000,
        f'["0x{"f" * 5000}"]',
        f"[{'9' * 5000}]",
        "{}",
    )
    found = []
    for _ in range(count):
        body = choice.choice(bodies)
        at = choice.randrange(len(body))
        match choice.randrange(3):
            case 0:
                body = body[:at]
            case 1:
                body = body[:at] + bytes([choice.randrange(32, 256)]) + body[at + 1 :]
            case _:
                body = body.partition(b'"params"')[0] + b'"params":' + choice.choice(junk).encode() + b"}"
        found.append(body or b"{")
    return found


def _batch(requests: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(islice(cycle(requests), BATCH)) + b"]"


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
