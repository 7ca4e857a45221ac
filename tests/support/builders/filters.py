"""Two blocks with every kind of cell that a block filter looks at, and ones that it must leave out."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.crypto.hashing import ZERO_HASH
from consensus.types.blockchain import (
    HASH_TYPE_DATA,
    HASH_TYPE_DATA1,
    HASH_TYPE_DATA2,
    HASH_TYPE_TYPE,
    NULL_OUT_POINT,
    Block,
    CellbaseWitness,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
)


def script(byte: int, hash_type: int = HASH_TYPE_DATA, args: bytes = b"") -> Script:
    return Script(code_hash=bytes([byte]) * 32, hash_type=hash_type, args=args)


LOCK_A = script(1, HASH_TYPE_TYPE, b"\x01" * 20)
LOCK_B = script(2, HASH_TYPE_DATA1, b"\x02" * 20)
LOCK_C = script(3)
TYPE = script(4, HASH_TYPE_DATA2, b"\x04" * 32)


def output(lock: Script, type_: Script | None = None) -> CellOutput:
    return CellOutput(capacity=10**10, lock=lock, type_=type_)


def transaction(
    points: Sequence[OutPoint], outputs: Sequence[CellOutput], since: int = 0, witnesses: Sequence[bytes] = ()
) -> Transaction:
    body = RawTransaction(
        version=0,
        cell_deps=[],
        header_deps=[],
        inputs=[CellInput(since=since, previous_output=point) for point in points],
        outputs=outputs,
        outputs_data=[b""] * len(outputs),
    )
    return Transaction(body=body, witnesses=witnesses)


def output_of(made_by: Transaction, index: int) -> OutPoint:
    return OutPoint(tx_hash=made_by.hash, index=index)


MAKING = transaction(
    [OutPoint(tx_hash=b"\x77" * 32, index=0)],
    [output(LOCK_A), output(LOCK_A, TYPE), output(LOCK_B), output(LOCK_C, TYPE)],
)
"""Its input is of an unknown transaction; scripts repeat."""
SPENDING = transaction([output_of(MAKING, 1)], [output(script(5)), output(script(6))])
ODD = transaction(
    [
        output_of(SPENDING, 0),
        output_of(MAKING, 2),
        output_of(MAKING, 9),
        OutPoint(tx_hash=b"\x55" * 32, index=0),
    ],
    [output(LOCK_A, script(7))],
    witnesses=[b"x"],
)
"""Spends a cell of its own block, one of the block before, an output that its transaction does not have, and a cell of
an unknown transaction."""
SECOND_CELLBASE = transaction([NULL_OUT_POINT], [output(script(8))], witnesses=[b""])

CONTENTS: dict[int, list[Transaction]] = {1: [MAKING], 2: [SPENDING, ODD, SECOND_CELLBASE], 3: []}
"""Transactions but the cellbase, by height."""


def block_with(transactions: Sequence[Transaction], number: int, **header: object) -> Block:
    """A block with these transactions behind a cellbase without outputs; `header` are fields of its header."""
    values: dict[str, object] = {
        "version": 0,
        "compact_target": 0x2080_0000,
        "timestamp": 0,
        "number": number,
        "epoch": 0,
        "parent_hash": ZERO_HASH,
        "transactions_root": ZERO_HASH,
        "proposals_hash": ZERO_HASH,
        "extra_hash": ZERO_HASH,
        "dao": ZERO_HASH,
    }
    witness = CellbaseWitness(lock=LOCK_A, message=b"").raw
    block = Block(
        header=Header(body=RawHeader(**(values | header)), nonce=0),  # type: ignore[arg-type]
        uncles=[],
        transactions=[transaction([NULL_OUT_POINT], [], since=number, witnesses=[witness]), *transactions],
        proposals=[],
        extension=None,
    )
    return Block.parse(block.with_roots().raw)
