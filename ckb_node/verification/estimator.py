"""Cycles of transactions that clients want estimated: apart from the pool and from templates, in turns by client."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

from ckb_node.runtime.lane import Lane
from ckb_node.verification.scripts import ScriptRun, ScriptService
from ckb_node.verification.stopping import Stop, TimeExceeded
from consensus.rules.resolve import resolve_transaction
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Transaction
from consensus.types.core import ResolvedTransaction
from storage.chain_store import ChainView

TURN_S: Final = 2.0
"""Seconds of work of the first long turn. A transaction that needs more starts again, once, in another process, and
stands still there with all that it has done while first turns run: so scripts that never end delay nobody's short ones.
"""


class Estimator:
    """Short runs in a thread, long ones in processes of their own. Belongs to the event loop."""

    def __init__(self, scripts: ScriptService) -> None:
        self._scripts, self._consensus = scripts, scripts.consensus
        self._short = Lane("estimate", 1)
        self._long = Lane("long-estimate", 1)
        self._longest = Lane("longest-estimate", 1)

    async def cycles(self, view: ChainView, transaction: Transaction) -> int:
        """As if it were submitted at the tip of `view`. Raises ResolveError, ScriptError, BudgetExceeded."""
        env, limit = TxEnv.submitted(view.tip_header()), self._consensus.max_block_cycles
        stop = Stop(self._scripts.stop)
        try:
            rtx = await self._short.run(partial(_resolve, view, transaction))
            run = ScriptRun(view, rtx, env, limit, stop)
            cycles = await self._short.run(partial(self._scripts.run_short, run))
            return await self._long_turn(run) if cycles is None else cycles
        finally:
            stop.set()

    async def _long_turn(self, run: ScriptRun) -> int:
        with suppress(TimeExceeded):
            return await self._long.run(partial(self._scripts.run_estimate, run, TURN_S))
        return await self._longest.run(partial(self._scripts.run_long_estimate, run))

    def close(self) -> None:
        """Wait for the current runs, which end after `ScriptService.end_runs`."""
        self._short.close()
        self._long.close()
        self._longest.close()


def _resolve(view: ChainView, transaction: Transaction) -> ResolvedTransaction:
    return resolve_transaction(transaction, view, view, frozenset())
