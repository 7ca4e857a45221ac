"""The stratum server of a node: how it is switched on, that a miner of its process finds blocks, what is refused."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import msgspec
import pytest

from ckb_node.commands.init import InitOptions, dev_miner_lock, init_directory
from ckb_node.config import Config, load_config, parse_config
from ckb_node.node import ListenError, open_node, running
from ckb_node.runtime.settings import ConfigError
from ckb_node.runtime.tasks import first_error
from consensus.crypto.difficulty import compact_to_target
from consensus.params import PowFunc
from tests.stratum.kit_net import SECONDS, NetMiner
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.process import START_S, NodeProcess, free_port

BLOCK = compact_to_target(dev_consensus().genesis_epoch.compact_target)


def directory(root: Path, pow_func: PowFunc = PowFunc.DUMMY) -> Path:
    options = InitOptions(root=root, chain="dev", pow_func=pow_func, p2p_port=0, ba_args=(dev_miner_lock().args,))
    init_directory(options, lambda _: None, lambda _: None)
    return root


def test_a_dev_chain_for_miners(tmp_path: Path) -> None:
    config = load_config(directory(tmp_path / "node", PowFunc.EAGLESONG))
    spec, _ = config.load_spec()
    assert spec.pow_func is PowFunc.EAGLESONG
    assert "IntegrationTest" not in [each.value for each in config.file.rpc.modules]


async def _mine(host: str, port: int, blocks: int) -> None:
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(host, port)
        one = NetMiner(reader, writer)
        await one.join()
        for height in range(1, blocks + 1):
            await one.until_job(height)
            one.send("mining.submit", ["worker", one.job[0], one.find(BLOCK)], 9)
            assert (await one.answer(9))["result"] is True
        writer.close()
        await writer.wait_closed()


def test_a_miner_finds_blocks_of_a_node_in_a_process(tmp_path: Path) -> None:
    """`ckb-node dev --stratum` on a directory that is there; the dev miner pauses for long."""
    root, rpc_port = directory(tmp_path / "node"), free_port()
    arguments = ("dev", "--stratum", "0", "--interval", "1000", "--rpc-port", str(rpc_port))
    node = NodeProcess(root, *arguments, port=rpc_port)
    try:
        node.wait_until_ready()
        node.wait_for_tip(0, START_S)
        found = re.search(r"miners   stratum\+tcp://127\.0\.0\.1:(\d+)\n", node.output())
        assert found is not None
        asyncio.run(_mine("127.0.0.1", int(found[1]), 3))
        node.wait_for_tip(3)
        status = node.rpc.call("stratum.status")
        assert status["outcomes"]["main"] == "0x3"
        assert node.stop() < START_S
    finally:
        if node.process.poll() is None:
            node.kill()


def with_stratum(root: Path, **fields: object) -> Config:
    config = load_config(directory(root)).with_stratum("127.0.0.1:0").with_rpc_port(0)
    stratum = msgspec.structs.replace(config.file.stratum, **fields)
    return Config(root, msgspec.structs.replace(config.file, stratum=stratum))


async def test_a_port_that_cannot_be_had_ends_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = with_stratum(tmp_path / "node", listen_address=f"127.0.0.1:{taken.getsockname()[1]}")
        with open_node(config) as node, pytest.raises(ExceptionGroup) as caught:
            async with running(node, 100, mine=False):
                pass
    error = first_error(caught.value)
    assert isinstance(error, ListenError)
    assert "for stratum: Address already in use" in str(error)


async def test_connections_are_shared_with_the_rest_of_the_node(tmp_path: Path) -> None:
    with open_node(with_stratum(tmp_path / "node")) as node:
        assert node.mining is not None
        stratum = node.mining.stratum
        assert stratum is not None
        async with running(node, 100, mine=False):
            assert stratum.gate.most == 50


async def test_without_a_lock_there_is_nobody_to_mine_for(tmp_path: Path) -> None:
    config = with_stratum(tmp_path / "node")
    bare = Config(config.root, msgspec.structs.replace(config.file, block_assembler=None))
    with pytest.raises(ConfigError, match=r"stratum: needs the section \[block_assembler\]"), open_node(bare):
        pass


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('listen_address = "3333"', "stratum.listen_address: '3333' is not host:port"),
        ('tls_listen_address = "a"', "stratum.tls_listen_address: 'a' is not host:port"),
        ("min_difficulty = 2\nmax_difficulty = 1", "stratum.min_difficulty: is above max_difficulty"),
        ('solo_payout = "pool"', "stratum.solo_payout: "),
        ("start_difficulty = 0", "stratum.start_difficulty: "),
        ("port = 3333", "stratum.port: unknown key"),
    ],
)
def test_mistakes_name_the_key(text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(fault)):
        parse_config(f"[stratum]\n{text}\n")
