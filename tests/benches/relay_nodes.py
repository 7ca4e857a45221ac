"""Nodes of the relay benchmark: many of this program, some of the reference, one chain; and one who listens to all.

The listener is a peer of each node. A node tells its peers of a block when the block is its tip, so the listener hears,
on one clock and without asking, when each node has it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from consensus.errors import MoleculeError
from network.identity import Identity
from network.limits import RELAY, SYNC, Flags, ProtocolSpec
from network.messages.protocols import RELAY_MESSAGE, SYNC_MESSAGE, CompactBlock, GetHeaders, SendHeaders
from network.multiaddr import Multiaddr
from network.peer import Peer
from network.peer_layer import PeerLayerSettings
from network.peers.store_files import StoreFiles
from network.protocols.identify import LocalIdentity
from network.service import NetworkService, ServiceSettings
from storage.files import set_aside, write_whole
from tests.support.nodes.process import free_port
from tests.support.nodes.reference import OurNode, ReferenceNode, init_ours

WAIT_S = 120.0
ALONE = 10
"""Nodes of the reference when there are no others."""

Node = OurNode | ReferenceNode


def start_nodes(stack: ExitStack, directory: Path, spec: Path, reference: Path | None, ours: int) -> list[Node]:
    """Two of the reference, if there is one, stand among `ours` of this program; with none of ours, it is alone."""
    nodes: list[Node] = []
    for number in range(ours):
        nodes.append(start_one_of_ours(stack, directory / f"ours-{number}", spec))
        if reference is not None and number in (ours // 3, 2 * ours // 3):
            nodes.append(start_one_of_theirs(stack, reference, directory / f"reference-{number}", spec))
    if reference is not None and not ours:
        nodes += [start_one_of_theirs(stack, reference, directory / f"reference-{at}", spec) for at in range(ALONE)]
    return nodes


def start_one_of_ours(stack: ExitStack, directory: Path, spec: Path) -> OurNode:
    port = init_ours(directory, spec)
    config = directory / "config.toml"
    text = config.read_text(encoding="utf-8")
    text, count = re.subn(
        r"^listen_addresses = .*$", 'listen_addresses = ["/ip4/127.0.0.1/tcp/0"]', text, flags=re.MULTILINE
    )
    assert count == 1
    exporter = f'target = {{ type = "prometheus", listen_address = "127.0.0.1:{free_port()}" }}'
    config.write_text(f"{text}\n[metrics.exporter.prometheus]\n{exporter}\n", encoding="utf-8")
    node = OurNode(directory, port)
    stack.callback(_kill, node)
    node.wait_until_ready()
    return node


def _kill(node: OurNode) -> None:
    if node.process.poll() is None:
        node.kill()


def start_one_of_theirs(stack: ExitStack, binary: Path, directory: Path, spec: Path) -> ReferenceNode:
    node = ReferenceNode(binary, directory, spec)
    stack.callback(node.stop)
    node.start()
    return node


def address_of(node: Node) -> tuple[str, str]:
    """Peer id, and where it listens for TCP on loopback."""
    info = node.rpc.call("local_node_info")
    found = [each["address"].partition("/p2p/")[0] for each in info["addresses"]]
    return info["node_id"], next(each for each in found if not each.endswith("/ws"))


def connect(pairs: Sequence[tuple[Node, Node]]) -> None:
    """The first of each pair dials the second. Returns when all are connected with Relay open."""
    for dialler, dialled in pairs:
        dialler.rpc.call("add_node", *address_of(dialled))
    deadline = time.monotonic() + WAIT_S
    for dialler, dialled in pairs:
        wanted = address_of(dialled)[0]
        while not any(_relays(peer, wanted) for peer in dialler.rpc.call("get_peers")):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{dialler.name} does not connect to {dialled.name}:\n{dialler.output()}")
            time.sleep(0.1)


def _relays(peer: dict[str, object], wanted: str) -> bool:
    protocols = peer["protocols"]
    assert isinstance(protocols, list)
    return peer["node_id"] == wanted and any(int(each["id"], 16) == RELAY.id for each in protocols)


class SyncAnswers:
    """Sync, as far as peers want an answer to stay."""

    protocol: ProtocolSpec = SYNC

    def opened(self, peer: Peer) -> None:
        """Nothing is asked."""

    def received(self, peer: Peer, payload: bytes) -> None:
        try:
            message = SYNC_MESSAGE.parse(payload, compatible=True)
        except MoleculeError:
            return
        if isinstance(message, GetHeaders):
            peer.send(SYNC, SYNC_MESSAGE.pack(SendHeaders(headers=[])))

    def closed(self, peer: Peer) -> None:
        """Nothing is kept."""


class Listener:
    """Relay of the listener. `heard`: by block, when (seconds of `time.perf_counter`) each peer told of it."""

    protocol: ProtocolSpec = RELAY

    def __init__(self) -> None:
        self.peers: set[str] = set()
        self.heard: dict[bytes, dict[str, float]] = {}

    def opened(self, peer: Peer) -> None:
        self.peers.add(peer.peer_id)

    def received(self, peer: Peer, payload: bytes) -> None:
        now = time.perf_counter()
        if payload[:4] == bytes(4):
            message = RELAY_MESSAGE.parse(payload)
            assert isinstance(message, CompactBlock)
            self.heard.setdefault(message.header.hash, {}).setdefault(peer.peer_id, now)

    def closed(self, peer: Peer) -> None:
        self.peers.discard(peer.peer_id)

    async def all_have(self, block_hash: bytes, count: int) -> dict[str, float]:
        """When each of so many nodes had a block. Returns when all have it."""
        async with asyncio.timeout(WAIT_S):
            while len(self.heard.get(block_hash, ())) < count:  # noqa: ASYNC110 - of all nodes
                await asyncio.sleep(0.002)
        return self.heard[block_hash]


@asynccontextmanager
async def listening(directory: Path, network_name: str, nodes: Sequence[Node]) -> AsyncIterator[Listener]:
    """A peer of all nodes, while the context lasts."""
    local = LocalIdentity(
        network_name=network_name, client_version="listener", flags=Flags.SYNC | Flags.DISCOVERY | Flags.RELAY
    )
    files = StoreFiles(directory, write_whole=write_whole, set_aside=set_aside)
    settings = ServiceSettings(listen=(), peers=PeerLayerSettings(local=local))
    service = NetworkService(Identity(b"\x77" * 32), files, settings, lambda: time.time_ns() // 1_000_000)
    listener = Listener()
    async with service.running(lambda _: [SyncAnswers(), listener], 256) as layer:
        for node in nodes:
            peer_id, address = await asyncio.to_thread(address_of, node)
            layer.switch.dial(Multiaddr.parse(f"{address}/p2p/{peer_id}"))
        async with asyncio.timeout(WAIT_S):
            while len(listener.peers) < len(nodes):  # noqa: ASYNC110 - of all nodes
                await asyncio.sleep(0.05)
        yield listener
