"""Numbers of RFC 9, RFC 34 and RFC 50: system calls, their answers and their prices in cycles."""

from typing import Final

EXIT: Final = 93
VM_VERSION: Final = 2041
CURRENT_CYCLES: Final = 2042
EXEC: Final = 2043
LOAD_TRANSACTION: Final = 2051
LOAD_SCRIPT: Final = 2052
LOAD_TX_HASH: Final = 2061
LOAD_SCRIPT_HASH: Final = 2062
LOAD_CELL: Final = 2071
LOAD_HEADER: Final = 2072
LOAD_INPUT: Final = 2073
LOAD_WITNESS: Final = 2074
LOAD_CELL_BY_FIELD: Final = 2081
LOAD_HEADER_BY_FIELD: Final = 2082
LOAD_INPUT_BY_FIELD: Final = 2083
LOAD_CELL_DATA_AS_CODE: Final = 2091
LOAD_CELL_DATA: Final = 2092
LOAD_BLOCK_EXTENSION: Final = 2104
DEBUG: Final = 2177
SPAWN: Final = 2601
WAIT: Final = 2602
PROCESS_ID: Final = 2603
PIPE: Final = 2604
WRITE: Final = 2605
READ: Final = 2606
INHERITED_FD: Final = 2607
CLOSE: Final = 2608

SUCCESS: Final = 0
INDEX_OUT_OF_BOUND: Final = 1
ITEM_MISSING: Final = 2
SLICE_OUT_OF_BOUND: Final = 3
WRONG_FORMAT: Final = 4
WAIT_FAILURE: Final = 5
INVALID_FD: Final = 6
OTHER_END_CLOSED: Final = 7
MAX_VMS_SPAWNED: Final = 8
MAX_FDS_CREATED: Final = 9

BYTES_PER_CYCLE: Final = 4
EXEC_CYCLES: Final = 75_000
SPAWN_CYCLES: Final = 100_000
"""For a spawn, and each time that a process is instantiated or uninstantiated."""
YIELD_CYCLES: Final = 800


def transfer_cycles(size: int) -> int:
    """Price of moving `size` bytes: a cycle for every four that are begun."""
    return -(-size // BYTES_PER_CYCLE)
