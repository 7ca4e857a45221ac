"""The connections of the libp2p process, each with a number that the node knows it by."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import trio
from libp2p.abc import INotifee
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.rcmgr.metrics import Direction

from network.libp2p.child.host import MAX_BUFFERED, NEGOTIATE_TIMEOUT, buffered, place_of
from network.libp2p.child.identify import AGENT
from network.libp2p.child.pipe import Pipe
from network.libp2p.child.streams import PeerStream
from network.libp2p.messages import (
    Close,
    Connected,
    Credit,
    Data,
    Disconnect,
    Disconnected,
    Introduced,
    Message,
    Open,
    Opened,
    Refused,
)

IDENTIFY_TIMEOUT: Final = 10.0
IDENTIFY_POLL: Final = 0.05


class PeerConnection:
    """One connection."""

    def __init__(self, number: int, connection: Any) -> None:
        self.number, self.connection = number, connection
        self.streams: Final = dict[int, PeerStream]()

    @property
    def peer(self) -> Any:
        return self.connection.muxed_conn.peer_id


class Connections(INotifee):  # type: ignore[misc] # the library is optional, so its types are not known
    """All of them. Satisfies what the library tells of connections, in which nothing may raise."""

    def __init__(self, host: Any, pipe: Pipe, protocols: dict[int, str], nursery: trio.Nursery) -> None:
        self._host, self._pipe, self._nursery = host, pipe, nursery
        self._names: Final = protocols
        self._ids: Final = {name: protocol for protocol, name in protocols.items()}
        self._of: Final = dict[int, PeerConnection]()
        """By number."""
        self._numbers: Final = dict[Any, int]()
        self._last = self._last_stream = 0
        self.dropped = 0
        self.moved: Callable[[Any], None] = lambda _: None
        """Is told of a peer that has lost one of its connections, and has another."""
        for protocol, name in protocols.items():
            host.set_stream_handler(name, self._handler(protocol))
        host.get_network().register_notifee(self)

    def __len__(self) -> int:
        return len(self._of)

    def of_peer(self, peer: Any) -> int:
        """The number of a connection with a peer; 0 when there is none."""
        return next((known.number for known in self._of.values() if known.peer == peer), 0)

    # --- what the library tells ---

    async def connected(self, network: Any, conn: Any) -> None:
        """A connection stands."""
        self._register(conn)

    async def disconnected(self, network: Any, conn: Any) -> None:
        """It has ended."""
        number = self._numbers.pop(conn, None)
        if number is not None:
            peer = self._of.pop(number).peer
            self._pipe.send(number, Disconnected("the connection has ended"))
            if any(other.peer == peer for other in self._of.values()):
                self.moved(peer)
            else:
                self._host.peerstore.clear_peerdata(peer)

    async def opened_stream(self, network: Any, stream: Any) -> None:
        """Nothing to do."""

    async def closed_stream(self, network: Any, stream: Any) -> None:
        """Nothing to do."""

    async def listen(self, network: Any, multiaddr: Any) -> None:
        """Nothing to do."""

    async def listen_close(self, network: Any, multiaddr: Any) -> None:
        """Nothing to do."""

    def _register(self, conn: Any) -> PeerConnection:
        """Its first stream may come before the library tells of it."""
        number = self._numbers.get(conn)
        if number is not None:
            return self._of[number]
        self._last += 1
        known = self._of[self._last] = PeerConnection(self._last, conn)
        self._numbers[conn] = self._last
        is_outbound = conn.direction == Direction.OUTBOUND
        self._pipe.send(known.number, Connected(known.peer.to_bytes(), place_of(conn), is_outbound))
        self._nursery.start_soon(self._introduce, known)
        return known

    async def _introduce(self, known: PeerConnection) -> None:
        """Tell what the peer says in identify, which the library asks it for."""
        with trio.move_on_after(IDENTIFY_TIMEOUT):
            while known.peer not in self._host._identified_peers:  # noqa: ASYNC110, SLF001 - there is no event of it
                await trio.sleep(IDENTIFY_POLL)
        try:
            store = self._host.peerstore
            spoken = [self._ids[name] for name in store.get_protocols(known.peer) if name in self._ids]
            agent = str(store.get(known.peer, AGENT))
        except Exception:  # noqa: BLE001 - it has not told, or has left
            spoken, agent = [], ""
        if known.number in self._of:
            self._pipe.send(known.number, Introduced(agent, sorted(set(spoken))))

    # --- streams ---

    def _handler(self, protocol: int) -> Callable[[Any], Any]:
        async def handle(stream: Any) -> None:
            await self._serve(self._register(stream.swarm_conn), protocol, stream)

        return handle

    async def _serve(self, known: PeerConnection, protocol: int, stream: Any) -> None:
        self._last_stream += 1
        number = self._last_stream
        served = known.streams[number] = PeerStream(self._pipe, known.number, number, stream)
        self._pipe.send(known.number, Opened(number, protocol))
        try:
            await served.serve()
        finally:
            known.streams.pop(number, None)

    async def _open(self, known: PeerConnection, protocol: int) -> None:
        stream: Any = None
        try:
            with trio.fail_after(NEGOTIATE_TIMEOUT):
                stream = await known.connection.new_stream()
                name = self._names[protocol]
                await self._host.multiselect_client.select_one_of(
                    [name], MultiselectCommunicator(stream), NEGOTIATE_TIMEOUT
                )
                stream.set_protocol(name)
        except Exception:  # noqa: BLE001 - the peer does not speak it, or is gone
            self._pipe.send(known.number, Refused(protocol))
            if stream is not None:
                with trio.move_on_after(1.0):
                    await stream.reset()
            return
        await self._serve(known, protocol, stream)

    # --- what the node says ---

    def take(self, conn: int, message: Message) -> None:
        """Of a connection that may be gone."""
        known = self._of.get(conn)
        if known is None:
            return
        match message:
            case Data(stream, data) if stream in known.streams:
                known.streams[stream].write(data)
            case Credit(stream, size) if stream in known.streams:
                known.streams[stream].more_credit(size)
            case Close(stream) if stream in known.streams:
                known.streams[stream].close()
            case Open(protocol) if protocol in self._names:
                self._nursery.start_soon(self._open, known, protocol)
            case Disconnect():
                self._nursery.start_soon(self._end, known)

    async def _end(self, known: PeerConnection) -> None:
        """Behind what was written, as far as it leaves soon."""
        with trio.move_on_after(1.0):
            while not all(stream.is_idle for stream in known.streams.values()):  # noqa: ASYNC110 - short, and seldom
                await trio.sleep(IDENTIFY_POLL)
        with trio.move_on_after(2.0):
            await close(known.connection)

    async def end_all(self) -> None:
        """Before the host ends: what still runs then ends it badly."""
        async with trio.open_nursery() as nursery:
            for known in list(self._of.values()):
                nursery.start_soon(self._end, known)

    def drop_greedy(self) -> None:
        """End connections whose peers send more than their windows allow."""
        for known in list(self._of.values()):
            if buffered(known.connection) > MAX_BUFFERED:
                self.dropped += 1
                self._nursery.start_soon(close, known.connection)


async def close(connection: Any) -> None:
    """Never raises an Exception."""
    with contextlib.suppress(Exception):  # it is gone in any case
        await connection.close()
