"""Made-up blocks with few scripts that begin alike, and a model of the index that looks at every block anew."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ckb_node.indexer.keys import AnyScript
from ckb_node.indexer.query import CellFilter, ScriptType, Search, SearchMode
from consensus.crypto.hashing import ckb_hash
from consensus.types.blockchain import (
    NULL_OUT_POINT,
    Block,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
)
from tests.support.chains.devchain import dev_consensus

CODES = (b"\x01" * 32, b"\x02" * 32)
ARGS = (b"", b"\x01", b"\x01\x02", b"\x01\x02" + bytes(16), b"\x02", bytes(16), b"\xff" * 8)
SCRIPTS = [Script(code_hash=code, hash_type=kind, args=args) for code in CODES for kind in (0, 1) for args in ARGS]
DATA = (b"", b"a", b"ab", b"xab", bytes(40))
CKB = 100_000_000


def a_block(rng: random.Random, chain: Sequence[Block], live: dict[bytes, CellOutput]) -> Block:
    """A block on `chain` that spends some of the live cells, perhaps its own, and creates others."""
    number = len(chain)
    parent = chain[-1].hash if chain else bytes(32)
    transactions = [_transaction(rng, [CellInput(since=number, previous_output=NULL_OUT_POINT)], number * 1000)]
    spendable = list(live)
    for index in range(rng.randint(0, 3)):
        chosen = rng.sample(spendable, min(len(spendable), rng.randint(1, 3)))
        spendable = [each for each in spendable if each not in chosen]
        absent = [ckb_hash(rng.randbytes(8)) + bytes(4)] if rng.random() < 0.2 or not chosen else []
        inputs = [CellInput(since=0, previous_output=OutPoint.trusted(each)) for each in [*chosen, *absent]]
        transactions.append(_transaction(rng, inputs, number * 1000 + index + 1))
        spendable += transactions[-1].output_keys()
    header = dev_consensus().genesis_block.header.with_fields(
        number=number, parent_hash=parent, timestamp=rng.randrange(1 << 40)
    )
    return Block(header=header, uncles=[], transactions=transactions, proposals=[])


def _transaction(rng: random.Random, inputs: Sequence[CellInput], serial: int) -> Transaction:
    outputs = [_output(rng) for _ in range(rng.randint(0, 3))]
    body = RawTransaction(
        version=serial,
        cell_deps=[],
        header_deps=[],
        inputs=list(inputs),
        outputs=outputs,
        outputs_data=[rng.choice(DATA) for _ in outputs],
    )
    return Transaction(body=body, witnesses=[])


def _output(rng: random.Random) -> CellOutput:
    type_ = rng.choice(SCRIPTS) if rng.random() < 0.6 else None
    return CellOutput(capacity=rng.randint(1, 5) * 100 * CKB, lock=rng.choice(SCRIPTS), type_=type_)


def a_chain(rng: random.Random, length: int, base: Sequence[Block] = ()) -> list[Block]:
    chain = list(base)
    while len(chain) < len(base) + length:
        chain.append(a_block(rng, chain, Model(chain).live_outputs()))
    return chain


@dataclass(frozen=True)
class Row:
    """One output, or one input with the output that it spends."""

    tx_hash: bytes
    number: int
    tx_index: int
    io_index: int
    is_output: bool
    out_point: bytes
    output: CellOutput
    data: bytes


def raw_script(script: AnyScript | None) -> bytes:
    return b"" if script is None else script.code_hash + bytes([script.hash_type]) + script.args


class Model:
    """Every answer from the blocks themselves."""

    def __init__(self, chain: Sequence[Block]) -> None:
        self.rows: list[Row] = []
        live: dict[bytes, Row] = {}
        for block in chain:
            for tx_index, tx in enumerate(block.transactions):
                place = tx.hash, block.number, tx_index
                for io_index, cell_input in enumerate(tx.body.inputs if tx_index else ()):
                    spent = live.pop(cell_input.previous_output.raw, None)
                    if spent is not None:
                        self.rows.append(Row(*place, io_index, False, spent.out_point, spent.output, spent.data))
                for io_index, key in enumerate(tx.output_keys()):
                    output, data = tx.body.outputs[io_index], tx.body.outputs_data[io_index]
                    live[key] = Row(*place, io_index, True, key, output, data)
                    self.rows.append(live[key])
        self.live = list(live.values())

    def live_outputs(self) -> dict[bytes, CellOutput]:
        return {row.out_point: row.output for row in self.live}

    def cells(self, search: Search) -> list[Row]:
        """Live cells in ascending order of script, then place."""
        found = [row for row in self.live if _is_searched(row, search) and _passes(row, search)]
        return sorted(found, key=lambda row: _cell_place(row, search))

    def transactions(self, search: Search) -> list[Row]:
        """Inputs and outputs in ascending order of script, then place; filters: exact other script, block range."""
        conditions = search.filter
        found = [
            row
            for row in self.rows
            if _is_searched(row, search)
            and (conditions.script is None or _other(row, search) == raw_script(conditions.script))
            and _within(row.number, conditions.block)
        ]
        return sorted(found, key=lambda row: (_cell_place(row, search)[:-4], row.io_index, row.is_output))


def _script(row: Row, script_type: ScriptType) -> bytes:
    return raw_script(row.output.lock if script_type is ScriptType.LOCK else row.output.type_)


def _other(row: Row, search: Search) -> bytes:
    return _script(row, ScriptType.TYPE if search.script_type is ScriptType.LOCK else ScriptType.LOCK)


def _is_searched(row: Row, search: Search) -> bool:
    own, wanted = _script(row, search.script_type), raw_script(search.script)
    return own == wanted if search.mode is SearchMode.EXACT else own.startswith(wanted)


def _cell_place(row: Row, search: Search) -> bytes:
    """The order of the index: script bytes and numbers end to end."""
    numbers = row.number.to_bytes(8, "big") + row.tx_index.to_bytes(4, "big") + row.io_index.to_bytes(4, "big")
    return _script(row, search.script_type) + numbers


def _within(value: int, limits: tuple[int, int] | None) -> bool:
    return limits is None or value in range(*limits)


def _passes(row: Row, search: Search) -> bool:
    conditions: CellFilter = search.filter
    other = _other(row, search)
    if conditions.script is not None and other[: len(raw_script(conditions.script))] != raw_script(conditions.script):
        return False
    wanted = conditions.data
    data_fits = (
        wanted is None
        or {
            SearchMode.PREFIX: row.data[: len(wanted)] == wanted,
            SearchMode.EXACT: row.data == wanted,
            SearchMode.PARTIAL: row.data.find(wanted) >= 0,
        }[conditions.data_mode]
    )
    return (
        data_fits
        and _within(len(other), conditions.script_length)
        and _within(len(row.data), conditions.data_length)
        and _within(row.output.capacity, conditions.capacity)
        and _within(row.number, conditions.block)
    )
