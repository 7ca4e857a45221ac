"""Peers that break the rules: hosts of the simulation without a node behind them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import Final

from network.ckb_wire.connection import WireConnection
from network.ckb_wire.events import Ended, Established, Event, Opened, ProtocolClosed, Received
from network.ckb_wire.secio import SecioHandshake
from network.identity import SHA256_MULTIHASH_PREFIX, Identity, base58
from network.limits import DISCOVERY, IDENTIFY, SYNC, Flags, ProtocolSpec
from network.messages.peers import Address, Identify, IdentifyMessage
from network.multiaddr import Multiaddr
from network.peer import Direction, Timer
from network.protocols.discovery_messages import nodes
from network.transport import Link
from tests.simulation.node import FULL_NODE, NETWORK, PORT, SimNode
from tests.simulation.wires import Wires, tcp_address


class RawClient:
    """Connects, sends the same bytes to everyone (none by default), and listens for ever. Satisfies
    network.transport.Dialling and Receiver."""

    def __init__(self, wires: Wires, ip: str, greeting: bytes = b"") -> None:
        self.wires, self.ip, self.greeting = wires, ip, greeting
        self.link: Link | None = None
        self.received = bytearray()
        self.has_failed = self.is_lost = False

    def connect(self, target: SimNode) -> None:
        self.wires.connect(self.ip, target.ip, PORT, self)

    def connected(self, link: Link) -> RawClient:
        self.link = link
        self.begin()
        return self

    def failed(self, reason: str) -> None:
        del reason
        self.has_failed = True

    def begin(self) -> None:
        """The connection stands."""
        self.write(self.greeting)

    def write(self, data: bytes | bytearray) -> None:
        if self.link is not None and data:
            self.link.write([data])

    def receive(self, data: memoryview) -> None:
        self.received += data

    def end_of_stream(self) -> None:
        """The other end is gone, and this one does not care: it keeps its half open."""

    def lost(self, reason: str) -> None:
        del reason
        self.is_lost = True


class WireClient(RawClient):
    """Speaks the wire as it should, as a dialler, and says in Identify what it likes. `limit`: after so many bytes
    nothing is sent any more."""

    def __init__(
        self,
        wires: Wires,
        ip: str,
        *,
        seed: int = 0,
        protocols: Sequence[ProtocolSpec] = (SYNC,),
        network: str = NETWORK,
        flags: int = FULL_NODE,
        listening: Sequence[Multiaddr] = (),
        limit: int | None = None,
    ) -> None:
        super().__init__(wires, ip)
        rng = Random(f"{seed}:{ip}")
        self.identity: Final = Identity(sha256(f"hostile:{seed}:{ip}".encode()).digest())
        self.protocols, self.network, self.flags, self.listening = protocols, network, flags, listening
        self._rng, self._limit = rng, limit
        self.sent = 0
        self.events: Final[list[Event]] = []
        self.open: Final[dict[ProtocolSpec, None]] = {}
        self._connection: WireConnection | None = None
        self._timer: Timer | None = None

    @property
    def messages(self) -> list[Received]:
        return [event for event in self.events if isinstance(event, Received)]

    @property
    def has_ended(self) -> bool:
        return self.is_lost or any(isinstance(event, Ended) for event in self.events)

    def begin(self) -> None:
        handshake = SecioHandshake(self.identity, entropy=self._rng.randbytes)
        protocols = [IDENTIFY, *self.protocols]
        self._connection = WireConnection(handshake, Direction.OUTBOUND, protocols, now=self.wires.clock.now())
        self.flush()

    def receive(self, data: memoryview) -> None:
        connection = self.connection
        self._take(connection.receive(data, self.wires.clock.now()))
        self.flush()

    @property
    def connection(self) -> WireConnection:
        if self._connection is None:
            raise RuntimeError("not connected")
        return self._connection

    def send(self, protocol: ProtocolSpec, payload: bytes) -> bool:
        sent = self.connection.send(protocol, payload, self.wires.clock.now())
        self.flush()
        return sent

    def send_frames(self, frames: bytes) -> None:
        """Frames of yamux, in one sealed frame."""
        channel = self.connection._channel
        if channel is not None:
            self.write(channel.seal(frames))

    def cut_after(self, size: int) -> None:
        """Send so many bytes more, and then nothing."""
        self._limit = self.sent + size

    def flush(self) -> None:
        for piece in self.connection.data_to_send():
            rest = len(piece) if self._limit is None else self._limit - self.sent
            self.sent += len(piece[:rest])
            self.write(piece[:rest])
        deadline = self.connection.next_deadline()
        if self._timer is None and deadline is not None and not self.is_lost:
            delay = max(0.001, deadline - self.wires.clock.now())
            self._timer = self.wires.clock.call_later(delay, self._advance)

    def _advance(self) -> None:
        self._timer = None
        self._take(self.connection.advance(self.wires.clock.now()))
        self.flush()

    def _take(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        for event in events:
            match event:
                case Established():
                    self.connection.open(IDENTIFY, self.wires.clock.now())
                case Opened(protocol):
                    self.open[protocol] = None
                    self.on_opened(protocol)
                case Received(protocol) if protocol is IDENTIFY:
                    for other in self.protocols:
                        self.connection.open(other, self.wires.clock.now())
                case ProtocolClosed(protocol):
                    self.open.pop(protocol, None)

    def on_opened(self, protocol: ProtocolSpec) -> None:
        if protocol is IDENTIFY:
            self.connection.send(IDENTIFY, self.identify(), self.wires.clock.now())

    def identify(self) -> bytes:
        inner = Identify(flag=self.flags, name=self.network.encode(), client_version=b"hostile").raw
        return IdentifyMessage(
            listen_addrs=[Address(data=address.to_bytes()) for address in self.listening],
            observed_addr=Address(data=tcp_address(self.ip, PORT).to_bytes()),
            identify=inner,
        ).raw


class Nameless(WireClient):
    """Opens its protocols, and never Identify."""

    def _take(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        for event in events:
            match event:
                case Established():
                    for protocol in self.protocols:
                        self.connection.open(protocol, self.wires.clock.now())
                case Opened(protocol):
                    self.open[protocol] = None


class Flooder(WireClient):
    """Announces addresses of which nobody has a node, ten at a time, without an end."""

    def __init__(self, wires: Wires, ip: str, *, seed: int = 0, every: float = 1.0, groups: int = 200) -> None:
        super().__init__(wires, ip, seed=seed, protocols=(SYNC, DISCOVERY))
        self._every, self._groups = every, groups
        self.told = 0

    def on_opened(self, protocol: ProtocolSpec) -> None:
        super().on_opened(protocol)
        if protocol is DISCOVERY:
            self._announce()

    def _announce(self) -> None:
        if self.has_ended:
            return
        found = [(self.invent(), Flags(FULL_NODE)) for _ in range(10)]
        self.told += len(found)
        self.send(DISCOVERY, nodes(found, is_announcement=True))
        self.wires.clock.call_later(self._every, self._announce)

    def invent(self) -> Multiaddr:
        """An address in one of the groups that the flooder claims to know."""
        rng = self._rng
        ip = f"{150 + rng.randrange(self._groups) // 250}.{rng.randrange(self._groups) % 250}.{rng.randrange(256)}.1"
        peer_id = base58(SHA256_MULTIHASH_PREFIX + rng.randbytes(32))
        return tcp_address(ip, 1 + rng.randrange(65_000)).with_peer_id(peer_id)
