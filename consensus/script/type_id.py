"""The built-in type script "type ID": a unique identifier of a cell (RFC 22)."""

from __future__ import annotations

from consensus.crypto.hashing import ckb_hash_concat
from consensus.params import TYPE_ID_CODE_HASH
from consensus.script.errors import ExceededMaximumCycles, ValidationFailure
from consensus.script.groups import ScriptGroup
from consensus.types.blockchain import HASH_TYPE_TYPE, Script, Transaction

TYPE_ID_CYCLES = 1_000_000
ERROR_ARGS = -1
ERROR_TOO_MANY_CELLS = -2
ERROR_INVALID_INPUT_HASH = -3
ARGS_SIZE = 32


def is_type_id(script: Script) -> bool:
    """The script is the built-in one, which no cell holds the code of."""
    return script.code_hash == TYPE_ID_CODE_HASH and script.hash_type == HASH_TYPE_TYPE


def verify_type_id(transaction: Transaction, group: ScriptGroup, max_cycles: int) -> int:
    """RFC 22 "Type ID": a group has at most one input and one output; a new cell's args are the hash that only its
    transaction can have.

    Moving and destroying the cell are always allowed. Returns the cycles. Raises ExceededMaximumCycles,
    ValidationFailure.
    """
    script = group.script
    if max_cycles < TYPE_ID_CYCLES:
        raise ExceededMaximumCycles(max_cycles)
    if len(script.args) != ARGS_SIZE:
        raise ValidationFailure(script, ERROR_ARGS)
    if len(group.input_indexes) > 1 or len(group.output_indexes) > 1:
        raise ValidationFailure(script, ERROR_TOO_MANY_CELLS)
    if not group.input_indexes:
        if not transaction.body.inputs:
            raise ValidationFailure(script, ERROR_ARGS)
        if script.args != type_id_args(transaction, group.output_indexes[0]):
            raise ValidationFailure(script, ERROR_INVALID_INPUT_HASH)
    return TYPE_ID_CYCLES


def type_id_args(transaction: Transaction, output_index: int) -> bytes:
    """Args of a type ID that the transaction creates at an output: hash of its first input and the output's index."""
    return ckb_hash_concat(transaction.body.inputs[0].raw, output_index.to_bytes(8, "little"))
