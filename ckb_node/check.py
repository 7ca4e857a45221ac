"""`ckb-node check`: replay the stored chain from genesis with all rules, and compare what comes out with the data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ckb_node.chain.opening import open_chain
from ckb_node.chain.processor import BlockProcessor, Verdict
from ckb_node.chain.scripts import ScriptService
from ckb_node.clock import SystemClock
from ckb_node.config import Config
from ckb_node.filters.check import FilterReport, check_filters
from consensus.errors import CkbError
from consensus.lookup import require
from consensus.params import Consensus
from consensus.script.scheduler import MachineFactory
from storage.chain_state import ChainState
from storage.chain_store import ChainStore
from storage.compare import state_differences
from storage.filters import FILTERS_DIRECTORY, FilterStore

PROGRESS_BLOCKS = 1000

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
    """Replay into a temporary database beside the data: it needs as much free room as the chain takes."""
    with tempfile.TemporaryDirectory(prefix="check-", dir=store.path.parent) as directory:
        fresh = ChainStore.open(Path(directory))
        try:
            processor = BlockProcessor(consensus, fresh, ScriptService(consensus, machines), SystemClock().now_ms)
            processor.start(spec_hash)
            with store.view() as view:
                return _replay(view, fresh, processor, progress)
        finally:
            fresh.close()


def _replay(view: ChainState, fresh: ChainStore, processor: BlockProcessor, progress: Progress) -> CheckReport:
    tip = view.tip_header().number
    transactions = 0
    for number in range(1, tip + 1):
        block = require(view.block(require(view.main_hash(number), "main-chain block", number)), "block", number)
        transactions += len(block.transactions)
        try:
            outcome = processor.process(block)
        except CkbError as error:
            return CheckReport(number, transactions, [f"block {number} (0x{block.hash.hex()}) is invalid: {error}"])
        if outcome.verdict is not Verdict.BEST:
            return CheckReport(
                number, transactions, [f"block {number} does not extend the chain: {outcome.verdict.value}"]
            )
        progress(number, tip)
    with fresh.view() as replayed:
        return CheckReport(tip, transactions, state_differences(view, replayed))


def check_data(config: Config) -> int:
    """The command: 0 when the data is sound, 1 otherwise, with what was found. Raises the errors of opening."""
    spec, _ = config.load_spec()
    with open_chain(config) as (consensus, store, processor):
        report = check_store(store, consensus, processor.scripts.machine_factory, spec.content_hash, _say_progress)
        filters = _check_filters(config, store)
    print(f"replayed {report.blocks} blocks with {report.transactions} transactions from genesis")  # noqa: T201
    print(f"computed the filters of {filters.filters} blocks once more")  # noqa: T201
    faults = [*report.faults, *filters.faults]
    for fault in faults:
        print(f"FAULT: {fault}")  # noqa: T201
    print("the data is NOT sound" if faults else "the data equals the replay")  # noqa: T201
    return 1 if faults else 0


def _check_filters(config: Config, store: ChainStore) -> FilterReport:
    """Those that are built: after an import that was interrupted, fewer than blocks; none where nobody uses them."""
    path = config.data_dir / FILTERS_DIRECTORY
    if not config.file.block_filters.enabled or not path.exists():
        return FilterReport(0, [])
    with closing(FilterStore.open(path)) as filters, store.view() as view:
        return check_filters(view, filters)


def _say_progress(done: int, total: int) -> None:
    if done % PROGRESS_BLOCKS == 0:
        print(f"{done} of {total} blocks", flush=True)  # noqa: T201
