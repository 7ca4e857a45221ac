"""Our system cells beside the official ones (crate ckb-system-scripts 0.5.4, fetched by cargo): equal exit codes.

A few random transactions here; CKB_FUZZ_FACTOR makes them many.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.script.scheduler import MachineFactory
from tests.scripts.comparison import Cells, by_type, named_deps, outcomes
from tests.scripts.random_dao import RATE, random_dao
from tests.scripts.random_locks import random_payment, random_shared
from tests.support.builders.mock_transactions import (
    CKB,
    DAO,
    DATA,
    MULTISIG,
    SIGHASH,
    Cell,
    Mock,
    code,
    header,
    witness,
)
from tests.support.crates import fetch_crates
from tests.support.fuzz import FACTOR, examples
from tests.support.vm.engines import machine_factories

pytestmark = [pytest.mark.slow, pytest.mark.fuzz, pytest.mark.timeout(300 + 60 * FACTOR)]

OURS: Cells = {name: code(name) for name in (SIGHASH, MULTISIG, DAO, DATA)}
DAO_TYPE = by_type(DAO)

RANDOM: dict[str, tuple[Callable[[random.Random], Mock], int, set[str]]] = {
    SIGHASH: (random_payment, 150, {"0", "-1", "-2", "-3", "-11", "-14", "-22", "-31", "-101", "-102"}),
    MULTISIG: (random_shared, 300, {"0", "-2", "-22", "-23", "-24", "-41", "-42", "-43", "-44", "-51", "-52"}),
    DAO: (random_dao, 400, {"0", "1", "2", "-2", "-4", "-11", "-13", "-14", "-15", "-16", "-17", "-18", "-19", "-20"}),
}
"""For each cell: what makes a transaction, how many, and the exit codes that they must have met."""


@pytest.fixture(scope="module")
def wasm() -> MachineFactory:
    return machine_factories()["wasm"]


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    crates = fetch_crates(tmp_path_factory.mktemp("crates"), "OUR SYSTEM CELLS ARE NOT COMPARED with the official ones")
    directory: Path = crates / "ckb-system-scripts" / "specs" / "cells"
    return {name: (directory / name).read_bytes() for name in (SIGHASH, MULTISIG, DAO, DATA)}


def test_the_data_cell_is_the_official_one(official: Cells) -> None:
    assert OURS[DATA] == official[DATA]


@pytest.mark.parametrize("name", RANDOM)
def test_random_transactions_end_alike(official: Cells, wasm: MachineFactory, name: str) -> None:
    make, count, met = RANDOM[name]
    ends: Counter[str] = Counter()
    for seed in range(examples(count)):
        source = random.Random(f"{name} {seed}")
        version, mock = source.randrange(3), make(source)
        theirs = outcomes(mock, official, version, wasm)
        assert outcomes(mock, OURS, version, wasm) == theirs, f"seed {seed}, version {version} of the VM"
        ends.update(theirs.values())
    assert met <= ends.keys(), ends


def dao_end(mock: Mock, cells: Cells, factory: MachineFactory) -> str:
    (end,) = outcomes(mock, cells, 2, factory).values()
    return end


@pytest.mark.parametrize("count", [63, 64, 65, 66])
@pytest.mark.parametrize("last", ["plain", "overflow", "deposit", "no deposit", "request"])
def test_dao_with_many_outputs(official: Cells, wasm: MachineFactory, count: int, last: str) -> None:
    block = header(1554, 1 << 40)
    ends = {
        "plain": Cell(capacity=0),
        "overflow": Cell(capacity=2**64 - 1),
        "deposit": Cell(type_=DAO_TYPE, capacity=0, data=bytes(8)),
        "no deposit": Cell(type_=DAO_TYPE, capacity=0, data=bytes(7)),
        "request": Cell(type_=DAO_TYPE, data=(1554).to_bytes(8, "little")),
    }
    inputs, outputs = [Cell()], [Cell(type_=DAO_TYPE, capacity=CKB, data=bytes(8)), *[Cell(capacity=0)] * (count - 2)]
    if last == "request":
        inputs += [*[Cell()] * (count - 2), Cell(type_=DAO_TYPE, data=bytes(8), header=block)]
    mock = Mock(inputs, [*outputs, ends[last]], [], deps=named_deps([DAO]), header_deps=[block])
    end = dao_end(mock, OURS, wasm)
    assert end == dao_end(mock, official, wasm)
    assert (end == "-18") == (count > 64)


@pytest.mark.parametrize("at", [0, 62, 63, 64, 65, 66, 130])
@pytest.mark.parametrize("kind", ["request", "no request", "withdrawal", "mixed"])
def test_dao_with_many_inputs(official: Cells, wasm: MachineFactory, kind: str, at: int) -> None:
    """A DAO cell among inputs, so far back that a request has no place among the outputs that are looked at."""
    blocks = [header(1554, 1 << 40), header(1555, 1 << 40 | 1)]
    deposit = Cell(type_=DAO_TYPE, data=bytes(8), header=blocks[0])
    withdrawing = replace(deposit, data=(1554).to_bytes(8, "little"))
    due = replace(withdrawing, since=0x20 << 56 | 1 << 40 | 180, header=blocks[1])
    inputs, outputs = [Cell(capacity=0)] * at, [Cell(capacity=0)] * at
    witnesses = [b""] * at
    if kind in ("withdrawal", "mixed"):
        inputs.append(due)
        witnesses.append(witness(b"", bytes(8)))
        outputs = outputs[:60]
    if kind in ("request", "mixed", "no request"):
        inputs.append(deposit)
        while len(outputs) + 1 < len(inputs):
            outputs.append(Cell(capacity=0))
        outputs.append(Cell(capacity=0) if kind == "no request" else withdrawing)
    mock = Mock(inputs, outputs, witnesses, deps=named_deps([DAO]), header_deps=blocks)
    end = dao_end(mock, OURS, wasm)
    assert end == dao_end(mock, official, wasm)
    assert (end == "0") == (kind == "withdrawal" or (kind != "no request" and len(outputs) <= 64))


@pytest.mark.parametrize("count", [2, 64, 65, 256, 300])
@pytest.mark.parametrize("named", [0, 63, 64, 255, 256, 299, 300])
def test_dao_with_many_header_deps(official: Cells, wasm: MachineFactory, count: int, named: int) -> None:
    """The deposit's header is the one that the witness names, among the first 256: of its number one byte counts."""
    deposit, request = header(1554, 1 << 40), header(1555, 1 << 40 | 1)
    blocks = [request, *[header(10_000 + number, 1 << 40) for number in range(count - 2)]]
    place = min(named, len(blocks))
    blocks.insert(place, deposit)
    cell = Cell(type_=DAO_TYPE, data=(1554).to_bytes(8, "little"), since=0x20 << 56 | 1 << 40 | 180, header=request)
    mock = Mock([cell], [Cell()], [witness(b"", named.to_bytes(8, "little"))], named_deps([DAO]), blocks)
    end = dao_end(mock, OURS, wasm)
    assert end == dao_end(mock, official, wasm)
    assert (end == "0") == (place == named % 256)


@pytest.mark.parametrize("rate", [0, 1, RATE, 2**63, 2**64 - 1])
@pytest.mark.parametrize("deposit_rate", [0, 1, 3, RATE, 2**64 - 1])
def test_dao_compensation_of_any_rates(official: Cells, wasm: MachineFactory, deposit_rate: int, rate: int) -> None:
    """The largest output that passes is the same."""
    blocks = [header(1554, 1 << 40, deposit_rate), header(1555, 1 << 40 | 1, rate)]
    cell = Cell(type_=DAO_TYPE, data=(1554).to_bytes(8, "little"), since=0x20 << 56 | 1 << 40 | 180, header=blocks[1])
    growing = cell.capacity - cell.output().occupied_capacity(8)
    product = growing * rate
    grown = (product // deposit_rate) % 2**64 if deposit_rate else (product + 2**64) // (2**64 - 1)
    most = grown + cell.capacity - growing
    assert most < 2**64 - 1
    for paid, expected in ((most, "0"), (most + 1, "-15")):
        mock = Mock([cell], [Cell(capacity=paid)], [witness(b"", bytes(8))], named_deps([DAO]), blocks)
        assert dao_end(mock, OURS, wasm) == expected
        assert dao_end(mock, official, wasm) == expected
