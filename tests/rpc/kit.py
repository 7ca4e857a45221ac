"""The RPC over a dev chain in the process, without sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.registry import Module
from ckb_node.rpc.services import Services
from consensus.types.blockchain import Block, OutPoint, Transaction
from tests.support.asking import as_json, call, dispatcher_of
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, Wallet, issued_cell
from tests.support.chains.devchain import DevChain, dev_chain
from tests.support.nodes.idle_network import idle_net

FEE = 100_000


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


@asynccontextmanager
async def rpc_chain() -> AsyncIterator[RpcChain]:
    """Open a dev chain with its RPC."""
    async with dev_chain() as node:
        net = idle_net(node.chain, BOB_KEY, "0.1.0", node.clock.now_ms)
        services = Services(
            chain=node.chain,
            pool=node.pool,
            net=net,
            clock=node.clock,
            miner=node.assembler,
            testing=node.chain,
        )
        yield RpcChain(node, services, dispatcher_of(services))


async def commit(rpc: RpcChain, transaction: Transaction) -> Block:
    """Send a transaction and mine until it is on the chain; the block that holds it."""
    await rpc.call("send_transaction", as_json(transaction))
    for _ in range(10):
        block = await rpc.node.mine()
        if any(each.hash == transaction.hash for each in block.transactions):
            return block
    raise AssertionError("not committed within ten blocks")


async def side_block(rpc: RpcChain) -> Block:
    """A block beside the tip, stored but not on the main chain."""
    tip = await rpc.node.mine()
    template = await rpc.node.assembler.block_template()
    other = tip.replace(header=tip.header.with_fields(timestamp=tip.header.timestamp + 1, nonce=7))
    assert template.parent_hash == tip.hash
    await rpc.node.chain.submit_block(other)
    return other
