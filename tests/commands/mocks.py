"""Mock-transaction files made of resolved transactions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ckb_node.jsonrpc_types.chain import cell_output_json, header_view_json, out_point_json, transaction_json
from ckb_node.jsonrpc_types.hex_text import bytes_text
from consensus.types.blockchain import Header
from consensus.types.core import CellMeta, ResolvedTransaction


def mock_json(
    rtx: ResolvedTransaction, headers: Sequence[Header] = (), extensions: Mapping[bytes, bytes] | None = None
) -> dict[str, Any]:
    """The file as ckb-debugger has it: cells of inputs and deps, members of dep groups among the deps."""
    inputs = zip(msgspec.to_builtins(transaction_json(rtx.transaction))["inputs"], rtx.inputs, strict=True)
    deps = [(cell, "dep_group") for cell in rtx.dep_groups] + [(cell, "code") for cell in rtx.cell_deps]
    return {
        "mock_info": {
            "inputs": [{"input": cell_input, **_cell(cell)} for cell_input, cell in inputs],
            "cell_deps": [
                {"cell_dep": {"out_point": _json(out_point_json(cell.as_out_point())), "dep_type": kind}, **_cell(cell)}
                for cell, kind in deps
            ],
            "header_deps": [_json(header_view_json(header)) for header in headers],
            "extensions": [[bytes_text(key), bytes_text(value)] for key, value in (extensions or {}).items()],
        },
        "tx": _json(transaction_json(rtx.transaction)),
    }


def mock_file(path: Path, content: dict[str, Any]) -> str:
    """The file's name."""
    path.write_text(json.dumps(content))
    return str(path)


def _cell(cell: CellMeta) -> dict[str, Any]:
    header = None if cell.info is None else bytes_text(cell.info.block_hash)
    return {"output": _json(cell_output_json(cell.output)), "data": bytes_text(cell.data), "header": header}


def _json(struct: msgspec.Struct) -> Any:
    return msgspec.to_builtins(struct)
