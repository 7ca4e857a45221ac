"""`ckb-node list-hashes`: where the system cells of a chain are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ckb_node.config import Config
from ckb_node.genesis.obtain import load_consensus
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.specs import BUNDLED, cell_file, load_bundled
from ckb_node.specs.published import DEP_GROUPS, OFFICIAL_CELLS, PUBLISHED_GENESIS
from consensus.chainspec.genesis_build import GenesisRecipe, genesis_type_id
from consensus.chainspec.spec import ChainSpec, build_consensus
from consensus.chainspec.text import canonical_text
from consensus.crypto.hashing import ckb_hash, data_hash
from consensus.params import Consensus


class SystemCellHashes(Struct, frozen=True):
    """An output of the first transaction of genesis."""

    path: str
    tx_hash: str
    index: int
    data_hash: str
    type_hash: str | UnsetType = UNSET


class DepGroupHashes(Struct, frozen=True):
    """An output of the second transaction of genesis."""

    included_cells: Sequence[str]
    tx_hash: str
    index: int


class SpecHashes(Struct, frozen=True):
    """What identifies a chain, and its system cells."""

    spec_hash: str
    genesis: str
    cellbase: str
    system_cells: Sequence[SystemCellHashes]
    dep_groups: Sequence[DepGroupHashes]


def spec_hash_of(spec: ChainSpec, directory: Path) -> bytes:
    """What the reference calls the hash of a spec that lies in `directory`; names of files count as absolute paths.

    Only we know specs whose genesis is a whole block, so their hash is ours.
    """
    if not isinstance(spec.genesis, GenesisRecipe):
        return spec.content_hash
    return ckb_hash(canonical_text(spec.document, lambda name: str(directory / name)).encode())


def hashes_of(spec: ChainSpec, consensus: Consensus, directory: Path) -> SpecHashes:
    """The hashes of one chain, from its genesis block. `directory`: where the spec lies."""
    genesis = consensus.genesis_block
    recipe = spec.genesis if isinstance(spec.genesis, GenesisRecipe) else None
    cellbase = genesis.transactions[0]
    system_cells = []
    for index, cell in enumerate(recipe.system_cells if recipe else (), start=1):
        output, data = cellbase.body.outputs[index], cellbase.body.outputs_data[index]
        type_hash = UNSET if output.type_ is None else bytes_text(output.type_.hash)
        system_cells.append(
            SystemCellHashes(
                _shown(cell.file, directory), bytes_text(cellbase.hash), index, bytes_text(data_hash(data)), type_hash
            )
        )
    groups = recipe.dep_groups if recipe else ()
    dep_groups = [
        DepGroupHashes(
            [_shown(file, directory) for file in group.files], bytes_text(genesis.transactions[1].hash), index
        )
        for index, group in enumerate(groups)
    ]
    return SpecHashes(
        bytes_text(spec_hash_of(spec, directory)),
        bytes_text(genesis.hash),
        bytes_text(cellbase.hash),
        system_cells,
        dep_groups,
    )


def published_hashes_of(spec: ChainSpec, directory: Path) -> SpecHashes | None:
    """The same of a public chain, whose genesis block need not be at hand; None for other chains."""
    if spec.genesis_hash is None or spec.genesis_hash not in PUBLISHED_GENESIS:
        return None
    published = PUBLISHED_GENESIS[spec.genesis_hash]
    cellbase = bytes_text(published.cellbase)
    system_cells = [
        SystemCellHashes(
            _shown(cell.file, directory),
            cellbase,
            cell.output_index,
            bytes_text(cell.data_hash),
            bytes_text(genesis_type_id(cell.output_index).hash) if cell.has_type_id else UNSET,
        )
        for cell in OFFICIAL_CELLS
    ]
    dep_groups = [
        DepGroupHashes([_shown(file, directory) for file in files], bytes_text(published.dep_groups), index)
        for index, files in enumerate(DEP_GROUPS)
    ]
    spec_hash = published.spec_hash or spec_hash_of(spec, directory)
    return SpecHashes(bytes_text(spec_hash), bytes_text(spec.genesis_hash), cellbase, system_cells, dep_groups)


def bundled_hashes() -> dict[str, SpecHashes]:
    """The hashes of the bundled chains, by each chain's own name."""
    nowhere = Path()
    return {
        spec.name: published_hashes_of(spec, nowhere) or hashes_of(spec, build_consensus(spec, cell_file), nowhere)
        for spec in map(load_bundled, BUNDLED)
    }


def configured_hashes(config: Config) -> dict[str, SpecHashes]:
    """The hashes of the configured chain. SpecError when its genesis block is needed and not at hand."""
    spec, _ = config.load_spec()
    directory = config.spec_directory
    return {spec.name: published_hashes_of(spec, directory) or hashes_of(spec, load_consensus(config), directory)}


def _shown(file: str, directory: Path) -> str:
    return f"Bundled({file})" if file.startswith("specs/") else f"FileSystem({directory / file})"


def as_json(hashes: dict[str, SpecHashes]) -> str:
    """Indented JSON."""
    return msgspec.json.format(msgspec.json.encode(hashes), indent=2).decode()


def as_toml(hashes: dict[str, SpecHashes]) -> str:
    """TOML with a table for each chain and an array of tables for its cells."""
    lines: list[str] = []
    for name, spec in hashes.items():
        plain: dict[str, Any] = msgspec.to_builtins(spec)
        lines += [f"[{name}]", *_pairs({key: value for key, value in plain.items() if isinstance(value, str)}), ""]
        for table in ("system_cells", "dep_groups"):
            for item in plain[table]:
                lines += [f"[[{name}.{table}]]", *_pairs(item), ""]
    return "\n".join(lines)


def _pairs(values: dict[str, Any]) -> list[str]:
    # Hashes, names and numbers only: what JSON writes for them is TOML.
    return [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in values.items()]
