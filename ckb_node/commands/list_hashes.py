"""`ckb-node list-hashes`: where the system cells of a chain are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ckb_node.rpc.hextext import bytes_text
from ckb_node.specs import BUNDLED, files_of, load_bundled
from consensus.errors import SpecError
from consensus.genesis_build import GenesisRecipe, LoadCellFile
from consensus.hashing import data_hash
from consensus.spec import ChainSpec, build_consensus


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


def hashes_of(spec: ChainSpec, load_cell_file: LoadCellFile) -> SpecHashes:
    """The hashes of one chain. SpecError."""
    genesis = build_consensus(spec, load_cell_file).genesis_block
    recipe = spec.genesis if isinstance(spec.genesis, GenesisRecipe) else None
    cellbase = genesis.transactions[0]
    system_cells = []
    for index, cell in enumerate(recipe.system_cells if recipe else (), start=1):
        output, data = cellbase.body.outputs[index], cellbase.body.outputs_data[index]
        type_hash = UNSET if output.type_ is None else bytes_text(output.type_.hash)
        system_cells.append(
            SystemCellHashes(
                _shown(cell.file), bytes_text(cellbase.hash), index, bytes_text(data_hash(data)), type_hash
            )
        )
    groups = recipe.dep_groups if recipe else ()
    dep_groups = [
        DepGroupHashes([_shown(file) for file in group.files], bytes_text(genesis.transactions[1].hash), index)
        for index, group in enumerate(groups)
    ]
    return SpecHashes(
        bytes_text(spec.content_hash), bytes_text(genesis.hash), bytes_text(cellbase.hash), system_cells, dep_groups
    )


def bundled_hashes(warn: Callable[[str], None]) -> dict[str, SpecHashes]:
    """The hashes of the bundled chains, by each chain's own name; tells of chains whose genesis is not at hand."""
    load_cell_file = files_of(Path())
    hashes = {}
    for name in BUNDLED:
        spec = load_bundled(name)
        try:
            hashes[spec.name] = hashes_of(spec, load_cell_file)
        except SpecError as error:
            warn(f"WARN: {name} is left out: {error}")
    return hashes


def _shown(file: str) -> str:
    return f"Bundled({file})" if file.startswith("specs/") else f"FileSystem({file})"


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
