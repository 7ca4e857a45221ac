"""Running scripts once: a cache of verified transactions in front of the script verifier."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from consensus.context import ChainReader
from consensus.hardfork import type_script_vm_version
from consensus.params import Consensus
from consensus.script.errors import ExceededMaximumCycles
from consensus.script.scheduler import MachineFactory
from consensus.script.verifier import ScriptVerifier
from consensus.tx_env import TxEnv
from consensus.types.core import ResolvedTransaction
from vm import create_machine

MAX_VERIFIED = 30_000

CacheKey = tuple[bytes, int]
"""Witness hash, and the VM version that `type` scripts had: a hardfork may change the verdict."""


class VerifiedTransactions:
    """Cycles of transactions whose scripts passed; the least recently used leave. Safe from any thread."""

    def __init__(self, limit: int = MAX_VERIFIED) -> None:
        self._limit = limit
        self._cycles: OrderedDict[CacheKey, int] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._cycles)

    def get(self, key: CacheKey) -> int | None:
        with self._lock:
            cycles = self._cycles.get(key)
            if cycles is not None:
                self._cycles.move_to_end(key)
            return cycles

    def put(self, key: CacheKey, cycles: int) -> None:
        with self._lock:
            self._cycles[key] = cycles
            self._cycles.move_to_end(key)
            if len(self._cycles) > self._limit:
                self._cycles.popitem(last=False)


class ScriptService:
    """What the chain and the pool share: one cache, one way to run scripts.

    `machine_factory` makes the machines: a node gives that of its `vm.Engines`, which translate hot programs.
    """

    def __init__(self, consensus: Consensus, machine_factory: MachineFactory = create_machine) -> None:
        self.consensus, self.machine_factory = consensus, machine_factory
        self.verified = VerifiedTransactions()

    def over(self, reader: ChainReader) -> CachedRunner:
        """A runner whose scripts read headers of this state of the chain."""
        return CachedRunner(self, reader)


@dataclass(frozen=True, slots=True)
class CachedRunner:
    """Satisfies consensus.verify_block.ScriptRunner.

    What a script can see is fixed by the transaction's hashes (cells by out point, headers by hash), so a verdict
    holds for ever within one VM version. Only success is remembered.
    """

    service: ScriptService
    reader: ChainReader

    def run(self, rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int:
        """Cycles of all scripts of a transaction. Raises ScriptError."""
        consensus, verified = self.service.consensus, self.service.verified
        key = (rtx.transaction.witness_hash, type_script_vm_version(consensus, env.epoch_without_proposal_window))
        cycles = verified.get(key)
        if cycles is None:
            verifier = ScriptVerifier(consensus, self.reader, machine_factory=self.service.machine_factory)
            cycles = verifier.verify(rtx, env, max_cycles)
            verified.put(key, cycles)
        elif cycles > max_cycles:
            raise ExceededMaximumCycles(max_cycles)
        return cycles
