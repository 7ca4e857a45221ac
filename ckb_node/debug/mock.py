"""Mock transactions: a transaction in a JSON file together with the cells and headers that it names.

The format is that of ckb-debugger and `ckb-cli mock-tx`:

    {"mock_info": {"inputs":      [{"input": CellInput, "output": CellOutput, "data": hex, "header": hash | null}],
                   "cell_deps":   [{"cell_dep": CellDep, "output": …, "data": …, "header": …}],
                   "header_deps": [HeaderView],
                   "extensions":  [[block hash, hex]]},
     "tx": Transaction}

`header` names the block that holds a cell. A dep group and each of its members have an entry in `cell_deps`.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from ckb_node.debug.case import DebugCase, KnownBlocks, cell_in_block, rules_of_vm
from ckb_node.jsonrpc_types.chain import (
    CellDepJson,
    CellInputJson,
    CellOutputJson,
    HeaderJson,
    TransactionJson,
    read_cell_dep,
    read_cell_input,
    read_cell_output,
    read_header,
    read_transaction,
)
from ckb_node.jsonrpc_types.hex_text import BadTextError, bytes_text, parse_bytes, parse_hash
from ckb_node.runtime.errors import CommandError
from ckb_node.runtime.text_file import BOM
from consensus.errors import MoleculeError
from consensus.rules.resolve import resolve_transaction
from consensus.types.blockchain import Header, Transaction
from consensus.types.core import CellMeta


class TransactionText(TransactionJson, frozen=True, forbid_unknown_fields=False, gc=False):
    """A transaction in JSON; its hash may be missing."""

    hash: str | None = None


class HeaderText(HeaderJson, frozen=True, forbid_unknown_fields=False, gc=False):
    """A header in JSON; its hash may be missing."""

    hash: str | None = None


class _MockCell(Struct, frozen=True):
    output: CellOutputJson
    data: str
    header: str | None = None


class _MockInput(_MockCell, frozen=True, kw_only=True):
    input: CellInputJson


class _MockCellDep(_MockCell, frozen=True, kw_only=True):
    cell_dep: CellDepJson


class _MockInfo(Struct, frozen=True):
    inputs: list[_MockInput]
    cell_deps: list[_MockCellDep]
    header_deps: list[HeaderText] = []
    extensions: list[tuple[str, str]] = []


class _MockTransaction(Struct, frozen=True):
    mock_info: _MockInfo
    tx: TransactionText


class _Wrapping(Struct, frozen=True):
    """JSON objects that may contain a transaction: responses, requests, mock transactions."""

    result: msgspec.Raw = msgspec.Raw(b"")
    transaction: msgspec.Raw = msgspec.Raw(b"")
    tx: msgspec.Raw = msgspec.Raw(b"")
    params: list[msgspec.Raw] = []


MAX_WRAPPINGS = 4


class _Cells:
    """Satisfies CellProvider."""

    def __init__(self, cells: list[CellMeta]) -> None:
        self._cells = {cell.out_point: cell for cell in reversed(cells)}

    def cell(self, out_point: bytes) -> CellMeta | None:
        return self._cells.get(out_point)


def read_mock(text: bytes, name: str, vm_version: int) -> DebugCase:
    """The case of a mock transaction. CommandError if the text is none; ResolveError if something that it names lacks.

    `type` scripts run on `vm_version`, and no newer one is active.
    """
    try:
        mock = msgspec.json.decode(text.removeprefix(BOM), type=_MockTransaction)
        info = mock.mock_info
        transaction = read_transaction(mock.tx)
        cells = _Cells([*map(_input_cell, info.inputs), *map(_dep_cell, info.cell_deps)])
        headers = [read_header_text(header) for header in info.header_deps]
        extensions = {parse_hash(block_hash): parse_bytes(extension) for block_hash, extension in info.extensions}
    except RecursionError:
        raise CommandError(f"{name}: no mock transaction: nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, BadTextError, MoleculeError) as error:
        hint = "; a plain transaction needs --rpc URL" if b'"mock_info"' not in text else ""
        raise CommandError(f"{name}: no mock transaction: {error}{hint}") from error
    chain = KnownBlocks({header.hash: header for header in headers}, extensions)
    unknown = next((block_hash for block_hash in extensions if block_hash not in chain.headers), None)
    if unknown is not None:
        raise CommandError(f"{name}: an extension of block {bytes_text(unknown)}, which is not among header_deps")
    rules, env = rules_of_vm(vm_version)
    return DebugCase(resolve_transaction(transaction, cells, chain, ()), chain, rules, env)


def read_plain(text: bytes, name: str) -> Transaction:
    """A transaction as RPC has it: by itself, in what `get_transaction` answers, in a request that sends it, or as the
    `tx` of a mock transaction. CommandError if there is none."""
    try:
        return read_transaction(_plain(text.removeprefix(BOM), MAX_WRAPPINGS))
    except RecursionError:
        raise CommandError(f"{name}: no transaction: nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, BadTextError, MoleculeError) as error:
        raise CommandError(f"{name}: no transaction: {error}") from error


def _plain(text: bytes | msgspec.Raw, wrappings: int) -> TransactionText:
    wrapping = msgspec.json.decode(text, type=_Wrapping)
    inner = (wrapping.result, wrapping.transaction, wrapping.tx, *wrapping.params[:1])
    found = next((each for each in inner if bytes(each) not in (b"", b"null")), None)
    if found is None or wrappings == 0:
        return msgspec.json.decode(text, type=TransactionText)
    return _plain(found, wrappings - 1)


def read_header_text(text: HeaderText) -> Header:
    """A header. BadTextError also if it does not have the hash that it says."""
    header = read_header(text)
    if text.hash is not None and text.hash != bytes_text(header.hash):
        raise BadTextError(f"a header says that its hash is {text.hash[:66]}, but it is {bytes_text(header.hash)}")
    return header


def _input_cell(mock: _MockInput) -> CellMeta:
    return _cell(read_cell_input(mock.input).previous_output.raw, mock)


def _dep_cell(mock: _MockCellDep) -> CellMeta:
    return _cell(read_cell_dep(mock.cell_dep).out_point.raw, mock)


def _cell(out_point: bytes, mock: _MockCell) -> CellMeta:
    block_hash = None if mock.header is None else parse_hash(mock.header)
    return cell_in_block(out_point, read_cell_output(mock.output), parse_bytes(mock.data), block_hash)
