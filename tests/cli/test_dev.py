"""`ckb-node dev` and `run`: which directories they take, and what their options change."""

from __future__ import annotations

from pathlib import Path

import pytest
from coincurve import PrivateKey

from ckb_node.cli.main import main
from ckb_node.commands.init import dev_miner_lock
from ckb_node.config import Config, SpecCheck, load_config
from ckb_node.dev_accounts import FUNDED_KEYS, MINER_ARG, MINER_KEY
from ckb_node.rpc.registry import Module
from consensus.crypto.hashing import blake160
from tests.support.nodes.directories import invoke


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Configurations that a node would have been run with."""
    configs: list[Config] = []

    def run_node(config: Config, *, mine: bool) -> int:
        assert mine in (True, False)
        configs.append(config)
        return 0

    monkeypatch.setattr("ckb_node.node.run_node", run_node)
    return configs


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(arguments)


def test_published_keys_belong_to_their_accounts() -> None:
    for arg, key in (*FUNDED_KEYS.items(), (bytes.fromhex(MINER_ARG[2:]), MINER_KEY)):
        assert blake160(PrivateKey(bytes.fromhex(key)).public_key.format(compressed=True)) == arg


def test_rewards_of_a_new_dev_chain_go_to_none_of_the_funded_accounts(tmp_path: Path, seen: list[Config]) -> None:
    run("dev", "-C", str(tmp_path / "node"))
    section = seen[0].file.block_assembler
    assert section is not None
    assert section.args == MINER_ARG
    assert bytes.fromhex(MINER_ARG[2:]) not in FUNDED_KEYS


def test_dev_works_in_a_directory_that_init_made(tmp_path: Path, seen: list[Config]) -> None:
    """Without --ba-arg there is nobody to mine for; init says so, dev mines for the dev chain's own account."""
    root = tmp_path / "node"
    assert "Mining is disabled" in invoke("init", "-c", "dev", "-C", str(root)).stderr
    before = (root / "config.toml").read_bytes()
    run("dev", "-C", str(root))
    assert seen[0].file.block_assembler == dev_miner_lock()
    assert (root / "config.toml").read_bytes() == before


def test_dev_mines_for_whom_the_configuration_names(tmp_path: Path, seen: list[Config]) -> None:
    root = tmp_path / "node"
    invoke("init", "-c", "dev", "-C", str(root), "--ba-arg", "0x" + "11" * 20)
    run("dev", "-C", str(root))
    section = seen[0].file.block_assembler
    assert section is not None
    assert section.args == "0x" + "11" * 20


def test_a_port_for_a_new_directory_and_for_one_that_is_there(tmp_path: Path, seen: list[Config]) -> None:
    root = str(tmp_path / "node")
    run("dev", "-C", root, "--rpc-port", "9001")
    run("dev", "-C", root)
    run("dev", "-C", root, "--rpc-port", "9002")
    assert [config.rpc_address for config in seen] == [("127.0.0.1", 9001), ("127.0.0.1", 9001), ("127.0.0.1", 9002)]
    run("dev", "-C", str(tmp_path / "default"))
    assert seen[-1].rpc_address == ("127.0.0.1", 8114)


def test_ports_for_peers_are_not_in_each_others_way(tmp_path: Path, seen: list[Config]) -> None:
    root = str(tmp_path / "node")
    run("dev", "-C", root)
    run("dev", "-C", root, "--rpc-port", "9002")
    run("dev", "-C", root, "--p2p-port", "7")
    run("dev", "-C", str(tmp_path / "other"), "--rpc-port", "9003")
    run("dev", "-C", str(tmp_path / "third"), "--rpc-port", "9004", "--p2p-port", "8")
    run("dev", "-C", str(tmp_path / "third"), "--rpc-port", "9005")
    ports = [config.file.network.listen_addresses for config in seen]
    assert ports == [[f"/ip4/127.0.0.1/tcp/{port}"] for port in (8115, 0, 7, 0, 8, 8)]


def test_subscribers_may_connect_beside_the_usual_port_or_at_any_free_one(tmp_path: Path, seen: list[Config]) -> None:
    root = tmp_path / "node"
    run("dev", "-C", str(root))
    run("dev", "-C", str(root), "--rpc-port", "9002")
    run("run", "-C", str(root))
    path = root / "config.toml"
    path.write_text(path.read_text().replace("[rpc]\n", '[rpc]\nws_listen_address = "127.0.0.1:7"\n'))
    run("dev", "-C", str(root))
    ports = [config.file.rpc.ws_listen_address for config in seen]
    assert ports == ["127.0.0.1:28114", "127.0.0.1:0", None, "127.0.0.1:7"]


def test_a_directory_from_before_there_were_peers(tmp_path: Path, seen: list[Config]) -> None:
    root = tmp_path / "node"
    run("dev", "-C", str(root))
    path = root / "config.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("listen_addresses")]
    path.write_text("\n".join(lines))
    run("dev", "-C", str(root))
    run("run", "-C", str(root))
    assert [config.file.network.listen_addresses for config in seen[1:]] == [["/ip4/127.0.0.1/tcp/0"], None]
    assert seen[-1].file.network.listens_on == []


@pytest.mark.parametrize(
    ("chain", "options", "address"),
    [
        ("dev", (), "/ip4/127.0.0.1/tcp/8115"),
        ("dev", ("--rpc-port", "9"), "/ip4/127.0.0.1/tcp/0"),
        ("dev", ("--rpc-port", "9", "--p2p-port", "7"), "/ip4/127.0.0.1/tcp/7"),
        ("mainnet", ("--rpc-port", "9"), "/ip4/0.0.0.0/tcp/8115"),
        ("mainnet", ("--p2p-port", "7"), "/ip4/0.0.0.0/tcp/7"),
    ],
)
def test_the_port_for_peers_that_init_writes(
    tmp_path: Path, chain: str, options: tuple[str, ...], address: str
) -> None:
    invoke("init", "-c", chain, "-C", str(tmp_path), *options)
    assert load_config(tmp_path).file.network.listen_addresses == [address]


def test_a_port_of_an_ipv6_host(tmp_path: Path, seen: list[Config]) -> None:
    root = tmp_path / "node"
    run("dev", "-C", str(root))
    path = root / "config.toml"
    path.write_text(path.read_text().replace("127.0.0.1:8114", "[::1]:8114"))
    run("dev", "-C", str(root), "--rpc-port", "9")
    assert seen[-1].rpc_address == ("::1", 9)


def test_the_indexer_by_option(tmp_path: Path, seen: list[Config]) -> None:
    root = str(tmp_path / "node")
    invoke("init", "-C", root)
    run("run", "-C", root)
    run("run", "-C", root, "--indexer")
    assert [Module.INDEXER in config.file.rpc.modules for config in seen] == [False, True]
    run("dev", "-C", str(tmp_path / "dev"))
    run("run", "-C", str(tmp_path / "dev"), "--indexer")
    assert seen[-1].file.rpc.modules.count(Module.INDEXER) == 1


def test_what_becomes_of_a_changed_spec(tmp_path: Path, seen: list[Config]) -> None:
    root = str(tmp_path / "node")
    for command in ("dev", "run"):
        run(command, "-C", root)
        run(command, "-C", root, "--skip-spec-check")
        run(command, "-C", root, "--overwrite-spec")
    assert [config.spec_check for config in seen] == 2 * [SpecCheck.REFUSE, SpecCheck.SKIP, SpecCheck.OVERWRITE]
    assert load_config(Path(root)).spec_check is SpecCheck.REFUSE
