"""Chain specs: TOML files that say what a chain is, in the reference node's format, and the public chains' facts.

`parse_spec(text)` reads one, `build_consensus(spec, load_cell_file)` turns it into the parameters that the rules use.
Files are the caller's affair: a cell named `{ bundled = "specs/cells/dao" }` is asked for by that name, one named
`{ file = "cells/my_lock" }` by its path, made to start with "./" unless it is absolute, so that the two never mix.

A spec whose genesis cannot be built from the file alone names the whole block instead: `[genesis]` then has only
`hash` and `block = { file = … }` (or `bundled`), the block's molecule bytes.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from consensus.chainspec.genesis import verify_genesis
from consensus.chainspec.genesis_build import (
    OUTPUT_DAO,
    OUTPUT_MULTISIG_ALL,
    OUTPUT_SIGHASH_ALL,
    DepGroup,
    GenesisIssuance,
    GenesisMismatchError,
    GenesisRecipe,
    IssuedCell,
    LoadCellFile,
    SatoshiGift,
    SystemCell,
    build_genesis,
    check_genesis,
)
from consensus.chainspec.reader import SpecFieldError, SpecTable
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.crypto.hashing import ckb_hash
from consensus.errors import CkbError, MoleculeError, SpecError
from consensus.params import Consensus, Deployment, Hardforks, PowFunc
from consensus.rules.epoch import genesis_block_issuance, genesis_epoch_ext
from consensus.types.blockchain import Block, Script
from consensus.types.core import EpochFraction

MAINNET = "ckb"
TESTNET = "ckb_testnet"

MAINNET_GENESIS_HASH = bytes.fromhex("92b197aa1fba0f63633922c61c92375c9c074a93e85963554f5499fe1450d0e5")

# First epochs of the forks of the public chains: RFC 28 and RFC 32 came with CKB2021, whose other rules hold from
# epoch 0 because no older block breaks them; RFC 48 and RFC 49 are CKB2023.
PUBLIC_HARDFORKS = {
    MAINNET: Hardforks(rfc_0028=5414, rfc_0032=5414, rfc_0048=12_293, rfc_0049=12_293),
    TESTNET: Hardforks(rfc_0028=3113, rfc_0032=3113, rfc_0048=9690, rfc_0049=9690),
}
PUBLIC_RFC_0044_EPOCHS = {MAINNET: 8651, TESTNET: 5711}
MIN_CHAIN_WORK = {MAINNET_GENESIS_HASH: 0x3314412053C82802A7}

# What chains other than the public two deploy (RFC 43).
LIGHT_CLIENT = Deployment(
    name="light_client",
    bit=1,
    start=0,
    timeout=0,
    min_activation_epoch=0,
    period=10,
    threshold=Fraction(3, 4),
    is_always_active=True,
)

EPOCH_PART_BITS = 16
HASH_TYPES = {"data": 0, "type": 1, "data1": 2, "data2": 4}

DEFAULT_GIFT = SatoshiGift(bytes.fromhex("62e907b15cbf27d5425399ebf6f0fb50ebb88f18"), Fraction(6, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainParams:
    """`[params]`; what a file leaves out is as on mainnet. Rewards in shannons, durations in seconds."""

    initial_primary_epoch_reward: int = 191_780_821_917_808
    secondary_epoch_reward: int = 61_369_863_013_698
    max_block_cycles: int = 3_500_000_000
    max_block_bytes: int = 597_000
    cellbase_maturity: int = 4
    """Whole epochs."""
    primary_epoch_reward_halving_interval: int = 8760
    epoch_duration_target: int = 14_400
    genesis_epoch_length: int = 1000
    permanent_difficulty_in_dummy: bool = False
    max_block_proposals_limit: int = 1500
    orphan_rate_target: Fraction = Fraction(1, 40)
    starting_block_limiting_dao_withdrawing_lock: int = 10_000_000
    ckb2023: int | None = None
    """`[params.hardfork]`: first epoch of CKB2023 on a chain of one's own."""


@dataclass(frozen=True, slots=True)
class GenesisFile:
    """A genesis that is a whole block in a file."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSpec:
    """A parsed chain spec. `genesis_hash`: what the file says the genesis must be, None when it does not say."""

    name: str
    genesis: GenesisRecipe | GenesisFile
    genesis_hash: bytes | None
    gift: SatoshiGift
    params: ChainParams
    pow_func: PowFunc
    content_hash: bytes = field(default=b"")
    """Hash of what the file says (comments and layout left out): a data directory remembers it."""
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """The file as TOML has it."""

    def with_message(self, message: str) -> ChainSpec:
        """The same chain with another message in its genesis, hence another genesis."""
        if not isinstance(self.genesis, GenesisRecipe):
            raise SpecError(f"the genesis of {self.name} is a whole block; its message cannot be chosen")
        return replace(self, genesis=replace(self.genesis, message=message), genesis_hash=None)

    @property
    def issuance(self) -> GenesisIssuance:
        """What enters the dao field of genesis besides its transactions."""
        length = self.params.genesis_epoch_length
        return GenesisIssuance(
            primary=genesis_block_issuance(self.params.initial_primary_epoch_reward, length),
            secondary=genesis_block_issuance(self.params.secondary_epoch_reward, length),
            gift=self.gift,
        )


def parse_spec(text: str) -> ChainSpec:
    """Read a chain spec. SpecError when it is no TOML, SpecFieldError (with the key's path) when a key is wrong."""
    try:
        return read_spec(tomllib.loads(text))
    except RecursionError:
        raise SpecError("chain spec: nested too deeply") from None
    except ValueError as error:  # besides TOMLDecodeError that of an integer with too many digits
        raise SpecError(f"chain spec: {error}") from error


def read_spec(document: dict[str, Any]) -> ChainSpec:
    """A chain spec from an already parsed TOML document; SpecFieldError as for `parse_spec`."""
    root = SpecTable(document)
    genesis = root.table("genesis")
    spec = ChainSpec(
        name=root.text("name"),
        genesis=_genesis_file(genesis) if genesis.has("block") else _genesis_recipe(genesis),
        genesis_hash=genesis.data("hash", 32) if genesis.has("hash") else None,
        gift=_satoshi_gift(genesis.table("satoshi_gift")) if genesis.has("satoshi_gift") else DEFAULT_GIFT,
        params=_params(root.table("params")) if root.has("params") else ChainParams(),
        pow_func=_pow(root.table("pow")),
        content_hash=ckb_hash(json.dumps(document, sort_keys=True, default=str).encode()),
        document=document,
    )
    genesis.finish()
    root.finish()
    _check_hardfork(spec)
    return spec


def _check_hardfork(spec: ChainSpec) -> None:
    public = PUBLIC_HARDFORKS.get(spec.name)
    if public is not None and spec.params.ckb2023 not in {None, public.rfc_0049}:
        raise SpecFieldError("params.hardfork.ckb2023", f"{spec.name} forked at epoch {public.rfc_0049}")


def _genesis_file(table: SpecTable) -> GenesisFile:
    if not table.has("hash"):
        raise SpecFieldError(table.path_of("hash"), "is missing: a genesis that is a whole block is known by its hash")
    return GenesisFile(_file_name(table.table("block")))


def _genesis_recipe(table: SpecTable) -> GenesisRecipe:
    message_cell = table.table("genesis_cell")
    for key in ("parent_hash", "uncles_hash"):
        if any(table.data(key, 32)):
            raise SpecFieldError(table.path_of(key), "must be zero: genesis has no parent and no uncles")
    recipe = GenesisRecipe(
        version=table.integer("version", 32),
        timestamp=table.integer("timestamp"),
        compact_target=table.positive("compact_target", 32),
        nonce=table.hex_integer("nonce", 128),
        message=message_cell.text("message"),
        message_lock=_script(message_cell.table("lock")),
        system_cells=tuple(_system_cell(cell) for cell in table.tables("system_cells")),
        system_cells_lock=_script(table.table("system_cells_lock")),
        bootstrap_lock=_script(table.table("bootstrap_lock")),
        dep_groups=tuple(_dep_group(group) for group in table.tables("dep_groups")),
        issued_cells=tuple(_issued_cell(cell) for cell in table.tables("issued_cells")),
    )
    message_cell.finish()
    return recipe


def _system_cell(table: SpecTable) -> SystemCell:
    cell = SystemCell(
        file=_file_name(table.table("file")),
        create_type_id=table.flag("create_type_id"),
        capacity=table.integer("capacity") if table.has("capacity") else None,
    )
    table.finish()
    return cell


def _dep_group(table: SpecTable) -> DepGroup:
    group = DepGroup(table.text("name"), tuple(_file_name(file) for file in table.tables("files")))
    table.finish()
    return group


def _issued_cell(table: SpecTable) -> IssuedCell:
    cell = IssuedCell(
        capacity=table.integer("capacity"),
        lock=_script(table.table("lock")),
        type_=_script(table.table("type")) if table.has("type") else None,
        data=table.data("data") if table.has("data") else b"",
    )
    table.finish()
    return cell


def _file_name(table: SpecTable) -> str:
    key = "bundled" if table.has("bundled") else "file"
    name = table.text(key)
    table.finish()
    if key == "bundled":
        if not name.startswith("specs/"):
            raise SpecFieldError(table.path_of(key), "bundled files have names that start with specs/")
        return name
    return name if name.startswith(("/", "./")) else f"./{name}"


def _script(table: SpecTable) -> Script:
    hash_type = table.text("hash_type")
    if hash_type not in HASH_TYPES:
        raise SpecFieldError(table.path_of("hash_type"), f"expected one of {', '.join(HASH_TYPES)}, got {hash_type}")
    script = Script(code_hash=table.data("code_hash", 32), hash_type=HASH_TYPES[hash_type], args=table.data("args"))
    table.finish()
    return script


def _satoshi_gift(table: SpecTable) -> SatoshiGift:
    ratio = table.table("satoshi_cell_occupied_ratio")
    gift = SatoshiGift(table.data("satoshi_pubkey_hash", 20), Fraction(ratio.integer("numer"), ratio.positive("denom")))
    if gift.occupied_ratio > 1:
        raise SpecFieldError(ratio.path_of("numer"), "a cell cannot occupy more than its capacity")
    ratio.finish()
    table.finish()
    return gift


def _params(table: SpecTable) -> ChainParams:
    values: dict[str, Any] = {}
    for key in ("secondary_epoch_reward", "max_block_proposals_limit", "starting_block_limiting_dao_withdrawing_lock"):
        if table.has(key):
            values[key] = table.integer(key)
    for key in (
        "initial_primary_epoch_reward",
        "max_block_cycles",
        "max_block_bytes",
        "primary_epoch_reward_halving_interval",
        "epoch_duration_target",
    ):
        if table.has(key):
            values[key] = table.positive(key)
    if table.has("genesis_epoch_length"):
        values["genesis_epoch_length"] = table.positive("genesis_epoch_length", EPOCH_PART_BITS)
    if table.has("permanent_difficulty_in_dummy"):
        values["permanent_difficulty_in_dummy"] = table.flag("permanent_difficulty_in_dummy")
    if table.has("cellbase_maturity"):
        values["cellbase_maturity"] = _whole_epochs(table, "cellbase_maturity")
    if table.has("orphan_rate_target"):
        values["orphan_rate_target"] = _rate(table, "orphan_rate_target")
    if table.has("hardfork"):
        hardfork = table.table("hardfork")
        values["ckb2023"] = hardfork.integer("ckb2023") if hardfork.has("ckb2023") else None
        hardfork.finish()
    table.finish()
    return ChainParams(**values)


def _whole_epochs(table: SpecTable, key: str) -> int:
    """The file holds a packed epoch number with fraction, so that a plain 4 means four epochs; only whole ones work."""
    epoch = EpochFraction.unpack(table.integer(key))
    if epoch.index:
        raise SpecFieldError(table.path_of(key), "must be a whole number of epochs")
    return epoch.number


def _rate(table: SpecTable, key: str) -> Fraction:
    numerator, denominator = table.pair(key, 32)
    if numerator == 0 or denominator == 0:
        raise SpecFieldError(table.path_of(key), "must be a positive rate")
    return Fraction(numerator, denominator)


def _pow(table: SpecTable) -> PowFunc:
    name = table.text("func")
    table.finish()
    try:
        return PowFunc(name)
    except ValueError:
        names = ", ".join(func.value for func in PowFunc)
        raise SpecFieldError(table.path_of("func"), f"expected one of {names}, got {name}") from None


def load_genesis(spec: ChainSpec, load_cell_file: LoadCellFile) -> Block:
    """The genesis block that a spec describes, built or read; `consensus_of` checks it."""
    if isinstance(spec.genesis, GenesisRecipe):
        return build_genesis(spec.genesis, spec.issuance, load_cell_file)
    return _read_genesis(load_cell_file(spec.genesis.file), spec.genesis.file)


def _read_genesis(data: bytes, name: str) -> Block:
    try:
        return Block.parse(data)
    except MoleculeError as error:
        raise SpecError(f"genesis block {name}: {error}") from error


def build_consensus(spec: ChainSpec, load_cell_file: LoadCellFile) -> Consensus:
    """All parameters of a chain. SpecError when its genesis cannot be made, or is not the one that the spec names."""
    return consensus_of(spec, load_genesis(spec, load_cell_file))


def consensus_of(spec: ChainSpec, genesis: Block) -> Consensus:
    """All parameters of a chain whose genesis block is at hand (from a peer, say); the block is checked in full."""
    if spec.genesis_hash is not None and genesis.hash != spec.genesis_hash:
        raise GenesisMismatchError(spec.genesis_hash, genesis.hash)
    if compact_to_difficulty(genesis.header.compact_target) == 0:
        raise SpecError(f"genesis: the compact target {genesis.header.compact_target:#x} means no difficulty")
    try:
        consensus = _unchecked_consensus(spec, genesis)
        verify_genesis(consensus)
    except CkbError as error:
        raise SpecError(f"genesis: {error}") from error
    check_genesis(genesis)
    return consensus


def _type_hash(genesis: Block, index: int) -> bytes | None:
    """Type script hash of an output of the first transaction."""
    outputs = genesis.transactions[0].body.outputs if genesis.transactions else ()
    type_script = outputs[index].type_ if index < len(outputs) else None
    return None if type_script is None else type_script.hash


def _unchecked_consensus(spec: ChainSpec, genesis: Block) -> Consensus:
    params = spec.params
    return Consensus(
        id=spec.name,
        genesis_block=genesis,
        genesis_epoch=genesis_epoch_ext(
            params.initial_primary_epoch_reward,
            genesis.header.compact_target,
            params.genesis_epoch_length,
            params.epoch_duration_target,
            params.orphan_rate_target,
        ),
        pow_func=spec.pow_func,
        initial_primary_epoch_reward=params.initial_primary_epoch_reward,
        secondary_epoch_reward=params.secondary_epoch_reward,
        orphan_rate_target=params.orphan_rate_target,
        epoch_duration_target_s=params.epoch_duration_target,
        cellbase_maturity_epochs=params.cellbase_maturity,
        max_block_cycles=params.max_block_cycles,
        max_block_bytes=params.max_block_bytes,
        max_block_proposals=params.max_block_proposals_limit,
        primary_epoch_reward_halving_interval=params.primary_epoch_reward_halving_interval,
        permanent_difficulty_in_dummy=params.permanent_difficulty_in_dummy,
        min_chain_work=MIN_CHAIN_WORK.get(genesis.hash, 0),
        satoshi_pubkey_hash=spec.gift.pubkey_hash,
        satoshi_cell_occupied_ratio=spec.gift.occupied_ratio,
        starting_block_limiting_dao_withdrawing_lock=params.starting_block_limiting_dao_withdrawing_lock,
        rfc_0044_epoch=PUBLIC_RFC_0044_EPOCHS.get(spec.name, 0),
        hardforks=_hardforks(spec),
        deployments=() if spec.name in PUBLIC_HARDFORKS else (LIGHT_CLIENT,),
        dao_type_hash=_type_hash(genesis, OUTPUT_DAO),
        secp256k1_blake160_sighash_all_type_hash=_type_hash(genesis, OUTPUT_SIGHASH_ALL),
        secp256k1_blake160_multisig_all_type_hash=_type_hash(genesis, OUTPUT_MULTISIG_ALL),
    )


def _hardforks(spec: ChainSpec) -> Hardforks:
    """The public chains' forks are history; other chains start with all of them, CKB2023 when they say."""
    if spec.name in PUBLIC_HARDFORKS:
        return PUBLIC_HARDFORKS[spec.name]
    ckb2023 = spec.params.ckb2023 or 0
    return Hardforks(rfc_0048=ckb2023, rfc_0049=ckb2023)
