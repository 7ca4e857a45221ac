"""Light clients that ask for as much as their protocols allow, all the time."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import structlog

from ckb_node.devchain import dev_consensus
from consensus.types.blockchain import Block
from network.limits import FILTER, LIGHT_CLIENT, SYNC, ProtocolSpec
from network.messages.protocols import (
    BLOCK_FILTER_MESSAGE,
    LIGHT_CLIENT_MESSAGE,
    SYNC_MESSAGE,
    GetBlockFilters,
    GetBlocksProof,
    GetHeaders,
    GetLastState,
    GetLastStateProof,
    GetTransactionsProof,
    SendHeaders,
)
from network.multiaddr import Multiaddr
from network.peer import Handler, Peer
from network.peer_layer import PeerLayer
from tests.support.nodes.asker import asker_service, tcp_address
from tests.support.nodes.process import RpcClient

CLIENTS = 200
IN_FLIGHT = 20
"""Questions of each client that have no answer yet; whenever one comes it asks the next."""
MOST = 1000
REDIAL_S = 2.0


class _Client:
    """Satisfies network.peer.Handler: asks as soon as the protocol is open, and again with each answer."""

    def __init__(self, protocol: ProtocolSpec, questions: list[bytes], seed: int) -> None:
        self._protocol, self._questions, self._rng = protocol, questions, Random(seed)

    @property
    def protocol(self) -> ProtocolSpec:
        return self._protocol

    def opened(self, peer: Peer) -> None:
        for _ in range(IN_FLIGHT):
            self._ask(peer)

    def received(self, peer: Peer, payload: bytes) -> None:
        del payload
        self._ask(peer)

    def closed(self, peer: Peer) -> None:
        """It dials again."""

    def _ask(self, peer: Peer) -> None:
        peer.send(self._protocol, self._rng.choice(self._questions))


class _Sync:
    """Says that it has no headers, so that the session lives."""

    protocol = SYNC

    def opened(self, peer: Peer) -> None:
        """Nothing is asked."""

    def received(self, peer: Peer, payload: bytes) -> None:
        if isinstance(SYNC_MESSAGE.parse(payload, compatible=True), GetHeaders):
            peer.send(SYNC, SYNC_MESSAGE.pack(SendHeaders(headers=[])))

    def closed(self, peer: Peer) -> None:
        """Nothing is kept."""


def light_clients(port: int) -> None:
    """Attack the node whose RPC listens there; never returns."""
    rpc = RpcClient(port)
    os.nice(19)  # such clients are on machines of their own
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_ask_for_ever(tcp_address(rpc), _dear_questions(rpc), Path(directory)))


def _dear_questions(rpc: RpcClient) -> dict[ProtocolSpec, list[bytes]]:
    """Of each protocol."""
    blocks = [_block(rpc, number) for number in range(rpc.tip() + 1)]
    last, total = blocks[-1], len(blocks) * 10**6
    rng = Random(1)
    hashes = [tx.hash for block in blocks[:-1] for tx in block.transactions]
    state = GetLastStateProof(
        last_hash=last.hash,
        start_hash=last.hash,
        start_number=1,
        last_n_blocks=MOST // 2,
        difficulty_boundary=total,
        difficulties=[],
    )
    below = [block.hash for block in blocks[:-1]][:MOST]
    questions = [
        GetLastState(subscribe=b"\1"),
        state,
        GetBlocksProof(last_hash=last.hash, block_hashes=below),
        GetTransactionsProof(last_hash=last.hash, tx_hashes=rng.sample(hashes, k=min(MOST, len(hashes)))),
    ]
    return {
        LIGHT_CLIENT: [LIGHT_CLIENT_MESSAGE.pack(question) for question in questions],
        FILTER: [BLOCK_FILTER_MESSAGE.pack(GetBlockFilters(start_number=0))],
    }


def _block(rpc: RpcClient, number: int) -> Block:
    raw: str = rpc.call("get_block", rpc.call("get_block_hash", hex(number)), "0x0")
    return Block.parse(bytes.fromhex(raw[2:]))


async def _ask_for_ever(node: Multiaddr, questions: dict[ProtocolSpec, list[bytes]], directory: Path) -> None:
    async with AsyncExitStack() as stack:
        layers: list[PeerLayer] = []
        for number in range(CLIENTS):
            own = directory / str(number)
            own.mkdir()
            service = asker_service(dev_consensus().network_name, own, number)
            handlers: list[Handler] = [_Client(*each, number) for each in questions.items()]
            running = service.running(lambda _, handlers=handlers: [_Sync(), *handlers], 4)  # type: ignore[misc]
            layers.append(await stack.enter_async_context(running))
        while True:
            for layer in layers:
                layer.switch.dial(node)
            await asyncio.sleep(REDIAL_S)
