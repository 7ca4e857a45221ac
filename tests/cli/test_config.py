"""config.toml: what it says, and how it is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ckb_node.commands.template import AssemblerOptions, ConfigOptions, config_text
from ckb_node.config import CONFIG_NAME, Config, load_config, parse_config
from ckb_node.net.addresses import bootnodes, onion_target, trusted_proxies
from ckb_node.rpc.registry import Module
from ckb_node.runtime.settings import ConfigError, parse_filter
from ckb_node.specs import cell_file, load_bundled
from consensus.chainspec.spec import build_consensus

CHAIN = '[chain]\nspec = { bundled = "dev" }\n'
SIGHASH = "0x9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8"
ZERO = "0x" + "00" * 32
PEER = "QmaZMemLXSsxKUrYNucjEbPxVX3rBKsGhWW2muWtWxUWyh"
DEV = build_consensus(load_bundled("dev"), cell_file)


def assembler(code_hash: str = SIGHASH, args: str = "0x" + "00" * 20, hash_type: str = "type", more: str = "") -> str:
    return f'{CHAIN}[block_assembler]\ncode_hash = "{code_hash}"\nargs = "{args}"\nhash_type = "{hash_type}"\n{more}\n'


def config(text: str) -> Config:
    return Config(Path("/node"), parse_config(text))


def prometheus(target: str) -> str:
    return f"[metrics.exporter.prometheus]\ntarget = {{ {target} }}"


def test_the_exporter_for_prometheus_is_written_as_in_ckb_toml() -> None:
    assert config(CHAIN).metrics_address is None
    text = CHAIN + prometheus('type = "prometheus", listen_address = "[::1]:8100"')
    assert config(text).metrics_address == ("::1", 8100)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x =", "not valid TOML"),
        ("[rpc]\nlisten = 1", "rpc.listen: unknown key; did you mean `listen_address`?"),
        ("speed = 1", "speed: unknown key; known here: data_dir, chain, logger, "),
        (
            "[network.sync]\nspeed = 1",
            "network.sync.speed: unknown key; known here: assume_valid_targets, min_chain_work",
        ),
        ('modules = ["Net"]', "modules: unknown key; it belongs into [rpc]"),
        ('[logger.extra.a]\nfiltr = "info"', "filtr: unknown key; did you mean `filter`?"),
        (
            "[[miner.workers]]\nworker_type = 'Dummy'\ndelay = 1",
            "miner.workers[0].delay: unknown key; did you mean `delay_type`?",
        ),
        ("[fast]", "fast: unknown key"),
        ("data_dir = 1", "data_dir: Expected `str`, got `int`"),
        ("[chain]\nspec = {}", "chain.spec: give one of"),
        ('[chain]\nspec = { bundled = "dev", file = "x" }', "chain.spec: give one of"),
        ('[chain]\nspec = "dev"', "chain.spec: Expected `object`, got `str`"),
        ("[tx_pool]\nmin_fee_rate = -1", "tx_pool.min_fee_rate: Expected `int` >= 0"),
        ('[tx_pool]\nmin_fee_rate = "1"', "tx_pool.min_fee_rate: Expected `int`, got `str`"),
        ("[tx_pool]\nmax_tx_pool_size = 0", "tx_pool.max_tx_pool_size: Expected `int` >= 1"),
        ("[tx_pool]\nexpiry_hours = 1.5", "tx_pool.expiry_hours: Expected `int`, got `float`"),
        ('[rpc]\nmodules = ["Net", "Nett"]', "rpc.modules[1]: unknown variant `Nett`, expected `Net`, `Pool`, `Miner`"),
        ('[rpc]\nlisten_address = "8114"', "rpc.listen_address"),
        ('[rpc]\nlisten_address = "localhost:99999"', "rpc.listen_address"),
        ('[rpc]\nlisten_address = "localhost:"', "rpc.listen_address"),
        ("[rpc]\nmax_request_body_size = 0", "rpc.max_request_body_size"),
        ("[rpc]\nextra_well_known_lock_scripts = [{}]", "rpc.extra_well_known_lock_scripts[0].code_hash: missing"),
        (
            '[rpc]\nextra_well_known_type_scripts = [{ code_hash = "0x", hash_type = "type", args = "0x" }]',
            "rpc.extra_well_known_type_scripts: Invalid H256",
        ),
        ('[logger]\nfilter = "loud"', "logger.filter: `loud`"),
        ('[logger.extra.net]\nfilter = "loud"', "logger.filter: `loud`"),
        ('[logger]\nfilter = "info,=debug"', "logger.filter: `=debug`"),
        ("[miner]\ninterval_millis = 0", "miner.interval_millis"),
        ("[block_assembler]", "block_assembler.code_hash: missing"),
        (assembler(code_hash="0x00"), "block_assembler.code_hash: Invalid H256"),
        (assembler(args="00"), "block_assembler.args: "),
        (assembler(hash_type="data9"), "block_assembler.hash_type: "),
        (assembler(hash_type="types"), "block_assembler.hash_type: unknown hash_type"),
        (assembler(more='message = "hello"'), "block_assembler.message: "),
        ('[network.sync]\nassume_valid_targets = ["0x12"]', "network.sync.assume_valid_targets: Invalid H256"),
        (f'[network.sync]\nassume_valid_targets = ["{SIGHASH}", "{ZERO}"]', "the zero hash, which means none"),
        ('[network.sync]\nmin_chain_work = "12"', "network.sync.min_chain_work: "),
        (f'[network.sync]\nmin_chain_work = "0x1{"0" * 64}"', "network.sync.min_chain_work: "),
        ('[network]\nlisten_addresses = ["/ip4/0.0.0.0/tcp"]', "network.listen_addresses: `/ip4/0.0.0.0/tcp`: invalid"),
        (
            '[network]\nlisten_addresses = ["/ip4/1.2.3/tcp/1"]',
            "network.listen_addresses: `/ip4/1.2.3/tcp/1`: failed to",
        ),
        (
            '[network]\nlisten_addresses = ["/dns4/host/tcp/1"]',
            "network.listen_addresses: `/dns4/host/tcp/1`: expected",
        ),
        ('[network]\nlisten_addresses = ["/ip4/127.0.0.1/tcp/1/wss"]', "does not speak TLS"),
        ('[network]\npublic_addresses = ["/ip4/192.0.2.1"]', "network.public_addresses: `/ip4/192.0.2.1`: the port"),
        (
            '[network]\nbootnodes = ["/ip4/192.0.2.1/tcp/8115"]',
            "network.bootnodes: `/ip4/192.0.2.1/tcp/8115`: expected /p2p/",
        ),
        (f'[network]\nbootnodes = ["/udp/1/p2p/{PEER}"]', "unknown protocol string"),
        (
            f'[network]\nwhitelist_peers = ["/ip4/192.0.2.1/p2p/{PEER}"]',
            "network.whitelist_peers: `/ip4/192.0.2.1/p2p/Qm",
        ),
        ('[network]\ntrusted_proxies = ["localhost"]', "network.trusted_proxies: `localhost`: "),
        ('[network]\nsupport_protocols = ["Sync", "Gossip"]', "network.support_protocols[1]: "),
        ("[network]\nmax_peers = -1", "network.max_peers: Expected `int` >= 0"),
        ("[network]\nmax_peer = 1", "network.max_peer: unknown key"),
        (
            '[network.proxy]\nproxy_url = "http://127.0.0.1:9050"',
            "network.proxy.proxy_url: expected socks5://host:port",
        ),
        ('[network.proxy]\nproxy_url = "socks5://127.0.0.1"', "the port is missing"),
        ('[network.proxy]\nproxy_url = "socks5://user:secret@:99999"', "network.proxy.proxy_url: "),
        ('[network.onion]\nonion_server = "127.0.0.1"', "network.onion.onion_server: "),
        ('[network.onion]\ntor_controller = "9051"', "network.onion.tor_controller: `9051` is not host:port"),
        (
            "[network]\nlisten_addresses = []\n[network.onion]\nlisten_on_onion = true",
            "network.onion.p2p_listen_address: ",
        ),
        (
            "[alert_signature]\nsignatures_threshold = 1\npublic_keys = []",
            "alert_signature.signatures_threshold: 1 sig",
        ),
        (
            '[alert_signature]\nsignatures_threshold = 1\npublic_keys = ["0x02"]',
            "alert_signature.public_keys: `0x02`: ",
        ),
        ("[metrics.exporter.prometheus]", "metrics.exporter.prometheus.target: missing"),
        ("[metrics.exporter.statsd]", "metrics.exporter.statsd: unknown key"),
        (prometheus('listen_address = "8100"'), "metrics.exporter.prometheus.target.listen_address: '8100' is not"),
        (prometheus('type = "push", listen_address = "a:1"'), "metrics.exporter.prometheus.target.type: "),
    ],
)
def test_what_is_refused_names_the_file_and_the_key(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "dir/config.toml")
    message = str(caught.value)
    assert message.startswith("dir/config.toml: ")
    assert fault in message
    assert "\n" not in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path)
    (tmp_path / CONFIG_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path)
    (tmp_path / CONFIG_NAME).unlink()
    (tmp_path / CONFIG_NAME).mkdir()
    with pytest.raises(ConfigError, match=r"config\.toml"):
        load_config(tmp_path)


@pytest.mark.parametrize("name", ["dev", "specs/dev.toml"])
def test_bundled_specs_by_either_name(name: str) -> None:
    spec, _ = config(f'[chain]\nspec = {{ bundled = "{name}" }}').load_spec()
    assert spec.name == "ckb_dev"


@pytest.mark.parametrize("name", ["nothing", "../dev", "specs/../../etc/passwd", ""])
def test_bundled_specs_that_do_not_exist(name: str) -> None:
    with pytest.raises(ConfigError, match="chain"):
        config(f'[chain]\nspec = {{ bundled = "{name}" }}').load_spec()


def test_a_spec_file_that_is_missing_or_wrong(tmp_path: Path) -> None:
    at = Config(tmp_path, parse_config('[chain]\nspec = { file = "my.toml" }'))
    with pytest.raises(ConfigError, match=r"my\.toml"):
        at.load_spec()
    (tmp_path / "my.toml").write_text("name = 1")
    with pytest.raises(ConfigError):
        at.load_spec()


def test_places_and_values() -> None:
    plain = config(CHAIN)
    assert plain.data_dir == Path("/node/data")
    assert plain.log_dir == Path("/node/data/logs")
    assert plain.rpc_address == ("127.0.0.1", 8114)
    assert config(CHAIN + '[rpc]\nlisten_address = "[::1]:0"').rpc_address == ("::1", 0)
    assert config(CHAIN + "[tx_pool]\nexpiry_hours = 1").file.tx_pool.limits().expiry_ms == 3_600_000
    assert plain.with_interval(0.5).file.miner.interval_millis == 500


def test_levels_of_the_log() -> None:
    assert parse_filter("") == ("info", {})
    assert parse_filter("warn") == ("warn", {})
    assert parse_filter("warn, rpc=debug,chain=off") == ("warn", {"rpc": "debug", "chain": "off"})


def test_which_block_assembler_needs_advanced() -> None:
    assert config(CHAIN).block_assembler_fault(DEV) is None
    assert config(assembler()).block_assembler_fault(DEV) is None
    for text in (assembler(args="0x"), assembler(hash_type="data1"), assembler(code_hash="0x" + "11" * 32)):
        assert "--ba-advanced" in (config(text).block_assembler_fault(DEV) or "")
        assert config(text).with_ba_advanced().block_assembler_fault(DEV) is None


def test_the_message_of_the_cellbase() -> None:
    prefixed = config(assembler(more='message = "0x6869"')).miner_config("1.2.3")
    assert prefixed is not None
    assert prefixed.message == b"ckb-node/1.2.3 hi"
    plain = config(assembler(more="use_binary_version_as_message_prefix = false")).miner_config("1.2.3")
    assert plain is not None
    assert plain.message == b""
    assert config(CHAIN).miner_config("1.2.3") is None


def test_what_init_writes_is_accepted_and_says_the_defaults() -> None:
    for chain in ("mainnet", "testnet", "preview", "dev"):
        text = config_text(ConfigOptions(chain=chain, is_spec_file=chain == "dev", rpc_port=1234, log_to_file=False))
        file = parse_config(text)
        assert file.rpc.listen_address == "127.0.0.1:1234"
        assert (file.logger.log_to_file, file.logger.log_to_stdout) == (False, True)
        assert (Module.INTEGRATION_TEST in file.rpc.modules) is (chain == "dev")
        assert file.block_assembler is None


def test_commented_keys_show_the_defaults() -> None:
    text = config_text(ConfigOptions(chain="dev", is_spec_file=True))
    whole_section = r"^# \[[a-z0-9_.]+\]\n(?:# .*\n)*"
    text = re.sub(whole_section, "", text, flags=re.MULTILINE)
    opened, count = re.subn(r"^# (?=[a-z_]+ = (?:\d+|true|false|\[\]|\"tx_pool.*)$)", "", text, flags=re.MULTILINE)
    assert count >= 12
    assert parse_config(opened) == parse_config(text)


def test_a_block_assembler_of_ones_own() -> None:
    options = AssemblerOptions(code_hash=SIGHASH, args="0x" + "22" * 20, message="0x01")
    file = parse_config(config_text(ConfigOptions(chain="dev", is_spec_file=True, block_assembler=options)))
    assert file.block_assembler is not None
    assert (file.block_assembler.args, file.block_assembler.message) == (options.args, "0x01")


def test_the_sample_at_the_top_of_the_repository() -> None:
    sample = Path(__file__).parents[2] / "config.toml"
    assert sample.read_text(encoding="utf-8") == config_text(ConfigOptions(chain="mainnet", is_spec_file=False))


def test_assume_valid_targets() -> None:
    assert config(CHAIN).assume_valid_targets(DEV) == ()
    assert len(config("").assume_valid_targets(replace(DEV, id="ckb"))) == 16
    own = config(f'{CHAIN}[network.sync]\nassume_valid_targets = ["{SIGHASH}"]')
    assert own.assume_valid_targets(replace(DEV, id="ckb")) == [bytes.fromhex(SIGHASH[2:])]
    assert (
        config(f"{CHAIN}[network.sync]\nassume_valid_targets = []").assume_valid_targets(replace(DEV, id="ckb")) == []
    )
    assert own.with_assume_valid_targets([ZERO]).assume_valid_targets(DEV) == [bytes(32)]
    with pytest.raises(ConfigError, match="--assume-valid-target: "):
        own.with_assume_valid_targets(["12"])


def test_least_work() -> None:
    assert config(CHAIN).with_overrides(replace(DEV, min_chain_work=7)).min_chain_work == 7
    assert config('[network.sync]\nmin_chain_work = "0x10"').with_overrides(DEV).min_chain_work == 16


@pytest.mark.parametrize(
    ("text", "trusted"),
    [
        ("", ["127.0.0.1", "::1"]),
        (
            '[network.onion]\nlisten_on_onion = true\np2p_listen_address = "127.0.0.1:1"',
            [],
        ),  # strangers come from this machine then
        ('[network]\ntrusted_proxies = ["::ffff:192.0.2.1", "2001:DB8::1"]', ["192.0.2.1", "2001:db8::1"]),
    ],
)
def test_whose_word_is_taken_about_where_a_connection_comes_from(text: str, trusted: list[str]) -> None:
    assert trusted_proxies(parse_config(text).network) == trusted


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ('[network]\nlisten_addresses = ["/ip4/0.0.0.0/tcp/8115"]', ("127.0.0.1", 8115)),
        ('[network]\nlisten_addresses = ["/ip6/::/tcp/1", "/ip4/192.0.2.1/tcp/2/ws"]', ("192.0.2.1", 2)),
        ('[network.onion]\np2p_listen_address = "[::1]:3"', ("::1", 3)),
    ],
)
def test_where_tor_brings_connections_to(text: str, target: tuple[str, int]) -> None:
    assert onion_target(parse_config(text).network) == target


def test_another_port_for_peers() -> None:
    text = '[network]\nlisten_addresses = ["/ip4/0.0.0.0/tcp/8115", "/ip6/::/tcp/8115/ws"]'
    changed = config(text).with_p2p_port(7)
    assert changed.file.network.listen_addresses == ["/ip4/0.0.0.0/tcp/7", "/ip6/::/tcp/7/ws"]
    assert config("").with_p2p_port(7).file.network.listen_addresses == ["/ip4/127.0.0.1/tcp/7"]


def test_who_moves_elsewhere_takes_any_port_for_libp2p() -> None:
    changed = config('[network.libp2p]\nlisten_addresses = ["/ip4/127.0.0.1/tcp/8117"]').with_p2p_port(7)
    assert changed.file.network.libp2p.listen_addresses == ["/ip4/127.0.0.1/tcp/0"]


@pytest.mark.parametrize(
    ("chain", "port", "listen"),
    [("dev", 8115, ["/ip4/127.0.0.1/tcp/8117"]), ("dev", 7, []), ("dev", 0, []), ("mainnet", 8115, [])],
)
def test_libp2p_is_on_for_a_dev_chain_that_has_the_usual_ports(chain: str, port: int, listen: list[str]) -> None:
    text = config_text(ConfigOptions(chain=chain, is_spec_file=chain == "dev", p2p_port=port))
    libp2p = parse_config(text).network.libp2p
    assert (libp2p.enabled, libp2p.listen_addresses) == (bool(listen), listen)


@pytest.mark.parametrize("chain", ["mainnet", "testnet", "preview", "staging", "dev"])
def test_what_init_writes_about_the_network(chain: str) -> None:
    text = config_text(ConfigOptions(chain=chain, is_spec_file=chain == "dev", p2p_port=7))
    network = parse_config(text).network
    assert network.listen_addresses == [f"/ip4/{'127.0.0.1' if chain == 'dev' else '0.0.0.0'}/tcp/7"]  # noqa: S104
    assert network.discovery_local_address is (chain == "dev")
    assert bool(bootnodes(network)) is (chain in {"mainnet", "testnet", "preview"})
