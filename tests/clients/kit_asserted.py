"""What the chain says of what clients did, by RPC calls of our own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from consensus.crypto.hashing import blake160, ckb_hash
from tests.clients.kit_served import Served
from tests.support.builders.wallet import BOB_KEY, CKB, Wallet
from tests.support.vm.script_programs import Program

MAX_FEE = CKB // 100
ACCEPT, REFUSE = 0, 7
"""Exit codes of scripts."""
DAO_OCCUPIED = 102 * CKB
"""By a deposit with the standard lock, which earns nothing for it."""
OWNER = Wallet(BOB_KEY)


def new_key(name: str) -> str:
    """A key that nobody else uses on a test's chain."""
    return f"0x{hashlib.sha256(name.encode()).hexdigest()}"


def exiting(code: int) -> str:
    """A script that exits with `code`."""
    program = Program()
    program.exit(code)
    return f"0x{program.elf().hex()}"


def rpc_script(code_hash: bytes, hash_type: str, args: bytes) -> dict[str, str]:
    return {"code_hash": f"0x{code_hash.hex()}", "hash_type": hash_type, "args": f"0x{args.hex()}"}


def lock_of(key: str) -> dict[str, str]:
    """The standard lock of a key."""
    lock = Wallet(bytes.fromhex(key[2:])).lock
    return rpc_script(lock.code_hash, "type", lock.args)


def as_rpc(script: Mapping[str, str]) -> dict[str, str]:
    """A script as SDKs in JavaScript write it."""
    return {"code_hash": script["codeHash"], "hash_type": script["hashType"], "args": script["args"]}


def number(text: str) -> int:
    return int(text, 16)


def committed(node: Served, tx_hash: str) -> Any:
    """The transaction, which must be in a block."""
    found = node.rpc.call("get_transaction", tx_hash)
    assert found["tx_status"]["status"] == "committed", found["tx_status"]
    return found["transaction"]


def block_of(node: Served, tx_hash: str) -> Any:
    """The header of the transaction's block."""
    return node.rpc.call("get_header", node.rpc.call("get_transaction", tx_hash)["tx_status"]["block_hash"])


def capacity(output: Any) -> int:
    return number(output["capacity"])


def spent(node: Served, transaction: Any) -> list[Any]:
    """The outputs that a transaction spends."""
    places = [each["previous_output"] for each in transaction["inputs"]]
    return [committed(node, place["tx_hash"])["outputs"][number(place["index"])] for place in places]


def fee(node: Served, transaction: Any) -> int:
    """What a transaction leaves to the miner; interest not counted."""
    return sum(map(capacity, spent(node, transaction))) - sum(map(capacity, transaction["outputs"]))


def cells(node: Served, script: Mapping[str, str], kind: str = "lock", **key: Any) -> list[Any]:
    """All live cells, in one page."""
    search = {"script": script, "script_type": kind, "script_search_mode": "exact", **key}
    found: list[Any] = node.rpc.call("get_cells", search, "asc", "0x3e8")["objects"]
    return found


def uses(node: Served, script: Mapping[str, str]) -> list[list[Any]]:
    """All uses of a lock as [hash, index, is input], in one page."""
    search = {"script": script, "script_type": "lock", "script_search_mode": "exact"}
    found = node.rpc.call("get_transactions", search, "asc", "0x3e8")["objects"]
    return [[each["tx_hash"], each["io_index"], each["io_type"] == "input"] for each in found]


def is_dead(node: Served, tx_hash: str, index: int = 0) -> bool:
    place = {"tx_hash": tx_hash, "index": hex(index)}
    status: str = node.rpc.call("get_live_cell", place, False)["status"]
    return status != "live"


def type_id_of(transaction: Any) -> str:
    """The args that a type id of output 0 must have (RFC 22), from the plain form of the first input."""
    first = transaction["inputs"][0]
    place = first["previous_output"]
    input_ = number(first["since"]).to_bytes(8, "little") + bytes.fromhex(place["tx_hash"][2:])
    input_ += number(place["index"]).to_bytes(4, "little")
    return f"0x{ckb_hash(input_ + bytes(8)).hex()}"


def tokens(cell: Any) -> int:
    """A token's amount (RFC 25)."""
    return int.from_bytes(bytes.fromhex(cell["output_data"][2:])[:16], "little")


def interest(node: Served, deposit: str, withdrawal: str, occupied: int) -> int:
    """What a deposit of output 0 earned (RFC 23), from the headers' accumulated rates."""
    output = committed(node, deposit)["outputs"][0]
    start, end = (_rate(block_of(node, tx_hash)) for tx_hash in (deposit, withdrawal))
    counted = capacity(output) - occupied
    return counted * end // start - counted


def _rate(header: Any) -> int:
    return int.from_bytes(bytes.fromhex(header["dao"][2:])[8:16], "little")


def pass_epochs(node: Served, count: int) -> None:
    """In steps that are answered soon."""
    for passed in range(0, count, 10):
        node.rpc.call("generate_epochs", hex(min(10, count - passed)))


def multisig_args(must_match: int, threshold: int, keys: list[str]) -> str:
    """The args of the multisig lock (RFC 24)."""
    hashes = [Wallet(bytes.fromhex(key[2:])).lock.args for key in keys]
    return f"0x{blake160(bytes([0, must_match, threshold, len(keys)]) + b''.join(hashes)).hex()}"
