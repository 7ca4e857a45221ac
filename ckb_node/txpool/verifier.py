"""Verifying transactions of the pool: cheap rules on the event loop, then scripts in worker threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Final, ParamSpec, TypeVar

from ckb_node.runtime.fair_queue import FairSlots
from ckb_node.txpool.known import CHECKED_AT_ONCE, KnownCells
from ckb_node.txpool.pool import Checked, TxPool
from ckb_node.txpool.rejects import Invalidated, Reject, VerificationFailed
from ckb_node.txpool.verify_queue import PendingVerification
from ckb_node.verification.scripts import ScriptRun, ScriptService
from ckb_node.verification.short_runs import ShortRun
from ckb_node.verification.stopping import ScriptsStopped
from ckb_node.verification.worker_handle import WorkerDiedError
from consensus.context import ChainReader
from consensus.errors import CkbError
from consensus.rules.transaction import verify_time_relative
from consensus.rules.verify_transaction import (
    Cycles,
    after_scripts,
    verify_transaction,
    verify_transaction_contextual,
)
from consensus.types.blockchain import Transaction

T = TypeVar("T")
P = ParamSpec("P")
_Run = Callable[[ScriptRun], Cycles]

Check = Callable[[KnownCells | None], Checked]
"""The cheap rules at the pool's present tip. Raises Reject."""

WORTH_PROCESSES: Final = 6
"""Transactions at a time for which processes are started; until they are ready, and for few, threads do."""


class PoolVerifier:
    """`workers` run the scripts of `parallel` transactions, and of two besides that take long: one that makes way, and
    one that does not."""

    def __init__(self, pool: TxPool, scripts: ScriptService, workers: Executor, parallel: int) -> None:
        self._pool: Final = pool
        self._scripts: Final = scripts
        self._workers: Final = workers
        self._parallel: Final = parallel
        self._slots: Final = FairSlots(parallel)
        self._processes: Final = scripts.short_runs
        self._process_slots: Final = FairSlots(1 if self._processes is None else self._processes.depth)
        self._busy = 0
        self._long_slot: Final = FairSlots(1)
        self._yielding_slot: Final = FairSlots(1)

    @property
    def at_once(self) -> int:
        """Transactions of one client that are of use at a time."""
        return self._parallel if self._processes is None else max(self._parallel, self._processes.depth)

    async def verify(self, pending: PendingVerification, check: Check, max_cycles: int) -> tuple[Checked, int]:
        """What the checks found and the cycles of the scripts, under the rules of the next block. Raises Reject."""
        self._busy += 1
        try:
            while True:
                checked, cycles = await self._verify_once(pending, check, max_cycles)
                version = checked.vm_version
                if _is_large(pending) and version == self._pool.vm_version:
                    checked = await self._check_again(pending, check, checked)  # here, not when it is admitted
                if version == checked.vm_version == self._pool.vm_version:  # else a hardfork came while the scripts ran
                    return checked, cycles
        finally:
            self._busy -= 1

    async def _verify_once(self, pending: PendingVerification, check: Check, max_cycles: int) -> tuple[Checked, int]:
        """Cheap rules before the transaction waits for a worker, and again if the tip moved meanwhile; then scripts."""
        checked, cycles = None if _is_large(pending) else check(None), None
        if not pending.takes_long:
            checked, cycles = await self._run_first(pending, check, checked, max_cycles)
        if cycles is None:
            slot, run = self._long_way(pending)
            async with slot.turn():
                checked = await self._check_again(pending, check, checked)
                cycles = await self._in_worker(run, pending, checked, max_cycles)
        pending.verify_wanted()
        assert checked is not None  # noqa: S101 - whichever way it took
        return checked, cycles

    async def _run_first(
        self, pending: PendingVerification, check: Check, checked: Checked | None, max_cycles: int
    ) -> tuple[Checked, int | None]:
        """A short run: the cycles, None if the scripts take long."""
        try:
            return await self._in_process(pending, check, checked, max_cycles)
        except WorkerDiedError:
            async with self._slots.turn():
                checked = await self._check_again(pending, check, checked)
                return checked, await self._in_worker(self._scripts.run_short, pending, checked, max_cycles)

    async def _in_process(
        self, pending: PendingVerification, check: Check, checked: Checked | None, max_cycles: int
    ) -> tuple[Checked, int | None]:
        """As `_in_worker` with `run_short`, in a process. Raises WorkerDiedError when there is none that could tell;
        they are started when there is enough to do. A large transaction (not checked yet) would hold others up."""
        processes = self._processes
        if processes is None or not processes.is_ready or checked is None:
            if processes is not None and self._busy >= WORTH_PROCESSES:
                processes.want()
            raise WorkerDiedError
        async with self._process_slots.turn():
            checked = await self._check_again(pending, check, checked)
            run = self._short_run(pending, checked, max_cycles)
            try:
                cycles = await processes.run(run)
                if cycles is not None and not checked.is_usual:
                    after_scripts(self._pool.consensus, checked.rtx)
            except CkbError as error:
                raise VerificationFailed(error) from error
            except ScriptsStopped:
                pending.verify_wanted()
                raise Invalidated("the node stops") from None
        return checked, cycles

    def _short_run(self, pending: PendingVerification, checked: Checked, max_cycles: int) -> ShortRun:
        consensus, scripts = self._pool.consensus, self._scripts
        env, reader, rtx = self._pool.env(checked.status), self._pool.reader, checked.rtx
        key = scripts.cache_key(rtx, env)

        def before() -> int | None:
            if not checked.is_usual:
                verify_transaction_contextual(consensus, rtx, env, reader)
            return scripts.verified.known(key, max_cycles)

        def passed(cycles: int) -> None:
            scripts.verified.put(key, cycles)

        return ShortRun(reader, rtx, env.epoch_without_proposal_window, max_cycles, pending.stop, before, passed)

    def _long_way(self, pending: PendingVerification) -> tuple[FairSlots, _Run[int]]:
        """Clients of this node do not wait for a peer's long scripts: these stand still meanwhile."""
        if pending.makes_way:
            return self._yielding_slot, self._scripts.run_yielding
        return self._long_slot, self._scripts.run_long

    async def _check_again(self, pending: PendingVerification, check: Check, checked: Checked | None) -> Checked:
        """What has become of a transaction while it waited. None: it is to be checked for the first time."""
        pending.verify_wanted()
        if checked is not None and checked.tip_hash == self._pool.tip.hash:
            return checked
        if not _is_large(pending):
            return check(None)
        while True:
            reader = self._pool.reader
            try:
                found = await self._aside(self._check_large, reader, pending.transaction, check)
            except Reject:
                if reader is self._pool.reader:
                    raise
            else:
                if reader is self._pool.reader:
                    return found

    def _check_large(self, reader: ChainReader, transaction: Transaction, check: Check) -> Checked:
        """In a worker: a large transaction may name thirteen thousand cells. Of the pool it reads only who creates and
        who spends a cell, and `admit` asks that again. Its result counts while the pool's state of the chain is the
        same. Raises Reject."""
        self._pool.verify_non_contextual(transaction)
        checked = check(KnownCells(reader, transaction))
        try:
            verify_time_relative(self._pool.consensus, checked.rtx, self._pool.env(checked.status), reader)
        except CkbError as error:
            raise VerificationFailed(error) from error
        return checked

    async def _in_worker(
        self, run: _Run[Cycles], pending: PendingVerification, checked: Checked, max_cycles: int
    ) -> Cycles:
        """Run contextual rules and scripts in a worker. Raises VerificationFailed, or the reason of a withdrawal."""
        env, reader = self._pool.env(checked.status), self._pool.reader
        try:
            return await self._aside(self._verify, run, ScriptRun(reader, checked.rtx, env, max_cycles, pending.stop))
        except ScriptsStopped:
            pending.verify_wanted()
            raise Invalidated("the node stops") from None

    def _aside(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._workers, partial(call, *arguments, **named))

    def _verify(self, run: _Run[Cycles], given: ScriptRun) -> Cycles:
        """None if the scripts take long."""
        try:
            return verify_transaction(
                self._pool.consensus, given.rtx, given.env, given.reader, lambda *_: run(given), given.max_cycles
            )
        except CkbError as error:
            raise VerificationFailed(error) from error


def _is_large(pending: PendingVerification) -> bool:
    """Checked beside the event loop."""
    return pending.transaction.raw_size > CHECKED_AT_ONCE
