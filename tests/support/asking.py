"""Asking a dispatcher, whatever it is made of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from ckb_node.jsonrpc_types.chain import transaction_json
from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.methods import OWN_MODULES
from ckb_node.rpc.registry import Methods, Module, Registry
from consensus.types.blockchain import Transaction


class RpcFailure(Exception):  # noqa: N818 - an answer, not a fault of the test
    """An error object."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: str | None = error.get("data")


async def ask(dispatcher: Dispatcher, request: Any) -> Any:
    """The decoded answer to a request given as a JSON value; None when there is none."""
    answer = await dispatcher.dispatch(json.dumps(request).encode())
    return json.loads(answer) if answer else None


async def call(dispatcher: Dispatcher, method: str, *params: Any) -> Any:
    """The result of a call. Raises RpcFailure."""
    answer = await ask(dispatcher, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    if "error" in answer:
        raise RpcFailure(answer["error"])
    return answer["result"]


def dispatcher_of(
    services: Any,
    modules: Iterable[Module] = tuple(Module),
    methods: Iterable[Methods] = OWN_MODULES,
    *,
    with_deprecated: bool = False,
) -> Dispatcher:
    """A dispatcher over services."""
    registry = Registry(services, modules, with_deprecated=with_deprecated)
    for each in methods:
        registry.add(each)
    return Dispatcher(registry)


def uint_text(data: bytes) -> str:
    """Bytes as the interface writes them."""
    return "0x" + data.hex()


def as_json(transaction: Transaction) -> Any:
    """A transaction as clients send it."""
    return msgspec.to_builtins(transaction_json(transaction))
