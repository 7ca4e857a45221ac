"""`ckb-node check`: verify the files, replay the stored chain from genesis with all rules, compare with the data.

The databases' files come first, read by themselves: what is damaged is named before LevelDB, which may end the process
at damage and does not say where it is, sees any of it.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ckb_node.chain.events import Verdict
from ckb_node.chain.writer import ChainWriter
from ckb_node.config import Config
from ckb_node.filters.check import FilterReport, check_filters
from ckb_node.indexer.service import INDEXER_DIRECTORY
from ckb_node.opening import ARCHIVE_CURE, CHAIN_DIRECTORY, open_chain
from ckb_node.rpc.registry import Module
from ckb_node.runtime.clock import SystemClock
from ckb_node.runtime.progress import BlockProgress
from ckb_node.verification.scripts import ScriptService
from consensus.errors import CkbError
from consensus.lookup import require
from consensus.params import Consensus
from consensus.script.scheduler import MachineFactory
from storage.archive_scan import DAMAGED, scan
from storage.chain_state import ChainState
from storage.chain_store import BLOCKS, DB, ChainStore
from storage.compare import state_differences
from storage.filters import FILTERS_DIRECTORY, FilterStore
from storage.header_check import header_row_faults
from storage.leveldb_files import is_unmade, locked, verify_database
from storage.segments import Location, segment_path

PROGRESS_BLOCKS = 1000
RECOVER = "`ckb-node recover` builds the database anew from the archive of blocks, and keeps the old one aside"
REBUILT = "Remove the directory {directory}: the node builds it again from the chain"

Progress = Callable[[int, int], None]
"""Takes blocks done and blocks in all."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found; the data is sound when `faults` is empty."""

    blocks: int
    transactions: int
    faults: list[str]


def check_store(
    store: ChainStore, consensus: Consensus, machines: MachineFactory, spec_hash: bytes, progress: Progress
) -> CheckReport:
    """Replay into a temporary database in the data directory: it needs as much free space as the chain takes."""
    with tempfile.TemporaryDirectory(prefix="check-", dir=store.path.parent) as directory:
        fresh = ChainStore.open(Path(directory))
        try:
            writer = ChainWriter(consensus, fresh, ScriptService(consensus, machines), SystemClock().now_ms)
            writer.start(spec_hash)
            with store.view() as view:
                return _replay(view, fresh, writer, progress)
        finally:
            fresh.close()


def _replay(view: ChainState, fresh: ChainStore, writer: ChainWriter, progress: Progress) -> CheckReport:
    tip = view.tip_header().number
    transactions = 0
    for number in range(1, tip + 1):
        block = require(view.block(require(view.main_hash(number), "main-chain block", number)), "block", number)
        transactions += len(block.transactions)
        try:
            verdict = writer.process(block)
        except CkbError as error:
            return CheckReport(number, transactions, [f"block {number} (0x{block.hash.hex()}) is invalid: {error}"])
        if verdict is not Verdict.BEST:
            return CheckReport(number, transactions, [f"block {number} does not extend the chain: {verdict.value}"])
        progress(number, tip)
    with fresh.view() as replayed:
        return CheckReport(tip, transactions, state_differences(view, replayed))


def check_data(config: Config) -> int:
    """The command: 0 when the data is sound, 1 otherwise, with what was found. Raises the errors of opening."""
    faults = check_databases(config)
    if not faults:
        faults = _check_content(config)
    for fault in faults:
        print(f"FAULT: {fault}")  # noqa: T201
    print("the data is NOT sound" if faults else "the data equals the replay")  # noqa: T201
    return 1 if faults else 0


def check_databases(config: Config) -> list[str]:
    """What is wrong with the files of the databases, with what can be done. Raises DatabaseLocked, StorageError."""
    faults: list[str] = []
    databases = [(config.data_dir / CHAIN_DIRECTORY / DB, RECOVER)]
    if Module.INDEXER in config.file.rpc.modules:
        databases.append((config.data_dir / INDEXER_DIRECTORY, REBUILT))
    if config.builds_filters:
        databases.append((config.data_dir / FILTERS_DIRECTORY, REBUILT))
    for directory, cure in databases:
        if is_unmade(directory):
            continue
        size = sum(file.stat().st_size for file in directory.iterdir())
        with locked(directory), BlockProgress(f"verifying the files of {directory}", size) as progress:
            damages = verify_database(directory, partial(progress.advance, blocks=0, transactions=0))
            faults += [f"{damage}. {cure.format(directory=directory)}" for damage in damages]
    return faults


def check_archive(store: ChainStore) -> list[str]:
    """What is wrong with the files of the archive, which was cut to what the database knows when it was opened.

    Only damage to bodies of stored blocks counts; marks of earlier commits and freed bodies are not needed.
    """
    damaged = [found.location for found in scan(store.path / BLOCKS) if found.kind == DAMAGED]
    if not damaged:
        return []
    with store.view() as view:
        hit = _hit_by(damaged, view)
    return [
        f"{segment_path(store.path / BLOCKS, location.segment)}: {location.length} bytes at {location.offset} are "
        f"damaged. {ARCHIVE_CURE}"
        for location in hit
    ]


def _hit_by(damaged: Sequence[Location], view: ChainState) -> list[Location]:
    """Those of the damaged stretches, in order, that touch a body of a stored block, or are a missing segment."""
    starts = [(location.segment, location.offset) for location in damaged]
    hit = {location for location in damaged if location.length == 0}
    for _, block_hash in view.stored_blocks(0):
        body = require(view.block_record(block_hash), "block", block_hash).location
        at = bisect_left(starts, (body.segment, body.end))
        while at > 0:
            at -= 1
            stretch = damaged[at]
            if stretch.segment != body.segment or stretch.offset + stretch.length <= body.offset:
                break
            hit.add(stretch)
    return [location for location in damaged if location in hit]


def _check_content(config: Config) -> list[str]:
    spec, _ = config.load_spec()
    with open_chain(config) as (consensus, store, writer):
        if faults := check_archive(store):
            return faults
        with store.view() as view:
            headers = header_row_faults(view)
        report = check_store(store, consensus, writer.scripts.machine_factory, spec.content_hash, _say_progress)
        filters = _check_filters(config, store)
    print(f"replayed {report.blocks} blocks with {report.transactions} transactions from genesis")  # noqa: T201
    print(f"computed the filters of {filters.filters} blocks once more")  # noqa: T201
    cure = REBUILT.format(directory=config.data_dir / FILTERS_DIRECTORY)
    return [
        *(f"{store.path / DB}: {fault}. {RECOVER}" for fault in (*headers, *report.faults)),
        *(f"{fault}. {cure}" for fault in filters.faults),
    ]


def _check_filters(config: Config, store: ChainStore) -> FilterReport:
    """Those that are built: after an import that was interrupted, fewer than blocks; none where filters are off."""
    path = config.data_dir / FILTERS_DIRECTORY
    if not config.builds_filters or not path.exists():
        return FilterReport(0, [])
    with closing(FilterStore.open(path)) as filters, store.view() as view:
        return check_filters(view, filters)


def _say_progress(done: int, total: int) -> None:
    if done % PROGRESS_BLOCKS == 0:
        print(f"{done} of {total} blocks", flush=True)  # noqa: T201
