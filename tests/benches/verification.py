"""A block of 1,000 default-lock transfers: scripts in one thread against several processes, and memory of those.

`python -m tests.benches.verification`. On a busy machine look at the processor time, not at the clock.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ckb_node.verification.scripts import ScriptService, VerifiedTransactions
from ckb_node.verification.service import ParallelScriptService
from consensus.rules.resolve import resolve_transaction
from consensus.rules.verify_block import PreparedBlock
from consensus.tx_env import TxEnv
from consensus.types.blockchain import OutPoint, Transaction
from storage.chain_store import ChainView
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import DevChain, dev_chain
from tests.support.report import Report
from vm import Engines

TRANSFERS = 1000
ROUNDS = 9
WARM_UP = 6
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


async def make_transfers(dev: DevChain) -> list[bytes]:
    """Serialised transfers whose inputs are on the chain."""
    alice, bob, amount = Wallet(ALICE_KEY), Wallet(BOB_KEY), 100 * CKB
    cell, capacity = issued_cell(dev.consensus, alice)
    rest = capacity - TRANSFERS * amount - CKB
    split = alice.transfer(dev.consensus, [(cell, capacity)], [*[(alice.lock, amount)] * TRANSFERS, (alice.lock, rest)])
    await dev.pool.submit(split)
    await dev.mine(4)
    cells = [OutPoint(tx_hash=split.hash, index=index) for index in range(TRANSFERS)]
    return [alice.transfer(dev.consensus, [(each, amount)], [(bob.lock, amount - 100_000)]).raw for each in cells]


def prepared_block(dev: DevChain, view: ChainView, transfers: Sequence[bytes]) -> PreparedBlock:
    """As block verification finds it: nothing of it has been read before."""
    resolved = [resolve_transaction(Transaction.parse(raw), view, view, ()) for raw in transfers]
    none = [0] * len(resolved)
    return PreparedBlock(
        resolved=[resolved[0], *resolved],
        fees=none,
        env=TxEnv.committed(view.tip_header()),
        epoch=dev.consensus.genesis_epoch,
        sizes=none,
        witness_hashes=[each.transaction.witness_hash for each in resolved],
    )


def processor_seconds(service: ScriptService) -> float:
    """Of this process and of the service's own, so far."""
    total = time.process_time()
    if isinstance(service, ParallelScriptService):
        for process in service.blocks._processes:
            text = Path(f"/proc/{process.process.pid}/stat").read_text(encoding="ascii")
            fields = text.rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return total


def measure(service: ScriptService, view: ChainView, block: PreparedBlock) -> tuple[float, float]:
    """Seconds by the clock, and of processor time."""
    service.verified = VerifiedTransactions()
    work, started = processor_seconds(service), time.perf_counter()
    service.run_block(view, block)
    return time.perf_counter() - started, processor_seconds(service) - work


async def main() -> None:
    report = Report("verification")
    async with dev_chain() as dev:
        transfers, view = await make_transfers(dev), dev.chain.view()
        with tempfile.TemporaryDirectory() as name, Engines(Path(name)) as engines:
            plain = ScriptService(dev.consensus, engines.create_machine)
            with closing(ParallelScriptService(dev.consensus, engines, Path(name), 2)) as parallel:
                services = (plain, parallel)
                rows = [
                    [measure(service, view, prepared_block(dev, view, transfers)) for service in services]
                    for _ in range(WARM_UP + ROUNDS)
                ][WARM_UP:]
                one, two = (min(row[at][0] for row in rows) for at in (0, 1))
                one_work, two_work = (statistics.median(row[at][1] for row in rows) for at in (0, 1))
                resident = max(each.resident_bytes() for each in parallel.blocks._processes)
    report.add("block_1000_one_thread_ms", one * 1000, f"scripts of {TRANSFERS} transfers in order, best of {ROUNDS}")
    report.add("block_1000_two_processes_ms", two * 1000, "the same by two processes")
    report.add("block_two_core_ratio", one / two, "by the clock")
    report.add(
        "block_work_ratio", two_work / one_work, "processor time of all processes against that of the one thread"
    )
    report.add("process_resident_mib", resident / 2**20, "memory of a script process after that")
    report.write()


if __name__ == "__main__":
    asyncio.run(main())
