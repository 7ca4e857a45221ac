"""Programs for the debug command, transactions that run them, and what it prints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ckb_node.debug.case import cell_in_block
from consensus.types.blockchain import CellDep, CellInput, OutPoint, Script
from consensus.types.core import CellMeta, ResolvedTransaction
from tests.support.builders.scripts import (
    make_output,
    make_transaction,
)
from tests.support.vm.assembler import CODE_BASE, exit_with, imm, jal, program
from tests.support.vm.symbols import Symbol, with_symbols

A0, RA, SP = 10, 1, 2


def file_of(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def made(*codes: bytes, lock: Script, types: Sequence[Script | None] = (None,), **parts: Any) -> ResolvedTransaction:
    """Two inputs with a lock, the second with the first type script; outputs with all; the codes as cell deps."""

    def cell(tag: int, data: bytes, lock: Script, type_: Script | None) -> CellMeta:
        out_point = OutPoint(tx_hash=bytes([tag]) * 32, index=tag)
        return cell_in_block(out_point.raw, make_output(lock, type_), data, parts.get("block_hash"))

    inputs = [cell(1, b"", lock, None), cell(2, b"", lock, types[0])]
    deps = [
        cell(10 + index, code, Script(code_hash=bytes(32), hash_type=0, args=b""), None)
        for index, code in enumerate(codes)
    ]
    transaction = make_transaction(
        inputs=[CellInput(since=0, previous_output=each.as_out_point()) for each in inputs],
        cell_deps=[CellDep(out_point=each.as_out_point(), dep_type=0) for each in deps],
        outputs=[make_output(lock, type_) for type_ in types],
        header_deps=parts.get("header_deps", ()),
    )
    return ResolvedTransaction(transaction, inputs, deps, [])


def calls() -> bytes:
    """_start calls twice, which calls leaf two times, and jumps to finish. Nothing here is fused."""
    parts = {
        "_start": jal(RA, 16) + jal(0, 60),
        "twice": imm("addi", 8, RA, 0) + jal(RA, 28) + jal(RA, 24) + imm("addi", RA, 8, 0) + imm("jalr", 0, RA, 0),
        "leaf": imm("addi", 5, 5, 1) * 2 + imm("jalr", 0, RA, 0),
        "finish": exit_with(0),
    }
    places = {"_start": 0, "twice": 16, "leaf": 48, "finish": 64}
    code = b""
    for name, part in parts.items():
        code = code.ljust(places[name], b"\0") + part
    return with_symbols(program(code), [Symbol(name, CODE_BASE + at) for name, at in places.items()])


CALLS = calls()


def folded(text: str) -> dict[str, int]:
    """Stack → cycles."""
    pairs = [line.rsplit(" ", 1) for line in text.splitlines()]
    assert len({stack for stack, _ in pairs}) == len(pairs)
    return {stack: int(cycles) for stack, cycles in pairs}


def cycles_in(output: str) -> list[int]:
    """Of each group."""
    return [int(cycles) for cycles in re.findall(r"exit code -?\d+, (\d+) cycles", output)]
