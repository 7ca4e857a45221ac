"""Scripts on all cores: blocks by several processes, the pool's long transactions in one of their own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import msgspec
import structlog

from ckb_node.verification.long_runs import IDLE_S, LongRuns
from ckb_node.verification.messages import Setup
from ckb_node.verification.script_log import is_enabled
from ckb_node.verification.scripts import SHORT_RUN_S, ScriptRun, ScriptService, beginning_of, pool_seconds
from ckb_node.verification.short_runs import ShortRuns
from ckb_node.verification.worker_handle import Work, WorkerDiedError
from ckb_node.verification.worker_pool import BlockWorkerPool
from consensus.context import ChainReader
from consensus.errors import CkbError
from consensus.params import Consensus
from consensus.rules.verify_block import PreparedBlock, run_scripts
from vm import DEFAULT_NICENESS, Engines

log = structlog.get_logger("scripts")

LONG_RUN_NICENESS: Final = 5
"""Long scripts have a lower priority than the node's threads, which need the processor for short times."""


class ParallelScriptService(ScriptService):
    """Verdicts are those of ScriptService. Processes start when there is work for them, at most `block_processes`,
    `pool_processes` and four more; they share the compiled programs in `engines_directory`."""

    def __init__(
        self,
        consensus: Consensus,
        engines: Engines,
        engines_directory: Path,
        block_processes: int | None = None,
        pool_processes: int = 2,
    ) -> None:
        super().__init__(consensus, engines.create_machine)
        hardforks, directory = asdict(consensus.hardforks), str(engines_directory)
        # Niceness 0, or the translator starves behind the scripts that it should speed up.
        self.blocks = BlockWorkerPool(Setup(hardforks, directory, niceness=0), block_processes or os.cpu_count() or 1)
        pool_setup = Setup(hardforks, directory, DEFAULT_NICENESS, prints=is_enabled(), own_niceness=LONG_RUN_NICENESS)
        self.long_runs = LongRuns(pool_setup, self.gate)
        self.yielding_runs = LongRuns(pool_setup, self.yielding_gate)
        self.estimate_runs = LongRuns(pool_setup, self.gate)
        self.long_estimate_runs = LongRuns(pool_setup, self.estimate_gate)
        # Like the node's own threads: on a busy machine clients would wait three times as long for nicer ones.
        short_setup = msgspec.structs.replace(pool_setup, own_niceness=0)
        self._short_runs = ShortRuns(short_setup, pool_processes, SHORT_RUN_S, self.gate, self.stop)

    @property
    def _all_long_runs(self) -> Sequence[LongRuns]:
        return self.long_runs, self.yielding_runs, self.estimate_runs, self.long_estimate_runs

    async def end_idle(self) -> None:
        """As ScriptService."""
        while True:
            await asyncio.sleep(IDLE_S / 4)
            for each in self._all_long_runs:
                await asyncio.to_thread(each.end_if_idle, time.monotonic())

    @property
    def worker_count(self) -> int:
        """As ScriptService."""
        started = sum(each.is_started for each in self._all_long_runs)
        return len(self.blocks) + self._short_runs.process_count + started

    @property
    def short_runs(self) -> ShortRuns:
        """As ScriptService."""
        return self._short_runs

    def warm_up(self) -> None:
        """As ScriptService: starts the processes for blocks."""
        self.blocks.await_ready(self.stop)

    def run_block(self, reader: ChainReader, prepared: PreparedBlock) -> list[int]:
        """As ScriptService; an error, or cycles beyond the limit, come from running that transaction in order."""
        (cycles,) = self.run_blocks(reader, [prepared])
        return cycles

    def run_blocks(self, reader: ChainReader, blocks: Sequence[PreparedBlock]) -> Iterator[list[int]]:
        """As ScriptService, the transactions of all blocks side by side."""
        with self.gate.shut():
            done = 0
            while done < len(blocks):
                for beginning in self._run_in_processes(reader, blocks[done:]):
                    prepared = blocks[done]
                    done += 1
                    if len(beginning) == len(prepared.fees):
                        yield beginning
                        continue
                    yield run_scripts(self.consensus, prepared, self.runner(reader), beginning)
                    break  # the blocks after it were not run

    def _run_in_processes(self, reader: ChainReader, blocks: Sequence[PreparedBlock]) -> list[list[int]]:
        """Of each block the cycles of the first transactions, as many as pass within the limit."""
        limit = self.consensus.max_block_cycles
        runs = [_BlockScripts(self, at, block) for at, block in enumerate(blocks)]
        unknown = [(run, index) for run in runs for index, cycles in enumerate(run.cycles) if cycles is None]
        if self.blocks.is_worth_it(len(unknown)):
            work = [run.work(at, index) for at, (run, index) in enumerate(unknown)]
            runner = self.runner(reader)

            def plain(each: Work) -> int | None:
                try:
                    return runner.run(each.rtx, blocks[each.block].env, limit)
                except CkbError:
                    return None

            found = self.blocks.run(work, reader, plain, limit, self.stop)
            for (run, index), cycles in zip(unknown, found, strict=False):
                self.verified.put(run.keys[index], cycles)
                run.cycles[index] = cycles
        return [beginning_of(run.cycles, limit) for run in runs]

    def run_long(self, run: ScriptRun) -> int:
        """As ScriptService, but in a process of its own, so that no thread of the node is busy."""
        with self.yielding_gate.shut():
            return self._run_in(self.long_runs, run, pool_seconds(run.max_cycles))

    def run_yielding(self, run: ScriptRun) -> int:
        """As ScriptService, in a process of its own: it stands still with its scripts in it."""
        return self._run_in(self.yielding_runs, run, pool_seconds(run.max_cycles))

    def run_estimate(self, run: ScriptRun, seconds: float) -> int:
        """As `run_long`, in another process."""
        with self.estimate_gate.shut():
            return self._run_in(self.estimate_runs, run, seconds)

    def run_long_estimate(self, run: ScriptRun) -> int:
        """As `run_yielding`, in another process."""
        return self._run_in(self.long_estimate_runs, run, pool_seconds(run.max_cycles))

    def _run_in(self, runs: LongRuns, run: ScriptRun, seconds: float) -> int:
        def run_once() -> int:
            work = Work(0, run.rtx, run.env.epoch_without_proposal_window, run.max_cycles, seconds)
            try:
                return runs.run(work, run.reader, run.stop)
            except WorkerDiedError:
                return self.run_here(runs.gate, run, seconds)

        return self.verified.run_once(self.cache_key(run.rtx, run.env), run.max_cycles, run_once)

    def close(self) -> None:
        """End all processes. Call it when no thread runs scripts any more."""
        self.blocks.close()
        self._short_runs.close()
        for each in self._all_long_runs:
            each.close()


class _BlockScripts:
    """The scripts of a block's transactions: their keys in the cache, and the cycles that are known."""

    def __init__(self, service: ScriptService, number: int, prepared: PreparedBlock) -> None:
        self._number, self._prepared = number, prepared
        self._epoch = prepared.env.epoch_without_proposal_window
        self._limit = service.consensus.max_block_cycles
        self.keys = service.block_keys(prepared)
        self.cycles = [service.verified.get(key) for key in self.keys]

    def work(self, index_of_work: int, index: int) -> Work:
        """One transaction for the processes."""
        return Work(index_of_work, self._prepared.with_scripts(index), self._epoch, self._limit, block=self._number)
