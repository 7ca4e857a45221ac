"""Between one libp2p process and the peer layer: its connections become sessions, its gossip is judged, dials are asked
for. No I/O: bytes come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from network.libp2p.channel import Channel
from network.libp2p.home import Home, Layer, Libp2pState
from network.libp2p.messages import (
    CONTROL,
    OF_CONNECTION,
    OF_PROCESS,
    SIZE_SIZE,
    Connected,
    Demux,
    Dial,
    DialEnded,
    Disconnect,
    Failed,
    Gossip,
    IpcError,
    Message,
    OfProcess,
    Publish,
    Ready,
    Stats,
    Stop,
    Verdict,
    decode,
    encode,
    frame,
    is_last,
)
from network.libp2p.names import Libp2pAddress, key_of
from network.libp2p.streams import StreamsConnection
from network.multiaddr import Multiaddr, MultiaddrError
from network.peer import Direction
from network.session import Session

__all__ = ["Bridge"]


class Bridge:
    """To one process. Satisfies network.libp2p.channel.Process."""

    def __init__(self, home: Home, layer: Layer, write: Callable[[bytes], None], failed: Callable[[str], None]) -> None:
        """`write` takes bytes for the process; `failed` hears why it cannot go on, by its own words."""
        self._home, self._layer, self._write, self._failed = home, layer, write, failed
        self._demux: Final = Demux()
        self._out: Final = list[bytes]()
        self._channels: Final = dict[int, Channel]()
        self._sessions: Final = dict[int, Session]()
        self._dials: Final = dict[int, Libp2pAddress]()
        self._last_ticket = 0
        self._specs: Final = tuple(home.names(layer))

    # --- the process ---

    def start(self) -> None:
        """Greet it."""
        self._tell(self._home.hello(self._layer))

    def receive(self, data: bytes) -> None:
        """Bytes of the process. Raises IpcError: it is broken."""
        for conn, record in self._demux.feed(data):
            if conn == CONTROL:
                self._told(decode(OF_PROCESS, record[SIZE_SIZE:]))
            else:
                self._of_connection(conn, record)

    def stop(self) -> None:
        """Tell it to stop, behind all else."""
        self._tell(Stop())
        self._flush()

    def ended(self) -> None:
        """It is gone, and its connections are."""
        for channel in list(self._channels.values()):
            channel.ended("the libp2p process has ended")

    def publish(self, topic: int, data: bytes) -> None:
        """See Libp2pService.publish."""
        if self._home.state is not None:
            self._tell(Publish(topic, data))

    def dial(self) -> None:
        """Those that are due; to be called now and then."""
        if self._home.state is None:
            return
        for address in self._home.due(self._layer):
            self._last_ticket += 1
            self._dials[self._last_ticket] = address
            self._tell(Dial(self._last_ticket, address.text))

    @property
    def is_dialling(self) -> bool:
        return bool(self._dials)

    def _told(self, message: OfProcess) -> None:
        home = self._home
        match message:
            case Ready(_, library, peer_id, addresses):
                if peer_id != home.peer_id:
                    raise IpcError("it has another key")
                home.listens(library, addresses)
                self.dial()
            case Failed(reason):
                self._failed(reason)
            case DialEnded(ticket, reason):
                address = self._dials.pop(ticket, None)
                if address is not None:
                    home.dialled(self._layer, address, reason)
            case Gossip():
                self._gossiped(message)
            case Stats():
                if home.state is not None:
                    home.state = Libp2pState(home.state.library, home.state.addresses, message)

    def _gossiped(self, message: Gossip) -> None:
        """Of a peer that may stay, to who judges it."""
        switch, session = self._layer.switch, self._sessions.get(message.conn)
        handler = self._home.topics.get(message.topic)
        is_heard = switch.is_active and session is not None and switch.peer_of(session.peer_id) is session
        if session is None or handler is None or not is_heard:
            self._tell(Verdict(message.number, is_good=False))
            return
        try:
            handler.received(session, message.data, lambda good: self._tell(Verdict(message.number, good)))
        except Exception as error:  # noqa: BLE001 - it ends the session that it was called for, as other handlers' faults
            self._tell(Verdict(message.number, is_good=False))
            switch.fault(session, "gossip", error)

    # --- connections ---

    def _of_connection(self, conn: int, record: memoryview) -> None:
        channel = self._channels.get(conn)
        if channel is None:
            message = decode(OF_CONNECTION, record[SIZE_SIZE:])
            if isinstance(message, Connected):
                self._connected(conn, message, record)
            return
        channel.receive(record)
        if is_last(record):
            channel.ended("the connection has ended")

    def _connected(self, conn: int, message: Connected, record: memoryview) -> None:
        channel = Channel(conn, self)
        try:
            key_of(message.peer_id)
            address = Multiaddr.parse(message.address)
        except (ValueError, MultiaddrError):
            self.send(conn, encode(Disconnect()))
            return
        direction = Direction.OUTBOUND if message.is_outbound else Direction.INBOUND
        layer = self._layer
        streams = StreamsConnection(self._specs, now=layer.scheduler.now())
        session = layer.switch.carried(channel, streams, address, direction)
        if session is None:
            self.send(conn, encode(Disconnect()))
            return
        channel.attach(session)
        self._channels[conn], self._sessions[conn] = channel, session
        self._home.ids[session.session_id] = message.peer_id
        channel.receive(record)

    # --- network.libp2p.channel.Process ---

    def send(self, conn: int, body: bytes | bytearray) -> None:
        if not self._out:
            self.soon(self._flush)
        self._out.append(frame(conn, body))

    def _tell(self, message: Message) -> None:
        """Queue a message for the process itself."""
        self.send(CONTROL, encode(message))

    def _flush(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        if data:
            self._write(data)

    def soon(self, call: Callable[[], None]) -> None:
        self._layer.scheduler.call_later(0.0, call)

    def forget(self, conn: int) -> None:
        self._channels.pop(conn, None)
        session = self._sessions.pop(conn, None)
        if session is not None:
            self._home.ids.pop(session.session_id, None)
