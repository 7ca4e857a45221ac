"""Transactions by `send_transaction` over keep-alive connections that wait for each answer, and by relay from peers.

From this process: what it takes of the machine's cores is taken from the node.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from ckb_node.jsonrpc_types.chain import transaction_json
from consensus.types.blockchain import Transaction
from network.identity import Identity
from network.limits import RELAY, Flags, ProtocolSpec
from network.messages.protocols import (
    RELAY_MESSAGE,
    GetRelayTransactions,
    RelayTransaction,
    RelayTransactionHashes,
    RelayTransactions,
)
from network.multiaddr import Multiaddr
from network.peer import Peer
from network.peer_layer import PeerLayerSettings
from network.peers.store_files import StoreFiles
from network.protocols.identify import LocalIdentity
from network.service import NetworkService, ServiceSettings
from storage.files import set_aside, write_whole
from tests.benches.relay_nodes import Node, SyncAnswers, address_of

CONNECTIONS = 16
WAIT_S = 120.0
POLL_S = 0.02
_HEAD_END, _LENGTH = b"\r\n\r\n", b"content-length: "


class _Sender(asyncio.Protocol):
    """Sends the next request when the last one was answered."""

    def __init__(self, requests: deque[bytes], failed: list[bytes], done: asyncio.Future[None]) -> None:
        self._requests, self._failed, self._done = requests, failed, done
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        if self._requests:
            self._transport.write(self._requests.popleft())
        elif not self._done.done():
            self._transport.abort()
            self._done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(_HEAD_END)
        if not end:
            return
        length = int(head.lower().split(_LENGTH, 1)[1].split(b"\r\n", 1)[0])
        if len(body) >= length:
            if b'"error"' in body:
                self._failed.append(body[:300])
            self._data = body[length:]
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the node closed a connection"))


def request_of(transaction: Transaction) -> bytes:
    """A whole HTTP request."""
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "send_transaction",
        "params": [transaction_json(transaction), "passthrough"],
    }
    body = msgspec.json.encode(call)
    head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


async def send_seconds(port: int, transactions: Sequence[Transaction]) -> float:
    """Until the last one is answered. Raises RuntimeError when one is refused."""
    requests, failed = deque(map(request_of, transactions)), list[bytes]()
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    ends = [loop.create_future() for _ in range(CONNECTIONS)]
    for end in ends:
        await loop.create_connection(lambda end=end: _Sender(requests, failed, end), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*ends)
    seconds = time.perf_counter() - begun
    if failed:
        raise RuntimeError(f"{len(failed)} refused, for example {failed[0].decode()}")
    return seconds


class Giver:
    """A peer that announces transactions and gives them."""

    protocol: ProtocolSpec = RELAY

    def __init__(self, transactions: Mapping[bytes, tuple[Transaction, int]]) -> None:
        """By hash, each with its cycles."""
        self._transactions = transactions
        self.peer: Peer | None = None

    def opened(self, peer: Peer) -> None:
        self.peer = peer

    def announce(self) -> None:
        assert self.peer is not None
        self.peer.send(RELAY, RELAY_MESSAGE.pack(RelayTransactionHashes(tx_hashes=list(self._transactions))))

    def received(self, peer: Peer, payload: bytes) -> None:
        message = RELAY_MESSAGE.parse(payload, compatible=True)
        if isinstance(message, GetRelayTransactions):
            found = (self._transactions[bytes(each)] for each in message.tx_hashes)
            given = [RelayTransaction(cycles=cycles, transaction=transaction) for transaction, cycles in found]
            peer.send(RELAY, RELAY_MESSAGE.pack(RelayTransactions(transactions=given)))

    def closed(self, peer: Peer) -> None:
        self.peer = None


@asynccontextmanager
async def giving(directory: Path, network_name: str, node: Node, giver: Giver, seed: int) -> AsyncIterator[None]:
    """A peer of the node while the context lasts."""
    local = LocalIdentity(
        network_name=network_name, client_version="giver", flags=Flags.SYNC | Flags.DISCOVERY | Flags.RELAY
    )
    files = StoreFiles(directory, write_whole=write_whole, set_aside=set_aside)
    settings = ServiceSettings(listen=(), peers=PeerLayerSettings(local=local))
    service = NetworkService(Identity(bytes([seed]) * 32), files, settings, lambda: time.time_ns() // 1_000_000)
    async with service.running(lambda _: [SyncAnswers(), giver], 256) as layer:
        peer_id, address = await asyncio.to_thread(address_of, node)
        layer.switch.dial(Multiaddr.parse(f"{address}/p2p/{peer_id}"))
        async with asyncio.timeout(WAIT_S):
            while giver.peer is None:  # noqa: ASYNC110 - of the service
                await asyncio.sleep(POLL_S)
        yield
