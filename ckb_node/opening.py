"""Opening the chain of a node's directory, for the node itself and for commands that work on its data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.writer import ChainWriter
from ckb_node.config import Config, SpecCheck
from ckb_node.genesis.obtain import load_consensus
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.rpc import page_kernel
from ckb_node.runtime.clock import SystemClock
from ckb_node.runtime.system_limits import require_address_space
from ckb_node.verification.service import ParallelScriptService
from consensus.kernels.prepare import load_kernels
from consensus.params import Consensus
from storage.chain_state import ChainState
from storage.chain_store import ChainStore, ChainStoreOptions
from storage.errors import ArchiveBehindDatabase, ArchiveUnknown, DatabaseBehindArchive, SpecMismatch, StorageCorrupt
from storage.leveldb import LevelDbOptions
from vm import Engines

log = structlog.get_logger("chain")

CHAIN_DIRECTORY = "chain"
"""In the data directory."""
DATABASE_CURE = (
    "`ckb-node check` names the files that are damaged; `ckb-node recover` builds the database anew from the archive "
    "of blocks, and keeps the old one aside"
)
ARCHIVE_CURE = (
    "Put the file back from a copy; without one, `ckb-node recover --salvage` keeps the blocks up to the damage, and "
    "the files as they are aside"
)
STORE_OPTIONS = ChainStoreOptions(LevelDbOptions(cure=DATABASE_CURE))
ENGINES_DIRECTORY = "vm"
"""Compiled engines, kernels and translations, in the data directory; native code, so only this user may read it."""


def _check_identity(store: ChainStore, genesis_hash: bytes, spec_hash: bytes, check: SpecCheck) -> None:
    try:
        store.check_identity(genesis_hash, spec_hash)
    except SpecMismatch as mismatch:
        if check is SpecCheck.REFUSE:
            raise
        log.warning("the chain spec has changed", stored=bytes_text(mismatch.stored), configured=bytes_text(spec_hash))
        if check is SpecCheck.OVERWRITE:
            with store.begin() as txn:
                txn.put_spec_hash(spec_hash)
                txn.commit()


@contextmanager
def _engines_directory(data_dir: Path) -> Iterator[Path]:
    """Where compiled code is kept; where it cannot be, each process that needs it compiles it anew."""
    directory = data_dir / ENGINES_DIRECTORY
    probe = directory / f"probe.{os.getpid()}.tmp"
    with ExitStack() as stack:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe.write_bytes(bytes(4096))
        except OSError as error:
            log.warning("compiled code cannot be kept; scripts run, but begin slowly", reason=str(error))
            if not directory.is_dir():
                directory = Path(stack.enter_context(TemporaryDirectory(prefix="ckb-node-vm-")))
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        yield directory


def _engines(directory: Path) -> Engines:
    """With the kernels, whose compiled code lies beside theirs."""
    load_kernels(directory)
    page_kernel.KERNEL.load(directory)
    return Engines(directory)


@contextmanager
def open_chain(
    config: Config, *, script_processes: int | None = None
) -> Iterator[tuple[Consensus, ChainStore, ChainWriter]]:
    """Chain spec, database and the writer that writes it. Raises ConfigError, SpecError, StorageError.

    `script_processes` run the scripts of blocks, None: one for each processor.
    """
    require_address_space()
    spec, _ = config.load_spec()
    consensus = config.with_overrides(load_consensus(config))
    with advice():
        store = ChainStore.open(config.data_dir / CHAIN_DIRECTORY, STORE_OPTIONS)
        try:
            _check_identity(store, consensus.genesis_hash, spec.content_hash, config.spec_check)
            with processing(config, consensus, store, script_processes) as writer:
                writer.start(spec.content_hash)
                with store.view() as view:
                    is_stored = partial(_is_stored, view)
                    writer.assume_valid.forget_stored(is_stored)
                yield consensus, store, writer
        finally:
            store.close()


def _is_stored(view: ChainState, block_hash: bytes) -> bool:
    return view.header(block_hash) is not None


@contextmanager
def processing(
    config: Config, consensus: Consensus, store: ChainStore, script_processes: int | None
) -> Iterator[ChainWriter]:
    """The writer of an open store, with all that runs its scripts."""
    for_pool = config.file.tx_pool.max_tx_verify_workers
    with (
        _engines_directory(config.data_dir.absolute()) as directory,
        _engines(directory) as engines,
        closing(ParallelScriptService(consensus, engines, directory, script_processes, for_pool)) as scripts,
    ):
        assume_valid = AssumeValid(config.assume_valid_targets(consensus))
        yield ChainWriter(consensus, store, scripts, SystemClock().now_ms, assume_valid)


@contextmanager
def advice() -> Iterator[None]:
    """Whatever is wrong with the chain's files, say what the operator can do."""
    try:
        yield
    except (ArchiveBehindDatabase, ArchiveUnknown, DatabaseBehindArchive, StorageCorrupt) as error:
        is_archive = isinstance(error, ArchiveBehindDatabase) or error.path.suffix == ".dat"
        error.advise(ARCHIVE_CURE if is_archive else DATABASE_CURE)
        raise
