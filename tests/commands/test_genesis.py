"""Where the genesis block of a chain comes from when the node cannot build it, and that nothing but its hash counts."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import msgspec
import pytest

from ckb_node.commands.template import ConfigOptions, config_text
from ckb_node.config import Config, load_config
from ckb_node.genesis import files, rpc
from ckb_node.genesis.crates import CratesSource, official_cells
from ckb_node.genesis.files import FileSource, GenesisSourceError, decode_block, write_block_file
from ckb_node.genesis.obtain import (
    GenesisMissingError,
    GenesisSource,
    load_consensus,
    obtain_consensus,
    stored_genesis_path,
)
from ckb_node.genesis.rpc import RpcSource
from ckb_node.jsonrpc_types.block_view import BlockTextError, encode_block_view
from ckb_node.specs import BUNDLED, bundled_text, load_bundled
from consensus.errors import MoleculeError, SpecError
from tests.commands.kit_server import answering
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.directories import CLI, CONFIG, FAILURE, OK, invoke

GENESIS = dev_consensus().genesis_block
OTHER = GENESIS.replace(header=GENESIS.header.with_fields(timestamp=1))
PARAMS = bundled_text("dev").partition("[params]")[2]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A node whose chain is known by the hash of its genesis block only, as mainnet is."""
    root = tmp_path / "node"
    (root / "specs").mkdir(parents=True)
    spec = (
        f'name = "ckb_dev"\n[genesis]\nhash = "0x{GENESIS.hash.hex()}"\n'
        f'block = {{ file = "absent.block" }}\n[params]{PARAMS}'
    )
    (root / "specs" / "dev.toml").write_text(spec)
    (root / "config.toml").write_text(config_text(ConfigOptions(chain="dev", is_spec_file=True)))
    return load_config(root)


def molecule_file(path: Path) -> Path:
    path.write_bytes(GENESIS.raw)
    return path


def stored_path(config: Config) -> Path:
    return stored_genesis_path(config.root, GENESIS.hash)


def silent(_: str) -> None:
    pass


# ---------------------------------------------------------------- obtaining and keeping


def test_without_a_source_the_error_names_the_ways(config: Config) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: load_consensus(config),
        lambda: obtain_consensus(config, [], silent),
    ]
    for attempt in attempts:
        with pytest.raises(GenesisMissingError) as caught:
            attempt()
        for way in ("--genesis FILE", "--genesis-rpc URL", "--crates DIR", GENESIS.hash.hex(), "absent.block"):
            assert way in str(caught.value)


def test_once_got_it_is_kept_and_verified_at_each_start(config: Config, tmp_path: Path) -> None:
    source = FileSource(molecule_file(tmp_path / "genesis"))
    obtained = obtain_consensus(config, [source], silent)
    source.path.unlink()
    assert load_consensus(config) == obtained
    assert load_consensus(config).genesis_block == GENESIS
    assert stored_path(config).read_bytes() == GENESIS.raw

    for broken in (OTHER.raw, b"", GENESIS.raw[:-1], b"\0" * len(GENESIS.raw)):
        stored_path(config).write_bytes(broken)
        with pytest.raises(GenesisMissingError, match=stored_path(config).name):
            load_consensus(config)
    again = obtain_consensus(config, [FileSource(molecule_file(source.path))], silent)
    assert again == obtained
    assert load_consensus(config) == obtained


def test_what_is_kept_is_bounded(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    write_block_file(stored_path(config), GENESIS)
    load_consensus(config)
    monkeypatch.setattr(files, "MAX_GENESIS_BYTES", len(GENESIS.raw) - 1)
    with pytest.raises(GenesisMissingError, match="larger than"):
        load_consensus(config)


def test_the_first_source_that_has_it_is_taken(config: Config, tmp_path: Path) -> None:
    class Never:
        def load(self, _: object) -> None:
            raise AssertionError("not needed")

    (tmp_path / "other").write_bytes(OTHER.raw)
    (tmp_path / "text").write_text("hello")
    said: list[str] = []
    sources: list[GenesisSource] = [
        FileSource(tmp_path / "absent"),
        FileSource(tmp_path / "other"),
        FileSource(tmp_path / "text"),
        CratesSource(tmp_path),
        FileSource(molecule_file(tmp_path / "genesis")),
        Never(),  # type: ignore[list-item]
    ]
    assert obtain_consensus(config, sources, said.append).genesis_hash == GENESIS.hash
    assert "genesis hash mismatch" in "".join(said)
    assert said[-1].startswith(f"Create specs/genesis-{GENESIS.hash.hex()[:16]}.block")
    stored_path(config).unlink()
    with pytest.raises(GenesisMissingError) as caught:
        obtain_consensus(config, sources[:4], silent)
    assert len(caught.value.failures) == 5
    assert not stored_path(config).exists()


def test_a_block_with_the_right_header_and_another_body_is_refused(config: Config, tmp_path: Path) -> None:
    """The hash is the header's; the header must commit to the transactions that come with it."""
    cellbase, second = GENESIS.transactions
    forged = GENESIS.replace(transactions=[cellbase, second.replace(witnesses=[b"x"])])
    assert forged.hash == GENESIS.hash
    (tmp_path / "forged").write_bytes(forged.raw)
    with pytest.raises(SpecError, match="does not commit"):
        obtain_consensus(config, [FileSource(tmp_path / "forged")], silent)
    assert not stored_path(config).exists()


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    "write",
    [
        lambda: GENESIS.raw,
        lambda: encode_block_view(GENESIS),
        lambda: b' \n{"jsonrpc":"2.0","id":1,"result":' + encode_block_view(GENESIS) + b"}",
    ],
)
def test_molecule_json_and_saved_answers(write: Callable[[], bytes]) -> None:
    assert decode_block(write()) == GENESIS


@pytest.mark.parametrize("data", [b"", b"\4\0\0\0", b"{}", b"null", b'{"result":null}', b"\xff" * 100, b"[" * 10_000])
def test_what_is_no_block(data: bytes) -> None:
    with pytest.raises((MoleculeError, BlockTextError)):
        decode_block(data)


# ---------------------------------------------------------------- JSON-RPC


def sending(body: bytes, status: int = 200) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers["Content-Length"])
        request = msgspec.json.decode(handler.rfile.read(size))
        assert (request["method"], request["params"], handler.path) == ("get_block_by_number", ["0x0"], "/rpc?key=1")
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_from_a_node(config: Config) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":' + encode_block_view(GENESIS) + b"}"
    with answering(sending(body)) as url:
        assert obtain_consensus(config, [RpcSource(url)], silent).genesis_hash == GENESIS.hash
    assert load_consensus(config).genesis_hash == GENESIS.hash


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b'{"jsonrpc":"2.0","id":1,"result":null}', 200, "has no block 0"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}', 200, "Method not found"),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', 200, "missing required field"),
        (b"<html>", 200, "no JSON-RPC answer"),
        (b"[" * 100_000, 200, "no JSON-RPC answer"),
        (b"", 502, "HTTP status 502"),
    ],
)
def test_bad_answers(body: bytes, status: int, reason: str) -> None:
    with answering(sending(body, status)) as url, pytest.raises(GenesisSourceError, match=reason):
        RpcSource(url).load(load_bundled("mainnet"))


def repeating(chunk: bytes, pause_s: float) -> Callable[[BaseHTTPRequestHandler], None]:
    """An answer that does not end before the client goes away."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(chunk)
                time.sleep(pause_s)

    return answer


def test_endless_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "MAX_GENESIS_BYTES", 1 << 20)
    with (
        answering(repeating(bytes(100_000), 0)) as url,
        pytest.raises(GenesisSourceError, match="larger than 1048576 bytes"),
    ):
        RpcSource(url).load(load_bundled("mainnet"))


def test_dripping_answers() -> None:
    """The answer itself has no end."""
    with answering(repeating(b" ", 0.02)) as url, pytest.raises(GenesisSourceError, match="takes too long"):
        RpcSource(url, total_s=0.5).load(load_bundled("mainnet"))


@pytest.mark.parametrize(
    "url", ["ftp://host/", "host:80", "http://", "http://127.0.0.1:1/", "http://[x/", "http://h:x/"]
)
def test_bad_addresses(url: str) -> None:
    with pytest.raises(GenesisSourceError):
        RpcSource(url).load(load_bundled("mainnet"))


# ---------------------------------------------------------------- crates


def test_directories_without_the_crates(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(GenesisSourceError, match=str(directory)):
            CratesSource(directory).load(load_bundled("testnet"))
    (tmp_path / "ckb-system-scripts-0.5.4").mkdir()
    with pytest.raises(GenesisSourceError, match="found no system cell"):
        CratesSource(tmp_path).load(load_bundled("testnet"))
    with pytest.raises(GenesisSourceError, match="found no ckb-resource"):
        CratesSource(tmp_path).load(load_bundled("mainnet"))


def test_cells_that_are_not_the_official_ones(tmp_path: Path) -> None:
    (tmp_path / "dao").write_bytes(b"something else")
    with pytest.raises(GenesisSourceError, match="is not the official dao"):
        official_cells([tmp_path])("specs/cells/dao")
    with pytest.raises(GenesisSourceError, match="is no system cell"):
        official_cells([tmp_path])("specs/cells/../../dao")


def test_specs_of_the_crate_are_bounded_and_must_be_of_the_chain(tmp_path: Path) -> None:
    (tmp_path / "ckb-system-scripts").mkdir()
    directory = tmp_path / "ckb-resource-1.0.0" / "specs"
    directory.mkdir(parents=True)
    for text, reason in (
        (bundled_text("dev"), "found no ckb-resource"),
        ("name = 1", "mainnet.toml: chain spec"),
        ("#" * (5 << 20), "larger than"),
    ):
        (directory / "mainnet.toml").write_text(text)
        with pytest.raises(GenesisSourceError, match=reason):
            CratesSource(tmp_path).load(load_bundled("mainnet"))


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize("chain", BUNDLED)
def test_init_without_a_source(tmp_path: Path, chain: str) -> None:
    root = str(tmp_path / "node")
    result = invoke("-C", root, "init", "-c", chain, "--ba-arg", "0x" + "00" * 20)
    assert result.exit_code == OK
    code_hash = 'code_hash = "0x9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8"'
    assert code_hash in (tmp_path / "node" / "config.toml").read_text()
    expected = load_bundled(chain).genesis_hash
    if expected is None:
        return
    assert f"Genesis Hash: 0x{expected.hex()}\n" in result.stdout
    forget_bootnodes(tmp_path / "node" / "config.toml")  # the world is not asked by a test
    assert ("`ckb-node run` gets it from the chain's peers" in result.stdout) is (chain != "staging")
    assert ("the node cannot run yet" in result.stderr) is (chain == "staging")
    assert invoke("-C", root, "list-hashes").exit_code == OK
    started = invoke("-C", root, "run")
    assert started.exit_code == CONFIG
    for way in ("--genesis FILE", "--genesis-peer ADDRESS", "--genesis-rpc URL", "--crates DIR"):
        assert way in started.stderr
    assert len(started.stderr.splitlines()) == 1


def forget_bootnodes(path: Path) -> None:
    text = re.sub(r"^bootnodes = \[.*?\]", "bootnodes = []", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    path.write_text(text)


def test_init_fails_when_no_named_source_has_it(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(OTHER.raw)
    result = invoke("-C", str(tmp_path / "node"), "init", "-c", "testnet", "--genesis", str(other))
    assert result.exit_code == CONFIG
    assert "genesis hash mismatch" in result.stderr


def test_system_cells_are_for_dev_chains_and_official(tmp_path: Path) -> None:
    result = invoke("-C", str(tmp_path / "a"), "init", "-c", "testnet", "--system-cells", str(tmp_path))
    assert (result.exit_code, "can only be chosen for dev chains" in result.stderr) == (FAILURE, True)
    result = invoke("-C", str(tmp_path / "b"), "init", "-c", "dev", "--system-cells", str(tmp_path))
    assert (result.exit_code, "found no system cell" in result.stderr) == (CONFIG, True)
    assert invoke("-C", str(tmp_path / "c"), "init", "--crates").exit_code == CLI
