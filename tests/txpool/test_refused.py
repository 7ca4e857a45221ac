"""Refused transactions on disk: as many as have room, and the line that runs one of them."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from ckb_node.debug.mock import read_plain
from ckb_node.txpool.refused import RefusedTransactions
from tests.support.asking import as_json
from tests.support.builders.dev_transactions import payment

BASE = payment().transaction
URL = "http://127.0.0.1:8114"


def numbered(number: int, size: int = 0) -> list[bytes]:
    return [number.to_bytes(4, "little"), bytes(size)]


def test_a_file_holds_the_transaction_as_rpc_has_it(tmp_path: Path) -> None:
    path = RefusedTransactions(tmp_path / "a/b", URL).keep(BASE)
    assert path == tmp_path / f"a/b/0x{BASE.hash.hex()}.json"
    assert json.loads(path.read_bytes()) == as_json(BASE)
    assert read_plain(path.read_bytes(), "x") == BASE


def test_the_oldest_leave(tmp_path: Path) -> None:
    kept = RefusedTransactions(tmp_path, URL, max_files=3)
    for number in range(5):
        body = BASE.body.replace(version=number)
        path = kept.keep(BASE.replace(body=body))
        os.utime(path, ns=(number, number))
    versions = {json.loads(path.read_bytes())["version"] for path in tmp_path.iterdir()}
    assert versions == {"0x2", "0x3", "0x4"}


def test_there_is_a_limit_of_bytes(tmp_path: Path) -> None:
    kept = RefusedTransactions(tmp_path, URL, max_bytes=50_000)
    for number in range(5):
        tx = BASE.replace(body=BASE.body.replace(version=number), witnesses=numbered(number, 10_000))
        os.utime(kept.keep(tx), ns=(number, number))
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert sum(sizes) <= 50_000
    assert len(sizes) == 2


def test_the_line_can_be_typed(tmp_path: Path) -> None:
    kept = RefusedTransactions(tmp_path / "it's a path", "http://[::1]:8114")
    path = kept.keep(BASE)
    assert shlex.split(kept.command(path)) == [
        "ckb-node", "debug", "--rpc", "http://[::1]:8114", "--tx-file", str(path)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: tx,
        lambda tx: tx | {"hash": "0x" + "11" * 32},
        lambda tx: {"transaction": tx, "tx_status": {"status": "pending"}},
        lambda tx: {"jsonrpc": "2.0", "id": 1, "result": {"transaction": tx, "cycles": None}},
        lambda tx: {"jsonrpc": "2.0", "id": 1, "method": "send_transaction", "params": [tx, "passthrough"]},
        lambda tx: {"mock_info": {"inputs": [], "cell_deps": []}, "tx": tx},
    ],
)
def test_a_transaction_is_found_in_what_clients_save(wrap: object) -> None:
    text = json.dumps(wrap(as_json(BASE))).encode()  # type: ignore[operator]
    assert read_plain(text, "x") == BASE
    assert read_plain(b"\xef\xbb\xbf" + text, "x") == BASE
