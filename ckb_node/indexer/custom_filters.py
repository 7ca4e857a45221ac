"""Which blocks and cells are indexed, as the operator's filters say (`block_filter` and `cell_filter`)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ckb_node.indexer.filter_language import Evaluate, FilterError, compile_filter
from ckb_node.jsonrpc_types.block_view import encode_block_view
from ckb_node.jsonrpc_types.chain import cell_output_json
from ckb_node.jsonrpc_types.hex_text import bytes_text
from consensus.codec.layout import U32
from consensus.crypto.hashing import ckb_hash
from consensus.types.blockchain import Block, CellOutput

SEMANTICS: Final = 2
"""Of filters; an index made with those of another version is made anew."""


class CustomFilters:
    """Both filters; without one all is indexed. A block that is left out does not spend cells either."""

    def __init__(self, block_filter: str | None = None, cell_filter: str | None = None) -> None:
        """Raises FilterError."""
        self._takes_block: Final = _compiled("block_filter", block_filter)
        self._takes_cell: Final = _compiled("cell_filter", cell_filter)
        given = msgspec.json.encode([SEMANTICS, block_filter, cell_filter])
        self.digest: Final = b"" if block_filter is None and cell_filter is None else ckb_hash(given)
        """Empty without filters. An index made with others must be made anew."""

    @property
    def has_cell_filter(self) -> bool:
        return self._takes_cell is not None

    def takes_block(self, block: Block) -> bool:
        """Whether its transactions are indexed; `block` in the filter is a BlockView as RPC has it. FilterError."""
        if self._takes_block is None:
            return True
        view = msgspec.json.decode(encode_block_view(block))
        return _verdict("block_filter", self._takes_block, {"block": view})

    def takes_cell(self, output: bytes, data: bytes) -> bool:
        """Whether a serialised CellOutput is indexed; in the filter `output` is as RPC has it, `output_data` hex text
        of the data serialised: its length comes first, as the reference has it.
        Raises FilterError."""
        if self._takes_cell is None:
            return True
        shown = msgspec.to_builtins(cell_output_json(CellOutput.trusted(output)))
        serialised = bytes_text(U32.pack(len(data)) + data)
        return _verdict("cell_filter", self._takes_cell, {"output": shown, "output_data": serialised})


def _compiled(name: str, text: str | None) -> Evaluate | None:
    try:
        return None if text is None else compile_filter(text)
    except FilterError as error:
        raise FilterError(error.reason, name) from None


def _verdict(name: str, evaluate: Evaluate, scope: dict[str, Any]) -> bool:
    try:
        verdict = evaluate(scope)
    except FilterError as error:
        raise FilterError(error.reason, name) from None
    if not isinstance(verdict, bool):
        raise FilterError("the result is neither true nor false", name)
    return verdict
