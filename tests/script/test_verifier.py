"""The verifier: groups one after the other with what cycles are left, and the errors that clients read."""

from __future__ import annotations

import pytest

from consensus.params import TYPE_ID_CODE_HASH
from consensus.script.errors import (
    ExceededMaximumCycles,
    InvalidVmVersion,
    ScriptNotFound,
    TransactionScriptError,
    ValidationFailure,
    VmInternalError,
)
from consensus.script.verifier import ScriptVerifier
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Script
from consensus.types.core import EpochFraction, ResolvedTransaction
from tests.support.builders.scripts import (
    Chain,
    Env,
    make_cell,
    make_consensus,
    make_header,
    make_output,
    make_transaction,
    resolve,
    script_for,
)
from tests.support.vm.script_programs import DATA, Program

NO_LIMIT = (1 << 64) - 1


def make_verifier() -> ScriptVerifier:
    return ScriptVerifier(make_consensus(), Chain())


def exiting(code: int) -> bytes:
    program = Program()
    program.exit(code)
    return program.elf()


SUCCESS, FAILURE = exiting(0), exiting(-7)
# Two segments' bytes and the stack (8 bytes on VM 0, 16 later), a quarter cycle each; then three instructions, the
# last of which is the ecall: 12 bytes of code.
CYCLES = {0: (12 + 8) // 4 + 502, 1: (12 + 16) // 4 + 502, 2: (12 + 16) // 4 + 502}


def locked(code: bytes, version: int) -> ResolvedTransaction:
    return resolve(make_transaction(), [make_cell(lock=script_for(code, version))], [make_cell(code)])


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_script_that_exits_with_0_passes_at_its_price(version: int) -> None:
    assert make_verifier().verify(locked(SUCCESS, version), Env(10), NO_LIMIT) == CYCLES[version]


@pytest.mark.parametrize("version", [0, 1, 2])
def test_the_limit_is_exact(version: int) -> None:
    cycles = CYCLES[version]
    assert make_verifier().verify(locked(SUCCESS, version), Env(10), cycles) == cycles
    with pytest.raises(TransactionScriptError) as caught:
        make_verifier().verify(locked(SUCCESS, version), Env(10), cycles - 1)
    assert isinstance(caught.value.cause, ExceededMaximumCycles)
    assert caught.value.cause.limit == cycles - 1


def test_each_group_gets_what_those_before_it_left() -> None:
    locks = [script_for(SUCCESS, 2, args=bytes([n])) for n in range(3)]
    rtx = resolve(make_transaction(), [make_cell(lock=lock) for lock in locks], [make_cell(SUCCESS)])
    each = CYCLES[2]
    assert make_verifier().verify(rtx, Env(10), 3 * each) == 3 * each
    with pytest.raises(TransactionScriptError) as caught:
        make_verifier().verify(rtx, Env(10), 3 * each - 1)
    last = max(range(3), key=lambda index: locks[index].hash)
    assert str(caught.value) == (
        f"TransactionScriptError {{ source: Inputs[{last}].Lock, "
        f"cause: ExceededMaximumCycles: expect cycles <= {each - 1} }}"
    )


@pytest.mark.parametrize("version", [0, 1, 2])
def test_an_exit_code_is_the_low_byte_with_sign_and_names_its_page(version: int) -> None:
    rtx = locked(FAILURE, version)
    with pytest.raises(TransactionScriptError) as caught:
        make_verifier().verify(rtx, Env(10), NO_LIMIT)
    cause = caught.value.cause
    assert isinstance(cause, ValidationFailure)
    assert cause.exit_code == -7
    code_hash = rtx.cell_deps[0].data_hash.hex()
    assert str(caught.value) == (
        "TransactionScriptError { source: Inputs[0].Lock, cause: ValidationFailure: see error code -7 on page "
        f"https://nervosnetwork.github.io/ckb-script-error-codes/by-data-hash/{code_hash}.html#-7 }}"
    )


@pytest.mark.parametrize(("value", "exit_code"), [(0x17F, 127), (0x80, -128), (0xFF, -1), (0x1_0000_0001, 1)])
def test_exit_codes(value: int, exit_code: int) -> None:
    with pytest.raises(TransactionScriptError) as caught:
        make_verifier().verify(locked(exiting(value), 2), Env(10), NO_LIMIT)
    assert isinstance(caught.value.cause, ValidationFailure)
    assert caught.value.cause.exit_code == exit_code


def test_an_exit_value_whose_low_byte_is_0_passes() -> None:
    make_verifier().verify(locked(exiting(0x100), 2), Env(10), NO_LIMIT)


def test_type_scripts_of_outputs_and_the_page_of_a_type_hash() -> None:
    code_type = Script(code_hash=bytes(32), hash_type=0, args=b"")
    type_ = Script(code_hash=code_type.hash, hash_type=1, args=b"")
    transaction = make_transaction(outputs=[make_output(), make_output(type_=type_)])
    rtx = resolve(transaction, [], [make_cell(FAILURE, type_=code_type)])
    with pytest.raises(TransactionScriptError) as caught:
        make_verifier().verify(rtx, Env(0), NO_LIMIT)
    assert caught.value.source == "Outputs[1].Type"
    assert f"/by-type-hash/{code_type.hash.hex()}.html#-7" in str(caught.value)


def test_the_version_of_type_scripts_follows_the_epoch_of_the_environment() -> None:
    program = Program()
    program.check(2041, answer=1, code=9)  # vm_version
    program.exit(0)
    code = program.elf()
    code_type = Script(code_hash=bytes(32), hash_type=0, args=b"")
    lock = Script(code_hash=code_type.hash, hash_type=1, args=b"")
    rtx = resolve(make_transaction(), [make_cell(lock=lock)], [make_cell(code, type_=code_type)])
    with pytest.raises(TransactionScriptError, match=r"VM Internal Error: InvalidEcall\(2041\)"):
        make_verifier().verify(rtx, Env(4), NO_LIMIT)
    make_verifier().verify(rtx, Env(5), NO_LIMIT)
    with pytest.raises(TransactionScriptError, match="error code 9"):
        make_verifier().verify(rtx, Env(10), NO_LIMIT)


def test_a_transaction_of_the_pool_is_judged_by_the_next_block() -> None:
    last_of_epoch_4 = make_header(epoch=EpochFraction(4, 9, 10).pack())
    rtx = locked(SUCCESS, 1)
    make_verifier().verify(rtx, TxEnv.submitted(last_of_epoch_4), NO_LIMIT)
    with pytest.raises(TransactionScriptError) as caught:
        make_verifier().verify(rtx, TxEnv.committed(last_of_epoch_4), NO_LIMIT)
    assert isinstance(caught.value.cause, InvalidVmVersion)


def test_the_vm_version_is_looked_at_before_the_code() -> None:
    rtx = resolve(make_transaction(), [make_cell(lock=script_for(SUCCESS, 2))])
    with pytest.raises(TransactionScriptError) as caught:
        make_verifier().verify(rtx, Env(9), NO_LIMIT)
    assert isinstance(caught.value.cause, InvalidVmVersion)
    with pytest.raises(TransactionScriptError) as caught:
        make_verifier().verify(rtx, Env(10), NO_LIMIT)
    assert isinstance(caught.value.cause, ScriptNotFound)


def test_type_id_runs_without_code_and_costs_a_million() -> None:
    type_id = Script(code_hash=TYPE_ID_CODE_HASH, hash_type=1, args=bytes(32))
    cell = make_cell(lock=script_for(SUCCESS, 2), type_=type_id)
    rtx = resolve(make_transaction(outputs=[make_output(type_=type_id)]), [cell], [make_cell(SUCCESS)])
    assert make_verifier().verify(rtx, Env(10), 2_000_000) == CYCLES[2] + 1_000_000
    with pytest.raises(TransactionScriptError) as caught:
        make_verifier().verify(rtx, Env(10), 999_999)
    assert str(caught.value) == (
        "TransactionScriptError { source: Inputs[0].Type, "
        f"cause: ExceededMaximumCycles: expect cycles <= {999_999 - CYCLES[2]} }}"
    )


def test_a_program_that_is_none() -> None:
    with pytest.raises(TransactionScriptError, match="VM Internal Error: ElfParseError"):
        make_verifier().verify(locked(b"\x7fnot", 2), Env(10), NO_LIMIT)


def test_a_system_call_that_nobody_answers() -> None:
    program = Program()
    program.syscall(1)
    with pytest.raises(TransactionScriptError) as caught:
        make_verifier().verify(locked(program.elf(), 1), Env(10), NO_LIMIT)
    assert isinstance(caught.value.cause, VmInternalError)
    assert str(caught.value.cause) == "VM Internal Error: InvalidEcall(1)"


def test_a_system_call_may_use_up_the_last_cycle_but_not_more() -> None:
    program = Program()
    program.set64(DATA, 8)
    program.syscall(2061, DATA + 8, DATA, 0)  # load_tx_hash: 8 bytes for 2 cycles
    program.exit(0)
    rtx = locked(program.elf(), 2)
    cycles = make_verifier().verify(rtx, Env(10), NO_LIMIT)
    exit_cycles = 502
    with pytest.raises(TransactionScriptError, match="ExceededMaximumCycles"):
        make_verifier().verify(rtx, Env(10), cycles - exit_cycles - 1)
    with pytest.raises(TransactionScriptError, match="ExceededMaximumCycles"):
        make_verifier().verify(rtx, Env(10), cycles - 1)


def test_what_scripts_print_reaches_whoever_listens() -> None:
    program = Program(data=b"hello\0")
    program.syscall(2177, DATA)
    program.exit(0)
    rtx = locked(program.elf(), 0)
    printed: list[tuple[bytes, str]] = []
    verifier = ScriptVerifier(
        make_consensus(), Chain(), debug=lambda script_hash, text: printed.append((script_hash, text))
    )
    verifier.verify(rtx, Env(0), NO_LIMIT)
    assert printed == [(rtx.inputs[0].output.lock.hash, "hello")]


def test_a_transaction_without_scripts_costs_nothing() -> None:
    assert make_verifier().verify(resolve(make_transaction(outputs=[make_output()])), Env(10), 0) == 0
