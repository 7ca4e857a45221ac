"""The chain on which the examples of the reference's `rpc/README.md` were made, rebuilt from its source directory.

Its genesis has one cell with a program that always succeeds; 1,024 blocks with nothing but a cellbase follow, and one
transaction waits in the pool.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ckb_node import devchain
from ckb_node.mining.assembler import MinerConfig, build_cellbase, draft_header
from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.services import Services
from ckb_node.rpc.subscriptions import Hub, Session
from consensus.crypto.hashing import ckb_hash
from consensus.params import Consensus, Deployment, Hardforks, PowFunc
from consensus.rules.dao import dao_field_in_epoch, genesis_dao_field
from consensus.rules.epoch import genesis_epoch_ext, next_epoch_ext
from consensus.types.blockchain import (
    NULL_OUT_POINT,
    Block,
    CellbaseWitness,
    CellInput,
    CellOutput,
    Header,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
)
from consensus.types.core import ResolvedTransaction
from tests.support.asking import RpcFailure, call, dispatcher_of
from tests.support.builders.wallet import BOB_KEY, CKB
from tests.support.chains.devchain import DevChain
from tests.support.nodes.idle_network import idle_net

SOURCE = os.environ.get("CKB_SOURCE", "")
"""The directory of the reference's source."""

TIP = 1024
GENESIS_MS = 1_557_310_743
GENESIS_TARGET = 0x2001_0000
DEFAULT_TARGET = 0x2080_0000
MIRANA, MEEPO = 0x1526, 0x3005
EPOCH_REWARD = 125_000_000_000_000
DEFAULT_EPOCH_REWARD = 191_780_821_917_808
MINER = Script(
    code_hash=bytes.fromhex("1892ea40d82b53c678ff88312450bbb17e164d7a3e0a90941aa58839f56f8df2"),
    hash_type=1,
    args=bytes.fromhex("b2e61ff569acf041b3c2c17724e2379c581eeac3"),
)
MESSAGE = b"\0\0\0\0 TEST message"
ZERO = bytes(32)
_CODE = re.compile(r"```json\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A request and its answer."""

    method: str
    params: list[Any]
    answer: dict[str, Any]


def examples() -> Iterator[Example]:
    """Those of the README, in its order."""
    request: dict[str, Any] | None = None
    for block in _CODE.findall((Path(SOURCE) / "rpc" / "README.md").read_text(encoding="utf-8")):
        if '"jsonrpc"' not in block:
            continue
        value = json.loads(block)
        if "method" in value and "id" in value:
            request = value
        elif request is not None:
            yield Example(request["method"], request.get("params", []), value)
            request = None


def _program() -> bytes:
    return (Path(SOURCE) / "script" / "testdata" / "always_success").read_bytes()


def always_succeeds() -> Script:
    """The lock of all cells of this chain."""
    return Script(code_hash=ckb_hash(_program()), hash_type=0, args=b"")


def _genesis() -> Block:
    program, nobody = _program(), Script(code_hash=ZERO, hash_type=0, args=b"")
    body = RawTransaction(
        version=0,
        cell_deps=[],
        header_deps=[],
        inputs=[CellInput(since=0, previous_output=NULL_OUT_POINT)],
        outputs=[CellOutput(capacity=len(program) * CKB, lock=nobody, type_=None)],
        outputs_data=[program],
    )
    witness = CellbaseWitness(lock=always_succeeds(), message=b"")
    transaction = Transaction(body=body, witnesses=[witness.raw])
    header = RawHeader(
        version=0,
        compact_target=GENESIS_TARGET,
        timestamp=GENESIS_MS,
        number=0,
        epoch=0,
        parent_hash=ZERO,
        transactions_root=ZERO,
        proposals_hash=ZERO,
        extra_hash=ZERO,
        dao=genesis_dao_field([transaction], bytes(20), Fraction(1), 1_000_000 * CKB, 1000 * CKB),
    )
    block = Block(header=Header(body=header, nonce=0), uncles=[], transactions=[transaction], proposals=[])
    return block.with_roots()


def readme_consensus() -> Consensus:
    """The parameters of that chain."""
    epoch = genesis_epoch_ext(DEFAULT_EPOCH_REWARD, DEFAULT_TARGET, 1000, 4 * 60 * 60, Fraction(1, 40))
    return Consensus(
        id="main",
        genesis_block=_genesis(),
        genesis_epoch=epoch.replace(compact_target=GENESIS_TARGET),
        pow_func=PowFunc.DUMMY,
        initial_primary_epoch_reward=EPOCH_REWARD,
        hardforks=Hardforks(rfc_0028=MIRANA, rfc_0032=MIRANA, rfc_0048=MEEPO, rfc_0049=MEEPO),
        cellbase_maturity_epochs=0,
        deployments=(Deployment("testdummy", 1, 0, 0, 0, 10, Fraction(3, 4), is_never_active=True),),
    )


def _next_block(dev: DevChain) -> Block:
    consensus = dev.consensus
    with dev.chain.view() as view:
        parent, parent_epoch = view.tip_header(), view.tip_epoch()
        epoch = next_epoch_ext(consensus, parent, parent_epoch, view)
        cellbase = build_cellbase(consensus, parent, MinerConfig(always_succeeds()), view)
        draft = draft_header(consensus, parent, epoch, view)
        dao = dao_field_in_epoch(consensus, [ResolvedTransaction(cellbase, [], [], [])], parent, epoch, view)
    return Block(header=draft.with_fields(dao=dao), uncles=[], transactions=[cellbase], proposals=[]).with_roots()


@dataclass
class Readme:
    """The chain and its RPC."""

    dev: DevChain
    dispatcher: Dispatcher
    session: Session

    async def send_example(self) -> None:
        """The transaction of the examples, if the pool does not have it."""
        (example,) = (each for each in examples() if each.method == "send_transaction")
        with suppress(RpcFailure):
            await call(self.dispatcher, "send_transaction", *example.params)

    async def ask(self, example: Example) -> Any:
        """The whole answer, as by a connection that can subscribe."""
        request = {"jsonrpc": "2.0", "id": example.answer["id"], "method": example.method, "params": example.params}
        return json.loads(await self.dispatcher.dispatch(json.dumps(request).encode(), session=self.session))


@asynccontextmanager
async def readme_chain() -> AsyncIterator[Readme]:
    """The chain of the examples, its fork block included."""
    async with AsyncExitStack() as stack:
        dev = await stack.enter_async_context(devchain.dev_chain(MINER, readme_consensus(), message=MESSAGE))
        tip = dev.consensus.genesis_block
        for _ in range(TIP):
            tip = _next_block(dev)
            await dev.chain.process_block_without_verify(tip)
        later = tip.header.with_fields(timestamp=tip.header.timestamp + 1)
        await dev.chain.process_block_without_verify(tip.replace(header=later))
        net = idle_net(dev.chain, BOB_KEY, "0.1.0", dev.clock.now_ms)
        services = Services(
            chain=dev.chain, pool=dev.pool, net=net, clock=dev.clock, miner=dev.assembler, testing=dev.chain
        )
        yield Readme(dev, dispatcher_of(services), Hub().session())
