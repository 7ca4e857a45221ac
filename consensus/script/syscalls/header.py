"""System calls that read blocks: headers (RFC 9) and extensions (RFC 50).

The block is a header dep, or the one that holds the transaction of a cell; the latter must be a header dep as well.
"""

from __future__ import annotations

from consensus.script.process import Process
from consensus.script.syscalls.numbers import INDEX_OUT_OF_BOUND, ITEM_MISSING
from consensus.script.syscalls.partial import load_partially, load_u64, parse_source
from consensus.types.blockchain import Header
from consensus.types.core import EpochFraction
from vm.errors import External, Unexpected
from vm.registers import A3, A4, A5


def load_header(process: Process) -> int:
    """A serialised header (a3 index, a4 source)."""
    header = _header(process)
    return header if isinstance(header, int) else load_partially(process, header.raw)


def load_header_by_field(process: Process) -> int:
    """One field of a header (a3 index, a4 source, a5 field)."""
    header = _header(process)
    if isinstance(header, int):
        return header
    epoch = EpochFraction.unpack(header.epoch)
    match process.machine.get_register(A5):
        case 0:
            return load_u64(process, epoch.number)
        case 1:
            if header.number < epoch.index:
                shown = f"Epoch {{ number: {epoch.number}, index: {epoch.index}, length: {epoch.length} }}"
                raise Unexpected(f"Unexpected header epoch number index overflow {shown}")
            return load_u64(process, header.number - epoch.index)
        case 2:
            return load_u64(process, epoch.length)
        case number:
            raise External(f"HeaderField parse_from_u64 {number}")


def load_block_extension(process: Process) -> int:
    """The extension of a block (a3 index, a4 source)."""
    block_hash = _block_hash(process)
    if isinstance(block_hash, int):
        return block_hash
    extension = process.context.transaction.extension(block_hash)
    return ITEM_MISSING if extension is None else load_partially(process, extension)


def _header(process: Process) -> Header | int:
    """The header, or the code that says why there is none."""
    block_hash = _block_hash(process)
    if isinstance(block_hash, int):
        return block_hash
    return process.context.transaction.header(block_hash) or ITEM_MISSING


def _block_hash(process: Process) -> bytes | int:
    """Hash of the block that the arguments name, or the code that says why there is none."""
    machine = process.machine
    index, source = machine.get_register(A3), parse_source(machine.get_register(A4))
    hashes = process.context.block_hashes.get(source, ())
    if index >= len(hashes):
        return INDEX_OUT_OF_BOUND
    return hashes[index] or ITEM_MISSING
