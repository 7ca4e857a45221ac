"""Requests that no client should send, to a running node: each gets its error, and the node goes on as before."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from ckb_node.cli.main import main
from tests.support.builders.wallet import ALICE_KEY, Wallet
from tests.support.nodes.process import NodeProcess, RpcFailure
from tests.support.nodes.quiet import init_directory, quiet_node

pytestmark = pytest.mark.slow

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
UNRESOLVED, INDEXER_ERROR, INVALID = -301, -1200, -3
BODY_LIMIT = 10 << 20
HASH = "0x" + "11" * 32
BLOCKS = 3


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node whose chain no test may change; its data is checked at the end."""
    directory = tmp_path_factory.mktemp("bad-requests") / "node"
    with quiet_node(directory, init_directory(directory)) as running:
        for _ in range(BLOCKS):
            running.rpc.call("generate_block")
        yield running
        assert running.rpc.tip() == BLOCKS
        assert int(running.rpc.call("tx_pool_info")["pending"], 16) == 0
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["check", "-C", str(directory)])


@pytest.fixture(autouse=True)
def still_answers(node: NodeProcess) -> Iterator[None]:
    """Whatever a test sent: the node is there after it."""
    yield
    assert node.process.poll() is None
    assert node.rpc.tip() == BLOCKS


def answer_to(node: NodeProcess, body: bytes | str) -> Any:
    """The parsed answer to a raw body."""
    return json.loads(node.rpc.post(body if isinstance(body, bytes) else body.encode()))


def request(method: str, *params: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})


# ---------------------------------------------------------------- not a request

BODIES = {
    "nothing": (b"", PARSE_ERROR),
    "half a request": (b'{"jsonrpc":"2.0","id":1,', PARSE_ERROR),
    "no JSON": (b"get_tip_block_number", PARSE_ERROR),
    "not UTF-8": (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', PARSE_ERROR),
    "binary": (bytes(range(256)), PARSE_ERROR),
    "two requests": (b'{"jsonrpc":"2.0","id":1,"method":"get_tip_block_number"} {}', PARSE_ERROR),
    "a number": (b"5", INVALID_REQUEST),
    "an empty batch": (b"[]", INVALID_REQUEST),
    "no method": (b'{"jsonrpc":"2.0","id":7}', INVALID_REQUEST),
    "a method that is no text": (b'{"jsonrpc":"2.0","id":7,"method":5}', INVALID_REQUEST),
    "another version": (b'{"jsonrpc":"1.0","id":7,"method":"get_tip_block_number"}', INVALID_REQUEST),
    "params that are a text": (b'{"jsonrpc":"2.0","id":7,"method":"tx_pool_info","params":"x"}', INVALID_REQUEST),
    "an unknown member": (b'{"jsonrpc":"2.0","id":7,"method":"get_tip_block_number","more":1}', INVALID_REQUEST),
    "an unknown method": (b'{"jsonrpc":"2.0","id":7,"method":"get_tip"}', NO_METHOD),
    "a long method": (b'{"jsonrpc":"2.0","id":7,"method":"%b"}' % (b"x" * 100_000), NO_METHOD),
    "a private method": (b'{"jsonrpc":"2.0","id":7,"method":"__init__"}', NO_METHOD),
}  # fmt: skip


@pytest.mark.parametrize("what", BODIES)
def test_not_a_request(node: NodeProcess, what: str) -> None:
    body, code = BODIES[what]
    answer = answer_to(node, body)
    assert answer["error"]["code"] == code
    assert "result" not in answer
    assert answer["id"] in (None, 7)


DEPTH = 100_000
DEEP = {
    "arrays": b"[" * DEPTH + b"]" * DEPTH,
    "arrays without end": b"[" * DEPTH,
    "objects": b'{"a":' * DEPTH + b"1" + b"}" * DEPTH,
    "parameters": b'{"jsonrpc":"2.0","id":7,"method":"get_header","params":%b}' % (b"[" * DEPTH + b"]" * DEPTH),
    "a parameter": b'{"jsonrpc":"2.0","id":7,"method":"get_header","params":[%b]}'
    % (b'{"a":' * DEPTH + b"1" + b"}" * DEPTH),
    "an unknown member": b'{"jsonrpc":"2.0","id":7,"method":"get_header","x":%b}' % (b"[" * DEPTH + b"]" * DEPTH),
}


@pytest.mark.parametrize("what", DEEP)
def test_deep_nesting(node: NodeProcess, what: str) -> None:
    answer = answer_to(node, DEEP[what])
    errors = [each["error"]["code"] for each in (answer if isinstance(answer, list) else [answer])]
    assert set(errors) <= {PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS}


def test_one_bad_call_of_a_batch_spoils_only_itself(node: NodeProcess) -> None:
    good = request("get_tip_block_number")
    answers = answer_to(node, f'[{good},5,{{"id":1}},{request("no_such_method")},{good}]')
    codes = [each.get("error", {}).get("code") for each in answers]
    assert codes == [None, INVALID_REQUEST, INVALID_REQUEST, NO_METHOD, None]


def test_too_many_calls_in_a_batch(node: NodeProcess) -> None:
    answer = answer_to(node, "[" + ",".join([request("get_tip_block_number")] * 2001) + "]")
    assert answer["error"]["code"] == INVALID_PARAMS
    assert "batch size is too large" in answer["error"]["message"]


# ---------------------------------------------------------------- not HTTP, or too much of it


def status_of(node: NodeProcess, method: str, body: bytes | Iterator[bytes], headers: dict[str, str]) -> int:
    connection = HTTPConnection("127.0.0.1", node.rpc.port, timeout=30)
    try:
        connection.request(method, "/", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_huge_body_is_refused_unread(node: NodeProcess) -> None:
    with socket.create_connection(("127.0.0.1", node.rpc.port), timeout=10) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (100 << 30))
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_huge_body_in_chunks_is_cut_off(node: NodeProcess) -> None:
    with socket.create_connection(("127.0.0.1", node.rpc.port), timeout=10) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))
        try:
            for _ in range(12):
                client.sendall(chunk)
            assert client.recv(100).startswith(b"HTTP/1.1 413 ")
        except ConnectionError:
            pass  # the node hung up before everything was sent


def test_a_body_at_the_limit_is_read(node: NodeProcess) -> None:
    call = request("get_tip_block_number").encode()
    answer = answer_to(node, call + b" " * (BODY_LIMIT - len(call)))
    assert answer["result"] == hex(BLOCKS)


def test_a_body_over_the_limit(node: NodeProcess) -> None:
    assert status_of(node, "POST", b" " * (BODY_LIMIT + 1), {}) == 413


def test_huge_headers(node: NodeProcess) -> None:
    assert status_of(node, "POST", b"{}", {"X-Long": "x" * 100_000}) == 431


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods(node: NodeProcess, method: str) -> None:
    assert status_of(node, method, b"", {}) == 405


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\0" * 1000]
)
def test_not_http(node: NodeProcess, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.rpc.port), timeout=15) as client:
        client.sendall(garbage)
        assert client.recv(100)[:13] in (b"HTTP/1.1 400 ", b"")


def test_clients_that_send_nothing_do_not_keep_others_out(node: NodeProcess) -> None:
    silent = [socket.create_connection(("127.0.0.1", node.rpc.port), timeout=10) for _ in range(100)]
    for client in silent:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert node.rpc.tip() == BLOCKS
    for client in silent:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):  # the node has not closed it: the others were served beside it
            client.recv(1)
        client.close()


# ---------------------------------------------------------------- wrong parameters

SCRIPT = {"code_hash": HASH, "hash_type": "type", "args": "0x"}
SEARCH = {"script": SCRIPT, "script_type": "lock"}
OUT_POINT = {"tx_hash": HASH, "index": "0x0"}
TX: dict[str, Any] = {
    "version": "0x0",
    "cell_deps": [],
    "header_deps": [],
    "inputs": [{"since": "0x0", "previous_output": OUT_POINT}],
    "outputs": [{"capacity": "0x1", "lock": SCRIPT}],
    "outputs_data": ["0x"],
    "witnesses": [],
}
OUTPUT = TX["outputs"][0]

PARAMS: dict[str, tuple[str, list[Any], str]] = {
    "too few": ("get_header", [], "block_hash"),
    "too many": ("get_tip_block_number", [1], "No parameters were expected"),
    "null for what must be": ("get_header", [None], "block_hash"),
    "number instead of hex": ("get_block_hash", [1], "block_number"),
    "decimal text": ("get_block_hash", ["1"], "without `0x` prefix"),
    "hex without digits": ("get_block_hash", ["0x"], "block_number"),
    "leading zero": ("get_block_hash", ["0x01"], "with redundant leading zeros"),
    "two zeros": ("get_block_hash", ["0x00"], "with redundant leading zeros"),
    "negative": ("get_block_hash", ["-0x1"], "block_number"),
    "capital X": ("get_block_hash", ["0X1"], "block_number"),
    "underscore": ("get_block_hash", ["0x1_0"], "invalid digit"),
    "unicode digits": ("get_block_hash", ["0x١"], "block_number"),
    "65 bits": ("get_block_hash", ["0x10000000000000000"], "number too large"),
    "a million digits": ("get_block_hash", ["0x" + "f" * 1_000_000], "number too large"),
    "33 bits": ("get_header", [HASH, "0x100000000"], "number too large"),
    "short hash": ("get_header", ["0x11"], "block_hash"),
    "long hash": ("get_header", [HASH + "11"], "block_hash"),
    "hash without 0x": ("get_header", ["11" * 33], "block_hash"),
    "hash with a space": ("get_header", ["0x" + "11" * 31 + " 1"], "block_hash"),
    "hash of other letters": ("get_header", ["0x" + "zz" * 32], "block_hash"),
    "array for object": ("get_live_cell", [[], True], "out_point"),
    "text for bool": ("get_live_cell", [OUT_POINT, "yes"], "with_data"),
    "unknown member": ("get_live_cell", [OUT_POINT | {"idx": "0x0"}, True], "idx"),
    "missing member": ("get_live_cell", [{"tx_hash": HASH}, True], "index"),
    "unknown verbosity": ("get_tip_header", ["0x9"], "verbosity"),
    "unknown validator": ("send_transaction", [TX, "none"], "outputs_validator"),
    "transaction without a member": ("send_transaction", [{k: v for k, v in TX.items() if k != "version"}], "version"),
    "transaction with its hash": ("send_transaction", [TX | {"hash": HASH}], "hash"),
    "version with leading zero": ("send_transaction", [TX | {"version": "0x00"}], "redundant leading zeros"),
    "odd digits in data": ("send_transaction", [TX | {"outputs_data": ["0x123"]}], "even number of digits"),
    "witness without 0x": ("send_transaction", [TX | {"witnesses": ["00"]}], "without `0x` prefix"),
    "hash type that is none": (
        "send_transaction", [TX | {"outputs": [OUTPUT | {"lock": SCRIPT | {"hash_type": "data256"}}]}], "hash_type",
    ),
    "hash type as number": (
        "send_transaction", [TX | {"outputs": [OUTPUT | {"lock": SCRIPT | {"hash_type": 1}}]}], "hash_type",
    ),
    "dep type that is none": (
        "send_transaction", [TX | {"cell_deps": [{"out_point": OUT_POINT, "dep_type": "depgroup"}]}], "dep_type",
    ),
    "capacity of 65 bits": (
        "send_transaction", [TX | {"outputs": [OUTPUT | {"capacity": "0x1" + "0" * 16}]}], "number too large",
    ),
    "a block that is none": ("submit_block", ["0x1", {}], "block"),
    "a short proposal id": ("submit_block", ["0x1", {"header": {}, "proposals": ["0x11"]}], "block"),
    "work id as number": ("submit_block", [1, {}], "work_id"),
    "search without a type": ("get_cells", [{"script": SCRIPT}, "asc", "0x1"], "script_type"),
    "search of a type that is none": ("get_cells", [SEARCH | {"script_type": "locks"}, "asc", "0x1"], "script_type"),
    "order that is none": ("get_cells", [SEARCH, "up", "0x1"], "order"),
    "ban of no address": ("set_ban", ["localhost", "insert"], "valid IP address"),
    "ban command that is none": ("set_ban", ["192.0.2.1", "add"], "insert, delete"),
}  # fmt: skip


@pytest.mark.parametrize("what", PARAMS)
def test_wrong_parameters(node: NodeProcess, what: str) -> None:
    method, params, words = PARAMS[what]
    with pytest.raises(RpcFailure) as refused:
        node.rpc.call(method, *params)
    assert refused.value.code == INVALID_PARAMS
    assert words in refused.value.message
    assert len(refused.value.message) < 500


def test_unknown_named_parameter(node: NodeProcess) -> None:
    call = {"jsonrpc": "2.0", "id": 7, "method": "get_header", "params": {"block": HASH}}
    assert answer_to(node, json.dumps(call))["error"]["code"] == INVALID_PARAMS


# ---------------------------------------------------------------- over-long, closed, impossible

LONG_SCRIPT = SCRIPT | {"args": "0x" + "00" * 1_000_000}


def test_over_long_script_in_a_search(node: NodeProcess) -> None:
    for method in ("get_cells", "get_transactions"):
        with pytest.raises(RpcFailure) as refused:
            node.rpc.call(method, SEARCH | {"script": LONG_SCRIPT}, "asc", "0x1")
        assert refused.value.code in (INVALID_PARAMS, INDEXER_ERROR)
    with pytest.raises(RpcFailure):
        node.rpc.call("get_cells_capacity", SEARCH | {"script": LONG_SCRIPT})


def test_over_long_script_in_a_transaction(node: NodeProcess) -> None:
    alice = Wallet(ALICE_KEY).lock
    lock = {"code_hash": "0x" + alice.code_hash.hex(), "hash_type": "type", "args": LONG_SCRIPT["args"]}
    with pytest.raises(RpcFailure, match="ExceededMaximumBlockBytes") as refused:
        node.rpc.call("send_transaction", TX | {"outputs": [OUTPUT | {"lock": lock}]})
    assert refused.value.code == -302


def test_a_page_of_nothing(node: NodeProcess) -> None:
    with pytest.raises(RpcFailure) as refused:
        node.rpc.call("get_cells", SEARCH, "asc", "0x0")
    assert refused.value.code in (INVALID_PARAMS, INDEXER_ERROR)


@pytest.mark.parametrize("cursor", ["0x", "0x00", "0x" + "ff" * 200, "0x" + "00" * 100_000])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_cursor_of_no_search(node: NodeProcess, order: str, cursor: str) -> None:
    """Nothing comes after it, or it is refused; cells of another script never come."""
    answer = answer_to(node, request("get_cells", SEARCH, order, "0x64", cursor))
    if "error" in answer:
        assert answer["error"]["code"] in (INVALID_PARAMS, INDEXER_ERROR)
    else:
        assert answer["result"]["objects"] == []


def test_deprecated_methods_answer(node: NodeProcess) -> None:
    """As in the reference, which has switched none of them off."""
    with pytest.raises(RpcFailure, match="Unknown") as refused:
        node.rpc.call("dry_run_transaction", TX)
    assert refused.value.code == UNRESOLVED
    assert node.rpc.call("get_fee_rate_statics") is None


def test_truncate_to_an_unknown_block(node: NodeProcess) -> None:
    with pytest.raises(RpcFailure, match="block not found") as refused:
        node.rpc.call("truncate", HASH)
    assert refused.value.code == INVALID


def test_proof_of_unknown_transactions(node: NodeProcess) -> None:
    for hashes in ([], [HASH], [HASH, HASH]):
        with pytest.raises(RpcFailure) as refused:
            node.rpc.call("get_transaction_proof", hashes)
        assert refused.value.code == INVALID_PARAMS
