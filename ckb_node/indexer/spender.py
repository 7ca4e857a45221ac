"""What spent a cell, found among the rows of its script: the index has no row for that alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from ckb_node.indexer.keys import IO, TX_BY_LOCK, TX_BY_TYPE, TX_PLACE, script_bytes
from ckb_node.indexer.query import Page, QueryError, ScriptType, Search, SearchMode, find_transactions
from consensus.types.blockchain import Transaction, out_point_key
from consensus.types.core import TransactionInfo
from storage.kv import Reader

MAX_READ: Final = 10_000
"""Transactions that are read for one cell."""


class TooManyRowsError(QueryError):
    """The cell's script has too many transactions for this search."""

    def __init__(self) -> None:
        super().__init__(
            f"the script of this cell spent others {MAX_READ} times since, and this index finds spenders by script "
            "only; module RichIndexer finds them at once"
        )


class Transactions(Protocol):
    """Transactions of the main chain."""

    def transaction(self, tx_hash: bytes, /) -> Transaction | None: ...


def find_spender(
    reader: Reader, chain: Transactions, creator: Transaction, place: TransactionInfo, index: int
) -> Iterator[bytes | None]:
    """The hash of the transaction that spends output `index` of `creator`, which was committed at `place`; None where
    a pause is due; nothing when the index does not have it. Raises QueryError.

    The type script is searched where there is one: fewer cells have it than the lock.
    """
    output = creator.body.outputs[index]
    is_by_type = output.type_ is not None
    script = output.lock if output.type_ is None else output.type_
    search = Search(
        script=script, script_type=ScriptType.TYPE if is_by_type else ScriptType.LOCK, mode=SearchMode.EXACT
    )
    kind = TX_BY_TYPE if is_by_type else TX_BY_LOCK
    created = kind + script_bytes(script) + TX_PLACE.pack(place.block_number, place.tx_index) + IO.pack(index, 1)
    out_point, left = out_point_key(creator.hash, index), MAX_READ
    for step in find_transactions(reader, Page(search=search, after=created)):
        for row in step:
            inputs = [io_index for io_index, is_output in row.cells if not is_output]
            left -= len(inputs)
            if left < 0:
                raise TooManyRowsError
            spender = chain.transaction(row.tx_hash) if inputs else None
            if spender is not None and _spends(spender, inputs, out_point):
                yield row.tx_hash
                return
            yield None
        yield None


def _spends(spender: Transaction, inputs: list[int], out_point: bytes) -> bool:
    return any(spender.body.inputs[index].previous_output.raw == out_point for index in inputs)
