"""The command line with click's runner: files, texts, exit codes, and never a traceback."""

from __future__ import annotations

import base64
import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from msgspec.structs import replace

from ckb_node import specs
from ckb_node.cli.group import INSTEAD, INSTEAD_OF_OPTIONS
from ckb_node.commands.init import next_step
from ckb_node.commands.list_hashes import as_toml, bundled_hashes
from ckb_node.commands.sdk_scripts import as_sdk_json
from ckb_node.config import load_config
from ckb_node.node import open_node
from ckb_node.rpc.registry import Module
from ckb_node.runtime.errors import CommandError
from ckb_node.specs import cell_file
from consensus.chainspec.spec import build_consensus
from tests.support.nodes.directories import CLI, CONFIG, FAILURE, IO, OK, invoke


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "node"


@pytest.fixture
def dev(root: Path) -> Path:
    assert invoke("init", "-C", str(root), "-c", "dev", "--genesis-message", "hello").exit_code == OK
    return root


# ---------------------------------------------------------------- the program itself


def test_help_and_version() -> None:
    assert invoke("--version").output.startswith("ckb-node ")
    assert invoke("-V").exit_code == OK
    assert "list-hashes" in invoke("--help").output
    assert invoke("init", "--help").exit_code == OK


@pytest.mark.parametrize("command", INSTEAD)
def test_commands_of_the_reference_that_are_not_here(command: str) -> None:
    result = invoke(command, "--force")
    assert (result.exit_code, INSTEAD[command] in result.stderr) == (CLI, True)
    assert INSTEAD[command] not in invoke("account", command).stderr


@pytest.mark.parametrize(("command", "option"), INSTEAD_OF_OPTIONS)
def test_options_of_the_reference_that_are_not_here(command: str, option: str, tmp_path: Path) -> None:
    result = invoke(command, "-C", str(tmp_path), option)
    assert result.exit_code == CLI
    assert f"No such option: {option}: {INSTEAD_OF_OPTIONS[command, option]}" in result.stderr
    assert invoke(command, "--no-such-option").stderr.endswith("No such option '--no-such-option'.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("init", "--fast"),
        ("init", "-c", "moon"),
        ("init", "--rpc-port", "x"),
        ("init", "--rpc-port", "65536"),
        ("init", "--log-to", "printer"),
        ("init", "--ba-hash-type", "data3"),
        ("run", "more"),
        ("dev", "--interval", "-1"),
        ("miner", "--limit", "x"),
        ("list-hashes", "-f", "xml"),
        ("-C",),
    ],
)
def test_a_wrong_command_line_is_64(arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == CLI
    assert "Error: " in result.stderr or "Usage: " in result.stderr


@pytest.mark.parametrize("command", ["run", "miner", "check", "list-hashes"])
def test_a_directory_without_configuration_is_65(command: str, tmp_path: Path) -> None:
    for arguments in ((command, "-C", str(tmp_path)), ("-C", str(tmp_path), command)):
        result = invoke(*arguments)
        assert result.exit_code == CONFIG
        assert result.stderr.count("\n") == 1
        assert f"{tmp_path}/config.toml: no such file" in result.stderr


@pytest.mark.parametrize("command", ["run", "miner", "check"])
def test_a_wrong_configuration_is_65_with_the_key(command: str, dev: Path) -> None:
    (dev / "config.toml").write_text("[tx_pool]\nmin_fee = 1\n")
    result = invoke(command, "-C", str(dev))
    assert result.exit_code == CONFIG
    assert result.stderr == f"ckb-node: {dev}/config.toml: tx_pool.min_fee: unknown key; did you mean `min_fee_rate`?\n"


# ---------------------------------------------------------------- init


def test_init_makes_a_dev_chain(root: Path) -> None:
    result = invoke("init", "-C", str(root), "-c", "dev", "--rpc-port", "9000", "--genesis-message", 'say "hi"\\n')
    assert result.exit_code == OK
    config = load_config(root)
    assert config.rpc_address == ("127.0.0.1", 9000)
    spec, load_cell_file = config.load_spec()
    genesis = build_consensus(spec, load_cell_file).genesis_hash.hex()
    assert result.stdout == (
        f"Initialized CKB directory in {root}\nCreate specs/dev.toml\nCreate config.toml\nGenesis Hash: 0x{genesis}\n"
    )
    assert "Mining is disabled" in result.stderr
    assert tomllib.loads((root / "specs/dev.toml").read_text())["genesis"]["genesis_cell"]["message"] == 'say "hi"\\n'


def test_two_dev_chains_differ_by_their_messages(tmp_path: Path) -> None:
    hashes = set()
    for name, message in (("a", "1"), ("b", "2"), ("c", "1"), ("d", None)):
        more = ("--genesis-message", message) if message else ()
        result = invoke("init", "-C", str(tmp_path / name), "-c", "dev", *more)
        hashes.add(result.stdout.splitlines()[-1])
    assert len(hashes) == 3


def test_init_does_not_overwrite_unless_forced(dev: Path) -> None:
    before = (dev / "config.toml").read_text()
    result = invoke("init", "-C", str(dev), "-c", "dev", "--rpc-port", "9000")
    assert result.exit_code == FAILURE
    assert "--force" in result.stderr
    assert (dev / "config.toml").read_text() == before
    result = invoke("init", "-C", str(dev), "-c", "dev", "--rpc-port", "9000", "--force")
    assert result.exit_code == OK
    assert result.stdout.startswith("Reinitialized CKB directory")
    assert load_config(dev).rpc_address[1] == 9000


@pytest.mark.parametrize("chain", ["mainnet", "testnet", "preview"])
def test_init_of_a_public_chain(root: Path, chain: str) -> None:
    result = invoke("init", "-C", str(root), "-c", chain)
    assert result.exit_code == OK
    assert not (root / "specs").exists()
    spec, _ = load_config(root).load_spec()
    assert spec.genesis_hash is not None
    assert f"Genesis Hash: 0x{spec.genesis_hash.hex()}\n" in result.stdout


def test_the_default_chain_is_mainnet(root: Path) -> None:
    assert (
        "0x92b197aa1fba0f63633922c61c92375c9c074a93e85963554f5499fe1450d0e5" in invoke("init", "-C", str(root)).stdout
    )


def test_chains_are_listed() -> None:
    assert invoke("init", "--list-chains").stdout.split() == ["mainnet", "testnet", "preview", "staging", "dev"]
    assert invoke("init", "-l").exit_code == OK


def test_a_genesis_message_is_for_dev_chains(root: Path) -> None:
    result = invoke("init", "-C", str(root), "-c", "testnet", "--genesis-message", "x")
    assert result.exit_code == FAILURE
    assert not root.exists()


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (("--ba-arg", "0x" + "11" * 20), None),
        (("--ba-arg", "0x" + "11" * 20, "--ba-message", "0x6869"), None),
        (("--ba-arg", "0x1111"), "not the hash of a public key"),
        (("--ba-arg", "0x" + "11" * 20, "--ba-hash-type", "data1"), "hash type"),
        (("--ba-code-hash", "0x" + "11" * 32, "--ba-arg", "0x"), "code hash"),
    ],
)
def test_a_block_assembler(root: Path, options: tuple[str, ...], warning: str | None) -> None:
    result = invoke("init", "-C", str(root), "-c", "dev", *options)
    assert result.exit_code == OK
    section = load_config(root).file.block_assembler
    assert section is not None
    assert (warning or "") in result.stderr
    assert bool(result.stderr) is (warning is not None)


def test_a_wrong_block_assembler_writes_nothing(root: Path) -> None:
    result = invoke("init", "-C", str(root), "-c", "dev", "--ba-arg", "xyz")
    assert result.exit_code == CONFIG
    assert "block_assembler.args" in result.stderr
    assert not root.exists()


def test_arguments_of_the_lock_are_put_end_to_end(root: Path) -> None:
    invoke("init", "-C", str(root), "-c", "dev", "--ba-arg", "0x11", "--ba-arg", "0x22")
    section = load_config(root).file.block_assembler
    assert section is not None
    assert section.args == "0x1122"


def test_a_spec_of_ones_own(dev: Path, tmp_path: Path) -> None:
    spec = (dev / "specs/dev.toml").read_text().replace('"ckb_dev"', '"my_chain"')
    (tmp_path / "my.toml").write_text(spec)
    result = invoke("init", "-C", str(tmp_path / "a"), "-c", "testnet", "--import-spec", str(tmp_path / "my.toml"))
    assert result.exit_code == OK
    assert load_config(tmp_path / "a").load_spec()[0].name == "my_chain"
    result = invoke("init", "-C", str(tmp_path / "b"), "--import-spec", "-", stdin=spec)
    assert result.exit_code == OK
    assert "from stdin" in result.stdout
    assert load_config(tmp_path / "b").load_spec()[0].name == "my_chain"
    result = invoke("init", "-C", str(tmp_path / "c"), "--import-spec", str(tmp_path / "missing"))
    assert result.exit_code == IO


@pytest.mark.parametrize("function", ["Dummy", "Eaglesong", "EaglesongBlake2b"])
async def test_a_spec_that_is_mined_gets_no_module_for_tests(dev: Path, tmp_path: Path, function: str) -> None:
    """The node refuses IntegrationTest on such a chain."""
    spec, root = tmp_path / "my.toml", tmp_path / "imported"
    spec.write_text((dev / "specs/dev.toml").read_text().replace('func = "Dummy"', f'func = "{function}"'))
    assert invoke("init", "-C", str(root), "-c", "dev", "--import-spec", str(spec)).exit_code == OK
    config = load_config(root)
    assert (Module.INTEGRATION_TEST in config.file.rpc.modules) is (function == "Dummy")
    with open_node(config):
        pass


def test_a_spec_in_base64(dev: Path, tmp_path: Path) -> None:
    """The reference takes it so, and only so, from standard input."""
    spec = (dev / "specs/dev.toml").read_bytes().replace(b'"ckb_dev"', b'"my_chain"')
    root = str(tmp_path / "b")
    assert invoke("init", "-C", root, "--import-spec", "-", stdin=base64.encodebytes(spec).decode()).exit_code == OK
    assert (tmp_path / "b/specs/mainnet.toml").read_bytes() == spec
    result = invoke("init", "-C", root, "-f", "--import-spec", "-", stdin=base64.b64encode(b"\xff" * 9).decode())
    assert (result.exit_code, "standard input: not UTF-8" in result.stderr) == (FAILURE, True)


def test_an_imported_spec_says_whose_system_cells_it_gets(dev: Path, tmp_path: Path) -> None:
    """Made of ours, it is another chain than the reference's of the same spec."""
    spec = tmp_path / "their.toml"
    spec.write_text((dev / "specs/dev.toml").read_text())
    assert "--system-cells" in invoke("init", "-C", str(tmp_path / "a"), "--import-spec", str(spec)).stderr
    spec.write_text(spec.read_text().replace('bundled = "specs/', f'file = "{Path(specs.__file__).parent}/'))
    result = invoke("init", "-C", str(tmp_path / "b"), "--import-spec", str(spec))
    assert (result.exit_code, "--system-cells" in result.stderr) == (OK, False)


def test_what_comes_after_init(tmp_path: Path) -> None:
    """For people alone: scripts read the last line of `init`, which is the genesis hash, as of the reference."""
    root = tmp_path / "my node"
    assert next_step(root, "dev") == f"Next: ckb-node run -C '{root}' (or, to mine as well: ckb-node dev -C '{root}')"
    assert next_step(root, "testnet") == f"Next: ckb-node run -C '{root}'"
    assert invoke("init", "-C", str(root), "-c", "dev").stdout.splitlines()[-1].startswith("Genesis Hash: 0x")


def test_logs_go_where_one_says(tmp_path: Path) -> None:
    for value, expected in (("file", (True, False)), ("stdout", (False, True)), ("both", (True, True))):
        invoke("init", "-C", str(tmp_path / value), "--log-to", value)
        logger = load_config(tmp_path / value).file.logger
        assert (logger.log_to_file, logger.log_to_stdout) == expected


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_66(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert invoke("init", "-C", str(tmp_path / "node")).exit_code == IO


def test_a_file_in_the_place_of_the_directory_is_66(tmp_path: Path) -> None:
    (tmp_path / "node").write_text("")
    result = invoke("init", "-C", str(tmp_path / "node"))
    assert result.exit_code == IO
    assert result.stderr.splitlines()[-1].startswith("ckb-node: ")


# ---------------------------------------------------------------- list-hashes


def test_hashes_of_the_configured_chain(dev: Path) -> None:
    result = invoke("list-hashes", "-C", str(dev))
    assert result.exit_code == OK
    assert result.stdout.startswith("# Generated by: ckb-node list-hashes\n")
    by_toml = tomllib.loads(result.stdout)
    assert by_toml == json.loads(invoke("list-hashes", "-C", str(dev), "-f", "json").stdout)
    hashes = by_toml["ckb_dev"]
    spec, load_cell_file = load_config(dev).load_spec()
    genesis = build_consensus(spec, load_cell_file).genesis_block
    assert hashes["genesis"] == "0x" + genesis.hash.hex()
    assert hashes["cellbase"] == "0x" + genesis.transactions[0].hash.hex()
    cells = hashes["system_cells"]
    assert [cell["index"] for cell in cells] == [1, 2, 3, 4]
    assert cells[0]["path"] == "Bundled(specs/cells/secp256k1_blake160_sighash_all)"
    # The type hashes of the reference's docs/hashes.toml, the same on every chain.
    assert cells[0]["type_hash"] == "0x9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8"
    assert cells[1]["type_hash"] == "0x82d76d1b75fe2fd9a27dfbaa65a039221a380d76c926f378d3f81cf3e7e13f2e"
    assert "type_hash" not in cells[2]
    assert cells[3]["type_hash"] == "0x5c5069eb0857efc65e1bca0c07df34c31663b3622fd3876c876320fc9634e2a8"
    assert [group["index"] for group in hashes["dep_groups"]] == [0, 1]
    assert hashes["dep_groups"][0]["tx_hash"] == "0x" + genesis.transactions[1].hash.hex()


def test_hashes_of_the_bundled_chains(tmp_path: Path) -> None:
    result = invoke("list-hashes", "-b", "-C", str(tmp_path))
    assert result.exit_code == OK
    shown = tomllib.loads(result.stdout)
    assert {"ckb", "ckb_testnet", "ckb_dev"} <= shown.keys()
    # docs/hashes.toml of the reference.
    assert shown["ckb"]["genesis"] == "0x92b197aa1fba0f63633922c61c92375c9c074a93e85963554f5499fe1450d0e5"
    assert shown["ckb"]["cellbase"] == "0xe2fb199810d49a4d8beec56718ba2593b665db9d52299a0f9e6e75416d73ff5c"
    assert shown["ckb"]["spec_hash"] == "0x3fe86931c2cf5dfa6d7b9447561b5e547937fe4699787bb7ae906218b3f1e6c5"
    assert shown["ckb_testnet"]["spec_hash"] == "0xdde420d56c10a06749e79701b152ed1f532f4bdf0696b5896dfd97fbc821e231"
    assert tomllib.loads(as_toml(bundled_hashes())) == shown


def test_hashes_of_a_spec_with_files_of_its_own(dev: Path) -> None:
    """As in the reference: files by their whole paths, in the list and in the hash of the spec."""
    spec, cells = dev / "specs/dev.toml", dev / "specs/cells"
    cells.mkdir()
    (cells / "lock").write_bytes(cell_file("specs/cells/secp256k1_blake160_sighash_all"))
    bundled = json.loads(invoke("list-hashes", "-C", str(dev), "-f", "json").stdout)["ckb_dev"]
    name = 'bundled = "specs/cells/secp256k1_blake160_sighash_all"'
    spec.write_text(spec.read_text().replace(name, 'file = "cells/lock"'))
    shown = json.loads(invoke("list-hashes", "-C", str(dev), "-f", "json").stdout)["ckb_dev"]
    path = f"FileSystem({cells / 'lock'})"
    assert shown["system_cells"][0]["path"] == shown["dep_groups"][0]["included_cells"][1] == path
    assert shown["system_cells"][1]["path"] == "Bundled(specs/cells/dao)"
    assert shown["genesis"] == bundled["genesis"]
    assert shown["spec_hash"] != bundled["spec_hash"]


def test_scripts_for_sdks(dev: Path) -> None:
    genesis = build_consensus(*load_config(dev).load_spec()).genesis_block
    cellbase, groups = ("0x" + tx.hash.hex() for tx in genesis.transactions[:2])
    ccc = json.loads(invoke("list-hashes", "-C", str(dev), "-f", "ccc").stdout)
    assert set(ccc) == {"Secp256k1Blake160", "Secp256k1Multisig", "NervosDao", "TypeId", "AnyoneCanPay"}
    assert ccc["Secp256k1Multisig"] == {
        "codeHash": "0x5c5069eb0857efc65e1bca0c07df34c31663b3622fd3876c876320fc9634e2a8",
        "hashType": "type",
        "cellDeps": [{"cellDep": {"outPoint": {"txHash": groups, "index": 1}, "depType": "depGroup"}}],
    }
    assert ccc["NervosDao"]["cellDeps"] == [
        {"cellDep": {"outPoint": {"txHash": cellbase, "index": 2}, "depType": "code"}}
    ]
    lumos = json.loads(invoke("list-hashes", "-C", str(dev), "-f", "lumos").stdout)
    assert lumos["PREFIX"] == "ckt"
    assert lumos["SCRIPTS"]["SECP256K1_BLAKE160"] == {
        "CODE_HASH": "0x9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8",
        "HASH_TYPE": "type",
        "TX_HASH": groups,
        "INDEX": "0x0",
        "DEP_TYPE": "depGroup",
    }
    assert lumos["SCRIPTS"].keys() == {"SECP256K1_BLAKE160", "SECP256K1_BLAKE160_MULTISIG", "DAO"}


@pytest.mark.parametrize("form", ["ccc", "lumos"])
def test_scripts_for_sdks_are_of_one_chain(dev: Path, form: str) -> None:
    result = invoke("list-hashes", "-C", str(dev), "-b", "-f", form)
    assert result.exit_code == CLI
    assert "one chain" in result.stderr


@pytest.mark.parametrize("form", ["ccc", "lumos"])
def test_scripts_for_sdks_of_a_chain_without_them(form: str) -> None:
    hashes = bundled_hashes()["ckb_dev"]
    assert isinstance(as_sdk_json(form, "ckb_dev", hashes), str)
    for bare in (replace(hashes, system_cells=hashes.system_cells[:3]), replace(hashes, dep_groups=[])):
        with pytest.raises(CommandError, match="this chain"):
            as_sdk_json(form, "ckb_dev", bare)


def test_mainnet_has_its_own_prefix() -> None:
    assert json.loads(as_sdk_json("lumos", "ckb", bundled_hashes()["ckb"]))["PREFIX"] == "ckb"


# ---------------------------------------------------------------- peer-id


def test_a_new_key_and_its_peer_id(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "secret_key"
    made = invoke("peer-id", "gen", "--secret-path", str(path))
    assert made.exit_code == 0
    assert re.fullmatch(r"peer_id: Qm\w{44}\n", made.stdout)
    assert path.stat().st_mode & 0o777 == 0o400
    assert invoke("peer-id", "from-secret", "--secret-path", str(path)).stdout == made.stdout
    before = path.read_bytes()
    again = invoke("peer-id", "gen", "--secret-path", str(path))
    assert again.exit_code == 113
    assert "exists already" in again.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"\0" * 32, b"\1" * 31, b"\1" * 33])
def test_what_is_no_key_has_no_peer_id(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "secret_key"
    if content is not None:
        path.write_bytes(content)
    result = invoke("peer-id", "from-secret", "--secret-path", str(path))
    assert result.exit_code == (66 if content is None else 113)
    assert str(path) in result.stderr
