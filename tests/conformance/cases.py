"""Programs to run, the transaction that holds them, and how a run ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ckb_node.jsonrpc_types.chain import cell_dep_json, cell_input_json, cell_output_json, transaction_json
from consensus.types.blockchain import DEP_TYPE_CODE, CellDep, CellInput, CellOutput, OutPoint, Transaction
from consensus.types.core import CellMeta, ResolvedTransaction
from tests.support.builders.scripts import NO_SCRIPT, make_cell, make_transaction, resolve, script_for

ELF_MAGIC = b"\x7fELF"

_SIGNATURE = (
    b"304402203679d909f43f073c7c1dcf8468a485090589079ee834e6eed92fea9b09b06a2402201e46f1075afa18f306715e7db8749"
    b"3e7b7e779569aa13c64ab3d09980b3560a3"
)
_PUBLIC_KEY = b"033f8cf9c4d51a33206a6c1c6b27d2cc5129daa19dbd1fc148d395284f6b26411f"
_SECP256K1 = (b"secp256k1_bench", _PUBLIC_KEY, _SIGNATURE, b"foo", b"bar")

ARGUMENTS: dict[str, tuple[bytes, ...]] = {
    "secp256k1_bench": _SECP256K1,
    "secp256k1_bench_old": _SECP256K1,
    "simple64": (b"simple", b"foo", b"bar"),
    "simple": (b"simple", b"foo", b"bar"),
}
"""What some of the reference's programs take as argv, as in its tests and benches. All others run as scripts."""


@dataclass(frozen=True)
class Case:
    """A program on one version of the machine. With arguments it runs bare, without as a script of a transaction."""

    name: str
    elf: bytes
    version: int
    arguments: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How a run ended: an exit code and exact cycles, or an error. `printed` has the first line of whatever it said."""

    error: str | None = None
    exit_code: int | None = None
    cycles: int | None = None
    printed: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.error is not None:
            return self.error
        return f"{self.exit_code}" if self.cycles is None else f"{self.exit_code} · {self.cycles:,}"


LIMIT_EXCEEDED = Outcome(error="cycle limit exceeded")


def find_programs(directory: Path) -> Iterator[Path]:
    """The ELF files of a directory and those below it; or the one that is named."""
    for path in [directory] if directory.is_file() else sorted(directory.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(ELF_MAGIC)) == ELF_MAGIC:
                    yield path


def cases_of(path: Path, root: Path) -> list[Case]:
    """A program on all versions."""
    name, elf = path.name if path == root else str(path.relative_to(root)), path.read_bytes()
    return [Case(name, elf, version, ARGUMENTS.get(path.name, ())) for version in (0, 1, 2)]


def transaction_of(case: Case) -> ResolvedTransaction:
    """One input whose lock is the program, which lies in the only cell dep."""
    spent = CellInput(since=0, previous_output=OutPoint(tx_hash=b"\x11" * 32, index=0))
    dep = CellDep(out_point=OutPoint(tx_hash=b"\x22" * 32, index=0), dep_type=DEP_TYPE_CODE)
    output = CellOutput(capacity=10_000_000_000, lock=NO_SCRIPT, type_=None)
    transaction = make_transaction(
        inputs=[spent], cell_deps=[dep], outputs=[output], outputs_data=[b""], witnesses=[b""]
    )
    cell = make_cell(lock=script_for(case.elf, case.version), info=None)
    return resolve(transaction, [cell], [make_cell(case.elf, info=None)])


def mock_transaction(rtx: ResolvedTransaction) -> str:
    """The JSON file that the reference's debugger reads."""
    transaction = rtx.transaction
    document = {
        "mock_info": {
            "inputs": [
                {"input": cell_input_json(spent)} | _mock_cell(cell)
                for spent, cell in zip(transaction.body.inputs, rtx.inputs, strict=True)
            ],
            "cell_deps": [
                {"cell_dep": cell_dep_json(dep)} | _mock_cell(cell)
                for dep, cell in zip(transaction.body.cell_deps, rtx.cell_deps, strict=True)
            ],
            "header_deps": [],
        },
        "tx": _plain(transaction),
    }
    return json.dumps(msgspec.to_builtins(document))


def _mock_cell(cell: CellMeta) -> dict[str, Any]:
    return {"output": cell_output_json(cell.output), "data": f"0x{cell.data.hex()}", "header": None}


def _plain(transaction: Transaction) -> object:
    return transaction_json(transaction)
