"""Scripts of real transactions on the official cells: exact cycles on each VM and engine, no signature changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.crypto.hashing import data_hash
from consensus.rules.dao import transaction_fee
from consensus.script.context import TransactionContext
from consensus.script.errors import ExceededMaximumCycles, TransactionScriptError, ValidationFailure
from consensus.script.groups import script_groups
from consensus.script.verifier import ScriptVerifier
from consensus.types.blockchain import (
    HASH_TYPE_TYPE,
    CellOutput,
    RawTransaction,
    Script,
    Transaction,
)
from consensus.types.core import CellMeta
from tests.realchain.cells import KnownCells
from tests.realchain.cycles import CYCLES
from tests.realchain.kinds import MAINNET, RealTransaction, short
from tests.realchain.public import EPOCHS, LIMIT, PublicChain
from tests.realchain.vectors import FIRST_BLOCKS, all_transactions
from tests.support.builders.scripts import Env
from tests.support.builders.wallet import SIGHASH_TYPE_HASH
from tests.support.vm.engines import machine_factories

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FACTORIES = machine_factories()

REAL = {real.hash: real for real in all_transactions() if real.hash in CYCLES}
REPLAYED = {tx.hash.hex() for real in FIRST_BLOCKS[MAINNET] for tx in real.block.transactions}
"""On VM 0 these are run by test_replay.py."""

WITHDRAWAL = "1c375948bae003ef1a9e86e6b049199480987d7dcf96bdfa2a914ecd4dadd42b"
TWO_OWNERS = next(found for found in REAL if found.startswith("19e5c14c"))
PUBLISHED = "f34f4eaac4a662927fb52d4cb608e603150b9e0678a0f5ed941e3cfd5b68fb30"
CHOSEN = [WITHDRAWAL, TWO_OWNERS, PUBLISHED]

KEY_HASH, SIGNATURE, RECOVERY, DAO_CAPACITY = -31, -14, -11, -15
WITHDRAWAL_FEE = 2808
"""As RFC 23 reckons it: the withdrawal leaves just so much of what is due to it."""

DEBUGGED_OWNER = "3c2c45d0def478183ce14337d21bf55fa2308e03"
DEBUGGED_CAPACITIES = (0x34E62CE00, 0x48ADDE6C50)
DEBUGGED_DATA = bytes.fromhex("17000000b7afed33b07b6ec981010000")
DEBUGGED_CYCLES = 1_697_297


def verify(chain: PublicChain, real: RealTransaction, version: int, engine: str = "wasm", limit: int = LIMIT) -> int:
    verifier = ScriptVerifier(chain.consensus, chain.known, machine_factory=FACTORIES[engine])
    env = Env(EPOCHS[real.network][version])
    return verifier.verify(chain.known.resolve(real.transaction), env, limit)


def failure(chain: PublicChain, real: RealTransaction, transaction: Transaction) -> int:
    """The exit code with which a script refuses a changed transaction."""
    with pytest.raises(TransactionScriptError) as caught:
        verify(chain, replace(real, raw=transaction.raw.hex()), 2)
    assert isinstance(caught.value.cause, ValidationFailure)
    return caught.value.cause.exit_code


RUNS = [(found, version) for found in REAL for version in (0, 1, 2) if version or found not in REPLAYED]


@pytest.mark.parametrize(("tx_hash", "version"), RUNS, ids=[f"{short(found)}-vm{version}" for found, version in RUNS])
def test_cycles(chains: dict[str, PublicChain], tx_hash: str, version: int) -> None:
    real = REAL[tx_hash]
    assert verify(chains[real.network], real, version) == CYCLES[tx_hash][version]


@pytest.mark.parametrize("engine", FACTORIES)
@pytest.mark.parametrize(
    ("tx_hash", "version"),
    [(WITHDRAWAL, 0), (WITHDRAWAL, 1), (WITHDRAWAL, 2), (TWO_OWNERS, 0), (PUBLISHED, 1)],
    ids=lambda value: str(value)[:8],
)
def test_cycles_on_every_engine(chains: dict[str, PublicChain], tx_hash: str, version: int, engine: str) -> None:
    real = REAL[tx_hash]
    cycles = CYCLES[tx_hash][version]
    assert verify(chains[real.network], real, version, engine, cycles) == cycles


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("tx_hash", CHOSEN, ids=short)
def test_one_cycle_too_few(chains: dict[str, PublicChain], tx_hash: str, version: int) -> None:
    real = REAL[tx_hash]
    with pytest.raises(TransactionScriptError) as caught:
        verify(chains[real.network], real, version, limit=CYCLES[tx_hash][version] - 1)
    assert isinstance(caught.value.cause, ExceededMaximumCycles)


def test_the_figures_that_others_published() -> None:
    """The light client's 1,691,692 is what the block's own VM 0 takes, the explorer's 1,682,789 what VM 1 would."""
    assert CYCLES[PUBLISHED][:2] == (1_691_692, 1_682_789)


@pytest.mark.parametrize("tx_hash", REAL, ids=short)
def test_a_changed_signature_is_refused(chains: dict[str, PublicChain], tx_hash: str) -> None:
    """One bit of the first witness: in the middle of the signature, which comes after 20 bytes of tables."""
    real = REAL[tx_hash]
    first, *others = real.transaction.witnesses
    changed = bytearray(first)
    changed[20 + 40] ^= 1
    transaction = Transaction(body=real.transaction.body, witnesses=[bytes(changed), *others])
    assert failure(chains[real.network], real, transaction) in (KEY_HASH, SIGNATURE, RECOVERY)


@pytest.mark.parametrize("tx_hash", CHOSEN, ids=short)
def test_signatures_cover_every_part(chains: dict[str, PublicChain], tx_hash: str) -> None:
    real = REAL[tx_hash]
    transaction = real.transaction
    body: RawTransaction = transaction.body
    output = body.outputs[0]
    less = output.replace(capacity=output.capacity - 1)
    spend = body.inputs[0]
    bodies = [
        body.replace(outputs=[less, *body.outputs[1:]]),
        body.replace(outputs_data=[b"\x00", *body.outputs_data[1:]]),
        body.replace(inputs=[spend.replace(since=spend.since ^ 1), *body.inputs[1:]]),
        body.replace(version=1),
        body.replace(cell_deps=[*body.cell_deps, body.cell_deps[0]]),
    ]
    for changed in bodies:
        damaged = Transaction(body=changed, witnesses=transaction.witnesses)
        assert failure(chains[real.network], real, damaged) in (KEY_HASH, SIGNATURE, RECOVERY)
    more = Transaction(body=body, witnesses=[*transaction.witnesses, b"one more"])
    assert failure(chains[real.network], real, more) in (KEY_HASH, SIGNATURE, RECOVERY)


def test_the_withdrawal_takes_all_that_is_due(chains: dict[str, PublicChain]) -> None:
    """RFC 23's example. The DAO script alone: it lets no shannon more through."""
    chain, real = chains[MAINNET], REAL[WITHDRAWAL]
    body = real.transaction.body
    (output,) = body.outputs
    verifier = ScriptVerifier(chain.consensus, chain.known)

    def exit_code(by: int) -> int:
        changed = body.replace(outputs=[output.replace(capacity=output.capacity + by)])
        rtx = chain.known.resolve(Transaction(body=changed, witnesses=real.transaction.witnesses))
        (group,) = (each for each in script_groups(rtx) if each.script == rtx.inputs[0].output.type_)
        return verifier.run_group(TransactionContext(rtx, chain.known), group, Env(0), LIMIT).exit_code

    assert [exit_code(by) for by in (-1, 0, WITHDRAWAL_FEE)] == [0, 0, 0]
    assert exit_code(WITHDRAWAL_FEE + 1) == DAO_CAPACITY
    assert transaction_fee(chain.consensus, chain.known.resolve(real.transaction), chain.known) == WITHDRAWAL_FEE


def test_the_lock_that_the_debugger_shows(chains: dict[str, PublicChain]) -> None:
    """ckb-standalone-debugger, `ckb-debugger/examples/mock_tx.md`: 1,697,297 cycles on VM 1 for 5f0a4162's lock.

    Its two inputs have one owner. Their type script's code is not here; a lock never looks at it.
    """
    chain = chains[MAINNET]
    real = next(each for each in all_transactions() if each.hash.startswith("5f0a4162"))
    lock = Script(code_hash=SIGHASH_TYPE_HASH, hash_type=HASH_TYPE_TYPE, args=bytes.fromhex(DEBUGGED_OWNER))
    spent, deps = real.transaction.body.inputs, real.transaction.body.cell_deps
    cells = dict(chain.known.cells)
    for spend, capacity, data in zip(spent, DEBUGGED_CAPACITIES, (DEBUGGED_DATA, b""), strict=True):
        cells[spend.previous_output.raw] = bare_cell(spend.previous_output.raw, lock, capacity, data)
    cells[deps[1].out_point.raw] = bare_cell(deps[1].out_point.raw, lock, 0, b"")
    known = KnownCells(cells, chain.known.headers)
    context = TransactionContext(known.resolve(real.transaction), known)
    (group,) = (each for each in script_groups(context.rtx) if each.script == lock)
    verifier = ScriptVerifier(chain.consensus, known)
    outcome = verifier.run_group(context, group, Env(EPOCHS[MAINNET][1]), LIMIT)
    assert (outcome.exit_code, outcome.cycles) == (0, DEBUGGED_CYCLES)


def bare_cell(key: bytes, lock: Script, capacity: int, data: bytes) -> CellMeta:
    output = CellOutput(capacity=capacity, lock=lock, type_=None)
    return CellMeta(key, output, len(data), data_hash(data), None, lambda: data)
