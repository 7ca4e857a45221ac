"""A client of one node that asks raw questions on the light client and filter protocols, and sees what comes of it."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from threading import Thread
from typing import Any

from network.limits import FILTER, LIGHT_CLIENT, SYNC, ProtocolSpec
from network.messages.protocols import (
    BLOCK_FILTER_MESSAGE,
    LIGHT_CLIENT_MESSAGE,
    SYNC_MESSAGE,
    BlockFilterHashes,
    GetBlockFilterHashes,
    GetHeaders,
    GetLastState,
    SendHeaders,
    SendLastState,
)
from network.multiaddr import Multiaddr
from network.peer import Handler, Peer
from network.peer_layer import PeerLayer
from tests.support.nodes.asker import asker_service, tcp_address
from tests.support.nodes.reference import OurNode, ReferenceNode

ANSWER_S = 60.0
CONNECT_S = 20.0
SENTINELS = {
    LIGHT_CLIENT: LIGHT_CLIENT_MESSAGE.pack(GetLastState(subscribe=b"\0")),
    FILTER: BLOCK_FILTER_MESSAGE.pack(GetBlockFilterHashes(start_number=0)),
}
"""A question that is always answered: what came before its answer is all that the question before it got."""


class Outcome(Enum):
    """What a question got, if no answer."""

    SILENCE = "silence"
    BAN = "a ban"


class _Ears:
    """Satisfies network.peer.Handler: what comes is put in the client's inbox."""

    def __init__(self, client: Client, protocol: ProtocolSpec) -> None:
        self._client, self._protocol = client, protocol

    @property
    def protocol(self) -> ProtocolSpec:
        return self._protocol

    def opened(self, peer: Peer) -> None:
        self._client.peer = peer
        self._client.events.put((self._protocol, "opened"))

    def received(self, peer: Peer, payload: bytes) -> None:
        if self._protocol is not SYNC:
            self._client.events.put((self._protocol, payload))
        elif isinstance(SYNC_MESSAGE.parse(payload, compatible=True), GetHeaders):
            peer.send(SYNC, SYNC_MESSAGE.pack(SendHeaders(headers=[])))

    def closed(self, peer: Peer) -> None:
        self._client.events.put((self._protocol, "closed"))


@dataclass
class Client:
    """Connected with `node`; connects again after each ban, which it takes back by RPC."""

    node: OurNode | ReferenceNode
    network_name: str
    directory: Path
    loop: asyncio.AbstractEventLoop
    events: queue.Queue[tuple[ProtocolSpec, Any]] = field(default_factory=queue.Queue)
    peer: Peer | None = None
    layer: PeerLayer | None = None
    is_connected: bool = False

    def ask(self, protocol: ProtocolSpec, payload: bytes) -> bytes | Outcome:
        """What a question gets. Not for the sentinels."""
        if not self.is_connected:
            self.connect()
        self._send(protocol, payload)
        self._send(protocol, SENTINELS[protocol])
        answers = []
        while True:
            event = self._next(protocol)
            if event == "closed":
                self._note_ban()
                return Outcome.BAN
            if is_sentinel(protocol, event):
                break
            answers.append(event)
        assert len(answers) <= 1, f"{len(answers)} answers to one question"
        return answers[0] if answers else Outcome.SILENCE

    def tell(self, protocol: ProtocolSpec) -> bytes:
        """What the sentinel gets."""
        if not self.is_connected:
            self.connect()
        self._send(protocol, SENTINELS[protocol])
        event = self._next(protocol)
        assert isinstance(event, bytes), f"{protocol.name} was {event}"
        return event

    def connect(self) -> None:
        self.events = queue.Queue()
        self._call(self._dial, tcp_address(self.node.rpc))
        missing = {LIGHT_CLIENT, FILTER}
        while missing:
            protocol, event = self.events.get(timeout=CONNECT_S)
            if event == "opened":
                missing.discard(protocol)
        self.is_connected = True

    def _dial(self, address: Multiaddr) -> None:
        assert self.layer is not None
        obstacle = self.layer.switch.dial(address)
        assert obstacle is None, obstacle

    def _send(self, protocol: ProtocolSpec, payload: bytes) -> None:
        assert self.peer is not None
        self._call(self.peer.send, protocol, payload)

    def _next(self, protocol: ProtocolSpec) -> Any:
        deadline = time.monotonic() + ANSWER_S
        while True:
            spoken, event = self.events.get(timeout=deadline - time.monotonic())
            if spoken is protocol:
                return event

    def _note_ban(self) -> None:
        """It was for five minutes; it is taken back, and the session has ended."""
        self.is_connected = False
        deadline = time.monotonic() + CONNECT_S
        while not (bans := self.node.rpc.call("get_banned_addresses")):
            assert time.monotonic() < deadline, "disconnected without a ban"
            time.sleep(0.02)
        (ban,) = bans
        seconds = round((int(ban["ban_until"], 16) - int(ban["created_at"], 16)) / 1000)
        assert seconds == 300, f"banned for {seconds} s"
        self.node.rpc.call("clear_banned_addresses")
        while self.node.rpc.call("get_peers"):
            assert time.monotonic() < deadline, "the session lives"
            time.sleep(0.02)

    def _call(self, function: Any, *arguments: Any) -> Any:
        """On the loop's thread."""
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001 - raised again in the other thread
                done.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return done.result(CONNECT_S)

    async def run(self, ready: Future[None], stop: asyncio.Event) -> None:
        """The client's network, until told to stop."""
        service = asker_service(self.network_name, self.directory, self.directory)
        async with service.running(self._handlers, 20) as layer:
            self.layer = layer
            ready.set_result(None)
            await stop.wait()

    def _handlers(self, _layer: PeerLayer) -> list[Handler]:
        return [_Ears(self, protocol) for protocol in (SYNC, LIGHT_CLIENT, FILTER)]


def is_sentinel(protocol: ProtocolSpec, answer: bytes) -> bool:
    """It is the answer to the sentinel."""
    if protocol is FILTER:
        message = BLOCK_FILTER_MESSAGE.parse(answer)
        return isinstance(message, BlockFilterHashes) and message.start_number == 0
    return isinstance(LIGHT_CLIENT_MESSAGE.parse(answer), SendLastState)


@contextmanager
def connected_client(node: OurNode | ReferenceNode, network_name: str, directory: Path) -> Iterator[Client]:
    """A client in a thread of its own."""
    directory.mkdir()
    loop = asyncio.new_event_loop()
    client = Client(node, network_name, directory, loop)
    ready: Future[None] = Future()
    stop = asyncio.Event()
    thread = Thread(target=lambda: loop.run_until_complete(client.run(ready, stop)))
    thread.start()
    try:
        ready.result(CONNECT_S)
        client.connect()
        yield client
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(CONNECT_S)
        loop.close()
