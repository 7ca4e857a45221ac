"""Running scripts once: a cache of verified transactions in front of the script verifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.verification.debug_output import Prints
from ckb_node.verification.script_log import is_enabled, log_run
from ckb_node.verification.short_runs import ShortRuns
from ckb_node.verification.stopping import Gate, PoolPause, Stop, TimeExceeded
from consensus.context import ChainReader
from consensus.errors import ScriptError
from consensus.params import Consensus
from consensus.rules.hardfork import type_script_vm_version
from consensus.rules.verify_block import PreparedBlock, run_scripts
from consensus.script.errors import ExceededMaximumCycles
from consensus.script.scheduler import MachineFactory, Pause
from consensus.script.verifier import ScriptVerifier
from consensus.tx_env import TxEnv
from consensus.types.core import ResolvedTransaction
from vm import create_machine
from vm.errors import EngineFailure

MAX_VERIFIED = 30_000

SHORT_RUN_S = 0.1
SHORT_RUN_CYCLES = 400_000_000
"""More do not run in that time, however fast the machine is."""
MIN_POOL_S = 2.0
POOL_CYCLES_PER_S = 100e6

CacheKey = tuple[bytes, int]
"""Witness hash, and the VM version that `type` scripts had: a hardfork may change the verdict."""


class ScriptRun(NamedTuple):
    """A transaction whose scripts are to run, at one state of the chain, until `stop` is set."""

    reader: ChainReader
    rtx: ResolvedTransaction
    env: TxEnv
    max_cycles: int
    stop: Stop


class VerifiedTransactions:
    """Cycles of transactions whose scripts passed; the least recently used leave. Safe from any thread."""

    def __init__(self, limit: int = MAX_VERIFIED) -> None:
        self._cycles: BoundedMap[CacheKey, int] = BoundedMap(max_count=limit)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._cycles)

    def get(self, key: CacheKey) -> int | None:
        with self._lock:
            return self._cycles.use(key)

    def put(self, key: CacheKey, cycles: int) -> None:
        with self._lock:
            self._cycles.put(key, cycles)

    def run_once(self, key: CacheKey, max_cycles: int, run: Callable[[], int]) -> int:
        """The cycles that are known, else those of `run`, known from now on; only success is kept.

        Raises what `run` raises, ExceededMaximumCycles.
        """
        cycles = self.known(key, max_cycles)
        if cycles is None:
            cycles = run()
            self.put(key, cycles)
        return cycles

    def known(self, key: CacheKey, max_cycles: int) -> int | None:
        """The cycles, if they are known. Raises ExceededMaximumCycles."""
        cycles = self.get(key)
        if cycles is not None and cycles > max_cycles:
            raise ExceededMaximumCycles(max_cycles)
        return cycles


class ScriptService:
    """What the chain and the pool share: one cache, one way to run scripts, here in the caller's thread.

    `machine_factory` makes the machines: a node gives that of its `vm.Engines`, which translate hot programs.
    `ckb_node.verification.service` does the same on several cores.
    """

    def __init__(self, consensus: Consensus, machine_factory: MachineFactory = create_machine) -> None:
        self.consensus, self.machine_factory = consensus, machine_factory
        self.verified = VerifiedTransactions()
        self.stop, self.gate = Stop(), Gate()
        self.yielding_gate = Gate(self.gate)
        """Shut also while `run_long` runs."""
        self.estimate_gate = Gate(self.gate)
        """Shut also while `run_estimate` runs."""

    def runner(self, reader: ChainReader, pause: Pause | None = None) -> CachedRunner:
        """Runs scripts that read headers of this state of the chain. Also raises what `pause` raises; the default
        raises ScriptsStopped after `end_runs`."""
        return CachedRunner(self, reader, pause or self.stop.check)

    def run_block(self, reader: ChainReader, prepared: PreparedBlock) -> list[int]:
        """Cycles of each transaction but the cellbase; the pool waits meanwhile. Raises BlockTransactionError,
        ScriptsStopped."""
        known = beginning_of(map(self.verified.get, self.block_keys(prepared)), self.consensus.max_block_cycles)
        with self.gate.shut():
            return run_scripts(self.consensus, prepared, self.runner(reader), known)

    @property
    def worker_count(self) -> int:
        """Processes that run scripts; none here."""
        return 0

    @property
    def short_runs(self) -> ShortRuns | None:
        """Processes for the pool's short transactions, which `run_short` runs else; none here."""
        return None

    async def end_idle(self) -> None:
        """End processes for long scripts that have rested, until cancelled; returns where there are none."""

    def warm_up(self) -> None:
        """Prepare for many blocks: return when scripts can run at full speed. Raises ScriptsStopped."""

    def run_blocks(self, reader: ChainReader, blocks: Sequence[PreparedBlock]) -> Iterator[list[int]]:
        """`run_block` of each in order; ends with the error of the first that fails. `reader` knows their chain."""
        for prepared in blocks:
            yield self.run_block(reader, prepared)

    def run_short(self, run: ScriptRun) -> int | None:
        """Cycles of a transaction of the pool, None if it takes long. Raises ScriptError, ScriptsStopped."""
        pause = PoolPause(run.stop, self.gate, SHORT_RUN_S, _TakesLongError)
        try:
            return self.runner(run.reader, pause).run(run.rtx, run.env, run.max_cycles)
        except _TakesLongError:
            return None

    def run_long(self, run: ScriptRun) -> int:
        """Cycles of a transaction of the pool. Raises ScriptError, ScriptsStopped; TimeExceeded when it works longer
        than `pool_seconds`, BudgetExceeded when it takes too much memory."""
        with self.yielding_gate.shut():
            return self.run_here(self.gate, run, pool_seconds(run.max_cycles))

    def run_yielding(self, run: ScriptRun) -> int:
        """As `run_long`, but it stands still, and later goes on where it was, while a `run_long` runs."""
        return self.run_here(self.yielding_gate, run, pool_seconds(run.max_cycles))

    def run_estimate(self, run: ScriptRun, seconds: float) -> int:
        """As `run_long` for up to `seconds`, in a process or thread that the pool does not use."""
        with self.estimate_gate.shut():
            return self.run_here(self.gate, run, seconds)

    def run_long_estimate(self, run: ScriptRun) -> int:
        """The same for as long as the pool would take, but it stands still, and later goes on, while a `run_estimate`
        runs."""
        return self.run_here(self.estimate_gate, run, pool_seconds(run.max_cycles))

    def run_here(self, gate: Gate, run: ScriptRun, seconds: float) -> int:
        """Cycles of a transaction, in this thread while the gate is open. Raises as `run_long`."""
        pause = PoolPause(run.stop, gate, seconds, lambda: TimeExceeded(seconds))
        return self.runner(run.reader, pause).run(run.rtx, run.env, run.max_cycles)

    def cache_key(self, rtx: ResolvedTransaction, env: TxEnv) -> CacheKey:
        """The key of a transaction in the cache."""
        return rtx.transaction.witness_hash, self._vm_version(env)

    def block_keys(self, prepared: PreparedBlock) -> list[CacheKey]:
        """The keys of the transactions of a block but the cellbase."""
        version = self._vm_version(prepared.env)
        return [(witness_hash, version) for witness_hash in prepared.witness_hashes]

    def _vm_version(self, env: TxEnv) -> int:
        return type_script_vm_version(self.consensus, env.epoch_without_proposal_window)

    def end_runs(self) -> None:
        """End all runs, also later ones, at their next pause; their callers get ScriptsStopped."""
        self.stop.set()


def beginning_of(cycles: Iterable[int | None], limit: int) -> list[int]:
    """The cycles of the first transactions that are known and together fit the limit."""
    beginning: list[int] = []
    for each in cycles:
        if each is None or each > limit:
            break
        limit -= each
        beginning.append(each)
    return beginning


def pool_seconds(max_cycles: int) -> float:
    """Seconds of work that a transaction of the pool may take: twice what an honest script needs in the interpreter."""
    return MIN_POOL_S + max_cycles / POOL_CYCLES_PER_S


class _TakesLongError(Exception):
    """A short run has used its time."""


@dataclass(frozen=True, slots=True)
class CachedRunner:
    """Satisfies consensus.rules.verify_transaction.ScriptRunner.

    What a script can read is fixed by the transaction's hashes (cells by out point, headers by hash), so a verdict
    is final within one VM version. Only success is cached.
    """

    service: ScriptService
    reader: ChainReader
    pause: Pause

    def run(self, rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int:
        """Cycles of all scripts of a transaction. Raises ScriptError, and what `pause` raises."""
        key = self.service.cache_key(rtx, env)
        return self.service.verified.run_once(key, max_cycles, lambda: self._run(rtx, env, max_cycles))

    def _run(self, rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int:
        try:
            return self._verify(self.service.machine_factory, rtx, env, max_cycles)
        except EngineFailure:  # the engine failed without a verdict: the interpreter decides
            return self._verify(create_machine, rtx, env, max_cycles)

    def _verify(self, machines: MachineFactory, rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int:
        prints = Prints() if is_enabled() else None
        verifier = ScriptVerifier(
            self.service.consensus, self.reader, debug=prints, machine_factory=machines, pause=self.pause
        )
        if prints is None:
            return verifier.verify(rtx, env, max_cycles)
        try:
            cycles = verifier.verify(rtx, env, max_cycles)
        except ScriptError as error:
            log_run(rtx.hash, prints.kept, prints.left_out, error)
            raise
        log_run(rtx.hash, prints.kept, prints.left_out)
        return cycles
