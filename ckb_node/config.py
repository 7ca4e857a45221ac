"""config.toml: typed, checked at start, unknown keys refused by name. Names follow ckb.toml where it has them, and a
directory that has only a ckb.toml is configured by that."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ckb_node.chain.assume_valid_defaults import DEFAULT_TARGETS
from ckb_node.ckb_miner_toml import CKB_MINER_TOML, as_node_document
from ckb_node.ckb_toml import CKB_TOML, Unused, as_ours, take_unused
from ckb_node.config_faults import plain_fault
from ckb_node.filters.settings import FiltersSection
from ckb_node.indexer.settings import IndexerSection
from ckb_node.jsonrpc_types.chain import parse_hash_type, read_script
from ckb_node.jsonrpc_types.hex_text import BadTextError, parse_bytes, parse_hash, parse_uint
from ckb_node.miner.settings import MinerSection, check_workers
from ckb_node.mining.assembler import MinerConfig
from ckb_node.mining.settings import AssemblerSection, check_notify
from ckb_node.net.addresses import alert_keys, check_network
from ckb_node.net.settings import AlertSignatureSection, NetworkSection, NotifySection
from ckb_node.rpc.origin import EVERYONE, BadOriginError, OriginPolicy, parse_host, parse_origin, policy_of
from ckb_node.rpc.outputs_validator import WellKnownScripts
from ckb_node.rpc.registry import Module
from ckb_node.rpc.settings import DEFAULT_RPC_PORT, DEFAULT_WS_PORT, RpcSection
from ckb_node.runtime.settings import ConfigError, LoggerSection, MetricsSection, Section, parse_filter
from ckb_node.runtime.text_file import TextFileError, read_text
from ckb_node.specs import bundled_text, cell_file, cells_beside, files_of
from ckb_node.stratum.settings import StratumSection
from ckb_node.txpool.settings import FeeEstimatorSection, PoolSection
from consensus.chainspec.genesis_build import LoadCellFile
from consensus.chainspec.spec import ChainSpec, parse_spec
from consensus.crypto.hashing import ZERO_HASH
from consensus.errors import SpecError
from consensus.params import Consensus
from consensus.rules.hardfork import ENABLED_HASH_TYPES
from consensus.types.blockchain import HASH_TYPE_TYPE, Script

CONFIG_NAME = "config.toml"
MAX_CONFIG_BYTES = 1 << 20
VERSION_PREFIX = b"ckb-node"
BUNDLED_SPEC = re.compile(r"(?:specs/)?([a-z]+)(?:\.toml)?")
PUBKEY_HASH_SIZE = 20
LOOPBACK = "/ip4/127.0.0.1/tcp/0"

T = TypeVar("T")


class SpecSource(Section, frozen=True):
    """Where the chain spec is: one that comes with the node, or a file relative to the directory."""

    bundled: str | None = None
    file: str | None = None


class ChainSection(Section, frozen=True):
    """[chain]"""

    spec: SpecSource = SpecSource(bundled="mainnet")


class FileConfig(Section, frozen=True):
    """The whole file."""

    data_dir: str = "data"
    chain: ChainSection = ChainSection()
    logger: LoggerSection = LoggerSection()
    rpc: RpcSection = RpcSection()
    tx_pool: PoolSection = PoolSection()
    fee_estimator: FeeEstimatorSection = FeeEstimatorSection()
    block_assembler: AssemblerSection | None = None
    block_filters: FiltersSection = FiltersSection()
    indexer_v2: IndexerSection = IndexerSection()
    network: NetworkSection = NetworkSection()
    notify: NotifySection = NotifySection()
    alert_signature: AlertSignatureSection | None = None
    miner: MinerSection = MinerSection()
    stratum: StratumSection = StratumSection()
    metrics: MetricsSection = MetricsSection()


class SpecCheck(Enum):
    """What is done when the chain spec is not that with which the data were made."""

    REFUSE = "refuse"
    SKIP = "skip"
    OVERWRITE = "overwrite"


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of the node in directory `root`."""

    root: Path
    file: FileConfig
    ba_advanced: bool = False
    """Any lock may be the block assembler's, not only the usual one (`run --ba-advanced`)."""

    spec_check: SpecCheck = SpecCheck.REFUSE
    """`run --skip-spec-check` and `--overwrite-spec`."""
    unused: Sequence[Unused] = ()
    """Keys of the file that have no effect."""
    is_ckb_toml: bool = False
    """The file is the reference's."""

    @property
    def data_dir(self) -> Path:
        """Where everything lies that the node writes."""
        return self.root / self.file.data_dir

    @property
    def log_dir(self) -> Path:
        """Where log files lie."""
        return self.data_dir / "logs"

    @property
    def builds_filters(self) -> bool:
        """Filters of blocks are built, see `FiltersSection`."""
        enabled = self.file.block_filters.enabled
        return "Filter" in self.file.network.support_protocols if enabled is None else enabled

    def with_ba_advanced(self) -> Config:
        """The same with any block assembler's lock allowed."""
        return replace(self, ba_advanced=True)

    def with_spec_check(self, check: SpecCheck) -> Config:
        """The same with another answer to a changed chain spec."""
        return replace(self, spec_check=check)

    def with_indexer(self) -> Config:
        """The same with module Indexer on, instead of RichIndexer."""
        return self._with_module(Module.INDEXER, Module.RICH_INDEXER)

    def with_rich_indexer(self) -> Config:
        """The same with module RichIndexer on, instead of Indexer."""
        return self._with_module(Module.RICH_INDEXER, Module.INDEXER)

    def _with_module(self, wanted: Module, instead_of: Module) -> Config:
        modules = [each for each in self.file.rpc.modules if each not in (wanted, instead_of)]
        return self._with_rpc(modules=[*modules, wanted])

    def with_rpc_port(self, port: int) -> Config:
        """The same with RPC at another port of the configured host."""
        host, _, _ = self.file.rpc.listen_address.rpartition(":")
        return self._with_rpc(listen_address=f"{host}:{port}")

    def with_p2p_port(self, port: int) -> Config:
        """The same listening for peers at another port of the configured hosts, or of this machine alone where no
        address is configured; over libp2p at any port that is free."""
        before, libp2p = self.file.network.listen_addresses, self.file.network.libp2p
        after = [_with_port(text, port) for text in ([LOOPBACK] if before is None else before)]
        moved = msgspec.structs.replace(
            libp2p, listen_addresses=[_with_port(text, 0) for text in libp2p.listen_addresses]
        )
        network = msgspec.structs.replace(self.file.network, listen_addresses=after, libp2p=moved)
        return replace(self, file=msgspec.structs.replace(self.file, network=network))

    def _with_rpc(self, **values: Any) -> Config:
        rpc = msgspec.structs.replace(self.file.rpc, **values)
        return replace(self, file=msgspec.structs.replace(self.file, rpc=rpc))

    def with_websocket(self) -> Config:
        """The same with RPC by WebSocket on this machine, unless it is configured: at the usual port beside the usual
        one of RPC, else at any free one, so that several nodes are not in each other's way."""
        if self.file.rpc.ws_listen_address is not None:
            return self
        port = DEFAULT_WS_PORT if self.rpc_address[1] == DEFAULT_RPC_PORT else 0
        return self._with_rpc(ws_listen_address=f"127.0.0.1:{port}")

    def with_miner_lock(self, section: AssemblerSection) -> Config:
        """The same with a lock to mine for, where none is configured."""
        if self.file.block_assembler is not None:
            return self
        return replace(self, file=msgspec.structs.replace(self.file, block_assembler=section))

    def with_stratum(self, address: str) -> Config:
        """The same with a stratum server at `host:port`, unless one is configured."""
        if self.file.stratum.is_on:
            return self
        stratum = msgspec.structs.replace(self.file.stratum, listen_address=address)
        return replace(self, file=msgspec.structs.replace(self.file, stratum=stratum))

    def with_interval(self, seconds: float) -> Config:
        """The same with another pause between blocks of a dev chain."""
        miner = msgspec.structs.replace(self.file.miner, interval_millis=max(1, round(seconds * 1000)))
        return replace(self, file=msgspec.structs.replace(self.file, miner=miner))

    def with_assume_valid_targets(self, targets: Sequence[str]) -> Config:
        """The same with other targets. Raises ConfigError."""
        check_targets("--assume-valid-target", targets)
        sync = msgspec.structs.replace(self.file.network.sync, assume_valid_targets=list(targets))
        network = msgspec.structs.replace(self.file.network, sync=sync)
        return replace(self, file=msgspec.structs.replace(self.file, network=network))

    def assume_valid_targets(self, consensus: Consensus) -> Sequence[bytes]:
        """Block hashes, those of the release where none are configured."""
        if self.file.network.sync.assume_valid_targets is None:
            return DEFAULT_TARGETS.get(consensus.id, ())
        return self.named_targets

    @property
    def named_targets(self) -> list[bytes]:
        """Those that are configured."""
        return [parse_hash(text) for text in self.file.network.sync.assume_valid_targets or ()]

    def with_overrides(self, consensus: Consensus) -> Consensus:
        """The chain's parameters with what this node wants different, which is no rule of the chain."""
        least_work = self.file.network.sync.min_chain_work
        return consensus if least_work is None else replace(consensus, min_chain_work=_parse_work(least_work))

    @property
    def rpc_address(self) -> tuple[str, int]:
        """Host and port. Raises ConfigError."""
        return parse_address("rpc.listen_address", self.file.rpc.listen_address)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port for Prometheus; None when nothing is to be measured. Raises ConfigError."""
        return _metrics_address(self.file)

    @property
    def stratum_addresses(self) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
        """Host and port for miners, by TCP and by TLS. Raises ConfigError."""
        return _stratum_addresses(self.file.stratum)

    @property
    def spec_directory(self) -> Path:
        """Where the files lie that the chain spec names."""
        return (self.root / (self.file.chain.spec.file or "")).parent

    def load_spec(self) -> tuple[ChainSpec, LoadCellFile]:
        """The chain spec, and how it gets its files. Raises ConfigError."""
        source = self.file.chain.spec
        try:
            if source.bundled is not None and source.file is None:
                name = BUNDLED_SPEC.fullmatch(source.bundled)
                return parse_spec(bundled_text(name[1] if name else source.bundled)), cell_file
            if source.file is not None and source.bundled is None:
                path = self.root / source.file
                files = cells_beside if self.is_ckb_toml else files_of
                return parse_spec(_read_text(path)), files(path.parent)
        except SpecError as error:
            raise ConfigError(f"chain.spec: {error}") from error
        raise ConfigError("chain.spec: give one of `bundled` and `file`")

    def miner_config(self, version: str) -> MinerConfig | None:
        """The lock and message for cellbases, None when the section is missing. Raises ConfigError."""
        section = self.file.block_assembler
        if section is None:
            return None
        try:
            lock = Script(
                code_hash=parse_hash(section.code_hash),
                hash_type=parse_hash_type(section.hash_type),
                args=parse_bytes(section.args),
            )
            message = parse_bytes(section.message)
        except BadTextError as error:
            raise ConfigError(f"block_assembler: {error}") from error
        if section.use_binary_version_as_message_prefix:
            message = b" ".join(part for part in (VERSION_PREFIX + b"/" + version.encode(), message) if part)
        return MinerConfig(lock, message)

    def block_assembler_fault(self, consensus: Consensus) -> str | None:
        """Why the configured block assembler may only be used with `--ba-advanced`; None when it may be used."""
        section = self.file.block_assembler
        if section is None or self.ba_advanced:
            return None
        is_usual = (
            parse_hash_type(section.hash_type) == HASH_TYPE_TYPE
            and parse_hash(section.code_hash) == consensus.secp256k1_blake160_sighash_all_type_hash
            and len(parse_bytes(section.args)) == PUBKEY_HASH_SIZE
        )
        if is_usual:
            return None
        return "block_assembler is not the usual lock of a public key's hash; `ckb-node run --ba-advanced` allows it"

    def origin_policy(self) -> OriginPolicy:
        """Which pages may call the RPC, and by which names."""
        section, (host, _) = self.file.rpc, self.rpc_address
        own = [host] if any(char.isalpha() for char in host) and ":" not in host else []
        return policy_of(section.cors_origins, [*section.allowed_hosts, *own])

    def extra_well_known(self) -> WellKnownScripts:
        """Scripts that `well_known_scripts_only` of send_transaction lets pass besides the system's."""
        section = self.file.rpc
        return WellKnownScripts(
            [read_script(script) for script in section.extra_well_known_lock_scripts],
            [read_script(script) for script in section.extra_well_known_type_scripts],
        )


def _with_port(address: str, port: int) -> str:
    """A multiaddress with another TCP port."""
    return re.sub(r"/tcp/\d+", f"/tcp/{port}", address)


def has_config(root: Path) -> bool:
    """Whether the directory is one of a node."""
    return (root / CONFIG_NAME).exists() or (root / CKB_TOML).exists()


def load_config(root: Path) -> Config:
    """Read `config.toml` of a directory, or `ckb.toml` where only that is there. Raises ConfigError with the file and
    the key."""
    is_ckb_toml = not (root / CONFIG_NAME).exists() and (root / CKB_TOML).exists()
    path = root / (CKB_TOML if is_ckb_toml else CONFIG_NAME)
    file, unused = _parse(_read_text(path), str(path), root if is_ckb_toml else None)
    return Config(root, file, unused=unused, is_ckb_toml=is_ckb_toml)


def has_miner_config(root: Path) -> bool:
    """Whether the directory is one of a miner."""
    return has_config(root) or (root / CKB_MINER_TOML).exists()


def load_miner_config(root: Path) -> Config:
    """Read the reference's `ckb-miner.toml` of a directory that has no `config.toml`, else what `load_config` reads.
    Raises ConfigError with the file and the key."""
    path = root / CKB_MINER_TOML
    if (root / CONFIG_NAME).exists() or not path.exists():
        return load_config(root)
    file, unused = _parse(_read_text(path), str(path), root, as_node_document)
    return Config(root, file, unused=unused, is_ckb_toml=True)


def parse_config(text: str, name: str = CONFIG_NAME) -> FileConfig:
    """The text of a config.toml, checked. Raises ConfigError."""
    return _parse(text, name, None)[0]


def _parse(
    text: str, name: str, root: Path | None, translate: Callable[[dict[str, Any]], None] | None = None
) -> tuple[FileConfig, Sequence[Unused]]:
    """The file and its keys without effect. `root`: it is the reference's, of this directory; `translate`: first say it
    in the words of a node's file."""
    try:
        document = tomllib.loads(text)
        _check_for_nul(document)
        if translate is not None:
            translate(document)
        unused = take_unused(document)
        if root is not None:
            as_ours(document, root)
        file = msgspec.convert(document, FileConfig)
        _check(file)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {plain_fault(FileConfig, error)}") from error
    except RecursionError:
        raise ConfigError(f"{name}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # besides TOMLDecodeError that of an integer with too many digits
        raise ConfigError(f"{name}: not valid TOML: {error}") from error
    return file, unused


def _check_for_nul(value: object, path: str = "") -> None:
    """No text may hold a NUL, which no file, host or hex can have. ConfigError with the key."""
    match value:
        case dict():
            for key, each in value.items():
                _check_for_nul(each, f"{path}.{key}".removeprefix("."))
        case list():
            for index, each in enumerate(value):
                _check_for_nul(each, f"{path}[{index}]")
        case str() if "\0" in value:
            raise ConfigError(f"{path}: holds a NUL character")


def _check(file: FileConfig) -> None:
    """What types alone do not say. Raises ConfigError with the key."""
    if (file.chain.spec.bundled is None) == (file.chain.spec.file is None):
        raise ConfigError("chain.spec: give one of `bundled` and `file`")
    parse_address("rpc.listen_address", file.rpc.listen_address)
    _metrics_address(file)
    for key in ("tcp_listen_address", "ws_listen_address"):
        if (address := getattr(file.rpc, key)) is not None:
            parse_address(f"rpc.{key}", address)
    if Path(file.tx_pool.persisted_data).name in ("", ".."):
        raise ConfigError(f"tx_pool.persisted_data: {file.tx_pool.persisted_data!r} names no file")
    for text in (file.logger.filter, *(extra.filter for extra in file.logger.extra.values())):
        parse_filter(text)
    _check_texts("rpc.cors_origins", [each for each in file.rpc.cors_origins if each != EVERYONE], parse_origin)
    _check_texts("rpc.allowed_hosts", file.rpc.allowed_hosts, parse_host)
    _check_texts("rpc.extra_well_known_lock_scripts", file.rpc.extra_well_known_lock_scripts, read_script)
    _check_texts("rpc.extra_well_known_type_scripts", file.rpc.extra_well_known_type_scripts, read_script)
    check_network(file.network)
    if {Module.INDEXER, Module.RICH_INDEXER} <= set(file.rpc.modules):
        raise ConfigError("rpc.modules: Indexer and RichIndexer have the same methods; name one of them")
    file.indexer_v2.filters()
    file.indexer_v2.init_tip()
    if file.alert_signature is not None:
        alert_keys(file.alert_signature)
    sync = file.network.sync
    check_targets("network.sync.assume_valid_targets", sync.assume_valid_targets or ())
    _check_texts("network.sync.min_chain_work", [sync.min_chain_work or "0x0"], _parse_work)
    if file.block_assembler is not None:
        _check_block_assembler(file.block_assembler)
        check_notify(file.block_assembler)
    check_workers(file.miner.workers)
    if file.miner.listen is not None:
        parse_address("miner.listen", file.miner.listen)
    _check_stratum(file.stratum)


def _check_stratum(section: StratumSection) -> None:
    _stratum_addresses(section)
    if section.min_difficulty > section.max_difficulty:
        raise ConfigError("stratum.min_difficulty: is above max_difficulty")


def _stratum_addresses(section: StratumSection) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    tcp, tls = section.listen_address, section.tls_listen_address
    return (
        None if tcp is None else parse_address("stratum.listen_address", tcp),
        None if tls is None else parse_address("stratum.tls_listen_address", tls),
    )


def _metrics_address(file: FileConfig) -> tuple[str, int] | None:
    exporter = file.metrics.exporter.prometheus
    if exporter is None:
        return None
    return parse_address("metrics.exporter.prometheus.target.listen_address", exporter.target.listen_address)


def _parse_work(text: str) -> int:
    return parse_uint(text, 256)


def check_targets(key: str, targets: Sequence[str]) -> None:
    """Block hashes; the zero hash alone means that there are none. Raises ConfigError."""
    _check_texts(key, targets, parse_hash)
    if len(targets) > 1 and any(parse_hash(target) == ZERO_HASH for target in targets):
        raise ConfigError(f"{key}: the zero hash, which means none, stands among others")


def _check_block_assembler(section: AssemblerSection) -> None:
    _check_texts("block_assembler.code_hash", [section.code_hash], parse_hash)
    _check_texts("block_assembler.args", [section.args], parse_bytes)
    _check_texts("block_assembler.hash_type", [section.hash_type], parse_hash_type)
    _check_texts("block_assembler.message", [section.message], parse_bytes)
    if parse_hash_type(section.hash_type) not in ENABLED_HASH_TYPES:
        raise ConfigError(f"block_assembler.hash_type: no lock may have the hash type `{section.hash_type}`")


def _check_texts(key: str, values: Sequence[T], read: Callable[[T], object]) -> None:
    try:
        for value in values:
            read(value)
    except (BadTextError, BadOriginError) as error:
        raise ConfigError(f"{key}: {error}") from error


def parse_address(key: str, text: str) -> tuple[str, int]:
    """`host:port`, with IPv6 hosts in brackets. Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{key}: {text!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _read_text(path: Path) -> str:
    try:
        return read_text(path, MAX_CONFIG_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; make one with `ckb-node init -C {path.parent}`") from None
    except TextFileError as error:
        raise ConfigError(str(error)) from None
