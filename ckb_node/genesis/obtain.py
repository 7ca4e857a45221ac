"""The consensus of the node's chain: its genesis block built, or read from the node's directory, or got from outside.

Only the hash in the chain spec decides whether a block is the genesis block, so it may come from any source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ckb_node.config import Config
from ckb_node.genesis.files import read_block_file, write_block_file
from consensus.chainspec.genesis_build import LoadCellFile
from consensus.chainspec.spec import ChainSpec, build_consensus, consensus_of
from consensus.errors import SpecError
from consensus.params import Consensus
from consensus.types.blockchain import Block

Say = Callable[[str], None]


class GenesisSource(Protocol):
    """Somewhere a genesis block may be; `str(source)` names it."""

    def load(self, spec: ChainSpec) -> Block:
        """A block that may be the chain's genesis. SpecError when there is none."""
        ...


class GenesisMissingError(SpecError):
    """The chain's genesis block is not at hand. `failures` says why, one line for each place that was looked at."""

    def __init__(self, spec: ChainSpec, failures: Sequence[str]) -> None:
        wanted = "" if spec.genesis_hash is None else f" (0x{spec.genesis_hash.hex()})"
        super().__init__(
            f"the genesis block of {spec.name}{wanted} is not at hand: {'; '.join(failures)}. "
            "Get it once by one of: `--genesis-peer ADDRESS` (any peer of the chain, as /ip4/…/tcp/…/p2p/Qm…; `run` "
            "asks those of network.bootnodes by itself), `--genesis FILE` (the block in molecule or JSON), "
            "`--genesis-rpc URL` (any node of the chain), `--crates DIR` (the unpacked Rust crates ckb-resource and "
            "ckb-system-scripts), with `ckb-node init` or `ckb-node run`"
        )
        self.failures = list(failures)


def stored_genesis_path(root: Path, genesis_hash: bytes) -> Path:
    """Where the node in directory `root` keeps a genesis block that it got from outside."""
    return root / "specs" / f"genesis-{genesis_hash.hex()[:16]}.block"


def load_consensus(config: Config) -> Consensus:
    """The chain's parameters with its genesis block, verified. GenesisMissingError, SpecError, ConfigError."""
    spec, load_cell_file = config.load_spec()
    if spec.genesis_hash is None:
        return _built(spec, load_cell_file)
    failures = []
    path = stored_genesis_path(config.root, spec.genesis_hash)
    if path.exists():
        try:
            return consensus_of(spec, read_block_file(path))
        except SpecError as error:
            failures.append(_named(path, error))
    try:
        return build_consensus(spec, load_cell_file)
    except SpecError as error:
        raise GenesisMissingError(spec, [*failures, f"the node's own files do not make it ({error})"]) from error


def obtain_consensus(config: Config, sources: Sequence[GenesisSource], say: Say) -> Consensus:
    """The same; what is not at hand is taken from the first source that has it, and kept. OSError too."""
    try:
        return load_consensus(config)
    except GenesisMissingError as error:
        if not sources:
            raise
        failures = error.failures
    spec, _ = config.load_spec()
    for source in sources:
        say(f"Looking for the genesis block of {spec.name} in {source}")
        try:
            consensus = consensus_of(spec, source.load(spec))
        except SpecError as error:
            say(f"Not there: {error}")
            failures.append(_named(source, error))
            continue
        path = stored_genesis_path(config.root, consensus.genesis_hash)
        write_block_file(path, consensus.genesis_block)
        say(f"Create {path.relative_to(config.root)}: {len(consensus.genesis_block.raw)} bytes, verified by hash")
        return consensus
    raise GenesisMissingError(spec, failures)


def _built(spec: ChainSpec, load_cell_file: LoadCellFile) -> Consensus:
    """Of a spec that does not say which block it must be, so that nothing from outside could take its place."""
    try:
        return build_consensus(spec, load_cell_file)
    except SpecError as error:
        raise SpecError(
            f"{error}; or write the genesis block's `hash` into [genesis] of the spec, and the block is got from peers "
            "or from what --genesis, --genesis-rpc or --genesis-peer name"
        ) from error


def _named(where: object, error: SpecError) -> str:
    """The error's text, which begins with the place unless it names it already."""
    return str(error) if str(where) in str(error) else f"{where}: {error}"
