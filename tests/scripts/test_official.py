"""The official system scripts (crate ckb-system-scripts 0.5.4, fetched by cargo) verify transactions on each engine.

The cycles are those that the verifier of the reference node 0.206 gives for the same transactions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from consensus.crypto.hashing import blake160, data_hash
from consensus.script.errors import TransactionScriptError, ValidationFailure
from consensus.script.verifier import ScriptVerifier
from consensus.types.blockchain import Script
from consensus.types.core import EpochFraction
from tests.scripts.comparison import resolved
from tests.scripts.kit_multisig import configuration, epoch
from tests.support.builders.mock_transactions import (
    CKB,
    DAO,
    DATA,
    MULTISIG,
    SIGHASH,
    Cell,
    Key,
    Mock,
    header,
    sign,
    witness,
)
from tests.support.builders.scripts import DATA_HASH_TYPES, EPOCHS, Chain, Env, make_consensus
from tests.support.crates import fetch_crates
from tests.support.vm.engines import machine_factories

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FACTORIES = machine_factories()
LIMIT = 70_000_000
ALICE, BOB = Key(0xA11CE), Key(0xB0B)
SIGNERS = [Key(1000 + n) for n in range(3)]
ZEROS = bytes(65)
RATE = 10**16


@dataclass(frozen=True)
class Official:
    """The system cells' data by name."""

    cells: dict[str, bytes]

    def script(self, name: str, args: bytes = b"", version: int = 2) -> Script:
        return Script(code_hash=data_hash(self.cells[name]), hash_type=DATA_HASH_TYPES[version], args=args)

    def mock(self, inputs: Sequence[Cell], outputs: Sequence[Cell], witnesses: Sequence[bytes]) -> Mock:
        return Mock(inputs, outputs, witnesses, deps=[Cell(data=data) for data in self.cells.values()])


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Official:
    crates = fetch_crates(tmp_path_factory.mktemp("crates"), "THE OFFICIAL SYSTEM SCRIPTS ARE NOT RUN in this run")
    directory: Path = crates / "ckb-system-scripts" / "specs" / "cells"
    return Official({name: (directory / name).read_bytes() for name in (SIGHASH, MULTISIG, DAO, DATA)})


def verify(mock: Mock, engine: str = "wasm", limit: int = LIMIT) -> int:
    """The cycles. Raises TransactionScriptError."""
    chain = Chain(headers={block.hash: block for block in mock.header_deps})
    verifier = ScriptVerifier(make_consensus(), chain, machine_factory=FACTORIES[engine])
    return verifier.verify(resolved(mock), Env(EPOCHS[2]), limit)


def failure(mock: Mock, engine: str) -> int:
    """The exit code with which a script refuses."""
    with pytest.raises(TransactionScriptError) as caught:
        verify(mock, engine)
    assert isinstance(caught.value.cause, ValidationFailure)
    return caught.value.cause.exit_code


# Default lock


def payment(official: Official, version: int = 2, keys: Sequence[Key] = (ALICE,)) -> Mock:
    """Signed, one input a key; inputs of the same key are one group."""
    inputs = [Cell(lock=official.script(SIGHASH, key.hash, version)) for key in keys]
    firsts = {key: keys.index(key) for key in keys}
    witnesses = [witness(ZEROS) if index in firsts.values() else b"" for index in range(len(keys))]
    mock = official.mock(inputs, [Cell(capacity=400 * CKB), Cell(capacity=100 * CKB)], witnesses)
    for key in firsts:
        mock = sign(mock, [index for index, other in enumerate(keys) if other == key], key.sign)
    return mock


def lock_time(official: Official, version: int = 2) -> Mock:
    """Two of three, spent at the very moment that its lock names."""
    return shared(official, (0, 2), epoch(7, 500, 1000), version=version)


def shared(official: Official, signers: Sequence[int], since: int, require_first: int = 0, version: int = 2) -> Mock:
    config = configuration(require_first, 2, SIGNERS)
    lock = official.script(MULTISIG, blake160(config) + struct.pack("<Q", epoch(7, 1, 2)), version)
    mock = official.mock([Cell(lock=lock, since=since)], [Cell()], [witness(config + bytes(65 * len(signers)))])
    return sign(mock, [0], lambda message: config + b"".join(SIGNERS[index].sign(message) for index in signers))


def withdrawal(official: Official, version: int = 2, paid: int = 0, since: int | None = None) -> Mock:
    """Phase 2 of a deposit of 1000 CKB that grew by a tenth; it pays `paid` shannons more than it may."""
    blocks = [
        header(1554, EpochFraction(35, 554, 1000).pack(), RATE),
        header(2610, EpochFraction(100, 1, 1000).pack(), RATE + RATE // 10),
    ]
    cell = Cell(
        lock=official.script(SIGHASH, ALICE.hash, version),
        type_=official.script(DAO, version=version),
        data=(1554).to_bytes(8, "little"),
        since=0x20 << 56 | EpochFraction(215, 554, 1000).pack() if since is None else since,
        header=blocks[1],
    )
    occupied = cell.output().occupied_capacity(8)
    value = (cell.capacity - occupied) * 11 // 10 + occupied + paid
    mock = official.mock([cell], [Cell(capacity=value)], [witness(ZEROS, bytes(8))])
    return sign(replace(mock, header_deps=blocks), [0], ALICE.sign)


def request(official: Official, version: int = 2) -> Mock:
    """Phase 1, beside a new deposit."""
    block = header(1554, EpochFraction(35, 554, 1000).pack())
    lock, type_ = official.script(SIGHASH, ALICE.hash, version), official.script(DAO, version=version)
    inputs = [Cell(lock, type_, data=bytes(8), header=block), Cell(lock)]
    outputs = [Cell(lock, type_, data=(1554).to_bytes(8, "little")), Cell(lock, type_, data=bytes(8))]
    mock = official.mock(inputs, outputs, [witness(ZEROS), b""])
    return sign(replace(mock, header_deps=[block]), [0, 1], ALICE.sign)


ACCEPTED: dict[str, tuple[Callable[[Official, int], Mock], tuple[int, int, int]]] = {
    "one input": (payment, (1_700_740, 1_691_767, 1_636_432)),
    "a group of two, and another": (lambda o, v: payment(o, v, (ALICE, BOB, ALICE)), (3_416_402, 3_398_386, 3_287_408)),
    "two of three, and since": (lock_time, (3_112_435, 3_094_612, 2_984_454)),
    "DAO request and deposit": (request, (1_729_412, 1_720_422, 1_667_946)),
    "DAO withdrawal": (withdrawal, (1_716_795, 1_707_839, 1_652_578)),
}


@pytest.mark.parametrize("engine", FACTORIES)
@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("name", ACCEPTED)
def test_accepts_with_exact_cycles(official: Official, name: str, version: int, engine: str) -> None:
    make, cycles = ACCEPTED[name]
    assert verify(make(official, version), engine) == cycles[version]


@pytest.mark.parametrize("name", ACCEPTED)
def test_one_cycle_too_few(official: Official, name: str) -> None:
    make, cycles = ACCEPTED[name]
    assert verify(make(official, 2), limit=cycles[2]) == cycles[2]
    with pytest.raises(TransactionScriptError, match="ExceededMaximumCycles"):
        verify(make(official, 2), limit=cycles[2] - 1)


def swapped(mock: Mock) -> Mock:
    first, second, *others = mock.witnesses
    return replace(mock, witnesses=[second, first, *others])


ENCODING, SIGNATURE, WITNESS_SIZE, SINCE_VALUE, KEY_HASH, SIGNER = -2, -14, -22, -24, -31, -52
DAO_CAPACITY, DAO_SINCE = -15, -17

REFUSED: dict[str, tuple[Callable[[Official], Mock], int]] = {
    "another transaction": (lambda o: replace(payment(o), outputs=[Cell(capacity=401 * CKB)]), KEY_HASH),
    "another key": (lambda o: sign(payment(o).with_witness(0, witness(ZEROS)), [0], BOB.sign), KEY_HASH),
    "no number": (lambda o: payment(o).with_witness(0, witness(b"\xff" * 64 + b"\0")), SIGNATURE),
    "witnesses in another order": (lambda o: swapped(payment(o, keys=(ALICE, BOB))), KEY_HASH),
    "short signature": (lambda o: payment(o).with_witness(0, witness(bytes(64))), -1),
    "short witness": (lambda o: payment(o).with_witness(0, payment(o).witnesses[0][:-1]), ENCODING),
    "no witness": (lambda o: payment(o).with_witness(0, b""), ENCODING),
    "one signer": (lambda o: shared(o, (0,), epoch(7, 1, 2)), WITNESS_SIZE),
    "a signer twice": (lambda o: shared(o, (1, 1), epoch(7, 1, 2)), SIGNER),
    "not the first signer": (lambda o: shared(o, (1, 2), epoch(7, 1, 2), require_first=1), SIGNER),
    "too early": (lambda o: shared(o, (0, 1), epoch(7, 499, 1000)), SINCE_VALUE),
    "DAO pays too much": (lambda o: withdrawal(o, paid=1), DAO_CAPACITY),
    "DAO too early": (lambda o: withdrawal(o, since=0x20 << 56 | EpochFraction(215, 553, 1000).pack()), DAO_SINCE),
}


@pytest.mark.parametrize("engine", FACTORIES)
@pytest.mark.parametrize("name", REFUSED)
def test_refuses(official: Official, name: str, engine: str) -> None:
    make, code = REFUSED[name]
    assert failure(make(official), engine) == code
