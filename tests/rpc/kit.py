"""The RPC over a dev chain in the process, without sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ckb_node.local_net import LocalNet
from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.methods import OWN_MODULES
from ckb_node.rpc.registry import Methods, Module, Registry
from ckb_node.rpc.services import Services
from consensus.types.blockchain import OutPoint, Transaction
from network.identity import Identity
from tests.kit.devchain import DevChain, dev_chain
from tests.kit.wallet import ALICE_KEY, BOB_KEY, Wallet, issued_cell

FEE = 100_000


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


@dataclass
class RpcChain:
    """A dev chain and its RPC."""

    node: DevChain
    services: Services
    dispatcher: Dispatcher

    async def call(self, method: str, *params: Any) -> Any:
        """The result of a call. Raises RpcFailure."""
        return await call(self.dispatcher, method, *params)

    def alice_pays(self, fee: int = FEE) -> Transaction:
        """Alice sends her genesis cell to Bob."""
        cell = issued_cell(self.node.consensus, Wallet(ALICE_KEY))
        return Wallet(ALICE_KEY).transfer(self.node.consensus, [cell], [(Wallet(BOB_KEY).lock, cell[1] - fee)])

    def alice_cell(self) -> OutPoint:
        """Her genesis cell."""
        return issued_cell(self.node.consensus, Wallet(ALICE_KEY))[0]

    def dispatcher_with(self, modules: Iterable[Module], *, with_deprecated: bool = False) -> Dispatcher:
        """The RPC with other modules open."""
        return dispatcher_of(self.services, modules, with_deprecated=with_deprecated)


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


@asynccontextmanager
async def rpc_chain() -> AsyncIterator[RpcChain]:
    """Open a dev chain with its RPC."""
    async with dev_chain() as node:
        net = LocalNet(node.chain, Identity(BOB_KEY), "0.1.0", node.clock.now_ms)
        services = Services(
            chain=node.chain,
            pool=node.pool,
            net=net,
            clock=node.clock,
            miner=node.assembler,
            testing=node.chain,
        )
        yield RpcChain(node, services, dispatcher_of(services))
