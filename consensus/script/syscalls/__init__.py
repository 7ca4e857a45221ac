"""The system calls of each VM version (RFC 9, RFC 34, RFC 50): number → handler. Exit (93) is the scheduler's own."""

from collections.abc import Mapping
from typing import Final

from consensus.script.process import Handler
from consensus.script.syscalls import cell, execute, header, numbers, runtime, spawn, transaction

_VERSION_0: Final[dict[int, Handler]] = {
    numbers.LOAD_TRANSACTION: transaction.load_transaction,
    numbers.LOAD_SCRIPT: transaction.load_script,
    numbers.LOAD_TX_HASH: transaction.load_tx_hash,
    numbers.LOAD_SCRIPT_HASH: transaction.load_script_hash,
    numbers.LOAD_CELL: cell.load_cell,
    numbers.LOAD_HEADER: header.load_header,
    numbers.LOAD_INPUT: transaction.load_input,
    numbers.LOAD_WITNESS: transaction.load_witness,
    numbers.LOAD_CELL_BY_FIELD: cell.load_cell_by_field,
    numbers.LOAD_HEADER_BY_FIELD: header.load_header_by_field,
    numbers.LOAD_INPUT_BY_FIELD: transaction.load_input_by_field,
    numbers.LOAD_CELL_DATA_AS_CODE: cell.load_cell_data_as_code,
    numbers.LOAD_CELL_DATA: cell.load_cell_data,
    numbers.DEBUG: runtime.debug,
}

_VERSION_1: Final[dict[int, Handler]] = {
    **_VERSION_0,
    numbers.VM_VERSION: runtime.vm_version,
    numbers.CURRENT_CYCLES: runtime.current_cycles,
    numbers.EXEC: execute.exec_v1,
}

_VERSION_2: Final[dict[int, Handler]] = {
    **_VERSION_1,
    numbers.EXEC: execute.exec_v2,
    numbers.LOAD_BLOCK_EXTENSION: header.load_block_extension,
    numbers.SPAWN: spawn.spawn,
    numbers.WAIT: spawn.wait,
    numbers.PROCESS_ID: runtime.process_id,
    numbers.PIPE: spawn.pipe,
    numbers.WRITE: spawn.write,
    numbers.READ: spawn.read,
    numbers.INHERITED_FD: spawn.inherited_fd,
    numbers.CLOSE: spawn.close,
}

SYSCALLS: Final[tuple[Mapping[int, Handler], ...]] = (_VERSION_0, _VERSION_1, _VERSION_2)
"""By VM version."""
