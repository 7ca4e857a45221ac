"""Unpacked Rust crates as a source: `ckb-system-scripts` has the system cells, `ckb-resource` mainnet's first owners.

A directory may hold one of each, as `cargo vendor` leaves them, or several versions, as cargo's own cache does. Their
files are read as data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ckb_node.genesis.files import GenesisSourceError, read_bounded
from ckb_node.specs import CELL_PREFIX
from ckb_node.specs.published import OFFICIAL_CELLS, OfficialCell
from consensus.chainspec.genesis_build import GenesisRecipe, LoadCellFile, build_genesis
from consensus.chainspec.spec import MAINNET, ChainSpec, parse_spec
from consensus.crypto.hashing import data_hash
from consensus.errors import SpecError
from consensus.types.blockchain import Block

MAX_CELL_BYTES = 4 << 20
MAX_SPEC_BYTES = 4 << 20
MAX_VERSIONS = 50
"""Unpacked versions of one crate that are looked at."""

MAINNET_SPEC_FILE = "mainnet.toml"


@dataclass(frozen=True, slots=True)
class CratesSource:
    """Builds the genesis block from the crates in `directory`."""

    directory: Path

    def __str__(self) -> str:
        return f"the crates in {self.directory}"

    def load(self, spec: ChainSpec) -> Block:
        """The genesis block that the crates' files make. GenesisSourceError."""
        load_cell_file = official_cells(_cell_directories(self.directory))
        try:
            return build_genesis(self._recipe(spec), spec.issuance, load_cell_file)
        except GenesisSourceError:
            raise
        except SpecError as error:
            raise GenesisSourceError(f"{self.directory}: {error}") from error

    def _recipe(self, spec: ChainSpec) -> GenesisRecipe:
        """How the genesis block is built. Mainnet's spec lacks the first owners: the crate has them."""
        if isinstance(spec.genesis, GenesisRecipe):
            return spec.genesis
        if spec.name != MAINNET:
            raise GenesisSourceError(f"{self.directory}: no crate describes the genesis block of {spec.name}")
        fault = f"{self.directory}: found no ckb-resource*/specs/{MAINNET_SPEC_FILE} of {spec.name}"
        for path in _spec_files(self.directory):
            try:
                theirs = _read_spec(path)
            except GenesisSourceError as error:
                fault = str(error)
                continue
            if theirs.name == spec.name and isinstance(theirs.genesis, GenesisRecipe):
                return theirs.genesis
        raise GenesisSourceError(fault)


def official_cells(directories: Iterable[Path]) -> LoadCellFile:
    """Loads system cells of the public chains by the names that specs give them, each verified by its hash."""
    places = tuple(directories)
    cells = {cell.file: cell for cell in OFFICIAL_CELLS}

    def load(name: str) -> bytes:
        if name not in cells:
            raise GenesisSourceError(f"{name} is no system cell of the public chains")
        return _first_official(cells[name], places)

    return load


def _first_official(cell: OfficialCell, directories: tuple[Path, ...]) -> bytes:
    base = cell.file.removeprefix(CELL_PREFIX)
    found = [directory / base for directory in directories if (directory / base).is_file()]
    for path in found:
        data = read_bounded(path, MAX_CELL_BYTES)
        if data_hash(data) == cell.data_hash:
            return data
    if found:
        raise GenesisSourceError(f"{found[0]}: is not the official {base}, whose hash is 0x{cell.data_hash.hex()}")
    raise GenesisSourceError(f"found no system cell {base}")


def _cell_directories(directory: Path) -> list[Path]:
    found = [path / "specs" / "cells" for path in _versions(directory, "ckb-system-scripts")]
    if not found:
        raise GenesisSourceError(f"{directory}: found no crate ckb-system-scripts in it")
    return found


def _spec_files(directory: Path) -> Iterator[Path]:
    for crate in _versions(directory, "ckb-resource"):
        path = crate / "specs" / MAINNET_SPEC_FILE
        if path.is_file():
            yield path


def _versions(directory: Path, crate: str) -> list[Path]:
    """Directories `crate` and `crate-<version>`, newest name first."""
    try:
        names = [path for path in directory.iterdir() if path.name == crate or path.name.startswith(f"{crate}-")]
    except OSError as error:
        raise GenesisSourceError(f"{directory}: {error.strerror}") from error
    return sorted(names, reverse=True)[:MAX_VERSIONS]


def _read_spec(path: Path) -> ChainSpec:
    try:
        return parse_spec(read_bounded(path, MAX_SPEC_BYTES).decode())
    except (SpecError, UnicodeDecodeError) as error:
        raise GenesisSourceError(f"{path}: {error}") from error
