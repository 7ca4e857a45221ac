"""A pool as full as it may be is mined: how full its blocks are, and what their templates take
(`python -m tests.benches.pool_blocks`).

In this process, without sockets. All transactions are such as blocks may commit: small transfers and large data, in the
order of random fee rates. Other nodes' blocks are often empty while their pool is this full.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import structlog

from ckb_node.rpc.template_text import template_text
from ckb_node.txpool.entry import Status
from ckb_node.txpool.limits import PoolLimits
from consensus.types.blockchain import Transaction
from tests.benches.pool_memory import resident
from tests.support.builders.wallet import CKB, issued_cell
from tests.support.chains.devchain import DevChain, dev_chain
from tests.support.chains.forking import Guard, Program, deploy
from tests.support.chains.funded_pool import ALICE, Cell, cell_of
from tests.support.report import Report

POOL_BYTES = 180_000_000
SMALL = 16_000
"""Transfers; the rest of the bytes is of transactions with LARGE bytes of data."""
LARGE = 40_000
CELL = 60_000 * CKB
CELLS_AT_ONCE = 4000
BLOCKS = 16
EMPTY = 4
"""The first blocks only propose."""
TICK_S = 0.001
NEVER = 1 << 62


def main() -> None:
    """Measure and write `build/bench/pool_blocks.json`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    report = Report("pool_blocks")
    asyncio.run(_bench(report, int(sys.argv[1]) if len(sys.argv) > 1 else POOL_BYTES))
    report.write()


async def _bench(report: Report, pool_bytes: int) -> None:
    async with _full_pool(report, pool_bytes) as dev, asyncio.TaskGroup() as group:
        delays = list[float]()
        watching = group.create_task(_watch(delays))
        shares, times, texts, counts, proposed = list[float](), list[float](), list[float](), list[int](), list[int]()
        for _ in range(BLOCKS):
            proposed.append(dev.pool.pool.graph.count(Status.PROPOSED))
            begun = time.perf_counter()
            template = await dev.assembler.block_template()
            times.append(_ms_since(begun))
            begun = time.perf_counter()
            await asyncio.to_thread(template_text, template)
            texts.append(_ms_since(begun))
            shares.append(template.to_block().size_without_uncle_proposals() / dev.consensus.max_block_bytes)
            counts.append(len(template.transactions))
            print(f"{shares[-1]:.2f} full, {counts[-1]} of {proposed[-1]} transactions, {times[-1]:.0f} ms", flush=True)
            await dev.mine()
        watching.cancel()
        full = slice(EMPTY, None)
        report.add(
            "least_filled", min(shares[full]), f"of {BLOCKS - EMPTY} blocks, by bytes; the first {EMPTY} propose"
        )
        report.add("transactions_per_block", statistics.mean(counts[full]), f"{min(counts[full])} at least")
        report.add("proposed", max(proposed), "transactions that the next block may commit, at most")
        report.add(
            "template_first_ms", statistics.median(times[full]), f"first on a tip, {max(times[full]):.0f} at most"
        )
        report.add("template_text_ms", statistics.median(texts[full]), "its JSON, in a thread")
        report.add("loop_delay_ms", max(delays), "longest of the event loop, blocks and templates included")


async def _watch(delays: list[float]) -> None:
    """How late a timer comes."""
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(TICK_S)
        delays.append(_ms_since(begun) - TICK_S * 1000)


@asynccontextmanager
async def _full_pool(report: Report, pool_bytes: int) -> AsyncIterator[DevChain]:
    """As many transactions as there is room for, all admitted by the pool's rules."""
    async with dev_chain(limits=PoolLimits(expiry_ms=NEVER, max_size=pool_bytes)) as dev:
        large = max(0, (pool_bytes - SMALL * 400) // LARGE)
        cells = await _funds(dev, SMALL + large)
        gc.collect()
        before, graph = resident(), dev.pool.pool.graph
        begun = time.perf_counter()
        for tx in _transactions(cells, large):
            if graph.total_size + tx.size_in_block > pool_bytes:
                break
            await dev.pool.submit(tx)
        gc.collect()
        held = resident() - before
        report.add("held_per_counted", held / graph.total_size, f"{held >> 20} MiB, {len(graph)} transactions")
        report.add("filled_s", time.perf_counter() - begun, f"{graph.total_size} bytes")
        yield dev


_Guarded = tuple[Guard, Cell]


async def _funds(dev: DevChain, count: int) -> Sequence[_Guarded]:
    """Cells on the chain that everybody may spend."""
    cells, purse, kind = list[_Guarded](), issued_cell(dev.consensus, ALICE), Program.SLOWER_ON_VM_2
    while len(cells) < count:
        made, guards, found = deploy(dev.consensus, purse, [kind], CELLS_AT_ONCE, CELL, 10_000_000)
        purse = cell_of(made, len(made.body.outputs) - 1)
        await dev.pool.submit(made)
        await dev.mine(4)
        cells += [(guards[kind], each) for each in found[kind]]
    return cells[:count]


def _transactions(cells: Sequence[_Guarded], large: int) -> Iterator[Transaction]:
    random = Random("pool blocks")
    kinds = [b""] * (len(cells) - large) + [bytes(LARGE)] * large
    random.shuffle(kinds)
    for (guard, cell), data in zip(cells, kinds, strict=True):
        size = 400 + len(data)
        yield guard.spend(cell, fee=random.randrange(2 * size, 100 * size), data=data)


def _ms_since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    main()
