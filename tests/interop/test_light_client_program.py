"""The reference's light client, the program itself, fed by each server: CKB_LIGHT_CLIENT is the path of its binary.

Bounds of time are wide: the program looks for new blocks and cells in steps of many seconds.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.interop.kit_chain import COUNTS, Mirror, mirror_of, wait_until
from tests.interop.kit_json import Json, hexed, script_json
from tests.interop.kit_mirror import fresh_template, tip_hash
from tests.interop.kit_network import Node
from tests.support.builders.wallet import CKB, Wallet
from tests.support.nodes.asker import tcp_address
from tests.support.nodes.process import RpcClient, RpcFailure, free_port
from tests.support.nodes.reference import Pair

LIGHT_CLIENT = os.environ.get("CKB_LIGHT_CLIENT", "")
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not LIGHT_CLIENT, reason="CKB_LIGHT_CLIENT names no binary: NOT TRIED with the light client"),
]

CAROL = Wallet(bytes(31) + b"\x0c")
STEP_S = 240.0
PAYMENTS, BLOCKS = 3, 120
LOST_BLOCKS = 20
"""Of the branch that the reorganisation takes away."""
CONFIG = """
chain = "{spec}"
[store]
path = "{directory}/store"
[network]
path = "{directory}/network"
listen_addresses = ["/ip4/127.0.0.1/tcp/{p2p_port}"]
bootnodes = ["{server}"]
max_peers = 10
max_outbound_peers = 2
ping_interval_secs = 120
ping_timeout_secs = 1200
connect_outbound_interval_secs = 2
upnp = false
discovery_local_address = true
bootnode_mode = false
[rpc]
listen_address = "127.0.0.1:{rpc_port}"
"""


@dataclass
class LightClient:
    """The program, with Carol's lock to look for."""

    rpc: RpcClient
    log_path: Path
    search: Json

    def cells(self) -> set[str]:
        """Hashes of the transactions that made Carol's live cells."""
        found = self.rpc.call("get_cells", self.search, "asc", "0x64")["objects"]
        return {each["out_point"]["tx_hash"] for each in found}

    def transactions(self) -> set[str]:
        found = self.rpc.call("get_transactions", self.search, "asc", "0x64")["objects"]
        return {each["transaction"]["hash"] for each in found}

    def has(self, what: str, ask: Callable[[], object]) -> None:
        """Wait until it is so."""

        def is_so() -> bool:
            try:
                return bool(ask())
            except (OSError, HTTPException, RpcFailure):
                return False

        try:
            wait_until(is_so, STEP_S)
        except AssertionError:
            raise AssertionError(f"{what}:\n{self.log_path.read_text(errors='replace')[-3000:]}") from None


@contextmanager
def light_client(directory: Path, pair: Pair, server: Node) -> Iterator[LightClient]:
    """Running, with one server to ask."""
    directory.mkdir()
    ports = {"rpc_port": free_port(), "p2p_port": free_port()}
    config = directory / "config.toml"
    text = CONFIG.format(spec=pair.spec_path, directory=directory, server=tcp_address(server.rpc), **ports)
    config.write_text(text, encoding="utf-8")
    log_path = directory / "log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [LIGHT_CLIENT, "run", "--config-file", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    search = {"script": script_json(CAROL.lock), "script_type": "lock"}
    try:
        yield LightClient(RpcClient(ports["rpc_port"]), log_path, search)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def pay_carol(mirror: Mirror, amount: int) -> str:
    payment = mirror.transfer(mirror.alice, CAROL.lock, amount)
    mirror.commit(payment)
    return hexed(payment.hash)


def test_it_syncs_finds_cells_and_follows_a_reorganisation(pair: Pair, direction: str, tmp_path: Path) -> None:
    """Whether the cells of the lost branch leave is not asked: version 0.3.6 can keep them, whoever serves it."""
    mirror = mirror_of(pair, direction)
    server: Node = pair.ours if direction == "ours" else pair.reference
    mirror.mine(10, compare=False)
    paid = {pay_carol(mirror, (100 + serial) * CKB) for serial in range(PAYMENTS)}
    mirror.mine(BLOCKS, compare=False)
    with light_client(tmp_path / "light", pair, server) as client:
        client.has("it has no RPC", lambda: client.rpc.call("get_tip_header"))
        client.rpc.call("set_scripts", [client.search | {"block_number": "0x0"}])
        client.has("the tip is not proven", lambda: has_tip_of(client, server))
        client.has("cells are missing", lambda: client.cells() == paid)
        assert client.transactions() == paid
        client.has("a transaction is not fetched", lambda: is_fetched(client, "fetch_transaction", min(paid)))
        client.has("a header is not fetched", lambda: is_fetched(client, "fetch_header", block_hash(server, 5)))
        root = tip_hash(server.rpc)
        lost = pay_carol(mirror, 777 * CKB)
        mirror.mine(LOST_BLOCKS, compare=False)
        client.has("a new cell is missing", lambda: client.cells() == {*paid, lost})
        reorganise(server, root)
        client.has("it does not follow to the other branch", lambda: has_tip_of(client, server))
    assert server.rpc.call("get_banned_addresses") == []
    COUNTS["light client programs served"] += 1


def has_tip_of(client: LightClient, server: Node) -> bool:
    return bool(client.rpc.call("get_tip_header")["hash"] == tip_hash(server.rpc))


def block_hash(server: Node, number: int) -> str:
    text: str = server.rpc.call("get_block_hash", hex(number))
    return text


def is_fetched(client: LightClient, method: str, wanted: str) -> bool:
    return bool(client.rpc.call(method, wanted)["status"] == "fetched")


def reorganise(server: Node, root: str) -> None:
    """Another branch above `root`, longer than the one that was there, without its transactions."""
    height = server.rpc.tip()
    server.rpc.call("truncate", root)
    while server.rpc.tip() < height + 3:
        template = fresh_template(server.rpc) | {"transactions": [], "proposals": []}
        server.rpc.call("generate_block_with_template", template)
