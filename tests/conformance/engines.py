"""Runs a case on each engine of this project."""

from __future__ import annotations

from collections.abc import Callable

from consensus.errors import ScriptError
from consensus.script.context import TransactionContext
from consensus.script.errors import ExceededMaximumCycles, VmInternalError
from consensus.script.groups import script_groups
from consensus.script.scheduler import MachineFactory
from consensus.script.syscalls.numbers import EXIT, SUCCESS, transfer_cycles
from consensus.script.verifier import ScriptVerifier
from tests.conformance.cases import LIMIT_EXCEEDED, Case, Outcome, transaction_of
from tests.support.builders.scripts import EPOCHS, Chain, Env, make_consensus
from vm.errors import CyclesExceeded, EngineFailure, VmError
from vm.registers import A0, A7

DEBUG = 2177


def run_on_engine(factory: MachineFactory, case: Case, max_cycles: int) -> Outcome:
    """The outcome of a case, whatever it is."""
    run: Callable[[MachineFactory, Case, int], Outcome] = _run_bare if case.arguments else _run_as_script
    try:
        return run(factory, case, max_cycles)
    except EngineFailure as failure:
        return Outcome(error=f"the engine broke down: {failure}")


def _run_as_script(factory: MachineFactory, case: Case, max_cycles: int) -> Outcome:
    rtx, chain, printed = transaction_of(case), Chain(), list[str]()
    verifier = ScriptVerifier(
        make_consensus(), chain, debug=lambda _, text: printed.append(_first_line(text)), machine_factory=factory
    )
    context = TransactionContext(rtx, chain)
    (group,) = script_groups(rtx)
    try:
        outcome = verifier.run_group(context, group, Env(EPOCHS[2]), max_cycles)
    except ExceededMaximumCycles:
        return LIMIT_EXCEEDED
    except VmInternalError as error:
        return Outcome(error=str(error.error), printed=tuple(printed))
    except ScriptError as error:
        return Outcome(error=str(error), printed=tuple(printed))
    return Outcome(exit_code=outcome.exit_code, cycles=outcome.cycles, printed=tuple(printed))


def _run_bare(factory: MachineFactory, case: Case, max_cycles: int) -> Outcome:
    """Only exit and debug are answered."""
    machine, printed = factory(case.version, max_cycles), list[str]()
    try:
        machine.add_cycles(transfer_cycles(machine.load_program(case.elf, case.arguments)))
        while True:
            machine.run()
            number = machine.get_register(A7)
            if number == EXIT:
                code = (machine.get_register(A0) & 0xFF ^ 0x80) - 0x80
                return Outcome(exit_code=code, cycles=machine.cycles, printed=tuple(printed))
            if number != DEBUG:
                return Outcome(error=f"InvalidEcall({number})", printed=tuple(printed))
            text = machine.memory.load_cstring(machine.get_register(A0))
            machine.add_cycles(transfer_cycles(len(text)))
            printed.append(_first_line(text.decode()))
            machine.set_register(A0, SUCCESS)
    except CyclesExceeded:
        return LIMIT_EXCEEDED
    except VmError as error:
        return Outcome(error=str(error), printed=tuple(printed))


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
