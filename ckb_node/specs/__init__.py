"""The chain specs and system cells that come with the node."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from consensus.chainspec.genesis_build import LoadCellFile
from consensus.chainspec.spec import ChainSpec, parse_spec
from consensus.errors import SpecError

BUNDLED = ("mainnet", "testnet", "preview", "staging", "dev")
CELL_PREFIX = "specs/cells/"
MAX_FILE_BYTES = 32 << 20
"""Of a system cell, or of a whole genesis block."""


def bundled_text(name: str) -> str:
    """The TOML of a bundled spec; SpecError when there is none of this name."""
    if name not in BUNDLED:
        raise SpecError(f"no bundled chain {name!r}: there are {', '.join(BUNDLED)}")
    return resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def load_bundled(name: str) -> ChainSpec:
    """A bundled spec, parsed."""
    return parse_spec(bundled_text(name))


def cell_file(name: str) -> bytes:
    """A bundled system cell by the name that specs use, `specs/cells/…`; SpecError when there is none."""
    base = name.removeprefix(CELL_PREFIX)
    cell = resources.files(__name__).joinpath("cells", base)
    if not name.startswith(CELL_PREFIX) or "/" in base or base.startswith(".") or not cell.is_file():
        raise SpecError(f"no bundled file {name}")
    return cell.read_bytes()


def files_of(directory: Path) -> LoadCellFile:
    """How a spec that lies in `directory` gets its files: bundled ones from the package, others beside the spec."""

    def load(name: str) -> bytes:
        if name.startswith("specs/"):
            return cell_file(name)
        try:
            with (directory / name).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            raise SpecError(f"file {name} of the chain spec: {error}") from error
        if len(data) > MAX_FILE_BYTES:
            raise SpecError(f"file {name} of the chain spec: larger than {MAX_FILE_BYTES} bytes")
        return data

    return load


def cells_beside(directory: Path) -> LoadCellFile:
    """How a spec of the reference that lies in `directory` gets its files. The system cells that are part of that
    program must be in `cells`: ours have other code, and would make another genesis block."""
    load = files_of(directory)

    def load_beside(name: str) -> bytes:
        if not name.startswith(CELL_PREFIX):
            return load(name)
        try:
            return load(f"cells/{name.removeprefix(CELL_PREFIX)}")
        except SpecError:
            raise SpecError(
                f"{name}: this system cell is part of the program ckb, not of ckb-node; copy the files of specs/cells "
                f"of the crate ckb-system-scripts into {directory / 'cells'}"
            ) from None

    return load_beside
