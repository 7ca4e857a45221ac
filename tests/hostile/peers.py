"""Peers that flood Sync and Relay. Each comes from a loopback address of its own, so that a ban of one is not one of
all; who is banned is gone, which is what is to be seen."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Final

import structlog

from ckb_node.devchain import dev_consensus
from consensus.codec.layout import U32
from consensus.codec.molecule import pack_parts
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
from network.limits import RELAY, SYNC, ProtocolSpec
from network.messages.protocols import (
    RELAY_MESSAGE,
    SYNC_MESSAGE,
    CompactBlock,
    GetBlocks,
    GetHeaders,
    GetRelayTransactions,
    IndexTransaction,
    RelayTransactionHashes,
    SendHeaders,
)
from network.multiaddr import Multiaddr
from network.peer import Peer
from network.peer_layer import PeerLayer
from tests.support.nodes.asker import asker_service, tcp_address
from tests.support.nodes.process import RpcClient
from tests.support.nodes.quiet import template_block

REDIAL_S: Final = 1.0
QUEUE_BYTES: Final = 4 << 20
"""What may wait to be sent, before a flood pauses."""
PAUSE_S: Final = 0.01
MONSTER_BYTES: Final = 7_500_000
"""Before compression, which makes a few kilobytes of it."""

Say = tuple[ProtocolSpec, bytes]
Flood = Callable[[Random], Say]
"""The next message."""


class _Mouth:
    """Satisfies network.peer.Handler. With both protocols open it says what the flood gives, without end."""

    def __init__(self, protocol: ProtocolSpec, flood: Flood | None, seed: int) -> None:
        self._protocol, self._flood, self._rng = protocol, flood, Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def protocol(self) -> ProtocolSpec:
        return self._protocol

    def opened(self, peer: Peer) -> None:
        if self._flood is not None:
            task = asyncio.get_running_loop().create_task(self._pump(peer, self._flood))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def received(self, peer: Peer, payload: bytes) -> None:
        if self._protocol is SYNC and isinstance(SYNC_MESSAGE.parse(payload, compatible=True), GetHeaders):
            peer.send(SYNC, SYNC_MESSAGE.pack(SendHeaders(headers=[])))

    def closed(self, peer: Peer) -> None:
        """The pump ends by itself."""

    async def _pump(self, peer: Peer, flood: Flood) -> None:
        while peer.version_of(self._protocol) is not None:
            if peer.queued_bytes <= QUEUE_BYTES:
                peer.send(*flood(self._rng))
            await asyncio.sleep(0 if peer.queued_bytes <= QUEUE_BYTES else PAUSE_S)


def flood_from(port: int, count: int, make: Callable[[RpcClient], Flood]) -> None:
    """Attack the node whose RPC listens there with so many peers; never returns."""
    os.nice(19)  # such peers are on machines of their own
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    rpc = RpcClient(port)
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_flood(tcp_address(rpc), count, make(rpc), Path(directory)))


async def _flood(node: Multiaddr, count: int, flood: Flood, directory: Path) -> None:
    async with AsyncExitStack() as stack:
        layers: list[PeerLayer] = []
        for number in range(count):
            own = directory / str(number)
            own.mkdir()
            service = asker_service(
                dev_consensus().network_name,
                own,
                f"flood {number}",
                more=frozenset({RELAY}),
                listen=[Multiaddr.parse(f"/ip4/127.0.1.{number + 1}/tcp/0")],
            )
            mouths = [_Mouth(SYNC, None, number), _Mouth(RELAY, flood, number)]
            running = service.running(lambda _, mouths=mouths: mouths, 4)  # type: ignore[misc]
            layers.append(await stack.enter_async_context(running))
        while True:
            for layer in layers:
                layer.switch.dial(node)
            await asyncio.sleep(REDIAL_S)


# ------------------------------------------------------------ floods


def monsters(_: RpcClient) -> Flood:
    """Unasked transactions of ever other structure: seconds of decoding each, for whoever decodes them."""
    raws = _odd_transactions(MONSTER_BYTES)
    entries = [pack_parts([bytes(8), raw]) for raw in raws]
    relayed = U32.pack(1) + pack_parts([pack_parts(entries)])
    block = U32.pack(3) + pack_parts([pack_parts([bytes(208), U32.pack(4), pack_parts(raws), U32.pack(0)])])
    said = [(RELAY, relayed), (SYNC, block)]
    return lambda rng: rng.choice(said)


def never_complete(rpc: RpcClient) -> Flood:
    """Compact blocks on the tip, valid by dummy proof of work, of transactions that nobody has."""
    template, made = template_block(rpc), 0

    def say(rng: Random) -> Say:
        nonlocal template, made
        made += 1
        if made % 500 == 0:
            template = template_block(rpc)
        header = template.header.with_fields(nonce=rng.getrandbits(64))
        cellbase = IndexTransaction(index=0, transaction=template.transactions[0])
        message = CompactBlock(
            header=header,
            short_ids=[rng.randbytes(10) for _ in range(300)],
            prefilled_transactions=[cellbase],
            uncles=[],
            proposals=[],
            extension=template.extension,
        )
        return RELAY, RELAY_MESSAGE.pack(message)

    return say


def unknown_hashes(_: RpcClient) -> Flood:
    """Of transactions that never come, and questions for others that are not there."""

    def say(rng: Random) -> Say:
        hashes = [rng.randbytes(32) for _ in range(1000)]
        kind = rng.choice((RelayTransactionHashes, GetRelayTransactions))
        return RELAY, RELAY_MESSAGE.pack(kind(tx_hashes=hashes))

    return say


def block_questions(rpc: RpcClient) -> Flood:
    """The chain's blocks, again and again."""
    hashes = [Block.parse(_raw_block(rpc, number)).hash for number in range(1, rpc.tip() + 1)]

    def say(rng: Random) -> Say:
        return SYNC, SYNC_MESSAGE.pack(GetBlocks(block_hashes=rng.sample(hashes, k=min(32, len(hashes)))))

    return say


def _raw_block(rpc: RpcClient, number: int) -> bytes:
    raw: str = rpc.call("get_block", rpc.call("get_block_hash", hex(number)), "0x0")
    return bytes.fromhex(raw[2:])


def _odd_transactions(size: int) -> list[bytes]:
    """No two of them have one structure."""
    script = Script(code_hash=bytes(32), hash_type=0, args=b"")
    point = OutPoint(tx_hash=bytes(32), index=0)
    output = CellOutput(capacity=0, lock=script, type_=None)
    made, left = list[bytes](), size
    while left > 0:
        at = len(made)
        body = RawTransaction(
            version=0,
            cell_deps=[CellDep(out_point=point, dep_type=0)] * (at // 221 % 7),
            header_deps=[],
            inputs=[CellInput(since=0, previous_output=point)] * (at // 1547 % 9),
            outputs=[output] * (at % 13),
            outputs_data=[b""] * (at % 13),
        )
        made.append(Transaction(body=body, witnesses=[b""] * (at // 13 % 17)).raw)
        left -= len(made[-1]) + U32.size
    return made
