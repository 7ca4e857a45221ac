"""ckb.toml: an operator's file of the reference, whole and in parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ckb_node.ckb_toml import CKB_TOML, WITHOUT_EFFECT, log_filter, tell_unused
from ckb_node.config import CONFIG_NAME, Config, has_config, load_config, parse_config
from ckb_node.net.addresses import bootnodes
from ckb_node.rpc.registry import Module
from ckb_node.runtime.settings import ConfigError
from ckb_node.specs import CELL_PREFIX, bundled_text
from consensus.errors import SpecError

PEER = "QmaZMemLXSsxKUrYNucjEbPxVX3rBKsGhWW2muWtWxUWyh"
SIGHASH = "0x9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8"

# All keys of the file that `ckb init` writes, those in comments too, with their values.
WHOLE = f"""
data_dir = "data"
[chain]
spec = {{ bundled = "specs/mainnet.toml" }}
[logger]
filter = "info"
color = true
log_to_file = true
log_to_stdout = true
[sentry]
dsn = ""
org_contact = ""
[memory_tracker]
interval = 0
[metrics.exporter.prometheus]
target = {{ type = "prometheus", listen_address = "127.0.0.1:8100" }}
[db]
cache_size = 268435456
options_file = "default.db-options"
[network]
listen_addresses = ["/ip4/0.0.0.0/tcp/8115"]
public_addresses = []
bootnodes = [
  # Hongkong, Asia
  "/ip4/192.0.2.7/tcp/8114/p2p/{PEER}",
]
whitelist_only = false
whitelist_peers = []
reuse_port_on_linux = true
reuse_tcp_with_ws = true
max_peers = 125
max_outbound_peers = 8
ping_interval_secs = 120
ping_timeout_secs = 1200
connect_outbound_interval_secs = 15
upnp = false
discovery_local_address = false
bootnode_mode = false
support_protocols = ["Ping", "Discovery", "Identify", "Feeler", "DisconnectMessage", "Sync", "Relay", "Time", "Alert", \
"LightClient", "Filter", "HolePunching"]
trusted_proxies = []
[network.sync.header_map]
memory_limit = "256MB"
[network.proxy]
proxy_url = "socks5://127.0.0.1:9050"
proxy_random_auth = true
[network.onion]
listen_on_onion = true
p2p_listen_address = "127.0.0.1:8115"
onion_server = "127.0.0.1:9050"
tor_controller = "127.0.0.1:9051"
tor_password = ""
onion_external_port = 8115
[rpc]
listen_address = "127.0.0.1:8114"
max_request_body_size = 10485760
modules = ["Net", "Pool", "Miner", "Chain", "Stats", "Subscription", "Experiment", "Terminal"]
tcp_listen_address = "127.0.0.1:18114"
ws_listen_address = "127.0.0.1:28114"
reject_ill_transactions = true
enable_deprecated_rpc = false
rpc_batch_limit = 2000
[tx_pool]
max_tx_pool_size = 180_000_000 # 180mb
min_fee_rate = 1_000
min_rbf_rate = 1_500
max_tx_verify_cycles = 70_000_000
max_ancestors_count = 25
[store]
header_cache_size          = 4096
cell_data_cache_size       = 128
block_proposals_cache_size = 30
block_tx_hashes_cache_size = 30
block_uncles_cache_size    = 30
[notify]
new_block_notify_script = "block.sh"
network_alert_notify_script = "alert.sh"
[block_assembler]
code_hash = "{SIGHASH}"
args = "0x{"00" * 20}"
message = "0x"
hash_type = "type"
use_binary_version_as_message_prefix = true
[indexer_v2]
index_tx_pool = false
block_filter = "block.header.number.to_uint() >= \\"0x0\\".to_uint()"
cell_filter = "let script = output.type;script!=() && script.code_hash == \\"{SIGHASH}\\""
init_tip_hash = "{SIGHASH}"
request_limit = 400
timeout_limit = 10
[indexer_v2.rich_indexer]
db_type = "postgres"
db_name = "ckb-rich-indexer"
db_host = "127.0.0.1"
db_port = 5432
db_user = "postgres"
db_password = "123456"
[fee_estimator]
algorithm = "WeightUnitsFlow"
"""


def load(directory: Path, text: str) -> Config:
    (directory / CKB_TOML).write_text(text)
    return load_config(directory)


def test_the_file_of_the_reference_is_understood(tmp_path: Path) -> None:
    config = load(tmp_path, WHOLE)
    file = config.file
    assert not config.unused
    assert config.rpc_address == ("127.0.0.1", 8114)
    assert config.metrics_address == ("127.0.0.1", 8100)
    assert file.network.onion.listen_on_onion
    assert [address.peer_id for address in bootnodes(file.network)] == [PEER]
    assert file.notify.new_block_notify_script == "block.sh"
    assert file.tx_pool.max_ancestors_count == 1000  # the reference's least, whatever its own file says
    assert file.indexer_v2.rich_indexer.db_port == 5432
    assert Module.INDEXER not in file.rpc.modules
    assert config.load_spec()[0].name == "ckb"


def test_our_own_file_goes_first(tmp_path: Path) -> None:
    assert not has_config(tmp_path)
    load(tmp_path, WHOLE)
    assert has_config(tmp_path)
    (tmp_path / CONFIG_NAME).write_text('[rpc]\nlisten_address = "127.0.0.1:1"')
    config = load_config(tmp_path)
    assert (config.is_ckb_toml, config.rpc_address) == (False, ("127.0.0.1", 1))


@pytest.mark.parametrize("key", WITHOUT_EFFECT)
def test_each_key_without_effect_is_told_if_it_asks_for_something(tmp_path: Path, key: str) -> None:
    *sections, name = key.split(".")
    text = (f"[{'.'.join(sections)}]\n" if sections else "") + f"{name} = NEW\n"
    for config in (load(tmp_path, text.replace("NEW", "77")), load(tmp_path, text.replace("NEW", '"text"'))):
        assert [each.key for each in config.unused] == [key]
        with capture_logs() as logs:
            tell_unused(config.unused)
        assert [entry["key"] for entry in logs] == [key]
        assert logs[0]["instead"]
    for nothing in ("0", '""', "false", "[]", "{}"):
        assert load(tmp_path, text.replace("NEW", nothing)).unused == []


def test_who_is_told_of_templates_is_read(tmp_path: Path) -> None:
    text = f'[block_assembler]\ncode_hash = "{SIGHASH}"\nargs = "0x"\nhash_type = "type"\n'
    text += 'notify = ["http://127.0.0.1:1"]\nnotify_scripts = ["a.sh"]\nupdate_interval_millis = 500\n'
    config = load(tmp_path, f"{text}notify_timeout_millis = 300\n")
    section = config.file.block_assembler
    assert section is not None
    assert (section.notify, section.notify_scripts) == (["http://127.0.0.1:1"], ["a.sh"])
    assert (section.update_interval_millis, section.notify_timeout_millis) == (500, 300)
    assert config.unused == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[store]\nheaders = 1", "store.headers: unknown key"),
        ("[db]\ncache = 1", "db.cache: unknown key"),
        ("store = 1", "store: expected a section"),
        ("[network.sync.header_map]\nlimit = 1", "network.sync.header_map.limit: unknown key"),
        ("[network]\nmax_peer = 1", "network.max_peer: unknown key"),
        ("network = 1", "network: Expected `object`, got `int`"),
        ("logger = 1", "logger: Expected `object`, got `int`"),
        ("[tx_pool]\nmax_ancestors_count = true", "tx_pool.max_ancestors_count: Expected `int`"),
        ("[tx_pool]\nmax_ancestors_count = -1", "tx_pool.max_ancestors_count: Expected `int` >= 1"),
        ('[tx_pool]\nmax_ancestors_count = "25"', "tx_pool.max_ancestors_count: Expected `int`, got `str`"),
        ("[metrics.exporter]\na = 1", "metrics.exporter.prometheus: Expected `object | null`, got `int`"),
        ("[metrics.exporter.a]\n[metrics.exporter.b]", "metrics.exporter.a: unknown key"),
        ('[logger]\nfilter = "info/regex"', "logger.filter: a pattern for texts"),
        ('[logger]\nfilter = "ckb-rpc=loud"', "logger.filter: `ckb-rpc=loud`"),
        ("[logger]\nextra = 1", "logger.extra: Expected `object`, got `int`"),
    ],
)
def test_what_is_wrong_names_the_file_and_the_key(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / CKB_TOML}: {fault}"), caught.value


def test_defaults_and_paths_are_those_of_the_reference(tmp_path: Path) -> None:
    logger = load(tmp_path, "").file.logger
    assert (logger.filter, logger.log_to_file, logger.log_to_stdout) == ("error", False, True)
    places = '[tx_pool]\npersisted_data = "pool/data"\n[indexer_v2.rich_indexer]\nstore = "rich.db"'
    config = load(tmp_path, places)
    assert config.data_dir / config.file.tx_pool.persisted_data == tmp_path / "pool/data.v1"
    assert config.data_dir / config.file.indexer_v2.rich_indexer.store == tmp_path / "rich.db"
    assert (
        config.data_dir / load(tmp_path, "").file.tx_pool.persisted_data == tmp_path / "data/tx_pool/persisted_data.v1"
    )


def test_an_exporter_of_any_name(tmp_path: Path) -> None:
    text = '[metrics.exporter.mine]\ntarget = { type = "prometheus", listen_address = "127.0.0.1:1" }'
    assert load(tmp_path, text).metrics_address == ("127.0.0.1", 1)


def test_logs_beside_the_main_one(tmp_path: Path) -> None:
    logger = load(tmp_path, '[logger.extra.net]\nfilter = "off,ckb_network=DEBUG"').file.logger
    assert logger.extra["net"].filter == "off,ckb-network=debug"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("info", "info"),
        ("INFO, ckb-rpc=debug", "info,ckb-rpc=debug"),
        ("ckb_sync::relayer", "ckb-sync=trace"),
        ("warn,ckb_tx_pool=", "warn,ckb-tx-pool=trace"),
        ("", ""),
    ],
)
def test_filters_of_logs(theirs: str, ours: str) -> None:
    assert log_filter(theirs) == ours


def test_sections_can_be_copied_into_our_file() -> None:
    for section in ("[network]", "[store]", "[db]"):
        start = WHOLE.index(section)
        assert parse_config(WHOLE[start : WHOLE.index("\n[", start + 1)]).data_dir == "data"
    assert parse_config("[tx_pool]\nmax_ancestors_count = 25").tx_pool.max_ancestors_count == 25


def test_cells_of_a_spec_are_the_references_own(tmp_path: Path) -> None:
    """Ours would make another genesis block."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/dev.toml").write_text(bundled_text("dev"))
    config = load(tmp_path, '[chain]\nspec = { file = "specs/dev.toml" }')
    _, load_cell = config.load_spec()
    name = f"{CELL_PREFIX}dao"
    with pytest.raises(SpecError, match="ckb-system-scripts"):
        load_cell(name)
    (tmp_path / "specs/cells").mkdir()
    (tmp_path / "specs/cells/dao").write_bytes(b"code")
    assert load_cell(name) == b"code"
