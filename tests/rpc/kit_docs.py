"""`make rpc-docs`: writes docs/openrpc.json and docs/RPC.md from the declarations of the methods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ckb_node.rpc.methods import OWN_MODULES
from ckb_node.rpc.methods.indexer import METHODS as INDEXER_METHODS
from ckb_node.rpc.openrpc import discovery, document
from ckb_node.rpc.registry import Method, Module, Registry
from tests.rpc.kit_reference import EVERYWHERE, NOTES, OWN

DOCS = Path(__file__).parents[2] / "docs"
VERSION = "0"
"""The committed document does not change with each release."""


def _no_registry() -> Registry:
    raise AssertionError("only its declaration is wanted")


METHODS = [method for methods in (*OWN_MODULES, INDEXER_METHODS, discovery(_no_registry)) for method in methods]


def openrpc_text() -> str:
    return json.dumps(json.loads(document(METHODS, VERSION)), indent=1, ensure_ascii=False) + "\n"


def table_text() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# RPC: methods, and where they differ from the reference"
    yield ""
    yield "Made by `make rpc-docs`; a test compares it. The reference is `ckb` 0.206. `docs/openrpc.json` has the"
    yield "parameters, results and examples of all methods in OpenRPC; a running node gives its own by `rpc.discover`."
    yield "What `make interop` compares is equal but for what stands here."
    yield ""
    yield "## Of all methods"
    yield ""
    yield from (f"- {text}" for text in EVERYWHERE)
    for module in Module:
        own = [method for method in METHODS if method.module is module]
        if own:
            yield ""
            yield f"## {module.value}"
            yield ""
            yield "| method | parameters | as the reference | |"
            yield "|---|---|---|---|"
            yield from (_row(method) for method in own)
        if module is Module.RICH_INDEXER:
            yield from (
                "",
                f"## {module.value}",
                "",
                "The methods of module Indexer with the same parameters and results, from SQL tables. What is more:",
                "`script_search_mode` may be `partial`, so that the arguments contain those given;",
                "`get_transactions` takes all conditions of cells. What differs: rows come in the order of the chain;",
                "`get_cells_capacity` is null when there are no cells; `last_cursor` has other numbers, as the",
                "reference's rich indexer has, and again others than that. See `docs/RICH-INDEXER.md`.",
            )


def _row(method: Method) -> str:
    params = ", ".join(f"{param.name}{'?' if param.is_optional else ''}" for param in method.params)
    if method.name in OWN:
        return f"| `{method.name}` | {params} | not there | {OWN[method.name]} |"
    note = NOTES.get(method.name)
    return f"| `{method.name}` | {params} | {'same' if note is None else 'differs'} | {note or ''} |"


def write() -> None:
    (DOCS / "openrpc.json").write_text(openrpc_text(), encoding="utf-8")
    (DOCS / "RPC.md").write_text(table_text(), encoding="utf-8")


if __name__ == "__main__":
    write()
