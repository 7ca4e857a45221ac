"""The node's end of the libp2p process: starts it, gives its connections to the peer layer, and survives its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import structlog

from network.identity import Identity, base58
from network.libp2p.channel import Channel
from network.libp2p.dialler import Dialler
from network.libp2p.messages import (
    CONTROL,
    OF_CONNECTION,
    OF_PROCESS,
    SIZE_SIZE,
    VERSION,
    Connected,
    Demux,
    Dial,
    DialEnded,
    Disconnect,
    Failed,
    Gossip,
    Hello,
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
from network.libp2p.names import Libp2pAddress, key_of, libp2p_id
from network.libp2p.protocols import stream_names
from network.libp2p.streams import StreamsConnection
from network.libp2p.topics import TopicHandler, topic_names
from network.limits import MIB, ProtocolSpec
from network.multiaddr import Multiaddr, MultiaddrError
from network.peer import Direction
from network.peer_layer import PeerLayer
from network.session import Session
from vm.child import STOPPED_STATES, process_state, start_child

__all__ = ["INSTALL", "Libp2pError", "Libp2pService", "Libp2pSettings", "is_installed"]

log = structlog.get_logger("network")

CHILD: Final = "network.libp2p.child.main"
"""Only its name: what is in there is for the other process."""
INSTALL: Final = "pip install 'ckb-node[libp2p]' (a part of it is built: gcc, Python's headers and GMP's, libgmp-dev)"
START_TIMEOUT: Final = 60.0
"""Seconds that the process may take to listen; its library takes one to load, on a busy machine many."""
SILENCE: Final = 30.0
"""Seconds without a word, of which one comes every second."""
STOPPED_CHECKS: Final = 3
CHECK_INTERVAL: Final = 1.0
STOP_TIMEOUT: Final = 5.0
_LIBRARIES: Final = ("libp2p", "trio", "fastecdsa")


class Libp2pError(OSError):
    """The libp2p process has ended, or must be ended; one line that says why."""


def is_installed() -> bool:
    """Whether the library is there; it is not loaded."""
    return all(find_spec(name) is not None for name in _LIBRARIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Libp2pSettings:
    """`listen`: multiaddresses with IP address and TCP port. `spoken`: protocols that this node speaks; those that
    libp2p carries are offered. `memory`: bytes that the process may have."""

    network_name: str
    client_version: str
    spoken: frozenset[ProtocolSpec]
    listen: Sequence[str] = ()
    bootnodes: Sequence[Libp2pAddress] = ()
    max_connections: int = 125
    max_of_ip: int = 16
    memory: int = 768 * MIB


@dataclass(frozen=True, slots=True)
class Libp2pState:
    """Of the process that runs now."""

    library: str
    addresses: Sequence[str]
    stats: Stats | None = None


class Libp2pService:
    """One node's libp2p. `run` once for each life of the process."""

    def __init__(self, identity: Identity, settings: Libp2pSettings) -> None:
        self._identity, self.settings = identity, settings
        self._dialler: Final = Dialler(settings.bootnodes)
        self.peer_id: Final = libp2p_id(identity.public_key)
        self.state: Libp2pState | None = None
        """While the process runs and listens."""
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.topics: Mapping[int, TopicHandler] = {}
        """What is gossiped, from the next start of the process on."""
        self._link: _ProcessLink | None = None

    def publish(self, topic: int, data: bytes) -> None:
        """Gossip something, at most MAX_GOSSIP bytes; what was gossiped before, by whomever, is not again."""
        if self._link is not None and self.state is not None:
            self._link.tell(Publish(topic, data))

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens now, with this node's peer id of libp2p."""
        return () if self.state is None else self.state.addresses

    @property
    def configured(self) -> Sequence[str]:
        """Where it is to listen, the same way."""
        return [self.named(address) for address in self.settings.listen]

    def named(self, address: str) -> str:
        """With this node's peer id of libp2p."""
        return f"{address}/p2p/{base58(self.peer_id)}"

    async def run(self, layer: PeerLayer) -> None:
        """Until cancelled. Raises Libp2pError when the process ends, or must be ended; its peers have left then."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            arguments = [str(theirs.fileno()), str(self.settings.memory)]
            self.process = process = start_child(CHILD, arguments, pass_fds=[theirs.fileno()], group=0)
            theirs.close()
            self.starts += 1
            self._dialler.restart()
            self._link = link = _ProcessLink(self, layer, process)
            try:
                await asyncio.get_running_loop().create_connection(lambda: link, sock=ours)
                link.tell(self._hello(layer))
                await link.watch()
            except Libp2pError:
                process.kill()
                raise
            finally:
                self.state, self.process, self._link = None, None, None
                link.close()
                await _end(process)

    def names(self, layer: PeerLayer) -> dict[ProtocolSpec, str]:
        """Of the streams that are offered: for what is spoken and served."""
        return stream_names(self.settings.network_name, self.settings.spoken & set(layer.switch.protocols))

    def _hello(self, layer: PeerLayer) -> Hello:
        settings, names = self.settings, self.names(layer)
        return Hello(
            version=VERSION,
            secret=self._identity.secret,
            listen=list(settings.listen),
            protocols=[(spec.id, name) for spec, name in names.items()],
            agent=f"ckb-node/{settings.client_version}",
            max_connections=settings.max_connections,
            max_of_ip=settings.max_of_ip,
            topics=list(topic_names(settings.network_name, self.topics).items()),
        )

    def add(self, address: Libp2pAddress) -> None:
        """See Dialler.add."""
        self._dialler.add(address)

    def due(self, layer: PeerLayer) -> list[Libp2pAddress]:
        """Whom to dial now."""
        now, places = layer.scheduler.now(), layer.registry.missing_libp2p
        return self._dialler.due(now, places, lambda it: layer.switch.may_dial(it.address))

    def dialled(self, layer: PeerLayer, address: Libp2pAddress, reason: str | None) -> None:
        """A dial is over."""
        self._dialler.ended(address, layer.scheduler.now(), is_connected=reason is None)
        if reason is not None:
            log.info("a configured peer does not answer", address=address.text, reason=reason)


class _ProcessLink(asyncio.Protocol):
    """The socket to one process, and the connections that it has. Satisfies network.libp2p.channel.Process."""

    def __init__(self, service: Libp2pService, layer: PeerLayer, process: subprocess.Popen[bytes]) -> None:
        self._service, self._layer, self._process = service, layer, process
        self._loop: Final = asyncio.get_running_loop()
        self._demux: Final = Demux()
        self._transport: asyncio.Transport | None = None
        self._out: Final = list[bytes]()
        self._channels: Final = dict[int, Channel]()
        self._sessions: Final = dict[int, Session]()
        self._dials: Final = dict[int, Libp2pAddress]()
        self._last_ticket = 0
        self._fault: str | None = None
        self._has_ended: Final = asyncio.Event()
        self._heard_at = self._begun_at = self._loop.time()
        self._specs: Final = tuple(service.names(layer))

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            for conn, record in self._demux.feed(data):
                if conn == CONTROL:
                    self._told(decode(OF_PROCESS, record[SIZE_SIZE:]))
                else:
                    self._of_connection(conn, record)
        except IpcError as error:
            self._end(f"it says what it may not: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        code = self._process.poll()
        self._end("it has ended" if code is None else f"it has ended with {code}")

    # --- the process ---

    async def watch(self) -> None:
        """Raises Libp2pError when the process ends, is stopped, or says nothing any more."""
        stopped = 0
        while not self._has_ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._has_ended.wait(), CHECK_INTERVAL)
            now, is_ready = self._loop.time(), self._service.state is not None
            stopped = stopped + 1 if process_state(self._process.pid) in STOPPED_STATES else 0
            if stopped >= STOPPED_CHECKS:
                self._end("it was stopped")
            elif is_ready and now - self._heard_at > SILENCE:
                self._end(f"it has said nothing for {SILENCE:g} s")
            elif not is_ready and now - self._begun_at > START_TIMEOUT:
                self._end(f"it did not listen within {START_TIMEOUT:g} s")
            elif is_ready:
                self._dial()
        raise Libp2pError(f"the libp2p process: {self._fault}")

    def _end(self, fault: str) -> None:
        """Its connections are gone."""
        if self._fault is None:
            self._fault = fault
        self._has_ended.set()
        for channel in list(self._channels.values()):
            channel.ended("the libp2p process has ended")

    def close(self) -> None:
        """Tell the process to stop, behind all else."""
        self.tell(Stop())
        self._flush()
        self._end("the node is stopping")
        if self._transport is not None:
            self._transport.close()

    def _told(self, message: OfProcess) -> None:
        match message:
            case Ready(_, library, peer_id, addresses):
                if peer_id != self._service.peer_id:
                    raise IpcError("it has another key")
                named = [self._service.named(address) for address in addresses]
                self._service.state = Libp2pState(library, named)
                log.info("libp2p listens", addresses=named, library=library)
                self._dial()
            case Failed(reason):
                self._end(reason)
            case DialEnded(ticket, reason):
                address = self._dials.pop(ticket, None)
                if address is not None:
                    self._service.dialled(self._layer, address, reason)
            case Gossip():
                self._gossiped(message)
            case Stats():
                state = self._service.state
                if state is not None:
                    self._service.state = Libp2pState(state.library, state.addresses, message)

    def _gossiped(self, message: Gossip) -> None:
        """Of a peer that may stay, to who judges it."""
        switch, session = self._layer.switch, self._sessions.get(message.conn)
        handler = self._service.topics.get(message.topic)
        is_heard = switch.is_active and session is not None and switch.peer_of(session.peer_id) is session
        if session is None or handler is None or not is_heard:
            self.tell(Verdict(message.number, is_good=False))
            return
        try:
            handler.received(session, message.data, lambda good: self.tell(Verdict(message.number, good)))
        except Exception as error:  # noqa: BLE001 - it ends the session that it was called for, as other handlers' faults
            switch.fault(session, "gossip", error)

    def _dial(self) -> None:
        for address in self._service.due(self._layer):
            self._last_ticket += 1
            self._dials[self._last_ticket] = address
            self.tell(Dial(self._last_ticket, address.text))

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
        channel.receive(record)

    # --- network.libp2p.channel.Process ---

    def send(self, conn: int, body: bytes | bytearray) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame(conn, body))

    def tell(self, message: Message) -> None:
        """Queue a message for the process itself."""
        self.send(CONTROL, encode(message))

    def _flush(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def soon(self, call: Callable[[], None]) -> None:
        self._loop.call_soon(call)

    def forget(self, conn: int) -> None:
        self._channels.pop(conn, None)
        self._sessions.pop(conn, None)


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Give it a moment to end in order, then kill it; it is gone when this returns."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STOP_TIMEOUT
    try:
        while process.poll() is None and loop.time() < deadline:  # noqa: ASYNC110 - of a process, which has no event
            await asyncio.sleep(0.05)
    finally:
        if process.poll() is None:
            process.kill()
        await asyncio.to_thread(process.wait)
