"""libp2p in the simulator: the node's real end of it, and a process that carries all on simulated cables.

What the process does is told by its messages alone (network.libp2p.messages). Two processes tell each other the same
kind of messages behind a length; gossip goes to all peers, and some of it is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from network.identity import Identity
from network.libp2p import messages as ipc
from network.libp2p.bridge import Bridge
from network.libp2p.home import Home, Libp2pSettings
from network.libp2p.names import Libp2pAddress, libp2p_id, libp2p_id_text, parse_address
from network.limits import ALL_PROTOCOLS
from network.multiaddr import Multiaddr
from network.peer_layer import PeerLayer
from network.transport import Link
from tests.simulation.wires import Wires, tcp_address

PORT: Final = 8117
RESTART: Final = 1.0
"""Seconds after which a process that ended is there again."""
DIAL_LOOK: Final = 1.0
CREDIT_LOOK: Final = 0.02
MAX_BUFFERED: Final = 256 * 1024
"""Bytes that may wait for the cable before the node gets no more credit."""


class Greeting(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first message of both sides, in place of a handshake and of identify."""

    public_key: bytes
    agent: str
    protocols: list[int]


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A stream for a protocol; `Grant` or `Refuse` answers."""

    stream: int
    protocol: int


class Grant(msgspec.Struct, frozen=True, array_like=True, tag=3):
    stream: int
    protocol: int


class Refuse(msgspec.Struct, frozen=True, array_like=True, tag=4):
    protocol: int


class Piece(msgspec.Struct, frozen=True, array_like=True, tag=5):
    stream: int
    data: bytes


class Shut(msgspec.Struct, frozen=True, array_like=True, tag=6):
    stream: int


class Rumour(msgspec.Struct, frozen=True, array_like=True, tag=7):
    topic: Annotated[int, Meta(ge=0, le=255)]
    data: bytes


Said = Greeting | Ask | Grant | Refuse | Piece | Shut | Rumour
_DECODER: Final = msgspec.msgpack.Decoder(Said)


def libp2p_address(identity: Identity, ip: str) -> Libp2pAddress:
    """Of the node with this key, on its host."""
    return parse_address(f"{tcp_address(ip, PORT)}/p2p/{libp2p_id_text(identity.public_key)}")


class SimLibp2p:
    """A node's libp2p, through all lives of its process; `loss` is the share of gossip that does not arrive."""

    def __init__(
        self,
        wires: Wires,
        ip: str,
        identity: Identity,
        network_name: str,
        agent: str,
        bootnodes: Sequence[Libp2pAddress],
        loss: float,
    ) -> None:
        self.wires, self.ip, self.identity, self.loss = wires, ip, identity, loss
        self.rng: Final = Random(f"libp2p:{ip}")
        settings = Libp2pSettings(
            network_name=network_name,
            client_version=agent,
            spoken=frozenset(ALL_PROTOCOLS),
            listen=[str(tcp_address(ip, PORT))],
            bootnodes=bootnodes,
        )
        self.home: Final = Home(identity, settings, self.rng)
        self.starts = self.passed_on = 0
        """How often a process was started, and the node found good what was gossiped."""
        self._process: SimProcess | None = None
        self._layer: PeerLayer | None = None

    def publish(self, topic: int, data: bytes) -> None:
        """For ckb_node.sync.relay.gossip.NodeGossip."""
        if self._process is not None:
            self._process.bridge.publish(topic, data)

    def start(self, layer: PeerLayer) -> None:
        """All handlers must be registered."""
        self._layer = layer
        self.starts += 1
        self._process = SimProcess(self, layer)
        self._look(self._process)

    def _look(self, process: SimProcess) -> None:
        if self._process is process:
            process.bridge.dial()
            self.wires.clock.call_later(DIAL_LOOK, lambda: self._look(process))

    def crash(self) -> None:
        """The process ends; the node starts it anew."""
        layer = self._layer
        self.stop()
        if layer is not None:
            self._layer = layer
            self.wires.clock.call_later(RESTART, lambda: self._again(layer))

    def _again(self, layer: PeerLayer) -> None:
        if self._layer is layer and self._process is None:
            self.start(layer)

    def stop(self) -> None:
        process, self._process, self._layer = self._process, None, None
        if process is not None:
            process.end()


class SimProcess:
    """One life of the process."""

    def __init__(self, owner: SimLibp2p, layer: PeerLayer) -> None:
        self.owner, self.clock = owner, owner.wires.clock
        self.bridge: Final = Bridge(owner.home, layer, self._heard, lambda _: None)
        self.is_running = True
        self._demux: Final = ipc.Demux()
        self.protocols: frozenset[int] = frozenset()
        self.agent = ""
        self.connections: Final = dict[int, SimConnection]()
        self._last = self._last_rumour = 0
        self._seen: Final = set[bytes]()
        self._judged: Final = dict[int, tuple[Rumour, int]]()
        self.bridge.start()

    def end(self) -> None:
        """Without a word to anybody."""
        self.is_running = False
        self.owner.wires.close_port(self.owner.ip, PORT)
        for connection in list(self.connections.values()):
            connection.link.abort()
        self.owner.home.state = None
        self.bridge.ended()

    # --- the node ---

    def say(self, conn: int, message: ipc.Message) -> None:
        data = ipc.frame(conn, ipc.encode(message))
        self.clock.call_later(0.0, lambda: self.bridge.receive(data) if self.is_running else None)

    def _heard(self, data: bytes) -> None:
        self.clock.call_later(0.0, lambda: self._take(data))

    def _take(self, data: bytes) -> None:
        for conn, record in self._demux.feed(data):
            body = record[ipc.SIZE_SIZE :]
            if not self.is_running:
                return
            if conn != ipc.CONTROL:
                connection = self.connections.get(conn)
                if connection is not None:
                    connection.told(ipc.decode(ipc.TO_CONNECTION, body))
                continue
            match ipc.decode(ipc.TO_PROCESS, body):
                case ipc.Hello() as hello:
                    self._begin(hello)
                case ipc.Dial(ticket, address):
                    self._dial(ticket, parse_address(address))
                case ipc.Publish(topic, content):
                    self._spread(Rumour(topic, content), 0)
                case ipc.Verdict(number, is_good):
                    rumour, source = self._judged.pop(number)
                    if is_good:
                        self.owner.passed_on += 1
                        self._send_on(rumour, source)
                case ipc.Stop():
                    pass  # the owner ends it

    def _begin(self, hello: ipc.Hello) -> None:
        self.protocols = frozenset(protocol for protocol, _ in hello.protocols)
        self.agent = hello.agent
        self.owner.wires.listen(self.owner.ip, PORT, self)
        peer_id = libp2p_id(self.owner.identity.public_key)
        self.say(ipc.CONTROL, ipc.Ready(ipc.VERSION, "simulated", peer_id, list(hello.listen)))

    # --- connections ---

    def accepted(self, link: Link, address: Multiaddr) -> SimConnection:
        return self._connection(link, address, None)

    def _dial(self, ticket: int, address: Libp2pAddress) -> None:
        ip, port = address.address.ip, address.address.port
        assert ip is not None
        assert port is not None
        self.owner.wires.connect(self.owner.ip, str(ip), port, SimDial(self, ticket, address.address))

    def dialled(self, link: Link, address: Multiaddr, ticket: int) -> SimConnection:
        return self._connection(link, address, ticket)

    def _connection(self, link: Link, address: Multiaddr, ticket: int | None) -> SimConnection:
        self._last += 1
        connection = SimConnection(self, self._last, link, address.without_peer_id(), ticket)
        if not self.is_running:
            self.clock.call_later(0.0, link.abort)
            return connection
        self.connections[self._last] = connection
        connection.tell(Greeting(self.owner.identity.public_key, self.agent, sorted(self.protocols)))
        return connection

    # --- gossip ---

    def rumoured(self, rumour: Rumour, conn: int) -> None:
        """A peer gossips; the node judges what is new."""
        digest = sha256(rumour.data).digest()
        if digest in self._seen:
            return
        self._seen.add(digest)
        self._last_rumour += 1
        self._judged[self._last_rumour] = rumour, conn
        self.say(ipc.CONTROL, ipc.Gossip(self._last_rumour, rumour.topic, conn, rumour.data))

    def _spread(self, rumour: Rumour, source: int) -> None:
        digest = sha256(rumour.data).digest()
        if digest not in self._seen:
            self._seen.add(digest)
            self._send_on(rumour, source)

    def _send_on(self, rumour: Rumour, source: int) -> None:
        for connection in self.connections.values():
            if connection.number != source and connection.is_known and self.owner.rng.random() >= self.owner.loss:
                connection.tell(rumour)


class SimDial:
    """Satisfies network.transport.Dialling."""

    def __init__(self, process: SimProcess, ticket: int, address: Multiaddr) -> None:
        self._process, self._ticket, self._address = process, ticket, address

    def connected(self, link: Link) -> SimConnection:
        return self._process.dialled(link, self._address, self._ticket)

    def failed(self, reason: str) -> None:
        self._process.say(ipc.CONTROL, ipc.DialEnded(self._ticket, reason))


class SimConnection:
    """Satisfies network.transport.Receiver."""

    def __init__(self, process: SimProcess, number: int, link: Link, address: Multiaddr, ticket: int | None) -> None:
        self._process, self.number, self.link, self._address = process, number, link, address
        self._ticket = ticket
        self.is_known = False
        self._tail = b""
        self._last_stream = 0 if ticket is None else 1
        """Each side counts in steps of two."""
        self._credit: Final = dict[int, int]()
        """Bytes of each stream that the node takes."""
        self._waiting: Final = dict[int, deque[bytes]]()

    def tell(self, message: Said) -> None:
        body = msgspec.msgpack.encode(message)
        self.link.write([len(body).to_bytes(4, "big") + body])

    def _say(self, message: ipc.Message) -> None:
        self._process.say(self.number, message)

    # --- the peer ---

    def receive(self, data: memoryview) -> None:
        self._tail += bytes(data)
        while len(self._tail) >= 4 and len(self._tail) >= 4 + (size := int.from_bytes(self._tail[:4], "big")):
            body, self._tail = self._tail[4 : 4 + size], self._tail[4 + size :]
            if self._process.is_running:
                self._take(_DECODER.decode(body))

    def _take(self, message: Said) -> None:
        match message:
            case Greeting(public_key, agent, protocols):
                self._greeted(public_key, agent, protocols)
            case Ask(stream, protocol) if protocol in self._process.protocols:
                self._open(stream, protocol)
                self.tell(Grant(stream, protocol))
            case Ask(_, protocol):
                self.tell(Refuse(protocol))
            case Grant(stream, protocol):
                self._open(stream, protocol)
            case Refuse(protocol):
                self._say(ipc.Refused(protocol))
            case Piece(stream, data) if stream in self._waiting:
                self._waiting[stream].append(data)
                self._pass_on(stream)
            case Shut(stream) if stream in self._waiting:
                self._forget(stream)
                self._say(ipc.Closed(stream, is_reset=False))
            case Rumour():
                self._process.rumoured(message, self.number)

    def _greeted(self, public_key: bytes, agent: str, protocols: list[int]) -> None:
        self.is_known = True
        is_outbound = self._ticket is not None
        self._say(ipc.Connected(libp2p_id(public_key), str(self._address), is_outbound))
        if self._ticket is not None:
            self._process.say(ipc.CONTROL, ipc.DialEnded(self._ticket, None))
        self._say(ipc.Introduced(agent, protocols))

    def _open(self, stream: int, protocol: int) -> None:
        self._credit[stream], self._waiting[stream] = ipc.CREDIT, deque()
        self._say(ipc.Opened(stream, protocol))

    def _pass_on(self, stream: int) -> None:
        waiting = self._waiting[stream]
        while waiting and len(waiting[0]) <= self._credit[stream]:
            data = waiting.popleft()
            self._credit[stream] -= len(data)
            self._say(ipc.Data(stream, data))
        if sum(map(sum, (map(len, each) for each in self._waiting.values()))) > MAX_BUFFERED:
            self.link.pause_reading()
        else:
            self.link.resume_reading()

    def _forget(self, stream: int) -> None:
        del self._credit[stream], self._waiting[stream]

    def end_of_stream(self) -> None:
        self.link.close()

    def lost(self, reason: str) -> None:
        if self._process.connections.pop(self.number, None) is None or not self._process.is_running:
            return
        if self.is_known:
            self._say(ipc.Disconnected(reason))
        elif self._ticket is not None:
            self._process.say(ipc.CONTROL, ipc.DialEnded(self._ticket, reason))

    # --- the node ---

    def told(self, message: ipc.ToConnection) -> None:
        match message:
            case ipc.Open(protocol):
                self._last_stream += 2
                self.tell(Ask(self._last_stream, protocol))
            case ipc.Data(stream, data) if stream in self._credit:
                self.tell(Piece(stream, data))
                self._used(stream, len(data))
            case ipc.Credit(stream, size) if stream in self._credit:
                self._credit[stream] += size
                self._pass_on(stream)
            case ipc.Close(stream) if stream in self._credit:
                self._forget(stream)
                self.tell(Shut(stream))
            case ipc.Disconnect():
                self.link.close()

    def _used(self, stream: int, size: int) -> None:
        """The node may give as many bytes more, once the cable has taken enough."""
        if self.link.buffered_bytes <= MAX_BUFFERED:
            self._say(ipc.Credit(stream, size))
        elif self.number in self._process.connections:
            self._process.clock.call_later(CREDIT_LOOK, lambda: self._used(stream, size))
