"""What clients write to the indexers, and what these answer."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Struct

from ckb_node.indexer.query import CellFilter, Range, ScriptType, Search, SearchMode, SoughtScript
from ckb_node.jsonrpc_types.chain import CellOutputJson, OutPointJson, ScriptJson, parse_hash_type
from ckb_node.jsonrpc_types.hex_text import parse_bytes, parse_hash, parse_uint64
from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.params import Codec

MAX_ARGS: Final = 65535

Mode = Literal["prefix", "exact", "partial"]
RangeJson = tuple[str, str]


class FilterJson(Struct, frozen=True):
    """Conditions on cells."""

    script: ScriptJson | None = None
    script_len_range: RangeJson | None = None
    output_data: str | None = None
    output_data_filter_mode: Mode | None = None
    output_data_len_range: RangeJson | None = None
    output_capacity_range: RangeJson | None = None
    block_range: RangeJson | None = None


class SearchKeyJson(Struct, frozen=True):
    """What to look for, as clients write it."""

    script: ScriptJson
    script_type: Literal["lock", "type"]
    script_search_mode: Mode | None = None
    filter: FilterJson | None = None
    with_data: bool | None = None
    group_by_transaction: bool | None = None


class SearchKey(Struct, frozen=True):
    """The search with what concerns the answer only."""

    search: Search
    with_data: bool
    is_grouped: bool


def _read_search_key(key: SearchKeyJson) -> SearchKey:
    search = Search(
        script=_read_short_script(key.script, "search_key.script"),
        script_type=ScriptType(key.script_type),
        mode=SearchMode(key.script_search_mode or "prefix"),
        filter=CellFilter() if key.filter is None else _read_filter(key.filter),
    )
    return SearchKey(search, key.with_data is not False, key.group_by_transaction is True)


def _read_short_script(script: ScriptJson, place: str) -> SoughtScript:
    args = parse_bytes(script.args)
    found = SoughtScript(parse_hash(script.code_hash), parse_hash_type(script.hash_type), args)
    if len(args) > MAX_ARGS:
        raise refused(f"{place}.args len should be less than {MAX_ARGS}")
    return found


def refused(text: str) -> RpcError:
    """-1200: the indexer does not do this."""
    return RpcError(Code.Indexer, f"Invalid params {text}")


def _read_filter(conditions: FilterJson) -> CellFilter:
    return CellFilter(
        script=None if conditions.script is None else _read_short_script(conditions.script, "search_key.filter.script"),
        script_length=_read_range(conditions.script_len_range),
        data=None if conditions.output_data is None else parse_bytes(conditions.output_data),
        data_mode=SearchMode(conditions.output_data_filter_mode or "prefix"),
        data_length=_read_range(conditions.output_data_len_range),
        capacity=_read_range(conditions.output_capacity_range),
        block=_read_range(conditions.block_range),
    )


def _read_range(texts: RangeJson | None) -> Range | None:
    return None if texts is None else (parse_uint64(texts[0]), parse_uint64(texts[1]))


SearchKeyParam = Annotated[SearchKey, Codec("IndexerSearchKey", SearchKeyJson, _read_search_key)]
OrderParam = Annotated[str, Codec("IndexerOrder", Literal["asc", "desc"], str)]
CursorParam = Annotated[bytes, Codec("JsonBytes", str, parse_bytes)]


class IndexerTipJson(Struct, frozen=True):
    """The last indexed block."""

    block_hash: str
    block_number: str


class IndexerCellJson(Struct, frozen=True):
    """A live cell."""

    output: CellOutputJson
    output_data: str | None
    out_point: OutPointJson
    block_number: str
    tx_index: str


class CellsPageJson(Struct, frozen=True):
    """A page of cells; an empty `last_cursor` means that nothing was found."""

    objects: list[IndexerCellJson]
    last_cursor: str


class IndexerTxJson(Struct, frozen=True):
    """One input or output."""

    tx_hash: str
    block_number: str
    tx_index: str
    io_index: str
    io_type: str


class IndexerGroupedTxJson(Struct, frozen=True):
    """A transaction with the inputs and outputs that were found."""

    tx_hash: str
    block_number: str
    tx_index: str
    cells: list[tuple[str, str]]


class TransactionsPageJson(Struct, frozen=True):
    """A page of transactions."""

    objects: list[IndexerTxJson]
    last_cursor: str


class GroupedTransactionsPageJson(Struct, frozen=True):
    """A page of transactions, each once."""

    objects: list[IndexerGroupedTxJson]
    last_cursor: str


class CellsCapacityJson(Struct, frozen=True):
    """Sum of capacities at an indexed block."""

    capacity: str
    block_hash: str
    block_number: str
