"""Runs all scripts of a transaction (RFC 22, RFC 14)."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.errors import ScriptError
from consensus.params import HasHardforks
from consensus.script.code import vm_version_for
from consensus.script.context import (
    CELL_DATA,
    CELL_DEP,
    DebugPrinter,
    GroupContext,
    Program,
    ScriptChain,
    ScriptEnv,
    TransactionContext,
)
from consensus.script.errors import (
    ExceededMaximumCycles,
    TransactionScriptError,
    ValidationFailure,
    VmInternalError,
)
from consensus.script.groups import ScriptGroup, script_groups
from consensus.script.scheduler import MachineFactory, Outcome, Pause, Scheduler
from consensus.script.type_id import is_type_id, verify_type_id
from consensus.types.core import ResolvedTransaction
from vm import create_machine
from vm.errors import CyclesExceeded, VmError


class ScriptVerifier:
    """RFC 22 "Lock Script", "Type Script", RFC 14: every script group of a transaction exits with 0 within the cycles.

    `chain` answers for the headers and extensions of header deps. `debug` gets what scripts print; nobody does by
    default. `pause` is called in the middle of runs, see `consensus.script.scheduler.Pause`; what it raises comes out
    of `verify`.
    """

    def __init__(
        self,
        consensus: HasHardforks,
        chain: ScriptChain,
        *,
        debug: DebugPrinter | None = None,
        machine_factory: MachineFactory = create_machine,
        pause: Pause | None = None,
    ) -> None:
        self._consensus = consensus
        self._chain = chain
        self._debug = debug
        self._machine_factory = machine_factory
        self._pause = pause

    def verify(self, rtx: ResolvedTransaction, env: ScriptEnv, max_cycles: int) -> int:
        """Run each group with the cycles that those before it left; returns the sum of cycles.

        Raises TransactionScriptError for the first group that fails.
        """
        transaction = TransactionContext(rtx, self._chain)
        used = 0
        for group in script_groups(rtx):
            try:
                used += self._verify_group(transaction, group, env, max_cycles - used)
            except ScriptError as error:
                raise TransactionScriptError(group.source, error) from error
        return used

    def _verify_group(
        self, transaction: TransactionContext, group: ScriptGroup, env: ScriptEnv, max_cycles: int
    ) -> int:
        if is_type_id(group.script):
            return verify_type_id(transaction.transaction, group, max_cycles)
        outcome = self.run_group(transaction, group, env, max_cycles)
        if outcome.exit_code != 0:
            raise ValidationFailure(group.script, outcome.exit_code)
        return outcome.cycles

    def run_group(
        self,
        transaction: TransactionContext,
        group: ScriptGroup,
        env: ScriptEnv,
        max_cycles: int,
        args: Sequence[bytes] = (),
    ) -> Outcome:
        """Run one group's script, whatever its exit code. Raises ScriptError if it cannot be run to its end.

        `args`: argv of the program, which is empty but for debuggers.
        """
        vm_version = vm_version_for(self._consensus, group.script, env.epoch_without_proposal_window)
        program = Program(CELL_DEP, transaction.code.find(group.script), CELL_DATA, offset=0, length=0)
        context = GroupContext(transaction, group, self._debug)
        try:
            return Scheduler(context, vm_version, self._machine_factory, self._pause).run(program, max_cycles, args)
        except CyclesExceeded:
            raise ExceededMaximumCycles(max_cycles) from None
        except VmError as error:
            raise VmInternalError(error) from error
