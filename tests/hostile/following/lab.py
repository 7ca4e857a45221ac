"""What attackers know of the nodes, how a peer that attacks goes about it, and the process that many of them are in."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Final

import msgspec
import structlog

from ckb_node.devchain import dev_consensus
from ckb_node.jsonrpc_types.chain import transaction_json
from consensus.codec.molecule import Composite
from consensus.params import Consensus
from consensus.types.blockchain import (
    Block,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
)
from network.limits import FILTER, LIGHT_CLIENT, RELAY, SYNC, ProtocolSpec
from network.messages.protocols import (
    BLOCK_FILTER_MESSAGE,
    LIGHT_CLIENT_MESSAGE,
    RELAY_MESSAGE,
    SYNC_MESSAGE,
    GetHeaders,
    SendHeaders,
)
from network.multiaddr import Multiaddr
from network.peer import Peer
from network.peer_layer import PeerLayer
from tests.hostile.chain import Target
from tests.hostile.peers import PAUSE_S, QUEUE_BYTES, REDIAL_S, Say
from tests.support.builders.wallet import CKB
from tests.support.nodes.asker import asker_service, tcp_address
from tests.support.nodes.process import RpcClient
from tests.support.nodes.quiet import template_block

DATA2: Final = 4

MESSAGES: Final = {
    SYNC: SYNC_MESSAGE,
    RELAY: RELAY_MESSAGE,
    LIGHT_CLIENT: LIGHT_CLIENT_MESSAGE,
    FILTER: BLOCK_FILTER_MESSAGE,
}


def say(protocol: ProtocolSpec, message: Composite) -> Say:
    """A message on a protocol."""
    return protocol, MESSAGES[protocol].pack(message)


@dataclass
class Lab:
    """`victim` follows `miner`; both answer RPC."""

    victim: RpcClient
    miner: RpcClient
    target: Target
    template_at: float = 0.0

    @cached_property
    def consensus(self) -> Consensus:
        return dev_consensus()

    def block(self, number: int) -> Block:
        """Of the miner's chain."""
        raw: str = self.miner.call("get_block", self.miner.call("get_block_hash", hex(number)), "0x0")
        return Block.parse(bytes.fromhex(raw[2:]))

    @cached_property
    def blocks(self) -> list[Block]:
        """All but the genesis block, as they were at the beginning."""
        return [self.block(number) for number in range(1, self.miner.tip() + 1)]

    def template(self) -> Block:
        """A valid next block, some moments old."""
        if time.monotonic() - self.template_at > 0.5:
            self._template, self.template_at = template_block(self.victim), time.monotonic()
        return self._template

    @cached_property
    def cells(self) -> list[OutPoint]:
        """Live cells that everybody may spend."""
        found: list[OutPoint] = []
        cursor: list[str] = []
        while len(found) < 20_000:
            page = self.victim.call("get_cells", self.target.search, "asc", hex(1000), *cursor)
            if not page["objects"]:
                break
            found += [_out_point(each["out_point"]) for each in page["objects"]]
            cursor = [page["last_cursor"]]
        return found

    @cached_property
    def deps(self) -> list[CellDep]:
        """Of the free lock, and of the script that does not end."""
        deps = self.target.endless[0]["cell_deps"]
        return [CellDep(out_point=_out_point(each["out_point"]), dep_type=0) for each in deps]

    @cached_property
    def free(self) -> Script:
        """The lock of `cells`."""
        script = self.target.search["script"]
        return Script(code_hash=bytes.fromhex(script["code_hash"][2:]), hash_type=DATA2, args=b"\x07")

    @cached_property
    def endless(self) -> Script:
        """A type script that does not end."""
        script = self.target.endless[0]["outputs"][0]["type"]
        return Script(code_hash=bytes.fromhex(script["code_hash"][2:]), hash_type=DATA2, args=b"\x01")

    def transaction(
        self,
        cell: OutPoint,
        *,
        fee: int = 10**6,
        data: bytes = b"",
        type_: Script | None = None,
        outputs: int = 1,
        since: int = 0,
    ) -> Transaction:
        """Spends a free cell."""
        each = (100 * CKB - fee) // outputs
        body = RawTransaction(
            version=0,
            cell_deps=self.deps if type_ else self.deps[:1],
            header_deps=[],
            inputs=[CellInput(since=since, previous_output=cell)],
            outputs=[CellOutput(capacity=each, lock=self.free, type_=type_)] * outputs,
            outputs_data=[data] * outputs,
        )
        return Transaction(body=body, witnesses=[])

    @cached_property
    def cycles(self) -> int:
        """Of such a transaction."""
        built = msgspec.to_builtins(transaction_json(self.transaction(self.cells[0])))
        return int(self.victim.call("estimate_cycles", built)["cycles"], 16)


def _out_point(shown: dict[str, str]) -> OutPoint:
    return OutPoint(tx_hash=bytes.fromhex(shown["tx_hash"][2:]), index=int(shown["index"], 16))


class Attack:
    """One peer. With its protocols open it says what `next` gives, without end."""

    protocols: ClassVar[Sequence[ProtocolSpec]] = (SYNC, RELAY)
    rate: ClassVar[float | None] = None
    """Messages a second; None: as fast as they are read."""
    peers: ClassVar[int] = 4
    expects_bans: ClassVar[bool] = False

    def __init__(self, lab: Lab, number: int) -> None:
        self.lab, self.number, self.rng = lab, number, Random(number)
        self.sent = 0
        self._open: set[ProtocolSpec] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        """What takes long, before it begins."""

    def next(self) -> Say | None:
        """The next message, or None to wait a moment."""
        return None

    def answer_headers(self, question: GetHeaders) -> Sequence[Any]:
        """Headers for a node that asks."""
        del question
        return []

    def heard(self, peer: Peer, message: Composite) -> None:
        """Anything but GetHeaders."""

    def ready(self, peer: Peer) -> None:
        """All protocols are open."""
        task = asyncio.get_running_loop().create_task(self.pump(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def pump(self, peer: Peer) -> None:
        while self._open.issuperset(self.protocols):
            message = self.next() if peer.queued_bytes <= QUEUE_BYTES else None
            if message is None:
                await asyncio.sleep(PAUSE_S)
                continue
            if not peer.send(*message):
                return
            self.sent += 1
            await asyncio.sleep(1 / self.rate if self.rate else 0)

    def note_open(self, peer: Peer, protocol: ProtocolSpec) -> None:
        self._open.add(protocol)
        if self._open.issuperset(self.protocols):
            self.ready(peer)

    def note_closed(self, protocol: ProtocolSpec) -> None:
        self._open.discard(protocol)

    def received(self, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
        message = MESSAGES[protocol].parse(payload, compatible=True)
        if isinstance(message, GetHeaders):
            peer.send(*say(SYNC, SendHeaders(headers=list(self.answer_headers(message)))))
        else:
            self.heard(peer, message)


class Mouth:
    """Satisfies network.peer.Handler for an attack."""

    def __init__(self, attack: Attack, protocol: ProtocolSpec) -> None:
        self._attack, self._protocol = attack, protocol

    @property
    def protocol(self) -> ProtocolSpec:
        return self._protocol

    def opened(self, peer: Peer) -> None:
        self._attack.note_open(peer, self._protocol)

    def received(self, peer: Peer, payload: bytes) -> None:
        self._attack.received(peer, self._protocol, payload)

    def closed(self, peer: Peer) -> None:
        del peer
        self._attack.note_closed(self._protocol)


def address_of(number: int) -> str:
    """Each attacker has one, so that a ban of one is not one of all."""
    return f"127.0.{1 + number // 200}.{2 + number % 200}"


def run_peers(lab: Lab, kind: type[Attack], told: Callable[[int, int], None]) -> None:
    """The process of an attack's peers; never returns. `told`: each second, how many are connected and what they have
    sent so far."""
    os.nice(10)  # such peers are on machines of their own
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    kind.prepare(lab)
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_run(lab, kind, told, Path(directory)))


async def _run(lab: Lab, kind: type[Attack], told: Callable[[int, int], None], directory: Path) -> None:
    node = tcp_address(lab.victim)
    async with AsyncExitStack() as stack:
        layers, attacks = list[PeerLayer](), list[Attack]()
        for number in range(kind.peers):
            own, attack = directory / str(number), kind(lab, number)
            own.mkdir()
            service = asker_service(
                lab.consensus.network_name,
                own,
                f"{kind.__name__} {number} {os.getpid()}",
                more=frozenset({RELAY}),
                listen=[Multiaddr.parse(f"/ip4/{address_of(number)}/tcp/0")],
            )
            mouths = [Mouth(attack, protocol) for protocol in {SYNC, *kind.protocols}]
            running = service.running(lambda _, mouths=mouths: mouths, 4)  # type: ignore[misc]
            layers.append(await stack.enter_async_context(running))
            attacks.append(attack)
        while True:
            for layer in layers:
                layer.switch.dial(node)
            await asyncio.sleep(REDIAL_S)
            told(sum(bool(each._open) for each in attacks), sum(each.sent for each in attacks))
