"""Block filters of chains that are there already: how fast the background work catches up, and what one block costs.

`python -m tests.benches.filters`. CPU seconds count, as in tests/benches/chain.py; nothing is remembered of
the chain at the start.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from ckb_node.chain.bulk import BulkImport
from ckb_node.chain.checks import no_rules
from ckb_node.chain.writer import ChainWriter
from ckb_node.filters.builder import Encode, FilterBuilder, FilterMaker, RecentCells
from ckb_node.verification.scripts import ScriptService
from consensus.crypto import golomb
from consensus.kernels import golomb as filter_kernel
from consensus.types.blockchain import Block
from storage.chain_store import ChainStore
from storage.filters import FilterStore
from tests.support.builders.filters import block_with, output, output_of, script, transaction
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.long_chain import NOW_MS, ChainMaker
from tests.support.report import BENCH_DIR, Report

EMPTY_BLOCKS = 5000
TRANSFER_BLOCKS = 40
TRANSFERS = 500
DENSE_CELLS = 4000


def main() -> int:
    """All figures."""
    report = Report("filters")
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="filters-", dir=BENCH_DIR) as directory:
        root = Path(directory)
        blocks, _, seconds = built(root / "empty", empty())
        report.add("empty_blocks_per_s", blocks / seconds, "filters of blocks with only a cellbase")
        _, transactions, seconds = built(root / "transfers", transfers())
        report.add("transfers_per_s", transactions / seconds, f"filters of blocks of {TRANSFERS} transfers")
        for name, encode in (("plain", golomb.golomb_coded_set), ("kernel", filter_kernel.golomb_coded_set)):
            milliseconds = dense(root / name, encode) * 1000
            report.add(
                f"dense_{name}_ms", milliseconds, f"a block that spends and makes {DENSE_CELLS} cells, no two alike"
            )
    report.write()
    return 0


def empty() -> list[Block]:
    maker = ChainMaker()
    for _ in range(EMPTY_BLOCKS):
        maker.add()
    return [Block.parse(raw) for raw in maker.raw_blocks]


def transfers() -> list[Block]:
    maker = ChainMaker()
    made = list(maker.transfers(maker.cells(TRANSFER_BLOCKS * TRANSFERS)))
    maker.add_in_two_phases([made[at : at + TRANSFERS] for at in range(0, len(made), TRANSFERS)])
    return [Block.parse(raw) for raw in maker.raw_blocks]


def stored(path: Path, blocks: list[Block]) -> ChainStore:
    """A database with these blocks, of which no rule is checked."""
    consensus, store = dev_consensus(), ChainStore.open(path / "chain")
    writer = ChainWriter(consensus, store, ScriptService(consensus), lambda: NOW_MS)
    writer.start(bytes(32))
    with BulkImport(writer, no_rules(consensus)) as bulk:
        for block in blocks:
            bulk.add(block)
    return store


def built(path: Path, blocks: list[Block]) -> tuple[int, int, float]:
    """Blocks, transactions but cellbases, CPU seconds."""
    store, filters = stored(path, blocks), FilterStore.open(path / "filters")
    builder = FilterBuilder(filters)
    with store.view() as view:
        started = time.process_time()
        while not builder.step(view):
            pass
        seconds = time.process_time() - started
    filters.close()
    store.close()
    return len(blocks), sum(len(block.transactions) - 1 for block in blocks), seconds


def dense(path: Path, encode: Encode) -> float:
    """CPU seconds for the filter of a block whose cells' scripts are all new, and whose inputs must be looked up."""
    genesis = dev_consensus().genesis_block
    locks = [script(1, args=number.to_bytes(20, "little")) for number in range(2 * DENSE_CELLS)]
    types = [script(2, args=number.to_bytes(20, "little")) for number in range(2 * DENSE_CELLS)]
    outputs = [output(lock, type_) for lock, type_ in zip(locks, types, strict=True)]
    making = transaction([], outputs[:DENSE_CELLS])
    spending = transaction([output_of(making, index) for index in range(DENSE_CELLS)], outputs[DENSE_CELLS:])
    first = block_with([making], 1, parent_hash=genesis.hash)
    second = block_with([spending], 2, parent_hash=first.hash)
    store = stored(path, [first, second])
    with store.view() as view:
        started = time.process_time()
        data = FilterMaker(view, RecentCells(), encode).filter_data(second.hash)
        seconds = time.process_time() - started
    store.close()
    assert int.from_bytes(data[: golomb.COUNT_SIZE], "little") == 4 * DENSE_CELLS
    return seconds


if __name__ == "__main__":
    raise SystemExit(main())
