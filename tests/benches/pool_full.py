"""A pool as full as it may be: what it takes of memory, and templates above it (`python -m tests.benches.pool_full`).

In this process, without sockets. The transactions that templates take spend cells of the chain; the others, which pay
less, are the graph's alone.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

from ckb_node.mining.template import BlockTemplate
from ckb_node.rpc.template_text import template_text
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.limits import PoolLimits
from tests.benches.pool_memory import entry_of, own, resident
from tests.support.chains.devchain import DevChain
from tests.support.chains.funded_pool import funded
from tests.support.report import Report

POOL_BYTES = 180_000_000
PROPOSED = 1500
CYCLES = 1_700_000
FEE = 1_000_000_000
TIPS = 5
NEVER = 1 << 62


def main() -> None:
    """Measure and write `build/bench/pool_full.json`."""
    report = Report("pool_full")
    asyncio.run(_bench(report, int(sys.argv[1]) if len(sys.argv) > 1 else POOL_BYTES))
    report.write()


async def _bench(report: Report, pool_bytes: int) -> None:
    async with _full_pool(report, pool_bytes) as dev:
        first, again, inputs, texts = list[float](), list[float](), list[float](), list[float]()
        template = await dev.assembler.block_template()
        template_text(template)
        for _ in range(TIPS):
            await _add_an_empty_block(dev, template)
            begun = time.perf_counter()
            dev.assembler._inputs()
            inputs.append(_ms_since(begun))
            begun = time.perf_counter()
            template = await dev.assembler.block_template()
            first.append(_ms_since(begun))
            begun = time.perf_counter()
            template_text(template)
            texts.append(_ms_since(begun))
            begun = time.perf_counter()
            template_text(await dev.assembler.block_template())
            again.append(_ms_since(begun))
        what = f"{len(dev.pool.pool.graph)} transactions, {len(template.transactions)} in the template"
        report.add("template_first_ms", statistics.median(first), f"first on a tip, {what}")
        report.add("template_text_ms", statistics.median(texts), "its JSON")
        report.add("template_again_ms", statistics.median(again), "asked for again, with its JSON")
        report.add("template_loop_ms", statistics.median(inputs), "of the first, on the event loop")


@asynccontextmanager
async def _full_pool(report: Report, pool_bytes: int) -> AsyncIterator[DevChain]:
    """PROPOSED transfers of cells of the chain, and as many others as there is room for."""
    async with funded(PROPOSED, limits=PoolLimits(expiry_ms=NEVER)) as funds:
        pool = funds.pool.pool
        gc.collect()
        before = resident()
        for _ in range(PROPOSED):
            checked = pool.check(funds.spend())
            pool.graph.add(PoolEntry.of(checked.rtx, FEE, CYCLES, Status.PROPOSED, 1))
        for serial in count():
            if pool.graph.total_size >= pool_bytes:
                break
            pool.graph.add(entry_of(serial, [own(serial), own(serial, 1)], 2))
        pool.version += 1
        gc.collect()
        held = resident() - before
        report.add(
            "held_per_counted", held / pool.graph.total_size, f"{held >> 20} MiB, {len(pool.graph)} transactions"
        )
        yield funds.dev


async def _add_an_empty_block(dev: DevChain, template: BlockTemplate) -> None:
    bare = replace(template, transactions=(), proposals=(), text=[])
    bare = bare.with_dao(await dev.assembler.calculate_dao_field(bare))
    await dev.chain.submit_block(bare.to_block())


def _ms_since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    main()
