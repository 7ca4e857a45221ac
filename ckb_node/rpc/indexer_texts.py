"""JSON of what the indexers find, written straight from its bytes: pages have hundreds of objects.

The texts are those of the types in `ckb_node/rpc/indexer_types.py`; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ckb_node.indexer.keys import scripts_of
from ckb_node.indexer.query import Io
from ckb_node.jsonrpc_types.chain import HASH_TYPE_NAMES

PAGE_HEAD: Final = '{"objects":['

# Filled by %, which takes two thirds of the time of an f-string with numbers.
_CELL: Final = (
    '{"output":{"capacity":"%#x",%s},"output_data":%s,"out_point":{"tx_hash":"0x%s","index":"%#x"},'
    '"block_number":"%#x","tx_index":"%#x"}'
)
_TX: Final = '{"tx_hash":"0x%s","block_number":"%#x","tx_index":"%#x","io_index":"'
_TX_ENDS: Final = ('","io_type":"input"}', '","io_type":"output"}')
_IOS: Final = ('["input","%#x"]', '["output","%#x"]')
_GROUP: Final = '{"tx_hash":"0x%s","block_number":"%#x","tx_index":"%#x","cells":[%s]}'

KEPT_SCRIPTS: Final = 256
KEPT_BYTES: Final = 256
"""Texts of scripts up to this size that a page remembers, so many at a time."""


class CellTexts:
    """Texts of the cells of a page, which share scripts mostly."""

    def __init__(self, *, with_data: bool) -> None:
        self._with_data: Final = with_data
        self._scripts: dict[bytes, str] = {}

    def cell(self, capacity: int, scripts: str, data: bytes, out_point: bytes, number: int, tx_index: int) -> str:
        """A cell made in transaction `tx_index` of block `number`; `scripts` are members by a method below."""
        data_text = f'"0x{data.hex()}"' if self._with_data else "null"
        tx_hash, index = out_point[:32].hex(), int.from_bytes(out_point[32:], "little")
        return _CELL % (capacity, scripts, data_text, tx_hash, index, number, tx_index)

    def serialised_scripts(self, scripts: bytes) -> str:
        """Members of the scripts of a serialised CellOutput."""
        return self._scripts.get(scripts) or self._remembered(scripts, *scripts_of(scripts))

    def scripts(self, lock: bytes, type_: bytes | None) -> str:
        """Members of scripts, each code hash, hash type and arguments end to end."""
        key = lock if type_ is None else lock + type_
        return self._scripts.get(key) or self._remembered(key, lock, type_)

    def _remembered(self, key: bytes, lock: bytes, type_: bytes | None) -> str:
        kind = "null" if type_ is None else _script_text(type_)
        text = f'"lock":{_script_text(lock)},"type":{kind}'
        if len(key) <= KEPT_BYTES:
            if len(self._scripts) >= KEPT_SCRIPTS:
                self._scripts.clear()
            self._scripts[key] = text
        return text


def _script_text(script: bytes) -> str:
    return (
        f'{{"code_hash":"0x{script[:32].hex()}","hash_type":"{HASH_TYPE_NAMES[script[32]]}",'
        f'"args":"0x{script[33:].hex()}"}}'
    )


def tx_texts(tx_hash: bytes, number: int, tx_index: int, cells: Iterable[Io]) -> list[str]:
    """Inputs and outputs of a transaction, an object for each."""
    head = _TX % (tx_hash.hex(), number, tx_index)
    return [f"{head}{index:#x}{_TX_ENDS[is_output]}" for index, is_output in cells]


def group_text(tx_hash: bytes, number: int, tx_index: int, cells: Iterable[Io]) -> str:
    """A transaction with its inputs and outputs."""
    found = ",".join([_IOS[is_output] % index for index, is_output in cells])
    return _GROUP % (tx_hash.hex(), number, tx_index, found)


def page_text(objects: Iterable[str], cursor: bytes) -> bytes:
    """A whole page."""
    return (PAGE_HEAD + ",".join(objects) + page_end(cursor)).encode()


def page_end(cursor: bytes) -> str:
    """What stands behind the last object."""
    return f'],"last_cursor":"0x{cursor.hex()}"}}'
